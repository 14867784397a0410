//! What a budget asks for, as the disruption controller computes it (KUBERNETES.md B.1, B.2).

use super::{
    Budget, BudgetId, BudgetLimit, BudgetStatus, Cluster, Detail, IntOrPercent, Name, Owner, Workload, WorkloadId,
};

/// Reason of a budget's condition after a failed sync (B.3).
pub const SYNC_FAILED: &str = "SyncFailed";

/// What a budget asks for: the number of pods it expects and the number of those that must be healthy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Demand {
    /// `expectedPods`.
    pub expected: i32,
    /// `desiredHealthy`.
    pub healthy: i32,
}

/// B.1: expected pods and desired healthy ones, or why the controllers of the pods cannot be counted.
pub(super) fn demand(cluster: &Cluster, id: BudgetId) -> Result<Demand, Name> {
    let budget = cluster.budget(id);
    if !budget.selector_error.is_empty() {
        return Err(budget.selector_error);
    }
    let desired = match budget.limit {
        BudgetLimit::MinAvailable(IntOrPercent::Int(count)) => {
            let pods = i32::try_from(cluster.pods_of_budget(id).len()).unwrap_or(i32::MAX);
            Demand { expected: pods, healthy: count }
        }
        BudgetLimit::MinAvailable(share @ IntOrPercent::Percent(_)) => {
            let expected = expected_scale(cluster, id, budget)?;
            Demand { expected, healthy: share.round_up(expected) }
        }
        BudgetLimit::MaxUnavailable(share) => {
            let expected = expected_scale(cluster, id, budget)?;
            Demand { expected, healthy: expected.saturating_sub(share.round_up(expected)).max(0) }
        }
        BudgetLimit::Neither => Demand { expected: 0, healthy: 0 },
    };
    Ok(desired)
}

/// How many pods the controllers of a budget's pods are to run, each of them counted once (B.2). Pods without a controller
/// count for nothing here.
fn expected_scale(cluster: &Cluster, id: BudgetId, budget: &Budget) -> Result<i32, Name> {
    let mut counted: Vec<WorkloadId> = Vec::new();
    let mut expected = 0i32;
    for &(owner, _) in cluster.owners_of_budget(id) {
        match find_scale(cluster, owner) {
            Scale::Unmanaged => {}
            Scale::Known(controller, replicas) => {
                if !counted.contains(&controller) {
                    counted.push(controller);
                    expected = expected.saturating_add(replicas);
                }
            }
            Scale::NotFound => {
                let mut pods = cluster.pods_of_budget(id).iter().map(|&pod| cluster.pod(pod));
                let name = pods.find(|pod| pod.owner == owner).map_or(Name::EMPTY, |pod| pod.name);
                return Err(Name::new(&format!("found no controllers for pod {:?}", name.as_str())));
            }
            Scale::Unscalable(resource) => {
                return Err(Name::new(&format!("{resource} does not implement the scale subresource")));
            }
            Scale::Unseen => return unseen_scale(&budget.status),
        }
    }
    Ok(expected)
}

/// What the scale finders make of an owner.
enum Scale {
    /// No controller reference.
    Unmanaged,
    /// The controller that is counted and its `spec.replicas`.
    Known(WorkloadId, i32),
    /// No finder knows the object.
    NotFound,
    /// The resource has no `scale` subresource.
    Unscalable(String),
    /// An object of a kind that the input says nothing about.
    Unseen,
}

/// The finders in their order: ReplicationController, Deployment, ReplicaSet, StatefulSet, scale client (B.2).
fn find_scale(cluster: &Cluster, owner: Owner) -> Scale {
    match owner {
        Owner::None => Scale::Unmanaged,
        Owner::Node => Scale::Unscalable("nodes".to_owned()),
        Owner::Missing { kind, .. } => match kind.as_str() {
            "ReplicaSet" | "StatefulSet" | "ReplicationController" | "Deployment" => Scale::NotFound,
            other => unscalable(other).map_or(Scale::Unseen, Scale::Unscalable),
        },
        Owner::Workload(id) => {
            let workload = cluster.workload(id);
            match &workload.detail {
                Detail::DaemonSet(_) | Detail::Job(_) | Detail::CronJob(_) => {
                    unscalable(&workload.key.kind).map_or(Scale::Unseen, Scale::Unscalable)
                }
                Detail::Other => scale_client(cluster, id, workload),
                Detail::Deployment(_)
                | Detail::ReplicaSet(_)
                | Detail::StatefulSet(_)
                | Detail::ReplicationController => match workload.owner.map(|top| (top, cluster.workload(top))) {
                    _ if workload.deleted => Scale::NotFound,
                    Some((top, deployment)) if deployment.as_deployment().is_some() && !deployment.deleted => {
                        Scale::Known(top, deployment.replicas)
                    }
                    Some(_) | None => Scale::Known(id, workload.replicas),
                },
            }
        }
    }
}

/// The resource of a kind of Kubernetes' own that owns pods without having a scale.
fn unscalable(kind: &str) -> Option<String> {
    let resource = match kind {
        "DaemonSet" => "daemonsets.apps",
        "Job" => "jobs.batch",
        "CronJob" => "cronjobs.batch",
        "Node" => "nodes",
        "Pod" => "pods",
        _ => return None,
    };
    Some(resource.to_owned())
}

/// Finder 5 for an object of a custom kind.
fn scale_client(cluster: &Cluster, id: WorkloadId, workload: &Workload) -> Scale {
    let group = workload.api_version.split_once('/').map_or("", |(group, _)| group);
    match cluster.catalog.custom_kinds.get(&(Name::new(group), workload.key.kind)) {
        Some(custom) if custom.scale.is_none() => Scale::Unscalable(format!("{}.{group}", custom.plural)),
        Some(_) if workload.deleted => Scale::NotFound,
        // Only `spec.replicas` of the object is read.
        Some(custom)
            if custom.scale.is_some_and(|path| path == ".spec.replicas") && !cluster.catalog.unseen.contains(&id) =>
        {
            Scale::Known(id, workload.replicas)
        }
        Some(_) | None => Scale::Unseen,
    }
}

/// Of owners that the input says nothing about, the budget's own status tells what the controller found: the scale it counted,
/// or why it could not.
fn unseen_scale(status: &BudgetStatus) -> Result<i32, Name> {
    match status.condition {
        Some((false, reason, message)) if reason == SYNC_FAILED => Err(message),
        Some(_) | None => Ok(status.expected_pods),
    }
}
