//! P008: data on the disk of one node.

use std::collections::BTreeMap;

use crate::cluster::{Name, ObjectKey, PodId, Volume};
use crate::judge::About;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P008",
    name: "pod that keeps data in a hostPath",
    what: "Pods that have to move and mount a directory of their node's disk. Paths that every host has alike (/etc, /proc, /run, \
           sockets, logs ...) are passed over; so are DaemonSets, which do not move.",
    why: "On its next node the pod finds another directory, most often an empty one: what it wrote stays behind, and nothing \
          reports it.",
    example: "A registry with hostPath /data/registry comes up empty on the next node.",
    fix: "Move the data to a volume claim, or tie the pod to its node and accept that it is away during that node's turn.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

/// What hosts have alike, or what is not data of the application.
const SYSTEM: [&str; 16] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/opt/cni",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/log",
    "/var/run",
];

fn run(scope: &Scope) -> Vec<Finding> {
    let cluster = scope.cluster;
    let mut kept: BTreeMap<ObjectKey, (Vec<Name>, PodId)> = BTreeMap::new();
    for leaving in scope.leaving().filter(|leaving| cluster.pod(leaving.pod).is_active()) {
        let paths = cluster.spec(leaving.pod).volumes.iter().filter_map(|volume| match volume {
            Volume::HostPath { path } if is_data(path) => Some(*path),
            _ => None,
        });
        let paths: Vec<Name> = paths.collect();
        if !paths.is_empty() && cluster.pod(leaving.pod).pinned.is_none() {
            let pod = cluster.pod_key(leaving.pod);
            let object = cluster.top_of_pod(leaving.pod).map_or(pod, |workload| scope.key(workload));
            kept.entry(object).or_insert((paths, leaving.pod));
        }
    }
    let moves = |pod: PodId| scope.allowed(pod).len() > 1;
    let kept = kept.into_iter().filter(|(_, (_, pod))| moves(*pod));
    kept.map(|(object, (paths, pod))| found(scope, object, &paths, pod)).collect()
}

fn found(scope: &Scope, object: ObjectKey, paths: &[Name], pod: PodId) -> Finding {
    let node = scope.cluster.pod(pod).node.map_or(Name::EMPTY, |node| scope.node_name(node));
    let message = format!(
        "keeps data in hostPath {} (pod {} on {node}); it stays behind when the pod moves",
        listed(paths),
        scope.cluster.pod(pod).name
    );
    let fix = "move the data to a volume claim, or copy it before the upgrade".to_owned();
    ABOUT.finding(Severity::Warning, object, message, fix)
}

fn is_data(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let below = |root: &str| path == root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    !path.is_empty() && !path.ends_with(".sock") && !SYSTEM.iter().any(|root| below(root))
}
