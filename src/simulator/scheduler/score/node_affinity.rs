//! NodeAffinity as a score (KUBERNETES.md C.3.5).

use crate::cluster::{Node, NodeId, NodeTerm, PodSpec};

use super::normalize;
use crate::simulator::scheduler::cycle::Cycle;

/// Sum of the weights of the preferred terms that a node matches.
pub fn likes(spec: &PodSpec, node: &Node) -> i32 {
    let matching = |term: &NodeTerm| term.matches(&node.info.labels, node.name());
    spec.node_preferences.iter().filter(|(_, term)| matching(term)).map(|(weight, _)| weight).sum()
}

/// The more of the preferred terms, the better.
pub fn score(cycle: &Cycle<'_>, nodes: &[NodeId]) -> Option<Vec<i64>> {
    if cycle.spec.node_preferences.is_empty() {
        return None;
    }
    let mut scores: Vec<i64> = nodes.iter().map(|node| i64::from(cycle.view.facts[node.index()].likes)).collect();
    normalize(&mut scores, false);
    Some(scores)
}
