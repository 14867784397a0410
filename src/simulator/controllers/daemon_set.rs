//! The DaemonSet controller (KUBERNETES.md D.4).

use crate::cluster::WorkloadId;
use crate::simulator::{Chooser, World};

/// What it remembers between its syncs.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {}

/// Looks at one workload.
pub(super) fn sync(_world: &mut World, _id: WorkloadId, _chooser: &mut dyn Chooser) {}

/// A node changed: it may need a pod, or not any more.
pub(super) fn node_changed(
    _world: &mut World,
    _node: crate::cluster::NodeId,
    _event: &crate::trace::Event,
    _chooser: &mut dyn Chooser,
) {
}
