//! P009: workloads of one pod (M3, M5).

use crate::cluster::{NodeId, PodId, WorkloadId};
use crate::judge::About;

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P009",
    name: "single replica",
    what: "Workloads that run one pod, without a budget, on a node of the run.",
    why: "The pod is gone before its successor is there: between eviction and readiness the application is away (M5 asks for one \
          running at all times). With a budget that forbids it the drain would not end instead (P003).",
    example: "checkout with replicas: 1: away from its eviction until the new pod is Ready.",
    fix: "Run 2 replicas on different nodes, or state in the plan that the gap is accepted (`floors`: 0).",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    scope.moved().filter_map(|(workload, places)| found(scope, workload, places)).collect()
}

fn found(scope: &Scope, workload: WorkloadId, places: &[(NodeId, Vec<PodId>)]) -> Option<Finding> {
    let cluster = scope.cluster;
    let object = cluster.workload(workload);
    let [(node, pods)] = places else { return None };
    let &[pod] = pods.as_slice() else { return None };
    let strength = scope.strength(workload)?;
    let alone = object.replicas == 1 && strength.budget.is_none() && scope.cannot_spare(workload, &[pod]);
    if !alone || scope.allowed(pod) == [*node] {
        return None;
    }
    let name = scope.node_name(*node);
    let message = format!("1 replica, on {name}: none is ready between its eviction and the start of its successor");
    let only = cluster.services_of_pod(pod).iter().filter(|&&service| cluster.ready_endpoints(service) == 1);
    let keys = only.map(|&service| cluster.service_key(service));
    let floors: Vec<String> = std::iter::once(object.key).chain(keys).map(|key| format!("{key}: 0")).collect();
    let accept = format!("state `floors: {{{}}}` in the plan to accept the gap", floors.join(", "));
    let fix = format!("{}, on different nodes; or {accept}", scope.scale_to(workload, 2));
    Some(ABOUT.finding(Severity::Warning, object.key, message, fix))
}
