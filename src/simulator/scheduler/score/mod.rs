//! The scores, one plugin a file (KUBERNETES.md C.3).

pub mod image_locality;
pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod node_resources_balanced_allocation;
pub mod node_resources_fit;
pub mod pod_topology_spread;
pub mod taint_toleration;

use crate::cluster::NodeId;

use super::Plugin;
use super::cycle::Cycle;

/// Highest score of a plugin before its weight.
const HIGHEST: i64 = 100;

/// Weights of the default profile (C.1).
fn weight(plugin: Plugin) -> i64 {
    match plugin {
        Plugin::TaintToleration => 3,
        Plugin::NodeAffinity | Plugin::PodTopologySpread | Plugin::InterPodAffinity => 2,
        Plugin::NodeResourcesFit
        | Plugin::NodeResourcesBalancedAllocation
        | Plugin::ImageLocality
        | Plugin::VolumeBinding => 1,
        Plugin::NodeUnschedulable
        | Plugin::NodeName
        | Plugin::NodePorts
        | Plugin::VolumeRestrictions
        | Plugin::NodeVolumeLimits
        | Plugin::VolumeZone => 0,
    }
}

/// Scores of the feasible nodes by plugin, normalised and weighted, in the order of `nodes`. A plugin that skips is absent; without
/// `detail` also one that cannot tell the nodes apart.
pub fn score(cycle: &Cycle<'_>, nodes: &[NodeId], detail: bool) -> Vec<(Plugin, Vec<i64>)> {
    let mut all: Vec<(Plugin, Vec<i64>)> = Vec::with_capacity(8);
    let mut add = |plugin: Plugin, scores: Option<Vec<i64>>| {
        if let Some(mut scores) = scores {
            let weight = weight(plugin);
            if weight != 1 {
                scores.iter_mut().for_each(|score| *score *= weight);
            }
            all.push((plugin, scores));
        }
    };
    if detail || cycle.view.any_dislikes {
        add(Plugin::TaintToleration, Some(taint_toleration::score(cycle, nodes)));
    }
    add(Plugin::NodeAffinity, node_affinity::score(cycle, nodes));
    add(Plugin::NodeResourcesFit, Some(node_resources_fit::score(cycle, nodes)));
    add(Plugin::VolumeBinding, cycle.volumes.as_ref().and_then(|volumes| volumes.score(cycle.cluster, nodes)));
    add(Plugin::PodTopologySpread, pod_topology_spread::score(cycle, nodes));
    add(Plugin::InterPodAffinity, inter_pod_affinity::score(cycle, nodes));
    add(Plugin::NodeResourcesBalancedAllocation, node_resources_balanced_allocation::score(cycle, nodes));
    match image_locality::score(cycle, nodes) {
        Some(scores) => add(Plugin::ImageLocality, Some(scores)),
        None if detail => add(Plugin::ImageLocality, Some(vec![0; nodes.len()])),
        None => {}
    }
    all
}

/// Upstream's `DefaultNormalizeScore`: the highest becomes 100; `reverse` turns the order round.
fn normalize(scores: &mut [i64], reverse: bool) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    if highest == 0 {
        if reverse {
            scores.fill(HIGHEST);
        }
        return;
    }
    for score in scores {
        *score = HIGHEST * *score / highest;
        if reverse {
            *score = HIGHEST - *score;
        }
    }
}
