//! P016: taints that move or delete by themselves.

use crate::cluster::{Effect, Node, Readiness, Taint};
use crate::judge::About;

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P016",
    name: "taint that interferes",
    what: "Taints by which an autoscaler announces that it removes a node, taints of conditions that the node no longer has, and \
           other NoExecute taints.",
    why: "A node that is about to be removed cannot be upgraded; a taint that was left behind keeps pods away; NoExecute deletes \
          pods past every budget.",
    example: "n5 carries ToBeDeletedByClusterAutoscaler.",
    fix: "Stop the autoscaler for the time of the upgrade; remove the taint.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

/// Nodes that somebody is about to remove or shut down carry these.
const ON_THEIR_WAY_OUT: [&str; 6] = [
    "ToBeDeletedByClusterAutoscaler",
    "DeletionCandidateOfClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
    "node.kubernetes.io/out-of-service",
    "node.cloudprovider.kubernetes.io/shutdown",
];

/// The node lifecycle controller takes these away when the node is well (KUBERNETES.md D16).
const OF_CONDITIONS: [&str; 3] =
    ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/network-unavailable"];

fn run(scope: &Scope) -> Vec<Finding> {
    let all = scope.nodes().flat_map(|(id, node)| node.taints.iter().map(move |taint| (id, node, taint)));
    let found = all.filter_map(|(id, node, taint)| {
        let (severity, what) = judge(node, taint)?;
        let text =
            if taint.value.is_empty() { taint.key.to_string() } else { format!("{}={}", taint.key, taint.value) };
        let fix =
            format!("kubectl taint node {} {}:{}-, once its cause is gone", node.name(), taint.key, effect(taint));
        let message = format!("has the taint {text}:{}: {what}", effect(taint));
        Some(ABOUT.finding(severity, scope.cluster.node_key(id), message, fix))
    });
    found.collect()
}

fn judge(node: &Node, taint: &Taint) -> Option<(Severity, &'static str)> {
    let key = taint.key.as_str();
    let quiet = node.pressure.iter().all(|condition| *condition != "NetworkUnavailable");
    if ON_THEIR_WAY_OUT.contains(&key) {
        Some((Severity::Warning, "somebody is about to remove the node"))
    } else if OF_CONDITIONS.contains(&key) {
        let left_behind = node.ready == Readiness::Ready && quiet;
        left_behind.then_some((Severity::Warning, "it was left behind, the node is Ready"))
    } else {
        let deletes = taint.effect == Effect::NoExecute;
        deletes.then_some((Severity::Info, "pods that do not tolerate it are deleted past every budget"))
    }
}

fn effect(taint: &Taint) -> &'static str {
    match taint.effect {
        Effect::NoSchedule => "NoSchedule",
        Effect::PreferNoSchedule => "PreferNoSchedule",
        Effect::NoExecute => "NoExecute",
    }
}
