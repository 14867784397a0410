//! What the scheduler does: bindings, refusals, nominations, preemption.

use std::borrow::Cow;

use crate::cluster::{Cluster, Name, NodeId, Phase, PodId};
use crate::simulator::First;
use crate::simulator::scheduler::preemption::Nomination;
use crate::simulator::scheduler::{Evaluation, PostFilter, Scheduler};
use crate::trace::Event;

use super::event::Recorded;
use super::nodes::Nth;
use super::replay::Replay;

/// Bindings are written by goroutines of their own: as many later ones may already have been decided.
const IN_FLIGHT: usize = 6;

impl Replay<'_> {
    fn evaluate(&self, state: &Cluster, pod: PodId) -> (Evaluation, Option<PostFilter>) {
        Scheduler::new(state).evaluate(state, pod, &mut First)
    }

    /// The pod got its node.
    pub(super) fn pod_bound(&mut self, ns: &str, pod: &str, node: &str) {
        let Some(id) = self.find_pod(ns, pod) else { return };
        let Some(target) = self.find_node(node) else { return };
        if self.world.cluster.pod(id).node == Some(target) {
            return;
        }
        self.report.count("pod.bound");
        match self.binds(id, target) {
            Ok(()) => {}
            Err(model) => self.mismatch("pod.bound", pod, model, node.to_owned()),
        }
        self.world.cluster.update_pod(id, |pod| {
            pod.node = Some(target);
            pod.unschedulable = false;
        });
        self.emit(Event::PodBound(id, target));
        self.since.insert(id, self.seconds());
    }

    /// Whether the node is among the best ones at one of the states that the scheduler may have seen, its own decisions that
    /// are not written yet included.
    fn binds(&self, pod: PodId, node: NodeId) -> Result<(), String> {
        let in_flight = self.in_flight(pod);
        let mut first = None;
        let behind = self.behind_on_nodes();
        let states = self.states().chain(behind.iter());
        for state in states.filter(|state| pod.index() < state.pods().len()) {
            for view in views(state, pod, &in_flight) {
                let (evaluation, _) = self.evaluate(&view, pod);
                if best(&evaluation).any(|best| best == node) {
                    return Ok(());
                }
                if first.is_none() {
                    let names: Vec<Name> = best(&evaluation).map(|id| self.world.cluster.node(id).name()).collect();
                    let message = evaluation.message(view.spec(pod));
                    first = Some(if names.is_empty() { message } else { format!("{names:?}") });
                }
            }
        }
        Err(first.unwrap_or_default())
    }

    /// Nodes and pods come by watches of their own: the scheduler may know of a pod and not yet of a cordon before it.
    fn behind_on_nodes(&self) -> Vec<Cluster> {
        let now = &self.world.cluster;
        let mark = |node: &crate::cluster::Node| (node.unschedulable, node.taints.clone());
        let differs = |old: &&Cluster| {
            old.nodes().len() == now.nodes().len()
                && old.nodes().any(|(id, node)| !node.gone && mark(node) != mark(now.node(id)))
        };
        let seen = |old: &Cluster| {
            let mut seen = now.clone();
            for (id, node) in old.nodes() {
                let (unschedulable, taints) = mark(node);
                seen.update_node(id, |node| {
                    node.unschedulable = unschedulable;
                    node.taints = taints;
                });
            }
            seen
        };
        self.states().filter(differs).map(seen).collect()
    }

    /// Pods without a node that are bound next, with their nodes.
    fn in_flight(&self, pod: PodId) -> Vec<(PodId, NodeId)> {
        let soon = self.lines[self.at + 1..].iter().take_while(|line| line.t < self.seconds() + 0.5);
        let bound = soon.filter_map(|line| match &line.event {
            Recorded::PodBound { ns, pod, node } => {
                let id = *self.pods.get(&(Name::new(ns), Name::new(pod)))?;
                Some((id, self.world.cluster.find_node(Name::new(node))?))
            }
            _ => None,
        });
        bound
            .filter(|&(other, _)| other != pod && self.world.cluster.pod(other).node.is_none())
            .take(IN_FLIGHT)
            .collect()
    }

    /// The scheduler found no node.
    pub(super) fn pod_unschedulable(&mut self, ns: &str, pod: &str, message: &str) {
        let Some(id) = self.find_pod(ns, pod) else { return };
        self.report.count("pod.unschedulable");
        let in_flight = self.in_flight(id);
        let mut seen: Vec<String> = Vec::new();
        let states = self.states().filter(|state| id.index() < state.pods().len());
        let found = states.flat_map(|state| views(state, id, &in_flight)).any(|view| {
            let texts = self.refusals(&view, id);
            let found = texts.iter().any(|text| text == message);
            if seen.len() < 3 {
                seen.extend(texts);
            }
            found
        });
        if !found {
            seen.dedup();
            self.mismatch("pod.unschedulable", pod, seen.join(" or "), message.to_owned());
        }
        self.world.cluster.update_pod(id, |pod| pod.unschedulable = true);
        self.emit(Event::PodUnschedulable(id, Name::new(message)));
    }

    /// What the scheduler may write on a pod that fits nowhere; which of several equal nodes it names is open.
    fn refusals(&self, view: &Cluster, pod: PodId) -> Vec<String> {
        let mut texts = Vec::new();
        for choice in 0.. {
            let (evaluation, found) = Scheduler::new(view).evaluate(view, pod, &mut Nth(choice));
            if !evaluation.feasible.is_empty() {
                return vec!["a node fits".to_owned()];
            }
            let own = evaluation.message(view.spec(pod));
            let (added, ties) = found.map_or((String::new(), 0), |found| (found.message, found.best.len()));
            texts.push(format!("{own} {added}").trim_end().to_owned());
            if choice + 1 >= ties {
                break;
            }
        }
        texts
    }

    /// `status.nominatedNodeName` changed.
    pub(super) fn pod_nominated(&mut self, ns: &str, pod: &str, node: &str) {
        let Some(id) = self.find_pod(ns, pod) else { return };
        self.report.count("pod.nominated");
        let target = if node.is_empty() { None } else { self.find_node(node) };
        if let Some(target) = target {
            let knows = |state: &&Cluster| id.index() < state.pods().len();
            let nominates = |state: &Cluster| {
                let (_, found) = self.evaluate(state, id);
                found.is_some_and(|found| {
                    found.nomination == Nomination::Node(target)
                        || found.best.iter().any(|&best| found.candidates[best].node == target)
                })
            };
            if !self.states().filter(knows).any(nominates) {
                self.mismatch("pod.nominated", pod, "another node or none".to_owned(), node.to_owned());
            }
        }
        self.world.cluster.update_pod(id, |pod| pod.nominated = target);
        self.emit(Event::PodNominated(id, target));
    }

    /// Whether a pod is a victim of some pod that waits, at one of the states.
    pub(super) fn may_preempt(&self, victim: PodId) -> bool {
        let waiting: Vec<PodId> = self
            .pods
            .values()
            .copied()
            .filter(|&pod| self.world.cluster.pod(pod).node.is_none() && self.world.cluster.pod(pod).is_active())
            .collect();
        // Start times have seconds: which of equal pods that started in the same one is taken, is open.
        let second = |pod: PodId| self.world.cluster.pod(pod).started.map(|time| time.0.div_euclid(1000));
        let alike = |other: &PodId| {
            let (a, b) = (self.world.cluster.pod(victim), self.world.cluster.pod(*other));
            victim == *other || a.spec == b.spec && a.node == b.node && second(victim) == second(*other)
        };
        self.states().any(|state| {
            waiting.iter().filter(|pod| pod.index() < state.pods().len()).any(|&pod| {
                let (_, post_filter) = self.evaluate(state, pod);
                post_filter.is_some_and(|found| {
                    found.victims.iter().any(alike)
                        || found.best.iter().any(|&best| found.candidates[best].victims.iter().any(alike))
                })
            })
        })
    }

    /// Pods that wait although the model finds a node for them, at the end.
    pub(super) fn unscheduled(&self) -> Vec<String> {
        let cluster = &self.world.cluster;
        let waiting = self.pods.values().copied().filter(|&pod| {
            let object = cluster.pod(pod);
            object.node.is_none() && object.is_active() && !cluster.spec(pod).gated
        });
        let finds = |pod: &PodId| best(&self.evaluate(cluster, *pod).0).next().is_some();
        waiting.filter(finds).map(|pod| format!("{} is bound", cluster.pod_key(pod))).collect()
    }
}

