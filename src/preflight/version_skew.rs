//! P033: versions that differ more than the skew policy allows, or more than one would expect (KUBERNETES.md G.3).

use std::collections::BTreeMap;

use crate::cluster::{Name, NodeId, Version};
use crate::judge::About;
use crate::upgrade::KUBELET_MAY_LAG;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P033",
    name: "versions apart",
    what: "Kubelets newer than the API server or more than three minors older, an API server of unknown version, kubelets of several versions, and targets that are \
           several minors ahead.",
    why: "Outside of the skew policy nobody tests whether the two understand each other. Several versions are often an upgrade \
          that was not finished. Several minors mean several rounds over the control plane.",
    example: "n1 to n5 run v1.36.2, n6 still v1.34.1.",
    fix: "Finish the earlier upgrade; take nodes that are too far behind first.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let mut findings = Vec::new();
    let api_server = scope.cluster.api_server;
    findings.extend(scope.nodes().filter_map(|(id, node)| apart(scope, id, node.kubelet?, api_server?)));
    if api_server.is_none() && !scope.turns.is_empty() {
        let to = scope.goal.to;
        let message =
            format!("the version of the API server is not known; it has to be {to} or newer before kubelets are");
        let fix = "see that the control plane (of the provider) has been upgraded: kubectl version".to_owned();
        findings.push(ABOUT.finding(Severity::Warning, scope.whole(), message, fix));
    }
    let mut kubelets: BTreeMap<Version, Vec<Name>> = BTreeMap::new();
    for (_, node) in scope.nodes() {
        if let Some(kubelet) = node.kubelet {
            kubelets.entry(kubelet).or_default().push(node.name());
        }
    }
    if kubelets.len() > 1 {
        let parts: Vec<String> =
            kubelets.iter().map(|(version, nodes)| format!("{version} on {}", listed(nodes))).collect();
        let fix = "nothing, if an earlier upgrade is being continued; otherwise see why it was not finished".to_owned();
        let message = format!("the kubelets have several versions: {}", parts.join("; "));
        findings.push(ABOUT.finding(Severity::Info, scope.whole(), message, fix));
    }
    let takes_control_plane = scope.turns.iter().any(|&id| scope.cluster.node(id).is_control_plane());
    if let Some(from) = api_server.filter(|from| takes_control_plane && from.minor + 1 < scope.goal.to.minor) {
        let way: Vec<Version> =
            (from.minor + 1..scope.goal.to.minor).map(|minor| scope.goal.way_point(minor)).collect();
        let to = scope.goal.to;
        let message =
            format!("no minor may be skipped: from {from} the control plane goes over {} to {to}", listed(&way));
        let fix = "have packages and images of every version on the way ready; `via` names them".to_owned();
        findings.push(ABOUT.finding(Severity::Info, scope.whole(), message, fix));
    }
    findings
}

fn apart(scope: &Scope, id: NodeId, kubelet: Version, api_server: Version) -> Option<Finding> {
    let message = if kubelet.minor > api_server.minor {
        format!("the kubelet runs {kubelet}, newer than the API server ({api_server})")
    } else if kubelet.minor + KUBELET_MAY_LAG < api_server.minor {
        format!(
            "the kubelet runs {kubelet}, more than {KUBELET_MAY_LAG} minors older than the API server ({api_server})"
        )
    } else {
        return None;
    };
    let fix = format!("bring the node to {api_server} before anything else");
    Some(ABOUT.finding(Severity::Warning, scope.cluster.node_key(id), message, fix))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{named, tells_apart};

    fn cluster(n1: &str, all: &str) -> String {
        format!(
            "{{version: v1.36.2, nodes: {{count: 2, controlPlane: 1, all: {{kubelet: {all}}}, overrides: {{n1: {{kubelet: {n1}}}}}}}}}"
        )
    }

    #[test]
    fn kubelets_outside_of_the_policy() {
        let right = cluster("v1.36.2", "v1.36.2");
        let goal = "{to: v1.37.0}";
        for apart in ["v1.32.9", "v1.37.0"] {
            let expected = ["Info Cluster/cluster", "Warning Node/n1"];
            tells_apart("P033", &expected, (&cluster(apart, "v1.36.2"), goal), (&right, goal));
        }
        assert_eq!(named("P033", &cluster("v1.33.1", "v1.36.2"), goal), ["Info Cluster/cluster"], "mixed, but allowed");
    }

    #[test]
    fn several_minors_ahead() {
        let right = cluster("v1.36.2", "v1.36.2");
        tells_apart("P033", &["Info Cluster/cluster"], (&right, "{to: v1.38.0}"), (&right, "{to: v1.37.0}"));
    }
}
