//! P039: flags and settings that a component of the target version refuses or takes otherwise (VERSIONS.md V82 to V91).

use crate::cluster::{HostFacts, NodeId};
use crate::judge::About;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P039",
    name: "setting that the target refuses",
    what: "Flags and settings of the control plane and the kubelet on nodes of the run that the target has removed or reads in \
           another way.",
    why: "A component with an unknown flag or a name that it does not know ends at its start; kubeadm copies the flags into the \
          new manifests unseen. Settings with another meaning change how nodes behave without any error.",
    example: "kube-controller-manager runs with --concurrent-service-syncs=5, a flag that 1.37 removed.",
    fix: "Take the setting out of the component's extraArgs (ConfigMap kubeadm-config) and manifests, or of the kubelet's flags.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

pub(super) const KUBELET: &str = "kubelet";
const CONTROL_PLANE: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// A process on a node and how it is started.
pub(super) struct Process<'a> {
    /// `kubelet`, or a component of the control plane.
    pub(super) component: &'static str,
    /// Minor that it runs, if known.
    pub(super) from: Option<u16>,
    /// Its flags, `--name=value`.
    pub(super) flags: &'a [String],
}

/// The kubelet and the components of the control plane on a node, as far as their flags are known.
pub(super) fn processes<'a>(scope: &Scope, id: NodeId, facts: &'a HostFacts) -> Vec<Process<'a>> {
    let node = scope.cluster.node(id);
    let kubelet = node.kubelet.map(|version| version.minor);
    let control_plane = node.control_plane.or(scope.cluster.api_server).map(|version| version.minor);
    let mut processes = vec![Process { component: KUBELET, from: kubelet, flags: &facts.kubelet.flags }];
    processes.extend(CONTROL_PLANE.into_iter().filter_map(|component| {
        let flags = facts.component_flags.get(component)?;
        Some(Process { component, from: control_plane, flags })
    }));
    processes
}

/// Values of a flag; empty for a flag without one.
pub(super) fn flag<'a>(flags: &'a [String], name: &str) -> impl Iterator<Item = &'a str> {
    flags.iter().filter_map(move |flag| {
        let (found, value) =
            flag.trim_start_matches('-').split_once(['=', ' ']).unwrap_or((flag.trim_start_matches('-'), ""));
        (found == name).then_some(value)
    })
}

/// A flag that ends its component at the start, from a minor on: always, or if it names one of these in its list.
struct Refused {
    minor: u16,
    component: &'static str,
    flag: &'static str,
    names: &'static [&'static str],
}

/// V82 to V85.
const REFUSED: &[Refused] = &[
    Refused { minor: 37, component: "kube-controller-manager", flag: "concurrent-service-syncs", names: &[] },
    Refused {
        minor: 37,
        component: "kube-controller-manager",
        flag: "controllers",
        names: &[
            "service-lb-controller",
            "service",
            "node-route-controller",
            "route",
            "cloud-node-lifecycle-controller",
            "cloud-node-lifecycle",
        ],
    },
    Refused { minor: 37, component: "kube-apiserver", flag: "enable-admission-plugins", names: PLUGINS },
    Refused { minor: 37, component: "kube-apiserver", flag: "disable-admission-plugins", names: PLUGINS },
    Refused { minor: 37, component: "kube-apiserver", flag: "runtime-config", names: &["scheduling.k8s.io/v1alpha2"] },
];

/// From this minor on the kubelet refuses static pods that refer to API objects unless PreventStaticPodAPIReferences is off (V41).
const NO_API_REFERENCES: u16 = 34;
/// From this minor on it always does.
const NO_API_REFERENCES_AT_ALL: u16 = 37;

const PLUGINS: &[&str] = &["PodGroupWorkloadExists", "JobValidation"];

/// Flags of the kubelet that 1.37 removed (V86).
const KUBELET_FLAGS: [&str; 18] = [
    "application-metrics-count-limit",
    "boot-id-file",
    "container-hints",
    "containerd",
    "containerd-namespace",
    "enable-load-reader",
    "event-storage-age-limit",
    "event-storage-event-limit",
    "global-housekeeping-interval",
    "log-cadvisor-usage",
    "machine-id-file",
    "storage-driver-user",
    "storage-driver-password",
    "storage-driver-host",
    "storage-driver-db",
    "storage-driver-table",
    "storage-driver-secure",
    "storage-driver-buffer-duration",
];

fn run(scope: &Scope) -> Vec<Finding> {
    scope.taken_hosts().flat_map(|(node, facts)| judge(scope, node, facts)).collect()
}

