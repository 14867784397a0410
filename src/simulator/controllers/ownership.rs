//! Adoption and release of pods and ReplicaSets (KUBERNETES.md D.0).

use crate::cluster::{Cluster, Detail, Labels, Owner, PodId, Workload, WorkloadId};

/// Gives what has no owner to a controller whose selector matches it (D2), ReplicaSets and pods alike, and takes pods whose
/// labels no longer match away from theirs. Controllers that were just created, and objects that were orphaned, need it; one
/// pass over all objects.
pub fn adopt_orphans(cluster: &mut Cluster) {
    let orphaned_sets = cluster.workloads().filter(|(_, set)| {
        matches!(set.detail, Detail::ReplicaSet(_))
            && !set.deleted
            && set.owner.is_none()
            && set.missing_owner.is_none()
    });
    let adopted: Vec<(WorkloadId, WorkloadId)> = orphaned_sets
        .filter_map(|(id, set)| {
            let labels = &cluster.catalog.spec(set.template?).labels;
            adopter(cluster, set.key.namespace, labels, is_deployment).map(|owner| (id, owner))
        })
        .collect();
    for (set, owner) in adopted {
        cluster.update_workload(set, |set| set.owner = Some(owner));
    }
    let mut changes: Vec<(PodId, Owner, Option<u32>)> = Vec::new();
    for (id, pod) in cluster.pods().filter(|(_, pod)| !pod.gone && !pod.mirror) {
        let spec = cluster.catalog.spec(pod.spec);
        match pod.owner {
            Owner::None if pod.deletion.is_none() => {
                let adopts = |owner: &Workload| match &owner.detail {
                    Detail::StatefulSet(_) => ordinal(owner, &pod.name).is_some(),
                    Detail::ReplicaSet(_) | Detail::ReplicationController | Detail::DaemonSet(_) | Detail::Job(_) => {
                        true
                    }
                    Detail::Deployment(_) | Detail::CronJob(_) | Detail::Other => false,
                };
                if let Some(owner) = adopter(cluster, spec.namespace, &spec.labels, adopts) {
                    changes.push((id, Owner::Workload(owner), ordinal(cluster.workload(owner), &pod.name)));
                }
            }
            Owner::Workload(owner) => {
                let owner = cluster.workload(owner);
                let plays = matches!(
                    owner.detail,
                    Detail::ReplicaSet(_)
                        | Detail::ReplicationController
                        | Detail::StatefulSet(_)
                        | Detail::DaemonSet(_)
                );
                let left = owner.selector.as_ref().is_some_and(|selector| !selector.matches(&spec.labels));
                if plays && left && !owner.deleted {
                    changes.push((id, Owner::None, None));
                }
            }
            Owner::None | Owner::Missing { .. } | Owner::Node => {}
        }
    }
    for (pod, owner, ordinal) in changes {
        cluster.update_pod(pod, |pod| {
            pod.owner = owner;
            pod.ordinal = ordinal;
        });
    }
}

fn is_deployment(workload: &Workload) -> bool {
    workload.as_deployment().is_some()
}

fn adopter(
    cluster: &Cluster,
    namespace: crate::cluster::Name,
    labels: &Labels,
    adopts: impl Fn(&Workload) -> bool,
) -> Option<WorkloadId> {
    let mut found = cluster.workloads().filter(|(_, workload)| {
        !workload.deleted
            && workload.key.namespace == namespace
            && adopts(workload)
            && workload.selector.as_ref().is_some_and(|selector| !selector.is_empty() && selector.matches(labels))
    });
    found.next().map(|(id, _)| id)
}

/// The ordinal in the name of a StatefulSet's pod.
fn ordinal(owner: &Workload, pod: &str) -> Option<u32> {
    owner.as_stateful_set()?;
    pod.strip_prefix(owner.key.name.as_str())?.strip_prefix('-')?.parse().ok()
}
