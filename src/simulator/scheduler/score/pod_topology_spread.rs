//! PodTopologySpread as a score: `ScheduleAnyway` constraints or the defaults (KUBERNETES.md C.3.6).

use crate::cluster::NodeId;

use super::HIGHEST;
use crate::simulator::scheduler::class::Constraint;
use crate::simulator::scheduler::cycle::Cycle;
use crate::simulator::scheduler::topology::{NONE, Topology};

/// One constraint, counted.
struct Counted<'a> {
    topology: &'a Topology,
    /// By node for the host name, else by domain.
    counts: Vec<u32>,
    by_node: bool,
    weight: f64,
    skew: f64,
}

/// The fewer matching pods around, the better. `None`: no constraint.
pub fn score(cycle: &Cycle<'_>, nodes: &[NodeId]) -> Option<Vec<i64>> {
    let class = cycle.class;
    if class.soft.is_empty() {
        return None;
    }
    let complete = |node: NodeId| {
        class.soft.iter().all(|constraint| cycle.scheduler.topologies.get(constraint.topology).of(node) != NONE)
    };
    // A node without one of the keys that the pod itself names is out of the comparison.
    let ignored: Vec<bool> =
        if class.soft_by_default { Vec::new() } else { nodes.iter().map(|&node| !complete(node)).collect() };
    let is_ignored = |index: usize| ignored.get(index).copied().unwrap_or(false);
    let compared = || nodes.iter().enumerate().filter(|(index, _)| !is_ignored(*index)).map(|(_, &node)| node);
    let counted: Vec<Counted<'_>> = class
        .soft
        .iter()
        .map(|constraint| {
            let topology = cycle.scheduler.topologies.get(constraint.topology);
            let size = if constraint.hostname { compared().count() } else { distinct(topology, compared()) };
            Counted {
                topology,
                counts: count(cycle, constraint, topology),
                by_node: constraint.hostname,
                weight: natural_logarithm((size + 2) as f64),
                skew: (constraint.max_skew - 1) as f64,
            }
        })
        .collect();
    let raw = |node: NodeId| {
        let mut score = 0.0;
        for constraint in &counted {
            let domain = constraint.topology.of(node);
            if domain != NONE {
                let position = if constraint.by_node { node.index() } else { domain as usize };
                score += f64::from(constraint.counts[position]) * constraint.weight + constraint.skew;
            }
        }
        score.round() as i64
    };
    let mut scores: Vec<i64> = nodes.iter().map(|&node| raw(node)).collect();
    let (mut lowest, mut highest) = (i64::MAX, i64::MIN);
    for (index, &score) in scores.iter().enumerate() {
        if !is_ignored(index) {
            lowest = lowest.min(score);
            highest = highest.max(score);
        }
    }
    for (index, score) in scores.iter_mut().enumerate() {
        *score = if is_ignored(index) {
            0
        } else if highest == 0 {
            HIGHEST
        } else {
            HIGHEST * (highest + lowest - *score) / highest
        };
    }
    Some(scores)
}

/// Matching pods that are not terminating: by node, whatever the node is like, for the host name; else by domain, on nodes
/// that the inclusion policies admit and, for constraints of the pod itself, that have all keys.
fn count(cycle: &Cycle<'_>, constraint: &Constraint, topology: &Topology) -> Vec<u32> {
    let class = cycle.class;
    let mut counts = vec![0; if constraint.hostname { topology.domain.len() } else { topology.len() }];
    if constraint.counts_nothing {
        return counts;
    }
    let included = |node: NodeId| {
        let facts = cycle.view.facts[node.index()];
        (facts.affinity || !constraint.honor_affinity)
            && (facts.taints || !constraint.honor_taints)
            && (class.soft_by_default
                || class.soft.iter().all(|other| cycle.scheduler.topologies.get(other.topology).of(node) != NONE))
    };
    for place in constraint.specs.iter().flat_map(|&spec| cycle.scheduler.places.of(spec)) {
        if constraint.hostname {
            counts[place.node.index()] += place.live;
        } else {
            let domain = topology.of(place.node);
            if domain != NONE && included(place.node) {
                counts[domain as usize] += place.live;
            }
        }
    }
    counts
}

/// Number of distinct values of a key; nodes without it have the value "".
fn distinct(topology: &Topology, nodes: impl Iterator<Item = NodeId>) -> usize {
    let mut seen = vec![false; topology.len()];
    let mut empty = false;
    let mut number = 0;
    for node in nodes {
        let domain = topology.of(node);
        let slot = if domain == NONE || topology.values[domain as usize].is_empty() {
            &mut empty
        } else {
            &mut seen[domain as usize]
        };
        number += usize::from(!*slot);
        *slot = true;
    }
    number
}

/// The natural logarithm as Go computes it (FreeBSD's `e_log.c`), to the last bit on every machine: weights decide by rounding.
/// For finite arguments of at least 1.
fn natural_logarithm(x: f64) -> f64 {
    const LN2_HI: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const LN2_LO: f64 = f64::from_bits(0x3dea_39ef_3579_3c76);
    const L1: f64 = f64::from_bits(0x3fe5_5555_5555_5593);
    const L2: f64 = f64::from_bits(0x3fd9_9999_9997_fa04);
    const L3: f64 = f64::from_bits(0x3fd2_4924_9422_9359);
    const L4: f64 = f64::from_bits(0x3fcc_71c5_1d8e_78af);
    const L5: f64 = f64::from_bits(0x3fc7_4664_96cb_03de);
    const L6: f64 = f64::from_bits(0x3fc3_9a09_d078_c69f);
    const L7: f64 = f64::from_bits(0x3fc2_f112_df3e_5244);
    // x = 2^k * m with m in [sqrt(1/2), sqrt(2)).
    let mut exponent = ((x.to_bits() >> 52) & 0x7ff) as i32 - 1022;
    let mut mantissa = f64::from_bits(x.to_bits() & 0x000f_ffff_ffff_ffff | 1022 << 52);
    if mantissa < std::f64::consts::FRAC_1_SQRT_2 {
        mantissa *= 2.0;
        exponent -= 1;
    }
    let f = mantissa - 1.0;
    let k = f64::from(exponent);
    let s = f / (2.0 + f);
    let s2 = s * s;
    let s4 = s2 * s2;
    let t1 = s2 * (L1 + s4 * (L3 + s4 * (L5 + s4 * L7)));
    let t2 = s4 * (L2 + s4 * (L4 + s4 * L6));
    let r = t1 + t2;
    let half_square = 0.5 * f * f;
    k * LN2_HI - ((half_square - (s * (half_square + r) + k * LN2_LO)) - f)
}

#[cfg(test)]
mod tests {
    use super::natural_logarithm;

    #[test]
    fn logarithm_is_close_to_the_machines() {
        for x in 2..20_000 {
            let x = f64::from(x);
            assert!((natural_logarithm(x) - x.ln()).abs() <= 2.0 * f64::EPSILON * x.ln(), "{x}");
        }
    }
}
