//! P013: a Service whose only endpoints are DaemonSet pods of one node.

use crate::cluster::{NodeId, PodId, ServiceId, WorkloadId};
use crate::judge::About;

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P013",
    name: "DaemonSet on a single node",
    what: "Services whose only ready endpoints are pods of a DaemonSet on one node of the run.",
    why: "DaemonSet pods are not moved: they are away with their node, and no other node has one.",
    example: "A DaemonSet with nodeSelector disk=ssd, which one node carries, behind the Service cache.",
    fix: "Let the DaemonSet run on a second node.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let services = scope.cluster.services().filter(|(_, service)| !service.gone);
    services.filter_map(|(id, _)| found(scope, id)).collect()
}

fn found(scope: &Scope, service: ServiceId) -> Option<Finding> {
    let cluster = scope.cluster;
    let ready = cluster.pods_of_service(service).iter().copied().filter(|&pod| cluster.pod(pod).is_serving_strength());
    let ready: Vec<PodId> = ready.collect();
    let node = cluster.pod(*ready.first()?).node?;
    let set = cluster.top_of_pod(ready[0]).filter(|&set| is_daemon_set(scope, set))?;
    let same = |pod: &PodId| cluster.pod(*pod).node == Some(node) && cluster.top_of_pod(*pod) == Some(set);
    if !scope.takes(node) || !ready.iter().all(same) {
        return None;
    }
    let message = format!(
        "the only endpoint(s) are pods of {} on {}: none while that node is out",
        scope.key(set),
        scope.node_name(node)
    );
    let fix = format!("let {} run on a second node{}", scope.key(set).name, selector(scope, ready[0], node));
    Some(ABOUT.finding(Severity::Warning, cluster.service_key(service), message, fix))
}

fn is_daemon_set(scope: &Scope, set: WorkloadId) -> bool {
    scope.cluster.workload(set).as_daemon_set().is_some()
}

fn selector(scope: &Scope, pod: PodId, node: NodeId) -> String {
    let pairs = scope.cluster.spec(pod).node_selector.iter().map(|(key, value)| format!("{key}={value}"));
    let pairs: Vec<String> = pairs.collect();
    let other = scope.nodes().find(|(id, other)| *id != node && !other.is_control_plane());
    match other {
        Some((_, other)) if !pairs.is_empty() && !pairs.iter().any(|pair| pair.contains("kubernetes.io/")) => {
            format!(" (kubectl label node {} {})", other.name(), pairs.join(" "))
        }
        Some(_) | None => String::new(),
    }
}
