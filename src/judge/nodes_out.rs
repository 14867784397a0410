//! J013: no more nodes are out at once than allowed.

use std::collections::BTreeSet;

use crate::cluster::NodeId;
use crate::trace::Event;
use crate::upgrade::Action;

use super::cordons::Hand;
use super::{About, Class, Rule, Seen, Violation};

static ABOUT: About = About {
    code: "J013",
    name: "nodes-out",
    what: "The run has no more nodes out at once than the plan allows. A node is out from the moment the run cordons it or \
           touches its host until its host's job has ended well and it is Ready and takes pods again.",
    why: "Room and redundancy are planned for so many missing nodes (M2).",
    example: "The second node is cordoned while the first is still cordoned.",
    fix: "Nothing to do in the cluster: this is an error of the engine. Please report it with the trace.",
};

/// The rule.
#[derive(Default)]
pub(super) struct NodesOut {
    out: BTreeSet<NodeId>,
}

impl Rule for NodesOut {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        let goes_out = match seen.record.event {
            Event::Acted(Action::Cordon(node)) if seen.cordons.hand(node) == Hand::Run => node,
            Event::HostStarted(node) => node,
            _ => return,
        };
        self.out.retain(|&node| is_out(node, seen));
        if self.out.insert(goes_out) && self.out.len() > seen.limits.nodes_at_once.max(1) {
            let names: Vec<&str> = self.out.iter().map(|&node| seen.cluster.node(node).name().as_str()).collect();
            let message = format!("{} are out at once, {} allowed", names.join(", "), seen.limits.nodes_at_once.max(1));
            let key = seen.cluster.node_key(goes_out);
            broken.push(seen.broken(&ABOUT, Class::Engine, key, Some(goes_out), message));
        }
    }
}

/// Cordoned by the run, or its host not up. A node whose object was replaced is out no more.
fn is_out(node: NodeId, seen: Seen<'_>) -> bool {
    let object = seen.cluster.node(node);
    if object.gone {
        return seen.cluster.find_node(object.name()).is_none();
    }
    seen.cordons.hand(node) == Hand::Run || !seen.turns.is_up(node, seen.cluster)
}
