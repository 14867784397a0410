//! How many ready pods a workload may lose (M5), and what brings more of them.

use crate::cluster::{Autoscaler, BudgetId, BudgetLimit, Cluster, Detail, PodId, RestartPolicy, WorkloadId};

use super::Scope;

/// Ready pods, and how many of them must stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Strength {
    /// Ready pods of the workload; with a budget: of all pods that it matches.
    pub ready: u32,
    /// What must not be fallen under: stated in the plan, else the budget's desired count, else 1.
    pub floor: u32,
    /// The budget that sets the floor.
    pub budget: Option<BudgetId>,
}

impl Scope<'_> {
    /// What a workload has and needs. `None`: nothing is asked of it (DaemonSets, Jobs, workloads scaled to 0, budgets that
    /// cannot be counted).
    pub(super) fn strength(&self, workload: WorkloadId) -> Option<Strength> {
        let cluster = self.cluster;
        let object = cluster.workload(workload);
        let ready = cluster.ready_pods(workload);
        if let Some(&floor) = self.goal.floors.get(&object.key.to_string()) {
            return Some(Strength { ready, floor, budget: None });
        }
        let pod = first_pod(cluster, workload)?;
        if let Some(&budget) = cluster.budgets_of_pod(pod).first() {
            let demand = cluster.demand(budget).ok()?;
            let floor = u32::try_from(demand.healthy).unwrap_or(0);
            return Some(Strength { ready: cluster.ready_of_budget(budget), floor, budget: Some(budget) });
        }
        let serves = match &object.detail {
            Detail::Deployment(_) | Detail::ReplicaSet(_) | Detail::StatefulSet(_) | Detail::ReplicationController => {
                object.replicas > 0
            }
            Detail::Other => cluster.spec(pod).restart_policy == RestartPolicy::Always,
            Detail::DaemonSet(_) | Detail::Job(_) | Detail::CronJob(_) => false,
        };
        serves.then_some(Strength { ready, floor: 1, budget: None })
    }

    /// Whether the workload is under its floor when these pods are away and nothing replaces them.
    pub(super) fn cannot_spare(&self, workload: WorkloadId, pods: &[PodId]) -> bool {
        let lost = pods.iter().filter(|&&pod| self.cluster.pod(pod).is_serving_strength()).count() as u32;
        let short = |strength: Strength| strength.ready.saturating_sub(lost) < strength.floor;
        lost > 0 && self.strength(workload).is_some_and(short)
    }

    /// The autoscaler of a workload.
    pub(super) fn autoscaler(&self, workload: WorkloadId) -> Option<&Autoscaler> {
        let key = self.key(workload);
        self.cluster.catalog.autoscalers.iter().find(|autoscaler| autoscaler.target == key)
    }

    /// What brings a workload to so many pods: `scale to 3 (kubectl scale ...)`.
    pub(super) fn scale_to(&self, workload: WorkloadId, replicas: i32) -> String {
        let key = self.key(workload);
        let (namespace, name) = (key.namespace, key.name);
        if let Some(autoscaler) = self.autoscaler(workload) {
            let (hpa, least) = (autoscaler.key.name, replicas);
            let patch = format!("kubectl patch hpa -n {namespace} {hpa} -p '{{\"spec\":{{\"minReplicas\":{least}}}}}'");
            return format!("scale {key} to {replicas} ({patch})");
        }
        let kind = key.kind.as_str().to_lowercase();
        format!("scale {key} to {replicas} (kubectl scale -n {namespace} {kind}/{name} --replicas={replicas})")
    }

    /// `kubectl patch` for another limit of a budget.
    pub(super) fn patch_budget(&self, budget: BudgetId, limit: &str) -> String {
        let budget = self.cluster.budget(budget);
        let other = match budget.limit {
            BudgetLimit::MinAvailable(_) if limit.contains("maxUnavailable") => "\"minAvailable\":null,",
            BudgetLimit::MaxUnavailable(_) if limit.contains("minAvailable") => "\"maxUnavailable\":null,",
            BudgetLimit::MinAvailable(_) | BudgetLimit::MaxUnavailable(_) | BudgetLimit::Neither => "",
        };
        let (namespace, name) = (budget.namespace, budget.name);
        format!("kubectl patch pdb -n {namespace} {name} --type=merge -p '{{\"spec\":{{{other}{limit}}}}}'")
    }
}

/// Some active pod of a workload, those of its ReplicaSets included.
pub(super) fn first_pod(cluster: &Cluster, workload: WorkloadId) -> Option<PodId> {
    pods(cluster, workload).find(|&pod| cluster.pod(pod).is_active())
}

/// Pods of a workload, those of its ReplicaSets included.
pub(super) fn pods(cluster: &Cluster, workload: WorkloadId) -> impl Iterator<Item = PodId> + '_ {
    let family = std::iter::once(workload).chain(cluster.owned_workloads(workload).iter().copied());
    family.flat_map(|member| cluster.pods_of_workload(member).iter().copied())
}
