//! P038: feature gates that stop a component of the target version at its start (VERSIONS.md V80, V81).

use crate::cluster::{HostFacts, NodeId};
use crate::judge::About;

use super::gates::{NEWEST, Trouble, trouble};
use super::scope::listed;
use super::settings::{KUBELET, Process, flag, processes};
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P038",
    name: "feature gate that the target refuses",
    what: "Feature gates set on nodes of the run that the target does not know any more, or that it has locked to the other value.",
    why: "A component with such a gate ends at its start: the control plane or the kubelet of that node does not come up. kubeadm \
          copies the setting into the new manifests unseen.",
    example: "The kubelet of n1 sets SidecarContainers: true, a gate that 1.37 removed.",
    fix: "Take the gate out of the kubelet's configuration (also the ConfigMap kubelet-config) or the component's extraArgs.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    scope.taken_hosts().flat_map(|(node, facts)| judge(scope, node, facts)).collect()
}

fn judge(scope: &Scope, id: NodeId, facts: &HostFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let key = scope.cluster.node_key(id);
    let mut unknown = Vec::new();
    for process in processes(scope, id, facts) {
        for (gate, value) in gates(&process, facts) {
            let what = match trouble(gate, value, process.from, scope.goal.to.minor) {
                None => {
                    unknown.push(gate);
                    continue;
                }
                Some(Trouble::Removed(minor)) => format!("1.{minor} does not know that gate any more"),
                Some(Trouble::Locked(minor)) => format!("1.{minor} has locked it to {}", !value),
            };
            let component = process.component;
            let message = format!("{component} sets {gate}={value}, and {what}: it does not start");
            let fix = format!("remove {gate} from the settings of {component} before the upgrade");
            findings.push(ABOUT.finding(Severity::Error, key, message, fix));
        }
    }
    let to = scope.goal.to.minor;
    if to > NEWEST && !unknown.is_empty() {
        let message = format!(
            "whether 1.{to} knows these gates is not judged, the tables end with 1.{NEWEST}: {}",
            listed(unknown)
        );
        let fix = format!("look the gates up in the release notes of 1.{to}");
        findings.push(ABOUT.finding(Severity::Info, key, message, fix));
    }
    findings
}

/// Gates that a process is started with.
fn gates<'a>(process: &Process<'a>, facts: &'a HostFacts) -> Vec<(&'a str, bool)> {
    let of_flags = flag(process.flags, "feature-gates").flat_map(|list| list.split(','));
    let mut gates: Vec<(&str, bool)> = of_flags
        .filter_map(|one| {
            let (gate, value) = one.trim().split_once('=')?;
            Some((gate, value.to_ascii_lowercase().parse().ok()?))
        })
        .collect();
    if process.component == KUBELET {
        gates.extend(facts.kubelet.feature_gates.iter().map(|(gate, value)| (gate.as_str(), *value)));
    }
    gates
}

#[cfg(test)]
mod tests {
    use super::super::tests::{host, named, tells_apart};

    #[test]
    fn gates_of_kubelets_and_of_the_control_plane() {
        let goal = "{to: v1.37.0}";
        let set = |gates: &str| host(&format!("kubelet: {{featureGates: {{{gates}}}}}"));
        let (removed, locked) = (set("SidecarContainers: true"), set("NodeDeclaredFeatures: false"));
        let fine = set("NodeDeclaredFeatures: true, MemoryQoS: false");
        tells_apart("P038", &["Error Node/n1"], (&removed, goal), (&fine, goal));
        tells_apart("P038", &["Error Node/n1"], (&locked, goal), (&locked, "{to: v1.37.0, skip: [n1]}"));
        assert_eq!(named("P038", &fine, "{to: v1.38.0}"), ["Info Node/n1"], "nothing is known of 1.38");
        let master = |flags: &str| {
            format!(
                "{{version: v1.36.2, nodes: {{count: 1, controlPlane: 1}}, \
                 hosts: {{cp1: {{componentFlags: {{kube-apiserver: [{flags}], etcd: ['--feature-gates=BtreeWatchCache=true']}}}}}}}}"
            )
        };
        let (bad, good) = (master("'--feature-gates=MemoryQoS=true,BtreeWatchCache=true'"), master("'--v=2'"));
        tells_apart("P038", &["Error Node/cp1"], (&bad, goal), (&good, goal));
    }
}
