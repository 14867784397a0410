//! J010: nothing is taken past a budget.

use crate::trace::Event;
use crate::upgrade::Action;

use super::strength::{desired, turn_of};
use super::{About, Class, Rule, Seen, Violation, floors};

static ABOUT: About = About {
    code: "J010",
    name: "past-budget",
    what: "The run deletes no pod past the eviction API if its budget is then below what it asks for, unless the plan says so.",
    why: "Budgets are how application owners say what they can stand; only the eviction API keeps them.",
    example: "The run deletes a pod of etcd with a plain DELETE while another member is down: quorum is lost.",
    fix: "Nothing to do in the cluster: this is an error of the engine. Please report it with the trace.",
};

/// The rule.
pub(super) struct Budget;

impl Rule for Budget {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        let Event::Acted(Action::Delete { pod, .. }) = seen.record.event else { return };
        let object = seen.cluster.pod(pod);
        if seen.limits.past_budgets || object.is_terminal() {
            return;
        }
        for budget in floors::governing(seen.cluster, object.spec) {
            let (healthy, asked) = (seen.strength.budget(budget).ready, desired(seen.cluster, budget));
            if healthy < asked {
                let message = format!(
                    "deleted without asking the eviction API; budget {} asks for {asked} and has {healthy}",
                    seen.cluster.budget(budget).name
                );
                let node = turn_of(pod, seen.cluster);
                broken.push(seen.broken(&ABOUT, Class::Engine, seen.cluster.pod_key(pod), node, message));
            }
        }
    }
}
