//! J002: no Service falls below its floor.

use std::collections::BTreeMap;

use crate::cluster::ServiceId;

use super::strength::{below, turn_of};
use super::{About, Class, Rule, Seen, Violation, floors};

static ABOUT: About = About {
    code: "J002",
    name: "service-floor",
    what: "No Service has fewer ready endpoints than its floor: what the plan states, else 1. A Service that was below \
           before the start must not get worse than it was.",
    why: "A Service without ready endpoints refuses every connection.",
    example: "Service api selects two Deployments whose pods all stand on one node. The node is drained: for some seconds no \
              endpoint is ready.",
    fix: "Spread the pods behind the Service over nodes, run more of them, or give them a budget.",
};

/// The rule.
#[derive(Default)]
pub(super) struct ServiceFloor {
    falls: BTreeMap<ServiceId, usize>,
}

impl Rule for ServiceFloor {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        let Some(change) = seen.strength.change() else { return };
        if seen.cluster.pod(change.pod).mirror {
            return;
        }
        for &service in &change.lost.services {
            let Some(asked) = floors::service_floor(seen.cluster, seen.limits, service) else { continue };
            let Some((ready, floor)) = below(seen.strength.service(service), asked, change.cause) else { continue };
            let message = if floor == asked {
                format!("only {ready} ready endpoints, its floor is {asked}")
            } else {
                format!("only {ready} ready endpoints, its floor is {asked} and {floor} would be without the upgrade")
            };
            let was_above = ready + 1 >= floor;
            match self.falls.get(&service) {
                Some(&fall) if !was_above => broken[fall].message = message,
                _ => {
                    self.falls.insert(service, broken.len());
                    let key = seen.cluster.service_key(service);
                    let node = turn_of(change.pod, seen.cluster);
                    broken.push(seen.broken(&ABOUT, Class::Disruptive, key, node, message));
                }
            }
        }
    }
}
