//! The controllers of the controller manager, a file each.

use crate::cluster::{Cluster, NodeId, PodId, ServiceId, WorkloadId};
use crate::trace::Event;

use super::{Chooser, World};

/// What controllers remember between their syncs.
#[derive(Clone, Debug, Default)]
pub struct Memory {}

impl Memory {
    /// Nothing seen yet.
    pub fn new(_cluster: &Cluster) -> Memory {
        Memory {}
    }
}

/// Has every controller look at everything once.
pub(super) fn resume(_world: &mut World, _chooser: &mut dyn Chooser) {}

/// A controller looks at a workload.
pub(super) fn sync_workload(_world: &mut World, _workload: WorkloadId, _chooser: &mut dyn Chooser) {}

/// The endpoint slice controller looks at a Service.
pub(super) fn sync_service(_world: &mut World, _service: ServiceId, _chooser: &mut dyn Chooser) {}

/// A node changed: node lifecycle and DaemonSets take note.
pub(super) fn node_changed(_world: &mut World, _node: NodeId, _event: &Event, _chooser: &mut dyn Chooser) {}

/// The node lifecycle controller looks at a node.
pub(super) fn sync_node(_world: &mut World, _node: NodeId, _chooser: &mut dyn Chooser) {}

/// The taint manager deletes a pod whose toleration is spent.
pub(super) fn taint_delete(_world: &mut World, _pod: PodId, _chooser: &mut dyn Chooser) {}

/// Pod garbage collection looks at a pod.
pub(super) fn collect_pod(_world: &mut World, _pod: PodId, _chooser: &mut dyn Chooser) {}

/// A kubelet has fallen silent: the node becomes Unknown after the grace period unless it comes back.
pub(super) fn heartbeat_lost(_world: &mut World, _node: NodeId, _chooser: &mut dyn Chooser) {}
