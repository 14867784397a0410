//! Floors: how many ready pods or endpoints an application must keep (M5).

use crate::cluster::{BudgetId, Cluster, Detail, RestartPolicy, ServiceId, SpecId, WorkloadId};

use super::Limits;

/// The floor of every workload and Service at the start of a run.
///
/// A floor that the plan states comes first. Otherwise the floor of a workload is the desired count of its budget, and without
/// a budget 1. DaemonSets have none, since their pod on a node under maintenance is expected to be away; Jobs and CronJobs
/// have none, since they must end well rather than serve. A Service has 1 as long as it selects pods.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Floors {
    workloads: Vec<Option<u32>>,
    services: Vec<Option<u32>>,
}

impl Floors {
    /// The floors of a cluster.
    pub fn of(cluster: &Cluster, limits: &Limits) -> Floors {
        let of_workload = |id| stated_workload(cluster, limits, id).or_else(|| own_floor(cluster, id));
        Floors {
            workloads: cluster.workloads().map(|(id, _)| of_workload(id)).collect(),
            services: cluster.services().map(|(id, _)| service_floor(cluster, limits, id)).collect(),
        }
    }

    /// Ready pods that a workload must keep. `None`: nothing is asked of it alone (a lower workload, a DaemonSet, a Job, one
    /// that shares its budget with others).
    pub fn workload(&self, workload: WorkloadId) -> Option<u32> {
        self.workloads.get(workload.index()).copied().flatten()
    }

    /// Ready endpoints that a Service must keep. `None`: nothing is asked.
    pub fn service(&self, service: ServiceId) -> Option<u32> {
        self.services.get(service.index()).copied().flatten()
    }
}

/// The floor that the plan states for a workload.
pub(super) fn stated_workload(cluster: &Cluster, limits: &Limits, workload: WorkloadId) -> Option<u32> {
    limits.floors.get(&cluster.workload(workload).key).copied()
}

/// Budgets that govern the pods of a template: those that the eviction API and the controller can read (KUBERNETES.md B.3).
pub(super) fn governing(cluster: &Cluster, spec: SpecId) -> impl Iterator<Item = BudgetId> + '_ {
    let budgets = cluster.matches(spec).budgets.iter().copied();
    budgets.filter(|&budget| {
        let budget = cluster.budget(budget);
        !budget.gone && budget.selector_error.is_empty()
    })
}

/// 1 for a workload whose pods serve and that is to have pods at all, as it stands now; `None` for kinds without a floor.
pub(super) fn default_floor(cluster: &Cluster, id: WorkloadId) -> Option<u32> {
    let workload = cluster.workload(id);
    if cluster.top(id) != id || workload.deleted {
        return None;
    }
    match &workload.detail {
        Detail::Deployment(_) | Detail::ReplicaSet(_) | Detail::StatefulSet(_) | Detail::ReplicationController => {
            Some(u32::from(workload.replicas > 0))
        }
        // Pods of an unknown kind that are not started again run to their end, as those of a Job.
        Detail::Other => {
            let first = cluster.pods_of_workload(id).first();
            let runs_on = first.is_none_or(|&pod| cluster.spec(pod).restart_policy == RestartPolicy::Always);
            runs_on.then_some(1)
        }
        Detail::DaemonSet(_) | Detail::Job(_) | Detail::CronJob(_) => None,
    }
}

/// The floor of a Service as it stands now.
pub(super) fn service_floor(cluster: &Cluster, limits: &Limits, id: ServiceId) -> Option<u32> {
    let service = cluster.service(id);
    if service.gone || service.selector.is_none() || service.kind == "ExternalName" {
        return None;
    }
    if let Some(&floor) = limits.floors.get(&cluster.service_key(id)) {
        return Some(floor);
    }
    cluster.pods_of_service(id).iter().any(|&pod| !cluster.pod(pod).mirror).then_some(1)
}

fn own_floor(cluster: &Cluster, id: WorkloadId) -> Option<u32> {
    let floor = default_floor(cluster, id)?;
    let Some(spec) = template(cluster, id) else { return Some(floor) };
    let budgets: Vec<BudgetId> = governing(cluster, spec).collect();
    if budgets.is_empty() {
        return Some(floor);
    }
    let alone = |&budget: &BudgetId| {
        cluster.pods_of_budget(budget).iter().all(|&pod| cluster.top_of_pod(pod).is_none_or(|top| top == id))
    };
    let desired = |budget: BudgetId| {
        // A budget that cannot be counted keeps what was counted last (B.3).
        let healthy =
            cluster.demand(budget).map_or(cluster.budget(budget).status.desired_healthy, |demand| demand.healthy);
        u32::try_from(healthy).unwrap_or(0)
    };
    budgets.into_iter().filter(alone).map(desired).max()
}

fn template(cluster: &Cluster, id: WorkloadId) -> Option<SpecId> {
    let first = || cluster.pods_of_workload(id).first().map(|&pod| cluster.pod(pod).spec);
    cluster.workload(id).template.or_else(first)
}
