//! P014: nodes that are not well before the start.

use crate::cluster::{NodeId, Readiness};
use crate::judge::About;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P014",
    name: "node not Ready before the start",
    what: "Nodes that are not Ready, or that report pressure on memory, disk or process ids, or no network.",
    why: "Their pods are already lost or about to be, they take no pods of the nodes that are out, and a node that does not come up \
          now will not come up after its upgrade either.",
    example: "n3 has been NotReady since yesterday: the cluster has one node less than the plan assumes.",
    fix: "Repair the node, or take it out of the cluster and leave it out of the plan (`skip`).",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    scope.nodes().filter_map(|(id, _)| found(scope, id)).collect()
}

fn found(scope: &Scope, id: NodeId) -> Option<Finding> {
    let node = scope.cluster.node(id);
    let state = match node.ready {
        Readiness::Ready if node.pressure.is_empty() => return None,
        Readiness::Ready => format!("reports {}", listed(&node.pressure)),
        Readiness::NotReady => "is not Ready".to_owned(),
        Readiness::Unknown => "is not Ready: its kubelet is silent".to_owned(),
    };
    let pods = scope.cluster.pods_of_node(id).iter().filter(|&&pod| scope.cluster.pod(pod).is_active()).count();
    let message = format!("{state}, {pods} active pods on it");
    let name = node.name();
    let fix = format!("see kubectl describe node {name}; repair it, or leave it out (`skip: [{name}]`)");
    Some(ABOUT.finding(Severity::Warning, scope.cluster.node_key(id), message, fix))
}
