//! P035: kernels, cgroups and container runtimes that the target does not support (M1, VERSIONS.md 5.3).

use crate::cluster::{HostFacts, Node, NodeId};
use crate::judge::About;

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P035",
    name: "platform too old for the target",
    what: "Nodes of the run with cgroup v1 for a target of 1.35 or later, with a kernel older than 5.4, with containerd 1.x, and \
           control-plane nodes with less than 2 processors or 1700 MB of memory.",
    why: "From 1.35 on the kubelet does not start on cgroup v1 unless it is told to, and kubeadm refuses the host in any case. \
          Control-plane hosts that are too small fail kubeadm's own checks when they are set up anew.",
    example: "n2 runs CentOS 7: cgroup v1, kernel 3.10.",
    fix: "Upgrade the operating system of the host first, or replace the node.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

/// From this minor on kubeadm and the kubelet refuse cgroup v1.
const ONLY_CGROUP_V2: u16 = 35;
/// From this minor on the kubelet asks the runtime for its configuration, which containerd 1.x cannot answer.
const ASKS_RUNTIME: u16 = 36;
/// From this minor on a runtime that cannot answer is an error.
const NEEDS_ANSWER: u16 = 38;
/// The oldest kernel that kubeadm suggests.
const OLDEST_KERNEL: (u16, u16) = (5, 4);
/// What kubeadm asks of a control-plane host.
const LEAST_MEMORY: u64 = 1_700_000_000;

fn run(scope: &Scope) -> Vec<Finding> {
    scope.turns.iter().flat_map(|&id| judge(scope, id)).collect()
}

fn judge(scope: &Scope, id: NodeId) -> Vec<Finding> {
    let node = scope.cluster.node(id);
    let nothing = HostFacts::default();
    let facts = scope.cluster.catalog.hosts.get(&node.name()).unwrap_or(&nothing);
    let to = scope.goal.to.minor;
    let found = [cgroups(node, facts, to), kernel(node, facts), runtime(node, facts, to), size(node, facts)];
    let found = found.into_iter().flatten();
    found
        .map(|(severity, message, fix)| ABOUT.finding(severity, scope.cluster.node_key(id), message, fix.to_owned()))
        .collect()
}