fn judge(scope: &Scope, id: NodeId, facts: &HostFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let key = scope.cluster.node_key(id);
    let mut found = |severity, message: String, fix: String| findings.push(ABOUT.finding(severity, key, message, fix));
    for Process { component, from, flags } in processes(scope, id, facts) {
        let crosses = |minor: u16| from.is_none_or(|from| from < minor) && minor <= scope.goal.to.minor;
        for refused in REFUSED.iter().filter(|refused| refused.component == component && crosses(refused.minor)) {
            let Refused { minor, flag: name, names, .. } = refused;
            for value in flag(flags, name) {
                let items = value
                    .split(',')
                    .map(|one| one.trim().trim_start_matches('-').split('=').next().unwrap_or_default());
                let known: Vec<&str> = items.filter(|one| names.contains(one)).collect();
                if !names.is_empty() && known.is_empty() {
                    continue;
                }
                let what = if names.is_empty() { "that flag".to_owned() } else { known.join(", ") };
                let message =
                    format!("{component} has --{name}={value}; 1.{minor} does not know {what}, and it does not start");
                found(
                    Severity::Error,
                    message,
                    format!("remove {what} from the flags of {component} and from extraArgs"),
                );
            }
        }
        if component != KUBELET {
            continue;
        }
        let static_pods = &facts.kubelet.static_pods_with_api_references;
        let allowed = facts.kubelet.feature_gates.get("PreventStaticPodAPIReferences") == Some(&false);
        let refuses = if allowed { NO_API_REFERENCES_AT_ALL } else { NO_API_REFERENCES };
        if !static_pods.is_empty() && crosses(refuses) {
            let pods = listed(static_pods);
            let message =
                format!("static pods refer to API objects, and the kubelet of 1.{refuses} does not run such: {pods}");
            let fix = "take Secrets, ConfigMaps, service accounts and claims out of the manifests, or run them as a DaemonSet";
            found(Severity::Error, message, fix.to_owned());
        }
        if !crosses(37) {
            continue;
        }
        for name in KUBELET_FLAGS {
            if flag(flags, name).next().is_some() {
                let message = format!("the kubelet has --{name}; 1.37 does not know that flag, and it does not start");
                found(Severity::Error, message, format!("remove --{name} from the kubelet's flags"));
            }
        }
        throttling(facts, &mut found);
    }
    findings
}

/// V88 and V91: what becomes of `memoryThrottlingFactor`, by the gate MemoryQoS.
fn throttling(facts: &HostFacts, found: &mut impl FnMut(Severity, String, String)) {
    let Some(factor) = &facts.kubelet.memory_throttling_factor else { return };
    let is_default = factor.parse::<f64>().is_ok_and(|factor| (factor - 0.9).abs() < 1e-9);
    let fix = "remove memoryThrottlingFactor from the kubelet's configuration".to_owned();
    match facts.kubelet.feature_gates.get("MemoryQoS") {
        Some(false) if !is_default => {
            let message =
                format!("memoryThrottlingFactor {factor} with MemoryQoS off: the kubelet of 1.37 does not start");
            found(Severity::Error, message, fix);
        }
        None if facts.cgroup_version == Some(2) => {
            let message = format!(
                "memoryThrottlingFactor {factor}: ignored until now, from 1.37 on pods are slowed down near their memory limits"
            );
            found(Severity::Warning, message, fix);
        }
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{host, named, tells_apart};

    fn master(flags: &str) -> String {
        format!(
            "{{version: v1.36.2, nodes: {{count: 1, controlPlane: 1}}, hosts: {{cp1: {{componentFlags: {{{flags}}}}}}}}}"
        )
    }

    #[test]
    fn flags_of_the_control_plane() {
        let goal = "{to: v1.37.0}";
        let pairs = [
            (
                "kube-controller-manager: ['--concurrent-service-syncs=5']",
                "kube-controller-manager: ['--concurrent-job-syncs=5']",
            ),
            (
                "kube-controller-manager: ['--controllers=*,-service']",
                "kube-controller-manager: ['--controllers=*,bootstrapsigner']",
            ),
            (
                "kube-apiserver: ['--enable-admission-plugins=NodeRestriction,JobValidation']",
                "kube-apiserver: ['--enable-admission-plugins=NodeRestriction']",
            ),
            (
                "kube-apiserver: ['--runtime-config=scheduling.k8s.io/v1alpha2=true']",
                "kube-apiserver: ['--runtime-config=api/all=true']",
            ),
        ];
        for (bad, good) in pairs {
            tells_apart("P039", &["Error Node/cp1"], (&master(bad), goal), (&master(good), goal));
            assert_eq!(named("P039", &master(bad), "{to: v1.36.3}"), [""; 0], "1.36 knows it");
        }
    }

    #[test]
    fn settings_of_the_kubelet() {
        let goal = "{to: v1.37.0}";
        let flags = |flags: &str| host(&format!("kubelet: {{flags: [{flags}]}}"));
        let (bad, good) = (flags("'--container-hints=/x'"), flags("'--housekeeping-interval=10s'"));
        tells_apart("P039", &["Error Node/n1"], (&bad, goal), (&good, goal));
        let factor = |gates: &str| {
            host(&format!("cgroupVersion: 2, kubelet: {{memoryThrottlingFactor: '0.8', featureGates: {{{gates}}}}}"))
        };
        tells_apart(
            "P039",
            &["Error Node/n1"],
            (&factor("MemoryQoS: false"), goal),
            (&factor("MemoryQoS: true"), goal),
        );
        assert_eq!(named("P039", &factor(""), goal), ["Warning Node/n1"]);
    }
    #[test]
    fn static_pods_with_references() {
        let since = |minor: u16, gates: &str| {
            let nodes = format!("v1.{minor}.2, nodes: {{count: 2, all: {{kubelet: v1.{minor}.2}}");
            let facts =
                format!("kubelet: {{staticPodsWithApiReferences: [/etc/kubernetes/manifests/log.yaml]{gates}}}");
            host(&facts).replace("v1.36.2, nodes: {count: 2", &nodes)
        };
        let named = |cluster: &str, goal: &str| named("P039", cluster, goal);
        assert_eq!(named(&since(33, ""), "{to: v1.34.0}"), ["Error Node/n1"]);
        assert_eq!(named(&since(33, ""), "{to: v1.33.9}"), [""; 0]);
        assert_eq!(named(&since(36, ""), "{to: v1.37.0}"), [""; 0], "refused since 1.34, nothing of this upgrade");
        let allowed = ", featureGates: {PreventStaticPodAPIReferences: false}";
        assert_eq!(named(&since(36, allowed), "{to: v1.37.0}"), ["Error Node/n1"]);
        assert_eq!(named(&since(33, allowed), "{to: v1.34.0}"), [""; 0]);
    }
}
