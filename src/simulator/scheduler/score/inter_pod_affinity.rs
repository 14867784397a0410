//! InterPodAffinity as a score (KUBERNETES.md C.3.7).

use crate::cluster::{NodeId, SpecId};

use super::HIGHEST;
use crate::simulator::scheduler::cycle::Cycle;
use crate::simulator::scheduler::topology::{NONE, TopologyId};

/// Sums of weights by topology key and domain.
type Sums = Vec<(TopologyId, Vec<i64>)>;

/// The better liked the pods around a node are, and the more they like the pod, the better. `None`: nobody has a
/// preference that matches.
pub fn score(cycle: &Cycle<'_>, nodes: &[NodeId]) -> Option<Vec<i64>> {
    let mut sums: Sums = Vec::new();
    for term in &cycle.class.preferred {
        for &spec in &term.specs {
            add(cycle, &mut sums, spec, term.topology, term.weight);
        }
    }
    for foreign in &cycle.class.foreign_preferred {
        add(cycle, &mut sums, foreign.spec, foreign.topology, foreign.weight);
    }
    if sums.is_empty() {
        return None;
    }
    let topologies: Vec<_> =
        sums.iter().map(|(topology, sums)| (cycle.scheduler.topologies.get(*topology), sums)).collect();
    let raw = |node: NodeId| {
        let of = |&(topology, sums): &(_, &Vec<i64>)| {
            let topology: &crate::simulator::scheduler::topology::Topology = topology;
            let domain = topology.of(node);
            if domain == NONE { 0 } else { sums[domain as usize] }
        };
        topologies.iter().map(of).sum::<i64>()
    };
    let mut scores: Vec<i64> = nodes.iter().map(|&node| raw(node)).collect();
    let lowest = scores.iter().copied().min().unwrap_or(0);
    let range = scores.iter().copied().max().unwrap_or(0) - lowest;
    for score in &mut scores {
        *score = if range > 0 { (HIGHEST as f64 * ((*score - lowest) as f64 / range as f64)) as i64 } else { 0 };
    }
    Some(scores)
}

fn add(cycle: &Cycle<'_>, sums: &mut Sums, spec: SpecId, key: TopologyId, weight: i64) {
    let topology = cycle.scheduler.topologies.get(key);
    for place in cycle.scheduler.places.of(spec) {
        let domain = topology.of(place.node);
        if domain == NONE {
            continue;
        }
        let position = sums.iter().position(|entry| entry.0 == key).unwrap_or_else(|| {
            sums.push((key, vec![0; topology.len()]));
            sums.len() - 1
        });
        sums[position].1[domain as usize] += weight * i64::from(place.all);
    }
}
