//! J015: a run that is done leaves no node out of service.

use crate::cluster::{Cluster, Node, NodeId, Routing};

use super::cordons::Hand;
use super::{About, Class, Rest, Rule, Seen, Violation};

static ABOUT: About = About {
    code: "J015",
    name: "left-out",
    what: "When the run says that it is done, every node that it cordoned takes pods again, and the API proxy sends to every \
           node that it sent to before.",
    why: "A forgotten cordon is room that is missing at the next failure.",
    example: "The run ends, and the last node is still cordoned.",
    fix: "Nothing to do in the cluster: this is an error of the engine. Please report it with the trace.",
};

/// The rule.
pub(super) struct LeftOut {
    /// Nodes that the API proxy did not send to before the run.
    unrouted: Vec<NodeId>,
    /// Nodes that a former command took in hand and did not end with.
    in_hand: Vec<NodeId>,
}

impl LeftOut {
    pub(super) fn new(initial: &Cluster) -> LeftOut {
        let unrouted =
            |node: &Node| node.routing == Routing::Stopped && (node.marks.started.is_none() || node.marks.was_unrouted);
        LeftOut {
            unrouted: initial.nodes().filter(|(_, node)| unrouted(node)).map(|(id, _)| id).collect(),
            in_hand: initial.nodes_under_maintenance().to_vec(),
        }
    }
}

impl Rule for LeftOut {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, _: Seen<'_>, _: &mut Vec<Violation>) {}

    fn finish(&mut self, rest: Rest<'_>, broken: &mut Vec<Violation>) {
        if !rest.done {
            return;
        }
        for (id, node) in rest.cluster.nodes().filter(|(_, node)| !node.gone) {
            // Taken in hand before, and by now the operator wants it to be left as it is.
            if self.in_hand.contains(&id) && !rest.limits.nodes.contains(&id) {
                continue;
            }
            let message = if node.unschedulable && rest.cordons.hand(id) == Hand::Run {
                "the run is done and has left it cordoned"
            } else if rest.limits.routing && node.routing != Routing::Routed && !self.unrouted.contains(&id) {
                "the run is done and the API proxy does not send to it"
            } else {
                continue;
            };
            broken.push(Violation {
                code: ABOUT.code,
                class: Class::Engine,
                object: rest.cluster.node_key(id),
                at: rest.now,
                node: Some(id),
                message: message.to_owned(),
            });
        }
    }
}