/// What the scheduler may have known of its own decisions at a state: those that are written; those of the pods that stood
/// before this one in the queue, written or not; any that are written later.
fn views<'s>(
    state: &'s Cluster,
    pod: PodId,
    in_flight: &'s [(PodId, NodeId)],
) -> impl Iterator<Item = Cow<'s, Cluster>> {
    let assume = move |chosen: &[(PodId, NodeId)]| {
        let mut assumed = state.clone();
        for &(other, node) in chosen {
            if other.index() < assumed.pods().len() {
                assumed.update_pod(other, |pod| pod.node = Some(node));
            }
        }
        assumed
    };
    let in_order = move || {
        let before: Vec<_> = in_flight.iter().copied().filter(|entry| entry.0 < pod).collect();
        let mut assumed = assume(&before);
        let later: Vec<PodId> = state
            .pods()
            .skip(pod.index() + 1)
            .filter(|(_, other)| !other.gone && other.node.is_some() && other.phase == Phase::Pending)
            .map(|(id, _)| id)
            .collect();
        for other in later {
            assumed.update_pod(other, |pod| pod.node = None);
        }
        assumed
    };
    let subsets = subsets(in_flight).into_iter().skip(1).map(move |chosen| Cow::Owned(assume(&chosen)));
    std::iter::once(Cow::Borrowed(state)).chain(std::iter::once_with(move || Cow::Owned(in_order()))).chain(subsets)
}

fn best(evaluation: &Evaluation) -> impl Iterator<Item = NodeId> + '_ {
    evaluation.best.iter().map(|&position| evaluation.feasible[position])
}

/// All subsets, small ones first.
fn subsets(all: &[(PodId, NodeId)]) -> Vec<Vec<(PodId, NodeId)>> {
    let mut subsets: Vec<Vec<(PodId, NodeId)>> = (0..1_u32 << all.len())
        .map(|mask| all.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, entry)| *entry).collect())
        .collect();
    subsets.sort_by_key(Vec::len);
    subsets
}
