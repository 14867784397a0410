//! The endpoint slice controller (KUBERNETES.md D.10).

use crate::cluster::ServiceId;
use crate::simulator::{Chooser, World};

/// What it remembers between its syncs.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {}

/// Looks at one Service.
pub(super) fn sync(_world: &mut World, _id: ServiceId, _chooser: &mut dyn Chooser) {}