type Found = Option<(Severity, String, &'static str)>;

fn cgroups(node: &Node, facts: &HostFacts, to: u16) -> Found {
    if facts.cgroup_version != Some(1) || to < ONLY_CGROUP_V2 {
        return None;
    }
    // A kubelet of these minors that runs on cgroup v1 has been told to.
    let runs = node.kubelet.is_some_and(|kubelet| kubelet.minor >= ONLY_CGROUP_V2);
    if facts.kubelet.fail_cgroup_v1.map_or(runs, |fails| !fails) {
        let message = "cgroup v1: kubeadm refuses the host although the kubelet is told to start (failCgroupV1: false)";
        return Some((
            Severity::Error,
            message.to_owned(),
            "boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1); or have the recipe give kubeadm \
             --ignore-preflight-errors=SystemVerification, and ignore this finding",
        ));
    }
    let message =
        format!("cgroup v1: from 1.{ONLY_CGROUP_V2} on kubeadm refuses the host, and the kubelet does not start");
    Some((Severity::Error, message, "boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1) before the upgrade"))
}

fn kernel(node: &Node, facts: &HostFacts) -> Found {
    let release = facts.kernel.as_deref().unwrap_or(node.info.kernel.as_str());
    let mut numbers = release.split(['.', '-', '+']).map_while(|part| part.parse::<u16>().ok());
    let version = (numbers.next()?, numbers.next()?);
    (version < OLDEST_KERNEL).then(|| {
        let (major, minor) = OLDEST_KERNEL;
        let message = format!("kernel {release} is older than {major}.{minor}, the oldest that kubeadm suggests");
        (Severity::Warning, message, "upgrade the operating system of the host")
    })
}

/// `containerd 1.7.27` in facts, `containerd://1.7.27` of the kubelet.
fn runtime(node: &Node, facts: &HostFacts, to: u16) -> Found {
    let text = facts.runtime.as_deref().unwrap_or(node.info.runtime.as_str());
    let version = text.strip_prefix("containerd")?.trim_start_matches([':', '/', ' ', 'v']);
    if to < ASKS_RUNTIME || version.split('.').next()?.parse::<u16>().ok()? >= 2 {
        return None;
    }
    let severity = if to >= NEEDS_ANSWER { Severity::Warning } else { Severity::Info };
    let message = format!(
        "containerd {version} cannot tell the kubelet its cgroup driver; kubeadm warns, and refuses from 1.{NEEDS_ANSWER} on"
    );
    Some((severity, message, "upgrade containerd to 2.x; keep cgroupDriver in the kubelet's configuration until then"))
}

fn size(node: &Node, facts: &HostFacts) -> Found {
    if !node.is_control_plane() {
        return None;
    }
    let few = facts.cpus.filter(|cpus| *cpus < 2).map(|cpus| format!("{cpus} processor"));
    let little = facts
        .memory_bytes
        .filter(|bytes| *bytes < LEAST_MEMORY)
        .map(|bytes| format!("{} MB of memory", bytes / 1_000_000));
    let what: Vec<String> = few.into_iter().chain(little).collect();
    (!what.is_empty()).then(|| {
        let message =
            format!("has {}; kubeadm asks for 2 processors and 1700 MB on a control-plane host", what.join(" and "));
        (Severity::Warning, message, "give the host more")
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, host, named, tells_apart};
    use super::Severity;

    #[test]
    fn cgroups_count_from_the_minor_that_refuses_them() {
        let since = |minor: u16, facts: &str| {
            let nodes = format!("v1.{minor}.2, nodes: {{count: 2, all: {{kubelet: v1.{minor}.2}}");
            host(facts).replace("v1.36.2, nodes: {count: 2", &nodes)
        };
        let (v1, v2) = (since(34, "cgroupVersion: 1"), since(34, "cgroupVersion: 2"));
        tells_apart("P035", &["Error Node/n1"], (&v1, "{to: v1.35.0}"), (&v2, "{to: v1.35.0}"));
        assert_eq!(named("P035", &v1, "{to: v1.34.5}"), [""; 0]);
        let told = since(34, "cgroupVersion: 1, kubelet: {failCgroupV1: false}");
        let kubeadm_refuses = |told: &str, goal: &str| {
            let found = found(told, goal).into_iter().find(|finding| finding.code == "P035").unwrap();
            found.severity == Severity::Error && found.message.contains("although the kubelet is told to start")
        };
        assert!(kubeadm_refuses(&told, "{to: v1.35.0}"));
        assert!(kubeadm_refuses(&since(36, "cgroupVersion: 1"), "{to: v1.37.0}"), "it runs");
    }

    #[test]
    fn kernels_and_runtimes() {
        let goal = "{to: v1.37.0}";
        let kernel = |release: &str| host(&format!("kernel: {release}"));
        let (old, new) = (kernel("4.18.0-553.el8"), kernel("5.14.0-570.el9"));
        tells_apart("P035", &["Warning Node/n1"], (&old, goal), (&new, goal));
        let runtime = |version: &str| host(&format!("runtime: {version}"));
        let (old, new) = (runtime("containerd 1.7.27"), runtime("containerd 2.1.3"));
        tells_apart("P035", &["Info Node/n1"], (&old, goal), (&new, goal));
        assert_eq!(named("P035", &old, "{to: v1.38.0}"), ["Warning Node/n1"]);
        assert_eq!(named("P035", &runtime("cri-o 1.36.0"), "{to: v1.38.0}"), [""; 0]);
    }

    #[test]
    fn small_control_plane_hosts() {
        let small = "cpus: 1, memoryBytes: 1000000000";
        let master = format!("{{version: v1.36.2, nodes: {{count: 1, controlPlane: 1}}, hosts: {{cp1: {{{small}}}}}}}");
        tells_apart("P035", &["Warning Node/cp1"], (&master, "{to: v1.37.0}"), (&host(small), "{to: v1.37.0}"));
    }
}
