//! What a kind of pod thinks of each node, as far as neither pods nor volumes matter: cordon, taints, node affinity.

use std::sync::Arc;

use crate::cluster::{Cluster, NodeId, PodSpec, SpecId};

use super::filter::{node_affinity, node_unschedulable, taint_toleration};
use super::{Rejection, score};

/// What a kind of pod thinks of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Node selector and required node affinity hold.
    pub affinity: bool,
    /// Every NoSchedule and NoExecute taint is tolerated.
    pub taints: bool,
    /// Not cordoned, or the pod does not mind.
    pub schedulable: bool,
    /// PreferNoSchedule taints that are not tolerated.
    pub dislikes: u8,
    /// Sum of the weights of preferred node affinity.
    pub likes: i32,
}

impl Facts {
    /// The first of the filters C1, C3, C4 that rejects.
    pub fn rejection(self) -> Option<Rejection> {
        if self.schedulable && self.taints && self.affinity {
            None
        } else if !self.schedulable {
            Some(node_unschedulable::REJECTION)
        } else if !self.taints {
            Some(taint_toleration::REJECTION)
        } else {
            Some(node_affinity::REJECTION)
        }
    }
}

/// The facts of all nodes for the pods that ask the same of a node.
#[derive(Clone, Debug)]
pub struct View {
    /// A template that asks it.
    spec: SpecId,
    /// By node.
    pub facts: Arc<Vec<Facts>>,
    /// Some node has a PreferNoSchedule taint that is not tolerated.
    pub any_dislikes: bool,
    /// How many entries of the scheduler's list of node changes are taken in.
    seen: usize,
}

impl View {
    /// The view of a template.
    pub fn new(cluster: &Cluster, spec: SpecId, changes: usize) -> View {
        let facts: Vec<Facts> =
            cluster.nodes().map(|(node, _)| find(cluster, cluster.catalog.spec(spec), node)).collect();
        let any_dislikes = facts.iter().any(|facts| facts.dislikes > 0);
        View { spec, facts: Arc::new(facts), any_dislikes, seen: changes }
    }

    /// Whether another template asks the same of a node.
    pub fn serves(&self, cluster: &Cluster, other: &PodSpec) -> bool {
        let own = cluster.catalog.spec(self.spec);
        own.node_selector == other.node_selector
            && own.tolerations == other.tolerations
            && own.node_affinity == other.node_affinity
            && own.node_preferences == other.node_preferences
    }

    /// Takes in the nodes that changed since the last time.
    pub fn refresh(&mut self, cluster: &Cluster, changes: &[NodeId]) {
        if self.seen == changes.len() {
            return;
        }
        let spec = cluster.catalog.spec(self.spec);
        let facts = Arc::make_mut(&mut self.facts);
        for &node in &changes[self.seen..] {
            if facts.len() <= node.index() {
                facts.resize(node.index() + 1, Facts::default());
            }
            facts[node.index()] = find(cluster, spec, node);
        }
        self.any_dislikes = facts.iter().any(|facts| facts.dislikes > 0);
        self.seen = changes.len();
    }
}

/// What a template thinks of a node.
pub fn find(cluster: &Cluster, spec: &PodSpec, node: NodeId) -> Facts {
    let node = cluster.node(node);
    if node.gone {
        return Facts::default();
    }
    Facts {
        affinity: spec.selects(node),
        taints: spec.tolerates_all(&node.taints),
        schedulable: !node.unschedulable || spec.tolerates_cordon(),
        dislikes: score::taint_toleration::dislikes(spec, &node.taints),
        likes: score::node_affinity::likes(spec, node),
    }
}
