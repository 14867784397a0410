//! PodTopologySpread as a filter: `DoNotSchedule` constraints (KUBERNETES.md C11, C.2.4).

use crate::cluster::{NodeId, SpecId};

use crate::simulator::scheduler::class::{Class, Constraint};
use crate::simulator::scheduler::topology::NONE;
use crate::simulator::scheduler::view::Facts;
use crate::simulator::scheduler::{Plugin, Rejection, Scheduler};

/// Too uneven.
const UNEVEN: Rejection =
    Rejection::unschedulable(Plugin::PodTopologySpread, &["node(s) didn't match pod topology spread constraints"]);

/// The node lacks a key.
const NO_LABEL: Rejection = Rejection::unresolvable(
    Plugin::PodTopologySpread,
    &["node(s) didn't match pod topology spread constraints (missing required label)"],
);

/// The domains that a constraint compares: those of eligible nodes (C.2.4 step 1).
#[derive(Clone, Debug, Default)]
pub struct Domains {
    /// By domain: some eligible node is in it.
    present: Vec<bool>,
    /// How many are.
    count: usize,
}

/// Counts of one constraint.
#[derive(Clone, Debug)]
struct Count {
    /// Matching pods on eligible nodes by domain. Supposing that a terminating pod is gone takes it away although it was not
    /// counted, as upstream does.
    domains: Vec<i32>,
    /// Domain with the lowest count.
    lowest: u32,
    /// Its count; the highest number if there is no domain.
    lowest_count: i32,
    /// Lowest count of the other domains.
    second_count: i32,
}

/// Counts of all hard constraints of one pod.
#[derive(Clone, Debug)]
pub struct Spread(Vec<Count>);

/// Whether a node is eligible for a constraint of a class.
fn eligible(scheduler: &Scheduler, class: &Class, constraint: &Constraint, facts: Facts, node: NodeId) -> bool {
    (facts.affinity || !constraint.honor_affinity)
        && (facts.taints || !constraint.honor_taints)
        && class.hard.iter().all(|other| scheduler.topologies.get(other.topology).of(node) != NONE)
}

/// The domains of all hard constraints of a class.
pub fn domains(scheduler: &Scheduler, class: &Class, facts: &[Facts]) -> Vec<Domains> {
    let of = |constraint: &Constraint| {
        let topology = scheduler.topologies.get(constraint.topology);
        let mut domains = Domains { present: vec![false; topology.len()], count: 0 };
        for &node in scheduler.node_order() {
            if eligible(scheduler, class, constraint, facts[node.index()], node) {
                let present = &mut domains.present[topology.of(node) as usize];
                domains.count += usize::from(!*present);
                *present = true;
            }
        }
        domains
    };
    class.hard.iter().map(of).collect()
}

impl Count {
    fn new(scheduler: &Scheduler, class: &Class, facts: &[Facts], index: usize) -> Count {
        let constraint = &class.hard[index];
        let topology = scheduler.topologies.get(constraint.topology);
        let mut domains = vec![0; topology.len()];
        let specs = if constraint.counts_nothing { &[] } else { constraint.specs.as_slice() };
        for place in specs.iter().flat_map(|&spec| scheduler.places.of(spec)) {
            let domain = topology.of(place.node);
            if domain != NONE && eligible(scheduler, class, constraint, facts[place.node.index()], place.node) {
                domains[domain as usize] += place.live as i32;
            }
        }
        let (mut lowest, mut lowest_count, mut second_count) = (NONE, i32::MAX, i32::MAX);
        for (domain, (&count, &present)) in domains.iter().zip(&class.domains[index].present).enumerate() {
            if present && count < second_count {
                if count < lowest_count {
                    second_count = lowest_count;
                    (lowest, lowest_count) = (domain as u32, count);
                } else {
                    second_count = count;
                }
            }
        }
        Count { domains, lowest, lowest_count, second_count }
    }
}

impl Spread {
    /// Counts for a class; `None` if it has no hard constraint.
    pub fn new(scheduler: &Scheduler, class: &Class, facts: &[Facts]) -> Option<Spread> {
        if class.hard.is_empty() {
            return None;
        }
        Some(Spread((0..class.hard.len()).map(|index| Count::new(scheduler, class, facts, index)).collect()))
    }

    /// Whether a pod may come to a node.
    pub fn filter(&self, scheduler: &Scheduler, class: &Class, node: NodeId) -> Option<Rejection> {
        for ((constraint, count), domains) in class.hard.iter().zip(&self.0).zip(&class.domains) {
            let domain = scheduler.topologies.get(constraint.topology).of(node);
            if domain == NONE {
                return Some(NO_LABEL);
            }
            let here = count.domains[domain as usize];
            // A supposition is about one node, so that only this domain can differ from what the counts began with.
            let others = if count.lowest == domain { count.second_count } else { count.lowest_count };
            let lowest = if domains.count < constraint.min_domains {
                0
            } else if domains.present[domain as usize] {
                others.min(here)
            } else {
                others
            };
            if i64::from(here) + i64::from(constraint.counts_itself) - i64::from(lowest) > constraint.max_skew {
                return Some(UNEVEN);
            }
        }
        None
    }

    /// Supposes that a pod of a template came to a node (1) or left it (-1).
    pub fn shift(&mut self, scheduler: &Scheduler, class: &Class, facts: Facts, spec: SpecId, node: NodeId, by: i32) {
        for (constraint, count) in class.hard.iter().zip(&mut self.0) {
            let domain = scheduler.topologies.get(constraint.topology).of(node);
            if domain != NONE
                && constraint.specs.binary_search(&spec).is_ok()
                && eligible(scheduler, class, constraint, facts, node)
            {
                count.domains[domain as usize] += by;
            }
        }
    }
}
