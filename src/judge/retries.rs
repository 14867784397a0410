//! J020: a refused eviction is not asked for again too soon.

use std::collections::BTreeMap;

use crate::cluster::{Millis, PodId, Time};
use crate::trace::Event;

use super::strength::turn_of;
use super::{About, Class, Rule, Seen, Violation};

static ABOUT: About = About {
    code: "J020",
    name: "retry-pause",
    what: "After an eviction was refused for a budget, the same pod is asked for again only after the pause that the API names \
           (Retry-After), or else the plan's.",
    why: "A loop without a pause is a storm of requests on an API server that is being upgraded.",
    example: "A budget without room is asked two hundred times a second.",
    fix: "Nothing to do in the cluster: this is an error of the engine. Please report it with the trace.",
};

/// The rule.
#[derive(Default)]
pub(super) struct Retries {
    not_before: BTreeMap<PodId, Time>,
}

impl Rule for Retries {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        match seen.record.event {
            Event::PodGone(pod) => {
                self.not_before.remove(&pod);
            }
            Event::Evict { pod, code, .. } => {
                if let Some(not_before) = self.not_before.remove(&pod)
                    && seen.record.at < not_before
                {
                    let early = not_before - seen.record.at;
                    let message = format!("asked for again {} ms too soon after a refusal", early.0);
                    let node = turn_of(pod, seen.cluster);
                    broken.push(seen.broken(&ABOUT, Class::Engine, seen.cluster.pod_key(pod), node, message));
                }
                if code == 429 {
                    let asked = seen.cluster.run.refusal(pod).map_or(0, |refusal| refusal.retry_after_seconds);
                    let asked = Some(Millis::secs(i64::from(asked))).filter(|asked| asked.0 > 0);
                    self.not_before.insert(pod, seen.record.at + asked.unwrap_or(seen.limits.retry));
                }
            }
            _ => {}
        }
    }
}
