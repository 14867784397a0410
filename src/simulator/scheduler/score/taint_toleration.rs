//! TaintToleration as a score (KUBERNETES.md C.3.4).

use crate::cluster::{Effect, NodeId, PodSpec, Taint};

use super::normalize;
use crate::simulator::scheduler::cycle::Cycle;

/// PreferNoSchedule taints that a pod does not tolerate.
pub fn dislikes(spec: &PodSpec, taints: &[Taint]) -> u8 {
    let disliked = taints
        .iter()
        .filter(|taint| taint.effect == Effect::PreferNoSchedule)
        .filter(|taint| !spec.tolerations.iter().any(|toleration| toleration.tolerates(taint)));
    u8::try_from(disliked.count()).unwrap_or(u8::MAX)
}

/// The fewer such taints, the better.
pub fn score(cycle: &Cycle<'_>, nodes: &[NodeId]) -> Vec<i64> {
    let mut scores: Vec<i64> = nodes.iter().map(|node| i64::from(cycle.view.facts[node.index()].dislikes)).collect();
    normalize(&mut scores, true);
    scores
}
