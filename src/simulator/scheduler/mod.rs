//! The default scheduler (KUBERNETES.md C).

pub mod cycle;
mod evaluation;
mod node_state;
pub mod preemption;
pub mod volume;

use crate::cluster::{Cluster, NodeId, PodId, Time};
use crate::trace::Event;

use super::{Chooser, World};

pub use evaluation::{Cause, Code, Evaluation, Plugin, Plugins, PreFilter, Rejection, Sampling, Shortage};
pub use node_state::NodeState;
pub use preemption::{Candidate, Nomination, PostFilter, Unhelpful};

/// The scheduler's queue and caches.
#[derive(Clone, Debug, Default)]
pub struct Scheduler {
    nodes: Vec<NodeState>,
    start: usize,
}

impl Scheduler {
    /// Caches and queue for what stands in a cluster.
    pub fn new(_cluster: &Cluster) -> Scheduler {
        Scheduler::default()
    }

    /// Keeps caches and queue right after a change; called after the change was made.
    pub fn observe(&mut self, _cluster: &Cluster, _event: &Event, _now: Time) {}

    /// When the next pod of the queue may be tried; `None`: the queue is empty or nothing in it can go yet.
    pub fn next_due(&self, _now: Time) -> Option<Time> {
        None
    }

    /// The sums over a node's pods.
    pub fn node_state(&self, node: NodeId) -> &NodeState {
        &self.nodes[node.index()]
    }

    /// The scheduler's node list: zones taken in turn, nodes of a zone in the order they were added (C17).
    pub fn node_order(&self) -> &[NodeId] {
        &[]
    }

    /// Index in the node list where the next attempt begins (C19).
    pub fn start(&self) -> usize {
        self.start
    }

    /// Sets where the next attempt begins.
    pub fn set_start(&mut self, start: usize) {
        self.start = start;
    }

    /// One attempt in full detail, without carrying out what it leads to: filters of all nodes that the scheduler would look
    /// at, scores, and, if no node fits, preemption. The start index moves on as upstream's.
    pub fn evaluate(
        &mut self,
        _cluster: &Cluster,
        pod: PodId,
        _chooser: &mut dyn Chooser,
    ) -> (Evaluation, Option<PostFilter>) {
        let sampling = Sampling { start: self.start, to_find: 0, of: 0 };
        let evaluation = Evaluation {
            pod,
            prefilter: None,
            nominated_only: false,
            feasible: Vec::new(),
            rejected: Vec::new(),
            scores: Vec::new(),
            totals: Vec::new(),
            best: Vec::new(),
            sampling,
            all_nodes: 0,
        };
        (evaluation, None)
    }
}

/// Minor version of the scheduler, which goes with the API server; that of the recordings where the input does not tell.
fn minor(cluster: &Cluster) -> u16 {
    cluster.api_server.map_or(36, |version| version.minor)
}

/// Takes one pod from the queue, finds it a node (or a node and victims) and writes the result.
pub(super) fn run(_world: &mut World, _chooser: &mut dyn Chooser) {}
