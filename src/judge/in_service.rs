//! J016: a node takes pods again only when it is in working order.

use crate::trace::Event;
use crate::upgrade::Action;

use super::{About, Class, Rule, Seen, Violation};

static ABOUT: About = About {
    code: "J016",
    name: "in-service",
    what: "A node whose host was touched is made schedulable, or its turn ended as done, only once its job has ended well, it \
           is Ready, and the network, proxy and storage DaemonSets that were Ready on it are so again (M20).",
    why: "Pods that are placed on a node without its network do not come up, and their old ones are gone.",
    example: "The node is uncordoned while its kubelet still starts.",
    fix: "Nothing to do in the cluster: this is an error of the engine. Please report it with the trace.",
};

/// The rule.
pub(super) struct InService;

impl Rule for InService {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        let Event::Acted(Action::Uncordon(node)) = seen.record.event else { return };
        if !seen.turns.is_back(node, seen.cluster) {
            let message = "made schedulable before it is in working order".to_owned();
            broken.push(seen.broken(&ABOUT, Class::Engine, seen.cluster.node_key(node), Some(node), message));
        }
    }
}
