//! J019: nothing is changed without the lock.

use crate::cluster::{Lock, ObjectKey};
use crate::trace::Event;
use crate::upgrade::Action;

use super::{About, Class, Rule, Seen, Violation};

static ABOUT: About = About {
    code: "J019",
    name: "lock-held",
    what: "The run changes nothing while it does not hold the cluster's upgrade lock, if the plan asks for it.",
    why: "Two runs at once take two nodes out and undo each other's cordons (M11).",
    example: "A second run cordons a node although the first still holds the lock.",
    fix: "Nothing to do in the cluster: this is an error of the engine. Please report it with the trace.",
};

/// The rule.
pub(super) struct LockHeld;

impl Rule for LockHeld {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        let Event::Acted(action) = seen.record.event else { return };
        let changes = !matches!(action, Action::TakeLock | Action::ReleaseLock | Action::Halt);
        if changes && seen.limits.lock && seen.cluster.run.lock != Lock::Ours {
            let node = action.node();
            let cluster = || ObjectKey::cluster_wide("Cluster", "cluster".into());
            let key = node.map_or_else(cluster, |node| seen.cluster.node_key(node));
            let message = "the run acts without holding the upgrade lock".to_owned();
            broken.push(seen.broken(&ABOUT, Class::Engine, key, node, message));
        }
    }
}
