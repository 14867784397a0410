//! What an upgrade touches: which nodes it takes, in which order, and which pods have to leave them.

use crate::cluster::{Cluster, NodeId, ObjectKey, PodId, Time};
use crate::upgrade::{Fate, Goal, Ground, fate, turns};

use super::{Finding, Severity};
use crate::judge::About;

/// What the checks look at.
pub struct Scope<'a> {
    /// What the operator wants.
    pub goal: &'a Goal,
    /// The cluster as it is.
    pub cluster: &'a Cluster,
    /// When the upgrade begins.
    pub now: Time,
    /// Nodes that the run takes, in the order of their turns.
    pub turns: Vec<NodeId>,
    leaving: Vec<(NodeId, PodId, Option<Ground>)>,
}

impl<'a> Scope<'a> {
    /// The upgrade of this cluster that begins now.
    pub fn new(goal: &'a Goal, cluster: &'a Cluster, now: Time) -> Scope<'a> {
        let turns = turns(goal, cluster, now);
        let mut leaving = Vec::new();
        for &node in &turns {
            for &pod in cluster.pods_of_node(node) {
                match fate(goal, cluster, now, pod) {
                    Fate::Stays => {}
                    Fate::Leaves => leaving.push((node, pod, None)),
                    Fate::Refused(ground) => leaving.push((node, pod, Some(ground))),
                }
            }
        }
        Scope { goal, cluster, now, turns, leaving }
    }

    /// Whether the run takes this node.
    pub fn takes(&self, node: NodeId) -> bool {
        self.turns.contains(&node)
    }

    /// Pods that have to leave the nodes of the run, in the order of the turns: (node, pod, why the pod refuses the drain).
    /// Pods of DaemonSets and mirror pods stay and are not among them.
    pub fn leaving(&self) -> impl Iterator<Item = (NodeId, PodId, Option<Ground>)> + '_ {
        self.leaving.iter().copied()
    }

    /// Where in the run a node is met, as results say it.
    pub fn turn(&self, node: NodeId) -> Option<String> {
        let place = self.turns.iter().position(|&taken| taken == node)? + 1;
        Some(format!("turn of node {} ({place} of {})", self.cluster.node(node).name(), self.turns.len()))
    }
}

/// A finding of a rule.
pub(super) fn finding(about: &About, severity: Severity, object: ObjectKey, message: String, fix: String) -> Finding {
    Finding { code: about.code, severity, object, message, fix, step: None }
}
