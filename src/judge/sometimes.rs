//! What must have happened at least once in a set of walks, lest "no rule was broken" says nothing.

use crate::trace::Event;

use super::strength::desired;
use super::{About, Seen};

/// Something that a proof should have seen, and whether it did. Over several walks: whether any did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sometimes {
    /// Code (`J901`).
    pub code: &'static str,
    /// What it is.
    pub name: &'static str,
    /// It happened.
    pub happened: bool,
}

const FIX: &str = "Nothing is wrong; a verdict that rests on walks in which this never happens says little about it.";
const WHY: &str = "A rule that never had a chance to be broken proves nothing.";

/// The texts, in the order of [`Watch`]'s bits.
pub(super) const ABOUTS: [About; 6] = [
    About {
        code: "J901",
        name: "sometimes-evicted",
        what: "Some eviction is accepted.",
        why: WHY,
        example: "The nodes of the plan hold nothing but DaemonSet pods: no application was ever put to the test.",
        fix: FIX,
    },
    About {
        code: "J902",
        name: "sometimes-refused",
        what: "Some eviction is refused by the API.",
        why: WHY,
        example: "No budget ever had to hold an eviction back.",
        fix: FIX,
    },
    About {
        code: "J903",
        name: "sometimes-touched",
        what: "Some host is upgraded.",
        why: WHY,
        example: "Every node already has the target version.",
        fix: FIX,
    },
    About {
        code: "J904",
        name: "sometimes-returned",
        what: "Some displaced pod's replacement becomes Ready.",
        why: WHY,
        example: "No workload ever had to come back.",
        fix: FIX,
    },
    About {
        code: "J905",
        name: "sometimes-at-the-floor",
        what: "Some workload, Service or budget is exactly at its floor after a loss.",
        why: WHY,
        example: "Every application had so many replicas that no floor came near.",
        fix: FIX,
    },
    About {
        code: "J906",
        name: "sometimes-done",
        what: "Some run ends and is done.",
        why: WHY,
        example: "Every run stopped at its first gate.",
        fix: FIX,
    },
];

/// Watches one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    happened: [bool; ABOUTS.len()],
}

impl Watch {
    pub(super) fn observe(&mut self, seen: Seen<'_>) {
        let [evicted, refused, touched, returned, at_floor, done] = &mut self.happened;
        match seen.record.event {
            Event::Evict { code: 200 | 201, .. } => *evicted = true,
            Event::Evict { code: 429 | 500, .. } => *refused = true,
            Event::HostEnded(_, true) => *touched = true,
            Event::PodReady(pod) => {
                let top = seen.cluster.top_of_pod(pod);
                *returned |= top.is_some_and(|top| seen.strength.workload(top).taken);
            }
            Event::RunEnded { done: true } => *done = true,
            _ => {}
        }
        if !*at_floor && let Some(change) = seen.strength.change() {
            let budgets = change.lost.budgets.iter();
            *at_floor = budgets.map(|&id| (seen.strength.budget(id), desired(seen.cluster, id))).any(is_at)
                || change.lost.workload.is_some_and(|id| is_at((seen.strength.workload(id), 1)))
                || change.lost.services.iter().any(|&id| is_at((seen.strength.service(id), 1)));
        }
    }

    pub(super) fn result(&self) -> Vec<Sometimes> {
        let pairs = ABOUTS.iter().zip(self.happened);
        pairs.map(|(about, happened)| Sometimes { code: about.code, name: about.name, happened }).collect()
    }
}

fn is_at((tally, floor): (super::strength::Tally, u32)) -> bool {
    floor > 0 && tally.ready == floor
}
