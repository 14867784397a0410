//! The StatefulSet controller (KUBERNETES.md D.3).

use crate::cluster::WorkloadId;
use crate::simulator::{Chooser, World};

/// What it remembers between its syncs.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {}

/// Looks at one workload.
pub(super) fn sync(_world: &mut World, _id: WorkloadId, _chooser: &mut dyn Chooser) {}
