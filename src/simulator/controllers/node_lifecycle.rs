//! Node lifecycle and taint eviction (KUBERNETES.md D.7, D.8).

use crate::cluster::{NodeId, PodId};
use crate::simulator::{Chooser, World};
use crate::trace::Event;

/// What it remembers between its syncs.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {}

/// Looks at every node once.
pub(super) fn resume(_world: &mut World, _chooser: &mut dyn Chooser) {}

/// A node changed.
pub(super) fn node_changed(_world: &mut World, _node: NodeId, _event: &Event, _chooser: &mut dyn Chooser) {}

/// Looks at one node.
pub(super) fn sync(_world: &mut World, _node: NodeId, _chooser: &mut dyn Chooser) {}

/// Deletes a pod whose toleration is spent.
pub(super) fn taint_delete(_world: &mut World, _pod: PodId, _chooser: &mut dyn Chooser) {}

/// A kubelet has fallen silent.
pub(super) fn heartbeat_lost(_world: &mut World, _node: NodeId, _chooser: &mut dyn Chooser) {}
