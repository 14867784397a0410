//! J006: no request is routed to a node under maintenance.

use crate::cluster;
use crate::trace::Event;

use super::{About, Class, Rule, Seen, Violation};

static ABOUT: About = About {
    code: "J006",
    name: "routing",
    what: "Between the first touch of a host and its return to working order the API proxy sends no requests to the node.",
    why: "Requests that reach a node under maintenance fail (M17).",
    example: "The proxy is told to send to the node again while its kubelet still starts.",
    fix: "Stop routing to the node before its host is touched, and resume it once the node and its network are Ready.",
};

/// The rule.
pub(super) struct Routing;

impl Rule for Routing {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        if !seen.limits.routing {
            return;
        }
        let (node, message) = match seen.record.event {
            Event::HostStarted(node) if seen.cluster.node(node).routing != cluster::Routing::Stopped => {
                (node, "the API proxy still sends requests to it while its host is touched")
            }
            Event::NodeRouted(node, true) if !seen.turns.is_back(node, seen.cluster) => {
                (node, "the API proxy sends requests to it again before it is in working order")
            }
            _ => return,
        };
        let key = seen.cluster.node_key(node);
        broken.push(seen.broken(&ABOUT, Class::Disruptive, key, Some(node), message.to_owned()));
    }
}
