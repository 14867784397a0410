//! One scheduling attempt: what is counted once for the pod, and the filters of one node.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::cluster::{Cluster, NodeId, PodId, PodSpec};

use super::volume::Volumes;
use super::{NodeState, Rejection, Scheduler};

/// One attempt for one pod. Counts over the whole cluster (spread, inter-pod affinity, volumes) live here and follow the
/// changes that a [`Trial`] supposes, as upstream's PreFilter state does.
pub struct Cycle<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Caches.
    pub scheduler: &'a Scheduler,
    /// The pod.
    pub pod: PodId,
    /// Its template.
    pub spec: &'a PodSpec,
    /// What its volumes demand.
    pub volumes: Option<Volumes>,
}

/// A node as filters see it: its cached sums, and which pods are supposed to be there or not.
#[derive(Clone, Copy)]
pub struct OnNode<'a> {
    /// The node.
    pub node: NodeId,
    /// Its sums, supposed changes included.
    pub state: &'a NodeState,
    /// Pods that are supposed to be gone.
    pub removed: &'a [PodId],
    /// Pods that are supposed to be there although they are not bound.
    pub added: &'a [PodId],
}

impl OnNode<'_> {
    /// The pods that the scheduler has on this node: bound, not ended, supposed changes included.
    pub fn pods<'c>(&'c self, cluster: &'c Cluster) -> impl Iterator<Item = PodId> + 'c {
        cluster
            .pods_of_node(self.node)
            .iter()
            .copied()
            .filter(|pod| !cluster.pod(*pod).is_terminal() && !self.removed.contains(pod))
            .chain(self.added.iter().copied())
    }
}

/// A supposition about one node: pods removed or added. Must be given back to the cycle it came from
/// ([`Cycle::end_trial`]) before the next one begins.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The node.
    pub node: NodeId,
    /// Its sums with the changes.
    pub state: Arc<NodeState>,
    /// Pods supposed to be gone.
    pub removed: SmallVec<[PodId; 8]>,
    /// Pods supposed to be there.
    pub added: SmallVec<[PodId; 2]>,
}

impl Cycle<'_> {
    /// Begins to suppose changes on a node.
    pub fn begin_trial(&self, node: NodeId) -> Trial {
        let state = Arc::new(self.scheduler.node_state(node).clone());
        Trial { node, state, removed: SmallVec::new(), added: SmallVec::new() }
    }

    /// Supposes that a pod of the node is gone.
    pub fn remove_pod(&mut self, trial: &mut Trial, pod: PodId) {
        trial.removed.push(pod);
    }

    /// Supposes that a pod is there: one that was removed before, or one nominated.
    pub fn add_pod(&mut self, trial: &mut Trial, pod: PodId) {
        trial.added.push(pod);
    }

    /// All filters on the node as supposed, first with the pods nominated there that are at least as important as this one,
    /// then without them (C.6). `None`: the pod fits.
    pub fn filter_trial(&mut self, _trial: &mut Trial) -> Option<Rejection> {
        None
    }

    /// Takes all suppositions back.
    pub fn end_trial(&mut self, _trial: Trial) {}
}
