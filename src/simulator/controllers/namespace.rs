//! The namespace controller (`pkg/controller/namespace`): a namespace is terminating at once, what it holds is deleted after a
//! grace period that gives all API servers time to see it.

use std::sync::Arc;

use crate::cluster::{BudgetId, Cluster, Millis, Name, PodId, WorkloadId};
use crate::simulator::{Chooser, Delay, Task, World};
use crate::trace::Event;

/// `namespaceDeletionGracePeriod`.
const GRACE: Millis = Millis::secs(5);

/// DELETE of a namespace.
pub fn delete(world: &mut World, namespace: Name) {
    let namespaces = &mut Arc::make_mut(&mut world.cluster.catalog).namespaces;
    if !std::mem::replace(&mut namespaces.entry(namespace).or_default().terminating, true) {
        world.at(world.now + GRACE, Task::EmptyNamespace(namespace));
    }
}

/// Namespaces that are terminating already: since when is not known.
pub(super) fn resume(world: &mut World, chooser: &mut dyn Chooser) {
    let namespaces = world.cluster.catalog.namespaces.iter();
    let terminating: Vec<Name> = namespaces.filter(|(_, it)| it.terminating).map(|(name, _)| *name).collect();
    for namespace in terminating {
        let rest = chooser.between(Delay::Watch, Millis(0), GRACE);
        world.at(world.now + rest, Task::EmptyNamespace(namespace));
    }
}

/// Deletes what a namespace holds, pods first.
pub(super) fn empty(world: &mut World, namespace: Name, chooser: &mut dyn Chooser) {
    for pod in pods(&world.cluster, namespace) {
        world.delete_pod(pod, None, chooser);
    }
    let workloads = world.cluster.workloads();
    let workloads = workloads.filter(|(_, workload)| workload.key.namespace == namespace && !workload.deleted);
    let workloads: Vec<WorkloadId> = workloads.map(|(id, _)| id).collect();
    for workload in workloads {
        world.cluster.update_workload(workload, |workload| workload.deleted = true);
        world.emit(Event::WorkloadGone(workload), chooser);
    }
    let budgets = world.cluster.budgets().filter(|(_, budget)| budget.namespace == namespace && !budget.gone);
    let budgets: Vec<BudgetId> = budgets.map(|(id, _)| id).collect();
    for budget in budgets {
        world.cluster.update_budget(budget, |budget| budget.gone = true);
        world.emit(Event::BudgetGone(budget), chooser);
    }
}

fn pods(cluster: &Cluster, namespace: Name) -> Vec<PodId> {
    let pods = cluster.pods().filter(|(id, pod)| !pod.gone && cluster.spec(*id).namespace == namespace);
    pods.map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Owner, Time};
    use crate::simulator::controllers::fixture;
    use crate::simulator::{First, Physics};

    #[test]
    fn content_goes_five_seconds_after_the_namespace() {
        let mut cluster = fixture::cluster(36);
        let owner = fixture::stateful_set(&mut cluster, 1);
        let pod = fixture::pod(&mut cluster, owner, "web-0");
        let node = fixture::node(&mut cluster, "n1");
        cluster.update_pod(pod, |pod| pod.node = Some(node));
        fixture::ready(&mut cluster, pod);
        let start = Time(1_000_000);
        let mut world = World::new(cluster, start, Arc::new(Physics::default()), &mut First);
        assert_eq!(world.cluster.pod(pod).owner, Owner::Workload(owner));
        delete(&mut world, "default".into());
        assert!(world.cluster.catalog.namespaces[&Name::new("default")].terminating);
        while world.cluster.pod(pod).deletion.is_none() && world.step(&mut First) {}
        assert_eq!(world.now, start + GRACE);
        assert!(world.cluster.workload(owner).deleted);
    }
}
