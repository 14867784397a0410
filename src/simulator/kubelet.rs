//! What kubelets do with the pods of their node (KUBERNETES.md E): start, readiness, stop, final delete.

use crate::cluster::PodId;

use super::{Chooser, World};

/// A step of a pod's life on its node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// Containers run.
    Started,
    /// The pod becomes Ready.
    Ready,
    /// The pod ends by itself.
    Finished,
    /// Containers of a deleted pod have ended.
    Stopped,
    /// The final delete.
    Removed,
}

/// Goes on with every pod of the input.
pub(super) fn resume(_world: &mut World, _chooser: &mut dyn Chooser) {}

/// A pod was bound to a node.
pub(super) fn pod_bound(_world: &mut World, _pod: PodId, _chooser: &mut dyn Chooser) {}

/// Deletion of a pod has begun.
pub(super) fn pod_deleting(_world: &mut World, _pod: PodId, _chooser: &mut dyn Chooser) {}

/// One step.
pub(super) fn step(_world: &mut World, _pod: PodId, _step: Step, _chooser: &mut dyn Chooser) {}
