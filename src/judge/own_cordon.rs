//! J014: an operator's own cordon is kept.

use crate::trace::Event;
use crate::upgrade::Action;

use super::cordons::Hand;
use super::{About, Class, Rule, Seen, Violation};

static ABOUT: About = About {
    code: "J014",
    name: "own-cordon",
    what: "The run never makes a node schedulable that somebody else has cordoned.",
    why: "Whoever cordoned the node had a reason that the run does not know.",
    example: "A node with a failing disk was cordoned last week; after its upgrade it takes pods again.",
    fix: "Nothing to do in the cluster: this is an error of the engine. Please report it with the trace.",
};

/// The rule.
pub(super) struct OwnCordon;

impl Rule for OwnCordon {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        let Event::Acted(Action::Uncordon(node)) = seen.record.event else { return };
        if seen.cordons.taken_off(node) == Some(Hand::Operator) {
            let message = "the run made it schedulable, but somebody else had cordoned it".to_owned();
            broken.push(seen.broken(&ABOUT, Class::Engine, seen.cluster.node_key(node), Some(node), message));
        }
    }
}
