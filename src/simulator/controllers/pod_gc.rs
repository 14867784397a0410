//! Pod garbage collection (KUBERNETES.md D.9).

use crate::cluster::{NodeId, PodId};
use crate::simulator::{Chooser, World};
use crate::trace::Event;

/// Looks at every pod once.
pub(super) fn resume(_world: &mut World, _chooser: &mut dyn Chooser) {}

/// A node changed.
pub(super) fn node_changed(_world: &mut World, _node: NodeId, _event: &Event, _chooser: &mut dyn Chooser) {}

/// Looks at one pod.
pub(super) fn collect(_world: &mut World, _pod: PodId, _chooser: &mut dyn Chooser) {}
