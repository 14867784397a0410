//! J005: pods with a grace period get it.

use crate::cluster::{Cluster, Millis, PodId};
use crate::trace::Event;
use crate::upgrade::Action;

use super::strength::turn_of;
use super::{About, Class, Rule, Seen, Violation};

static ABOUT: About = About {
    code: "J005",
    name: "grace",
    what: "The run asks for no shorter grace period than the pod's own or the plan's, and no pod is killed while it is still \
           ending within its own.",
    why: "An application that is killed in the middle of its shutdown loses requests and data (M4).",
    example: "A database needs 60 s to write its state and has a grace period of 90 s. The plan's grace period of 10 s kills it.",
    fix: "Leave out the grace period of the plan, and give the drain time enough for the longest one.",
};

/// The rule.
pub(super) struct Grace;

impl Rule for Grace {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        let (pod, message) = match seen.record.event {
            Event::Acted(Action::Evict { pod, grace_seconds } | Action::Delete { pod, grace_seconds }) => {
                let Some(message) = asked_too_little(pod, grace_seconds, seen) else { return };
                (pod, message)
            }
            Event::PodStopped { pod, cut_short: true } => {
                (pod, format!("its host went away within its grace period of {} s", own(pod, seen.cluster)))
            }
            Event::PodStopped { pod, cut_short: false } => {
                let Some(message) = killed_early(pod, seen) else { return };
                (pod, message)
            }
            _ => return,
        };
        let node = turn_of(pod, seen.cluster);
        broken.push(seen.broken(&ABOUT, Class::Disruptive, seen.cluster.pod_key(pod), node, message));
    }
}

fn own(pod: PodId, cluster: &Cluster) -> u32 {
    cluster.spec(pod).grace_seconds
}

/// The run asked for less than both the pod and the plan say, or for no grace at all while the pod was at work.
fn asked_too_little(pod: PodId, grace_seconds: Option<u32>, seen: Seen<'_>) -> Option<String> {
    let own = own(pod, seen.cluster);
    let asked = grace_seconds.filter(|&asked| asked < own)?;
    let object = seen.cluster.pod(pod);
    let worked = object.started.is_some() && !object.is_terminal();
    let beyond_plan = seen.limits.grace_seconds.is_none_or(|plan| asked < plan);
    (worked && (beyond_plan || asked == 0)).then(|| format!("got {asked} s to end, its own grace period is {own} s"))
}

/// The pod used up a grace period that was shorter than its own.
fn killed_early(pod: PodId, seen: Seen<'_>) -> Option<String> {
    let own = own(pod, seen.cluster);
    let deletion = seen.cluster.pod(pod).deletion?;
    let spent = seen.record.at - deletion.since >= Millis::secs(i64::from(deletion.grace_seconds));
    let by_plan = seen.limits.grace_seconds.is_some_and(|plan| plan == deletion.grace_seconds);
    (deletion.grace_seconds < own && spent && by_plan && seen.strength.is_taken(pod))
        .then(|| format!("was killed after {} s, its own grace period is {own} s", deletion.grace_seconds))
}
