//! The controllers of the controller manager, a file each (KUBERNETES.md D).

mod cron_job;
mod daemon_set;
pub mod deployment;
mod endpoint_slice;
#[cfg(test)]
pub(in crate::simulator) mod fixture;
mod job;
pub mod namespace;
mod node_lifecycle;
mod ownership;
pub mod persistent_volume;
mod pod_gc;
pub mod replica_set;
pub mod stateful_set;

pub use ownership::adopt_orphans;

use crate::cluster::{Cluster, Detail, Millis, Name, NodeId, PodId, PodSpec, ServiceId, SpecId, WorkloadId};
use crate::trace::Event;

use super::{Chooser, World};

/// What controllers remember between their syncs.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    cron_job: cron_job::Memory,
    daemon_set: daemon_set::Memory,
    deployment: deployment::Memory,
    endpoint_slice: endpoint_slice::Memory,
    job: job::Memory,
    node_lifecycle: node_lifecycle::Memory,
    persistent_volume: persistent_volume::Memory,
    stateful_set: stateful_set::Memory,
}

impl Memory {
    /// Nothing seen yet.
    pub fn new(cluster: &Cluster) -> Memory {
        Memory {
            deployment: deployment::Memory::new(cluster),
            endpoint_slice: endpoint_slice::Memory::new(cluster),
            persistent_volume: persistent_volume::Memory::new(cluster),
            ..Memory::default()
        }
    }

    /// What it remembers has to hold for a cluster of another time, too.
    pub fn forget_pods(&mut self) {
        self.daemon_set.forget_pods();
    }
}

/// A controller sees a workload for the first time and does nothing yet. A world does that by itself; a driver that has the
/// controllers look only at copies of it does it for them.
pub fn meet(world: &mut World, workload: WorkloadId) {
    daemon_set::meet(world, workload);
}

/// Has every controller look at everything once.
pub(super) fn resume(world: &mut World, chooser: &mut dyn Chooser) {
    let (workloads, services) = (world.cluster.workloads().len() as u32, world.cluster.services().len() as u32);
    (0..workloads).for_each(|index| world.wake_workload(WorkloadId(index), chooser));
    (0..services).for_each(|index| world.wake_service(ServiceId(index), chooser));
    namespace::resume(world, chooser);
    node_lifecycle::resume(world, chooser);
    pod_gc::resume(world, chooser);
}

/// A pod object appeared: its claims are served.
pub(super) fn pod_created(world: &mut World, pod: PodId, chooser: &mut dyn Chooser) {
    persistent_volume::pod_created(world, pod, chooser);
}

/// A pod object is gone: its volumes are let go.
pub(super) fn pod_gone(world: &mut World, pod: PodId) {
    persistent_volume::pod_gone(world, pod);
}

/// A controller looks at a workload.
pub(super) fn sync_workload(world: &mut World, workload: WorkloadId, chooser: &mut dyn Chooser) {
    if world.cluster.workload(workload).deleted {
        job::release(world, workload, chooser);
        return;
    }
    match &world.cluster.workload(workload).detail {
        Detail::Deployment(_) => deployment::sync(world, workload, chooser),
        Detail::ReplicaSet(_) | Detail::ReplicationController => replica_set::sync(world, workload, chooser),
        Detail::StatefulSet(_) => stateful_set::sync(world, workload, chooser),
        Detail::DaemonSet(_) => daemon_set::sync(world, workload, chooser),
        Detail::Job(_) => job::sync(world, workload, chooser),
        Detail::CronJob(_) => cron_job::sync(world, workload, chooser),
        Detail::Other => {}
    }
}

/// What a terminating namespace holds is deleted.
pub(super) fn empty_namespace(world: &mut World, namespace: Name, chooser: &mut dyn Chooser) {
    namespace::empty(world, namespace, chooser);
}

/// A pod of a workload changed.
pub(super) fn pod_changed(world: &mut World, pod: PodId) {
    daemon_set::pod_changed(world, pod);
}

/// A pod was bound to a node.
pub(super) fn pod_bound(world: &mut World, pod: PodId, node: NodeId) {
    node_lifecycle::pod_bound(world, pod, node);
}

