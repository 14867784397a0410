//! P012: fewer than two nodes for a workload (M3).

use crate::cluster::{Name, NodeId, ObjectKey, PodId, PodSpec, Readiness, WorkloadId};
use crate::judge::About;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P012",
    name: "fewer than two nodes",
    what: "Clusters with fewer than 2 nodes that take pods, and workloads for which cordons, taints and nodes that are not Ready \
           leave fewer than 2.",
    why: "An upgrade without interruption needs at least 2 nodes (M3): while one is out, the other must carry the pods.",
    example: "3 workers, one of them cordoned and one tainted for batch jobs: web has only n1.",
    fix: "Add a node, uncordon one, or let the pods tolerate the taint.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let moves = || scope.leaving().any(|leaving| scope.cluster.pod(leaving.pod).is_active());
    let plain = PodSpec::default();
    let open: Vec<NodeId> = scope.nodes().map(|(id, _)| id).filter(|&id| scope.takes_pods(&plain, id)).collect();
    if open.len() < 2 && moves() {
        let names = listed(open.iter().map(|&id| scope.node_name(id)));
        let message = format!(
            "{} node(s) take pods ({}): nothing can carry the pods of a node that is out",
            open.len(),
            if open.is_empty() { "none" } else { &names }
        );
        let cluster = ObjectKey::cluster_wide("Cluster", Name::new("cluster"));
        let fix = format!("add a worker node{}", closed(scope, &plain));
        return vec![ABOUT.finding(Severity::Warning, cluster, message, fix)];
    }
    scope.moved().filter_map(|(workload, places)| found(scope, workload, places)).collect()
}

fn found(scope: &Scope, workload: WorkloadId, places: &[(NodeId, Vec<PodId>)]) -> Option<Finding> {
    let (node, pods) = places.iter().find(|(_, pods)| scope.cannot_spare(workload, pods))?;
    let spec = scope.cluster.spec(pods[0]);
    let allowed = scope.allowed(pods[0]);
    let open: Vec<NodeId> = allowed.iter().copied().filter(|&id| scope.takes_pods(spec, id)).collect();
    let elsewhere = open.iter().any(|id| id != node);
    if allowed.len() < 2 || elsewhere {
        return None;
    }
    let message = format!(
        "of {} nodes that its pods may be on none but {} takes them now: no place while that node is out",
        allowed.len(),
        scope.node_name(*node)
    );
    let fix = format!("make room on a second node{}", closed(scope, spec));
    Some(ABOUT.finding(Severity::Warning, scope.key(workload), message, fix))
}

/// Nodes that could take such pods, and what keeps them from it.
fn closed(scope: &Scope, spec: &PodSpec) -> String {
    let why = |id: NodeId| {
        let node = scope.cluster.node(id);
        if node.ready != Readiness::Ready {
            Some(format!("{} is not Ready", node.name()))
        } else if node.unschedulable && !spec.tolerates_cordon() {
            Some(format!("kubectl uncordon {}", node.name()))
        } else {
            let taint = node.taints.iter().find(|taint| !spec.tolerates_all(&[**taint]))?;
            Some(format!("{} has the taint {}", node.name(), taint.key))
        }
    };
    let reasons: Vec<String> =
        scope.nodes().filter(|(id, _)| !scope.takes_pods(spec, *id)).filter_map(|(id, _)| why(id)).collect();
    if reasons.is_empty() { String::new() } else { format!(" ({})", listed(reasons)) }
}
