//! P007: DaemonSet pods that refuse the drain.

use std::collections::BTreeMap;

use crate::cluster::{ObjectKey, Owner, PodId};
use crate::judge::About;
use crate::upgrade::Ground;

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P007",
    name: "DaemonSet pods that refuse the drain",
    what: "Pods of DaemonSets where the goal does not ignore them, and pods whose DaemonSet does not exist any more.",
    why: "A DaemonSet brings its pod back on the same node at once, cordoned or not; a drain that may not leave it there refuses \
          the node. A pod whose DaemonSet is gone is not brought back at all.",
    example: "`ignoreDaemonsets: false` on a cluster with kube-proxy.",
    fix: "Leave `ignoreDaemonsets` at true; delete pods whose DaemonSet is gone.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let cluster = scope.cluster;
    let mut refused: BTreeMap<ObjectKey, usize> = BTreeMap::new();
    let mut findings = Vec::new();
    for leaving in scope.leaving() {
        match leaving.ground {
            Some(Ground::DaemonSet) => {
                let key = cluster.top_of_pod(leaving.pod).map(|set| scope.key(set));
                *refused.entry(key.unwrap_or_else(|| cluster.pod_key(leaving.pod))).or_default() += 1;
            }
            Some(Ground::OrphanOfDaemonSet) => findings.push(orphan(scope, leaving.pod)),
            Some(Ground::Unmanaged | Ground::EmptyDir | Ground::SeveralBudgets) | None => {}
        }
    }
    findings.extend(refused.into_iter().map(|(set, pods)| {
        let message = format!("{pods} pod(s) on nodes of the run, and the plan says `ignoreDaemonsets: false`");
        ABOUT.finding(Severity::Error, set, message, "set ignoreDaemonsets: true in the plan".to_owned())
    }));
    findings
}

fn orphan(scope: &Scope, pod: PodId) -> Finding {
    let key = scope.cluster.pod_key(pod);
    let set = match scope.cluster.pod(pod).owner {
        Owner::Missing { name, .. } => name,
        Owner::Workload(set) => scope.key(set).name,
        Owner::None | Owner::Node => key.name,
    };
    let message = format!(
        "{} in {}: its DaemonSet {set} does not exist any more; nothing would bring it back",
        key.name, key.namespace
    );
    let fix = format!("kubectl delete pod -n {} {}; `--force` lets it go for good", key.namespace, key.name);
    ABOUT.finding(Severity::Error, key, message, fix)
}
