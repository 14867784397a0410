//! One scheduling attempt: what is counted once for the pod, and the filters of one node.

use smallvec::SmallVec;

use crate::cluster::{Cluster, NodeId, PodId, PodSpec};

use super::class::Class;
use super::filter::inter_pod_affinity::Affinity;
use super::filter::pod_topology_spread::Spread;
use super::filter::{node_affinity, node_ports, node_resources_fit};
use super::view::View;
use super::volume::{self, Volumes};
use super::{Evaluation, NodeState, PreFilter, Rejection, Sampling, Scheduler, score};

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
    /// What is the same for all pods of the template.
    pub(super) class: &'a Class,
    /// What such pods think of the nodes.
    pub(super) view: &'a View,
    spread: Option<Spread>,
    affinity: Option<Affinity>,
    prefilter: Option<PreFilter>,
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
    pub state: NodeState,
    /// Pods supposed to be gone.
    pub removed: SmallVec<[PodId; 8]>,
    /// Pods supposed to be there.
    pub added: SmallVec<[PodId; 2]>,
}

impl<'a> Cycle<'a> {
    /// PreFilter of a pod. Its class must be prepared.
    pub(super) fn new(scheduler: &'a Scheduler, cluster: &'a Cluster, pod: PodId, class: &'a Class) -> Cycle<'a> {
        let spec = cluster.spec(pod);
        let view = &scheduler.views[class.view];
        let mut cycle = Cycle {
            cluster,
            scheduler,
            pod,
            spec,
            volumes: None,
            class,
            view,
            spread: None,
            affinity: None,
            prefilter: None,
        };
        cycle.prefilter = cycle.prefilter();
        if !matches!(cycle.prefilter, Some(PreFilter::Rejected(_))) {
            cycle.spread = Spread::new(scheduler, class, &view.facts);
            cycle.affinity = Affinity::new(scheduler, class);
        }
        cycle
    }

    fn prefilter(&mut self) -> Option<PreFilter> {
        let narrowed = if let Some(node) = self.cluster.pod(self.pod).pinned {
            Some(if self.cluster.node(node).gone { Vec::new() } else { vec![node] })
        } else {
            match node_affinity::named_nodes(self.spec) {
                Some(names) if names.is_empty() => return Some(PreFilter::Rejected(node_affinity::CONFLICT)),
                Some(names) => {
                    let named = |&node: &NodeId| names.binary_search(&self.cluster.node(node).name()).is_ok();
                    Some(self.scheduler.node_order().iter().copied().filter(named).collect())
                }
                None => None,
            }
        };
        if !self.spec.volumes.is_empty() {
            match volume::pre_filter(self.scheduler, self.cluster, self.pod) {
                Ok(volumes) => self.volumes = volumes,
                Err(rejection) => return Some(PreFilter::Rejected(rejection)),
            }
        }
        narrowed.map(|nodes| PreFilter::Narrowed { nodes })
    }

    /// Filters and scores. With `detail` every rejection and every score is kept; without, rejections are only found out when
    /// no node fits. `among`: the nodes to look at, if that is settled. The second value: how many nodes were looked at, for the
    /// next start index (C19).
    pub(super) fn evaluate(&mut self, among: Option<&[NodeId]>, detail: bool) -> (Evaluation, usize) {
        let order = self.scheduler.node_order();
        let mut evaluation = Evaluation {
            pod: self.pod,
            prefilter: self.prefilter.clone(),
            nominated_only: false,
            feasible: Vec::new(),
            rejected: Vec::new(),
            scores: Vec::new(),
            totals: Vec::new(),
            best: Vec::new(),
            sampling: Sampling { start: self.scheduler.start, to_find: 0, of: order.len() },
            all_nodes: order.len(),
        };
        let narrowed: Option<Vec<NodeId>> = match &self.prefilter {
            Some(PreFilter::Rejected(_)) => return (evaluation, 0),
            Some(PreFilter::Narrowed { nodes }) => Some(nodes.clone()),
            None => None,
        };
        let nodes: &[NodeId] = narrowed.as_deref().unwrap_or(order);
        if let Some(node) = self.cluster.pod(self.pod).nominated
            && nodes.contains(&node)
            && self.filter_with_nominated(node).is_none()
        {
            evaluation.nominated_only = true;
            evaluation.feasible.push(node);
            evaluation.best.push(0);
            return (evaluation, 0);
        }
        let to_find = nodes_to_find(nodes.len());
        evaluation.sampling = Sampling { start: self.scheduler.start, to_find, of: nodes.len() };
        let (nodes, start, to_find) = match among {
            Some(among) => (among, 0, among.len()),
            None => (nodes, self.scheduler.start.checked_rem(nodes.len()).unwrap_or(0), to_find),
        };
        let mut rejected = 0;
        if !detail {
            (evaluation.feasible, rejected) = self.find(nodes, start, to_find, |_, _| {});
        }
        if detail || evaluation.feasible.is_empty() {
            let mut rejections = Vec::with_capacity(rejected);
            let keep = |node, why| rejections.push((node, why));
            (evaluation.feasible, rejected) = self.find(nodes, start, to_find, keep);
            evaluation.rejected = rejections;
        }
        if evaluation.feasible.len() == 1 {
            evaluation.best.push(0);
        } else if evaluation.feasible.len() > 1 {
            evaluation.scores = score::score(self, &evaluation.feasible, detail);
            let mut totals = vec![0; evaluation.feasible.len()];
            for (_, scores) in &evaluation.scores {
                totals.iter_mut().zip(scores).for_each(|(total, score)| *total += score);
            }
            evaluation.best = best(&totals);
            evaluation.totals = totals;
        }
        let looked_at = evaluation.feasible.len() + rejected;
        (evaluation, looked_at)
    }

    /// The first `to_find` feasible nodes from the start index on, and how many were rejected on the way. Only the next feasible
    /// node ends the search, so that nodes rejected before it count as well.
    fn find(
        &mut self,
        nodes: &[NodeId],
        start: usize,
        to_find: usize,
        mut why: impl FnMut(NodeId, Rejection),
    ) -> (Vec<NodeId>, usize) {
        let mut feasible = Vec::with_capacity(to_find);
        let mut rejected = 0;
        for &node in nodes[start..].iter().chain(&nodes[..start]) {
            match self.filter_with_nominated(node) {
                // The search ends with the first feasible node too many; what was rejected before it was looked at.
                None if feasible.len() == to_find => break,
                None => feasible.push(node),
                Some(rejection) => {
                    rejected += 1;
                    why(node, rejection);
                }
            }
        }
        (feasible, rejected)
    }

    /// All filters of a node as it is, the pods nominated there taken into account (C.6).
    fn filter_with_nominated(&mut self, node: NodeId) -> Option<Rejection> {
        let scheduler = self.scheduler;
        let state = scheduler.node_state(node);
        if state.nominated.is_empty() {
            return self.filter(&OnNode { node, state, removed: &[], added: &[] });
        }
        let mut trial = self.begin_trial(node);
        let rejection = self.filter_trial(&mut trial);
        self.end_trial(trial);
        rejection
    }

    /// All filters, in upstream's order; the first rejection.
    pub fn filter(&self, on: &OnNode<'_>) -> Option<Rejection> {
        let facts = self.view.facts[on.node.index()];
        if let Some(rejection) = facts.rejection() {
            return Some(rejection);
        }
        if !self.spec.host_ports.is_empty() && node_ports::conflict(&self.spec.host_ports, &on.state.ports) {
            return Some(node_ports::REJECTION);
        }
        if let Some(rejection) = node_resources_fit::filter(self.spec, on.state) {
            return Some(rejection);
        }
        if let Some(volumes) = &self.volumes
            && let Some(rejection) = volumes.filter(self.cluster, on)
        {
            return Some(rejection);
        }
        if let Some(spread) = &self.spread
            && let Some(rejection) = spread.filter(self.scheduler, self.class, on.node)
        {
            return Some(rejection);
        }
        self.affinity.as_ref().and_then(|affinity| affinity.filter(self.scheduler, self.class, on.node))
    }

    /// Begins to suppose changes on a node.
    pub fn begin_trial(&self, node: NodeId) -> Trial {
        let state = self.scheduler.node_state(node).clone();
        Trial { node, state, removed: SmallVec::new(), added: SmallVec::new() }
    }

    /// Supposes that a pod of the node is gone.
    pub fn remove_pod(&mut self, trial: &mut Trial, pod: PodId) {
        trial.state.remove(self.cluster.spec(pod), self.scheduler.books_twice(pod));
        self.shift(trial.node, pod, -1);
        match trial.added.iter().position(|other| *other == pod) {
            Some(position) => {
                trial.added.remove(position);
            }
            None => trial.removed.push(pod),
        }
    }

    /// Supposes that a pod is there: one that was removed before, or one nominated.
    pub fn add_pod(&mut self, trial: &mut Trial, pod: PodId) {
        trial.state.add(self.cluster.spec(pod), self.scheduler.books_twice(pod));
        self.shift(trial.node, pod, 1);
        match trial.removed.iter().position(|other| *other == pod) {
            Some(position) => {
                trial.removed.remove(position);
            }
            None => trial.added.push(pod),
        }
    }

    fn shift(&mut self, node: NodeId, pod: PodId, by: i32) {
        let spec = self.cluster.pod(pod).spec;
        if let Some(spread) = &mut self.spread {
            spread.shift(self.scheduler, self.class, self.view.facts[node.index()], spec, node, by);
        }
        if let Some(affinity) = &mut self.affinity {
            affinity.shift(self.scheduler, self.class, spec, node, by);
        }
        if let Some(volumes) = &mut self.volumes {
            if by > 0 {
                volumes.add_pod(self.cluster, node, pod);
            } else {
                volumes.remove_pod(self.cluster, node, pod);
            }
        }
    }

    /// All filters on the node as supposed, first with the pods nominated there that are at least as important as this one,
    /// then without them (C.6). `None`: the pod fits.
    pub fn filter_trial(&mut self, trial: &mut Trial) -> Option<Rejection> {
        let scheduler = self.scheduler;
        let important = |pod: &PodId| *pod != self.pod && self.cluster.spec(*pod).priority >= self.spec.priority;
        let nominated: SmallVec<[PodId; 4]> =
            scheduler.node_state(trial.node).nominated.iter().copied().filter(important).collect();
        if !nominated.is_empty() {
            nominated.iter().for_each(|&pod| self.add_pod(trial, pod));
            let rejection = self.filter(&trial.on_node());
            nominated.iter().for_each(|&pod| self.remove_pod(trial, pod));
            if rejection.is_some() {
                return rejection;
            }
        }
        self.filter(&trial.on_node())
    }

    /// Takes all suppositions back.
    pub fn end_trial(&mut self, trial: Trial) {
        trial.removed.iter().for_each(|&pod| self.shift(trial.node, pod, 1));
        trial.added.iter().for_each(|&pod| self.shift(trial.node, pod, -1));
    }
}

impl Trial {
    /// The node as supposed.
    pub fn on_node(&self) -> OnNode<'_> {
        OnNode { node: self.node, state: &self.state, removed: &self.removed, added: &self.added }
    }
}

