//! J007: the run ends, and no node is left out of it.

use crate::cluster::{NodeOutcome, ObjectKey, Time};
use crate::trace::Event;

use super::{About, Class, Rest, Rule, Seen, Violation};

/// The rule's code.
pub const END: &str = "J007";

static ABOUT: About = About {
    code: END,
    name: "run-ends",
    what: "The run comes to an end by itself and says that it is done, and no node's drain was given up.",
    why: "A run that stops or waits for ever leaves a cluster of two versions, often with a node out of service.",
    example: "A budget allows no eviction of a pod on n3: the run upgrades n1 and n2 and stops at n3.",
    fix: "See what the run waits for: most often a budget without room, a pod without a place to go, or a finalizer.",
};

/// The rule.
#[derive(Default)]
pub(super) struct End {
    stopped: Option<Time>,
}

impl Rule for End {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        match seen.record.event {
            Event::RunEnded { done: false } => self.stopped = Some(seen.record.at),
            Event::NodeEnded(node, NodeOutcome::Blocked) => {
                let message = "its drain was given up, it keeps its version".to_owned();
                broken.push(seen.broken(&ABOUT, Class::Blocked, seen.cluster.node_key(node), Some(node), message));
            }
            _ => {}
        }
    }

    fn finish(&mut self, rest: Rest<'_>, broken: &mut Vec<Violation>) {
        if rest.done {
            return;
        }
        let node = rest.cluster.nodes_under_maintenance().first().copied();
        let cluster = || ObjectKey::cluster_wide("Cluster", "cluster".into());
        let message = match self.stopped {
            Some(_) => "the run stopped before it was done",
            None => "the run never ends",
        };
        broken.push(Violation {
            code: ABOUT.code,
            class: Class::Blocked,
            object: node.map_or_else(cluster, |node| rest.cluster.node_key(node)),
            at: self.stopped.unwrap_or(rest.now),
            node,
            message: message.to_owned(),
        });
    }
}
