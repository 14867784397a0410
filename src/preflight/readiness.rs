//! P019: readiness that says nothing (M4).

use crate::cluster::{NodeId, PodId, WorkloadId};
use crate::judge::About;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P019",
    name: "no readiness probe behind a Service",
    what: "Pods behind a Service that have to move and in which no container has a readiness probe.",
    why: "They count as ready as soon as their processes are started: the Service sends requests to successors that do not listen \
          yet, and neither budgets nor this forecast can see it (M4).",
    example: "A JVM that takes 40 s to listen is Ready after 1 s.",
    fix: "Give the container that serves a readinessProbe.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    scope.moved().filter_map(|(workload, places)| found(scope, workload, places)).collect()
}

fn found(scope: &Scope, workload: WorkloadId, places: &[(NodeId, Vec<PodId>)]) -> Option<Finding> {
    let cluster = scope.cluster;
    let pod = places[0].1[0];
    let services = cluster.services_of_pod(pod);
    let spec = cluster.spec(pod);
    if services.is_empty() || spec.containers.iter().any(|container| container.readiness.is_some()) {
        return None;
    }
    let names = listed(services.iter().map(|&service| cluster.service(service).name));
    let message = format!("no readiness probe, behind the Service(s) {names}: ready as soon as it is started");
    Some(ABOUT.finding(Severity::Info, scope.key(workload), message, "add a readinessProbe".to_owned()))
}
