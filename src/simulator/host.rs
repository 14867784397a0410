//! What happens to a host while it is upgraded.

use crate::cluster::NodeId;

use super::{Chooser, World};

/// A step of a host's maintenance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// The job ends: a kubelet of the new version starts.
    JobEnds,
    /// The node reports Ready.
    Ready,
}

/// How a host stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The kubelet does not run.
    pub down: bool,
}

/// One step.
pub(super) fn step(_world: &mut World, _node: NodeId, _step: Step, _chooser: &mut dyn Chooser) {}
