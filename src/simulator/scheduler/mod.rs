//! The default scheduler (KUBERNETES.md C).

use crate::cluster::{Cluster, Time};
use crate::trace::Event;

use super::{Chooser, World};

/// The scheduler's queue and caches.
#[derive(Clone, Debug, Default)]
pub struct Scheduler {}

impl Scheduler {
    /// Caches and queue for what stands in a cluster.
    pub fn new(_cluster: &Cluster) -> Scheduler {
        Scheduler {}
    }

    /// Keeps caches and queue right after a change; called after the change was made.
    pub fn observe(&mut self, _cluster: &Cluster, _event: &Event, _now: Time) {}

    /// When the next pod of the queue may be tried; `None`: the queue is empty or nothing in it can go yet.
    pub fn next_due(&self, _now: Time) -> Option<Time> {
        None
    }
}

/// Takes one pod from the queue, finds it a node (or a node and victims) and writes the result.
pub(super) fn run(_world: &mut World, _chooser: &mut dyn Chooser) {}
