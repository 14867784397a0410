//! The CronJob controller (KUBERNETES.md D.6).

use crate::cluster::WorkloadId;
use crate::simulator::{Chooser, World};

/// Looks at one workload.
pub(super) fn sync(_world: &mut World, _id: WorkloadId, _chooser: &mut dyn Chooser) {}
