//! P010: workloads with all pods on one node.

use crate::cluster::{NodeId, PodId, WorkloadId};
use crate::judge::About;
use crate::upgrade::Pacing;

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P010",
    name: "all replicas on one node",
    what: "Workloads with several ready pods, all of them on one node of the run.",
    why: "The drain of that node concerns all of them. With the engine's own pacing the last one waits for its successors; a drain \
          that only asks budgets evicts all of them at once where there is none.",
    example: "web-1 and web-2 both on n1.",
    fix: "Spread the pods over nodes (topologySpreadConstraints by kubernetes.io/hostname), and give them a budget.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    scope.moved().filter_map(|(workload, places)| found(scope, workload, places)).collect()
}

fn found(scope: &Scope, workload: WorkloadId, places: &[(NodeId, Vec<PodId>)]) -> Option<Finding> {
    let cluster = scope.cluster;
    let [(node, pods)] = places else { return None };
    let ready = pods.iter().filter(|&&pod| cluster.pod(pod).is_serving_strength()).count();
    if ready < 2 || ready < cluster.ready_pods(workload) as usize || scope.allowed(pods[0]) == [*node] {
        return None;
    }
    let strength = scope.strength(workload)?;
    let at_once = scope.goal.pacing == Pacing::Budgets && strength.budget.is_none() && strength.floor > 0;
    let severity = if at_once { Severity::Warning } else { Severity::Info };
    let name = scope.node_name(*node);
    let message = format!("all {ready} ready pods are on {name}");
    let key = scope.key(workload);
    let fix = format!(
        "topologySpreadConstraints by kubernetes.io/hostname, then kubectl rollout restart -n {} {}/{}",
        key.namespace,
        key.kind.as_str().to_lowercase(),
        key.name
    );
    Some(ABOUT.finding(severity, key, message, fix))
}