/// How many feasible nodes are enough (C15).
fn nodes_to_find(nodes: usize) -> usize {
    if nodes < 100 {
        return nodes;
    }
    let percentage = (50 - (nodes / 125).min(45)).max(5);
    (nodes * percentage / 100).max(100)
}

/// Positions of the highest total. The real scheduler keeps the feasible nodes in a heap and takes its root, so that the winner
/// is the first in pre-order of the binary tree that the list stands for (C21); it comes first here.
fn best(totals: &[i64]) -> Vec<usize> {
    let Some(highest) = totals.iter().copied().max() else { return Vec::new() };
    let mut best: Vec<usize> = (0..totals.len()).filter(|&index| totals[index] == highest).collect();
    // The path from the root to entry i is the binary digits of i + 1 after the first.
    best.sort_by_key(|&index| {
        let number = index as u32 + 1;
        (number << number.leading_zeros(), number)
    });
    best
}

#[cfg(test)]
mod tests {
    use super::{best, nodes_to_find};

    #[test]
    fn enough_feasible_nodes() {
        // C16.
        let found = [10, 99, 100, 1000, 5000, 6000].map(nodes_to_find);
        assert_eq!(found, [10, 99, 100, 420, 500, 300]);
    }

    #[test]
    fn the_heap_puts_equals_in_pre_order() {
        assert_eq!(best(&[5, 5, 5, 5, 5]), [0, 1, 3, 4, 2]);
        assert_eq!(best(&[1, 2, 7, 3, 7]), [4, 2]);
        assert_eq!(best(&[]), [0_usize; 0]);
    }
}