/// Whether an event of a pod reaches the workload above its owner. Called after the change.
pub(super) fn reaches_top(cluster: &Cluster, top: WorkloadId, pod: PodId, event: &Event) -> bool {
    cluster.workload(top).as_deployment().is_none() || deployment::hears_of(cluster, top, pod, event)
}

/// Minor version of the controller manager, the newest known one where the input does not tell.
fn minor(cluster: &Cluster) -> u16 {
    cluster.api_server.map_or(37, |version| version.minor)
}

/// Nothing can be created in a namespace that is being deleted (D6).
fn namespace_is_terminating(cluster: &Cluster, namespace: Name) -> bool {
    cluster.catalog.namespaces.get(&namespace).is_some_and(|namespace| namespace.terminating)
}

/// The endpoint slice controller looks at a Service.
pub(super) fn sync_service(world: &mut World, service: ServiceId, chooser: &mut dyn Chooser) {
    endpoint_slice::sync(world, service, chooser);
}

/// Endpoints that a Service's slices are to hold: ready, serving, terminating, all.
pub fn endpoints(cluster: &Cluster, service: ServiceId) -> (u32, u32, u32, u32) {
    endpoint_slice::endpoints(cluster, service)
}

/// A node changed: node lifecycle, DaemonSets and pod garbage collection take note.
pub(super) fn node_changed(world: &mut World, node: NodeId, event: &Event, chooser: &mut dyn Chooser) {
    node_lifecycle::node_changed(world, node, event, chooser);
    daemon_set::node_changed(world, node, event, chooser);
    pod_gc::node_changed(world, node, event, chooser);
}

/// The node lifecycle controller looks at a node.
pub(super) fn sync_node(world: &mut World, node: NodeId, chooser: &mut dyn Chooser) {
    node_lifecycle::sync(world, node, chooser);
}

/// The taint manager deletes a pod whose toleration is spent.
pub(super) fn taint_delete(world: &mut World, pod: PodId, chooser: &mut dyn Chooser) {
    node_lifecycle::taint_delete(world, pod, chooser);
}

/// Pod garbage collection looks at a pod.
pub(super) fn collect_pod(world: &mut World, pod: PodId, chooser: &mut dyn Chooser) {
    pod_gc::collect(world, pod, chooser);
}

/// How long a kubelet may be silent until its node is Unknown (D10).
pub(super) fn node_monitor_grace(world: &World) -> Millis {
    node_lifecycle::grace(world)
}

/// A kubelet that fell silent is back.
pub(super) fn heartbeat_back(world: &mut World, node: NodeId) {
    node_lifecycle::heartbeat_back(world, node);
}

/// A kubelet has fallen silent: the node becomes Unknown after the grace period unless it comes back.
pub fn heartbeat_lost(world: &mut World, node: NodeId, chooser: &mut dyn Chooser) {
    node_lifecycle::heartbeat_lost(world, node, chooser);
}

/// A rollout begins: the template changes, and the ReplicaSet that was current is not any more.
pub fn change_template(world: &mut World, workload: WorkloadId, spec: PodSpec) {
    let Some(previous) = world.cluster.workload(workload).template else { return };
    let template = world.cluster.intern_spec(spec);
    world.cluster.update_workload(workload, |workload| {
        workload.template = Some(template);
        if let Detail::StatefulSet(set) = &mut workload.detail {
            set.current_template = set.current_template.or(Some(previous));
            set.updating = true;
            set.update_revision = Name::new(&format!("{}-sim", workload.key.name));
        }
    });
    for replica_set in world.cluster.owned_workloads(workload).to_vec() {
        let current = is_rolled_back_to(&world.cluster, replica_set, template);
        world.cluster.update_workload(replica_set, |workload| {
            if let Detail::ReplicaSet(detail) = &mut workload.detail {
                detail.current = current;
            }
        });
    }
}

/// The ReplicaSet has the new template already, apart from the hash that its own carries as label.
fn is_rolled_back_to(cluster: &Cluster, replica_set: WorkloadId, template: SpecId) -> bool {
    let Some(own) = cluster.workload(replica_set).template else { return false };
    let (own, template) = (cluster.catalog.spec(own), cluster.catalog.spec(template));
    let hash = Name::new("pod-template-hash");
    let labels = own.labels.iter().filter(|label| label.0 != hash).collect();
    PodSpec { labels, ..own.clone() } == *template
}
