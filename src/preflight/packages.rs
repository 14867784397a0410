//! P034: package sources without the target version (M1).

use crate::cluster::{HostFacts, NodeId, Version};
use crate::judge::About;
use crate::upgrade::KUBELET_MAY_LAG;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P034",
    name: "package source lacks the target version",
    what: "Nodes of the run whose package source offers no kubelet or kubeadm of the version they are to get.",
    why: "The host's upgrade fails after its pods have been moved, and the run stops there with a node out of service.",
    example: "n4 still has the source of 1.36: kubelet 1.36.2 is the newest that it offers.",
    fix: "Set up the source of the target's minor (pkgs.k8s.io has one for each) or the mirror on every host.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    scope.taken_hosts().flat_map(|(node, facts)| lacking(scope, node, facts)).collect()
}

fn lacking(scope: &Scope, node: NodeId, facts: &HostFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let wanted = wanted(scope, node);
    for (package, severity) in
        [("kubelet", Severity::Error), ("kubeadm", Severity::Error), ("kubectl", Severity::Warning)]
    {
        let Some(offered) = facts.packages_available.get(package) else { continue };
        let installed = facts.packages_installed.get(package);
        let known: Vec<Version> = offered.iter().chain(installed).filter_map(|text| version(text)).collect();
        let missing: Vec<Version> = wanted.iter().copied().filter(|version| !known.contains(version)).collect();
        if missing.is_empty() {
            continue;
        }
        let newest = match offered.iter().filter_map(|text| version(text)).max() {
            Some(newest) => format!("the newest that it offers is {newest}"),
            None => "it offers none at all".to_owned(),
        };
        let message = format!("the package source has no {package} {}; {newest}", listed(&missing));
        let minor = missing[0].minor;
        let fix = format!(
            "set up the package source of 1.{minor} on this host, then ask it again (apt-get update, dnf makecache)"
        );
        findings.push(ABOUT.finding(severity, scope.cluster.node_key(node), message, fix));
    }
    findings
}

/// Versions that a node gets: one of the control plane of every minor on the way, and a worker that would fall too far behind
/// is taken along before the control plane goes on (KUBERNETES.md G.3).
fn wanted(scope: &Scope, id: NodeId) -> Vec<Version> {
    let node = scope.cluster.node(id);
    let to = scope.goal.to;
    let goes_on = scope.turns.iter().any(|&id| scope.cluster.node(id).is_control_plane());
    let running = if node.is_control_plane() { node.control_plane.or(node.kubelet) } else { scope.cluster.api_server };
    let (Some(mut running), Some(mut kubelet), true) = (running, node.kubelet, goes_on) else { return vec![to] };
    let mut wanted = Vec::new();
    for minor in running.minor + 1..=to.minor {
        let next = if minor == to.minor { to } else { scope.goal.way_point(minor) };
        if node.is_control_plane() {
            wanted.push(next);
        } else if kubelet.minor + KUBELET_MAY_LAG < minor {
            wanted.push(running);
            kubelet = running;
        }
        running = next;
    }
    if wanted.last() != Some(&to) {
        wanted.push(to);
    }
    wanted
}

/// The Kubernetes version in a package's: `1.37.0-1.1`, `0:1.37.0-150500.1.1`.
fn version(text: &str) -> Option<Version> {
    text.rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{host, named, tells_apart};

    #[test]
    fn every_version_on_the_way_has_to_be_offered() {
        let offers =
            |kubelet: &str| host(&format!("packagesAvailable: {{kubelet: [{kubelet}], kubeadm: [1.37.0-1.1]}}"));
        let (old, new) = (offers("1.36.2-1.1, 1.36.3-1.1"), offers("1.36.3-1.1, '0:1.37.0-150500.1.1'"));
        let goal = "{to: v1.37.0}";
        tells_apart("P034", &["Error Node/n1"], (&old, goal), (&new, goal));
        assert_eq!(named("P034", &old, "{to: v1.37.0, skip: [n1]}"), [""; 0]);
        assert_eq!(named("P034", &host("cpus: 2"), goal), [""; 0], "not stated, not judged");
        let master = |versions: &str| {
            format!(
                "{{version: v1.36.2, nodes: {{count: 1, controlPlane: 1, all: {{kubelet: v1.36.2}}}}, \
                     hosts: {{cp1: {{packagesAvailable: {{kubeadm: [{versions}]}}}}}}}}"
            )
        };
        let goal = "{to: v1.38.0, via: [v1.37.2]}";
        let (gap, way) = (master("1.38.0-1.1"), master("1.37.2-1.1, 1.38.0-1.1"));
        tells_apart("P034", &["Error Node/cp1"], (&gap, goal), (&way, goal));
        let late = |kubelet: &str, versions: &str| {
            format!(
                "{{version: v1.36.2, nodes: {{count: 1, controlPlane: 1, overrides: {{n1: {{kubelet: {kubelet}}}}}}}, \
                     hosts: {{n1: {{packagesAvailable: {{kubeadm: [{versions}]}}}}}}}}"
            )
        };
        let goal = "{to: v1.37.0}";
        let (gap, way) = (late("v1.33.1", "1.37.0-1.1"), late("v1.33.1", "1.36.2-1.1, 1.37.0-1.1"));
        tells_apart("P034", &["Error Node/n1"], (&gap, goal), (&way, goal));
        assert_eq!(named("P034", &late("v1.34.1", "1.37.0-1.1"), goal), [""; 0]);
    }
}
