//! J003: every displaced pod is back at the end, and every application is as strong as before.

use crate::cluster::{Cluster, Detail, Owner, Phase, WorkloadId};

use super::{About, Class, Rest, Rule, Seen, Violation};

static ABOUT: About = About {
    code: "J003",
    name: "displaced-back",
    what: "When the world has come to rest after the run, every workload that the upgrade took pods from has as many ready \
           pods as before the run, or as many as it wants by then. A pod that nothing brings back is never displaced.",
    why: "A pod that stays Pending after the upgrade is an interruption that nobody watches any more.",
    example: "A pod that is pinned to one node by a local volume is evicted, and the node never takes pods again.",
    fix: "Make room for the displaced pods, loosen what pins them, or repair the image that cannot start.",
};

/// The rule.
pub(super) struct Displaced;

impl Rule for Displaced {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, _: Seen<'_>, _: &mut Vec<Violation>) {}

    fn finish(&mut self, rest: Rest<'_>, broken: &mut Vec<Violation>) {
        let cluster = rest.cluster;
        let by_others = unready_by_others(rest);
        for (id, workload) in cluster.workloads() {
            let tally = rest.strength.workload(id);
            let Some(wanted) = wanted(cluster, id, tally.at_start) else { continue };
            if !tally.taken || cluster.top(id) != id {
                continue;
            }
            let before = tally.at_start.min(wanted);
            if tally.ready + by_others[id.index()] < before {
                let mut message = format!("{} ready at the end, {before} before", tally.ready);
                if workload.detail == Detail::Other {
                    message += "; what its controller does is not modelled, so nothing is known to bring its pods back";
                }
                broken.push(Violation {
                    code: ABOUT.code,
                    // A run that has stopped leaves the application as it was when it stopped: short of a pod, above its floor.
                    class: if rest.done { Class::Disruptive } else { Class::Blocked },
                    object: workload.key,
                    at: rest.now,
                    node: None,
                    message,
                });
            }
        }
        for (id, pod) in cluster.pods() {
            let unmanaged = matches!(pod.owner, Owner::None | Owner::Missing { .. });
            if unmanaged && (pod.gone || pod.deletion.is_some()) && rest.strength.is_taken(id) {
                broken.push(Violation {
                    code: ABOUT.code,
                    class: Class::Disruptive,
                    object: cluster.pod_key(id),
                    at: rest.now,
                    node: pod.node,
                    message: "nothing brings this pod back".to_owned(),
                });
            }
        }
    }
}

/// How many pods a workload is to have; `None` for kinds whose pods need not come back.
fn wanted(cluster: &Cluster, id: WorkloadId, at_start: u32) -> Option<u32> {
    let workload = cluster.workload(id);
    if workload.deleted {
        return None;
    }
    match workload.detail {
        Detail::Deployment(_) | Detail::ReplicaSet(_) | Detail::StatefulSet(_) | Detail::ReplicationController => {
            Some(u32::try_from(workload.replicas).unwrap_or(0))
        }
        Detail::Other => Some(at_start),
        Detail::DaemonSet(_) | Detail::Job(_) | Detail::CronJob(_) => None,
    }
}

/// By workload: pods that were ready before, run on untouched by the upgrade, and are not ready now.
fn unready_by_others(rest: Rest<'_>) -> Vec<u32> {
    let cluster = rest.cluster;
    let mut unready = vec![0; cluster.workloads().len()];
    for (id, pod) in cluster.pods() {
        let runs_on = pod.phase == Phase::Running && pod.is_active() && !pod.ready;
        if runs_on
            && rest.strength.was_ready_at_start(id)
            && !rest.strength.is_taken(id)
            && let Some(top) = cluster.top_of_pod(id)
        {
            unready[top.index()] += 1;
        }
    }
    unready
}
