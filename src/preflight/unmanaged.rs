//! P001: pods that nothing brings back (M14).

use crate::cluster::{Owner, PodId};
use crate::judge::About;
use crate::upgrade::Ground;

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P001",
    name: "pod without a controller",
    what: "Pods on nodes of the run that no controller brings back: without an owner, or whose owner does not exist any more.",
    why: "An eviction deletes such a pod for ever; a drain therefore refuses its node, and the upgrade stops there.",
    example: "debug-shell in ops: started by `kubectl run` and forgotten.",
    fix: "Delete the pod, or run it as a Deployment. With `--force` it is evicted and lost.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let forced = |pod: PodId| scope.goal.force && is_unmanaged(scope, pod) && !scope.cluster.pod(pod).is_terminal();
    let unmanaged = scope.leaving().filter(|leaving| leaving.ground == Some(Ground::Unmanaged) || forced(leaving.pod));
    unmanaged.map(|leaving| found(scope, leaving.pod, leaving.ground.is_some())).collect()
}

fn found(scope: &Scope, pod: PodId, refuses: bool) -> Finding {
    let cluster = scope.cluster;
    let key = cluster.pod_key(pod);
    let owner = match cluster.pod(pod).owner {
        Owner::Missing { kind, name } => format!("its {kind} {name} does not exist any more"),
        Owner::None | Owner::Workload(_) | Owner::Node => "it has no controller".to_owned(),
    };
    let kubectl = format!("kubectl delete pod -n {} {}", key.namespace, key.name);

    if refuses {
        let message = format!("{owner}; nothing would bring it back, so the drain of its node is refused");
        let fix = format!("{kubectl}, or run it as a Deployment; `--force` lets it go for good");
        ABOUT.finding(Severity::Error, key, message, fix)
    } else {
        let message = format!("{owner}; the drain deletes it for good");
        let fix = format!("run it as a Deployment if it is needed after the upgrade ({kubectl} otherwise)");
        ABOUT.finding(Severity::Warning, key, message, fix)
    }
}

/// Of kinds that every cluster has it is known whether the owner exists; others are given the benefit of the doubt.
fn is_unmanaged(scope: &Scope, pod: PodId) -> bool {
    match scope.cluster.pod(pod).owner {
        Owner::None => true,
        Owner::Missing { kind, .. } => {
            matches!(kind.as_str(), "ReplicationController" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job")
        }
        Owner::Workload(_) | Owner::Node => false,
    }
}
