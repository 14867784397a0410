//! DefaultPreemption (KUBERNETES.md C.7), the last resort of a pod that fits nowhere.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::cluster::{BudgetId, Cluster, DisruptionReason, NodeId, PodId, Time};
use crate::simulator::{Choice, World};
use crate::trace::Event;

use super::cycle::{Cycle, Trial};
use super::{Chooser, Code, Evaluation, PreFilter, Rejection, Scheduler, minor};

/// A node is not looked at for victims, or has none.
const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// What PostFilter decided.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PostFilter {
    /// What becomes of the pod's nomination.
    pub nomination: Nomination,
    /// The pods to be deleted, most important first; those already terminating included.
    pub victims: Vec<PodId>,
    /// What it adds to the message.
    pub message: String,
    /// Nodes where deleting pods would make room, in the order they were tried.
    pub candidates: Vec<Candidate>,
    /// Positions in `candidates` of those that no criterion sets apart from the one taken.
    pub best: Vec<usize>,
    /// Nodes that were tried in vain.
    pub unhelpful: Vec<(NodeId, Unhelpful)>,
}

/// What becomes of a nomination.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Nomination {
    /// It stays as it is, there or not.
    #[default]
    Unchanged,
    /// It is taken back.
    Cleared,
    /// The pod hopes for this node.
    Node(NodeId),
}

/// A node where deleting pods would make room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// The pods that would be deleted, most important first.
    pub victims: Vec<PodId>,
    /// How many of them a budget protects.
    pub violations: usize,
}

/// Why deleting pods of a node does not help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unhelpful {
    /// It has no pod of lower priority.
    NoVictims,
    /// The pod does not fit even without all pods of lower priority.
    Rejected(Rejection),
}

/// Looks for a node where removing pods of lower priority makes room.
pub fn post_filter(cycle: &mut Cycle<'_>, evaluation: &Evaluation, chooser: &mut dyn Chooser) -> PostFilter {
    let minor = minor(cycle.cluster);
    // The plugin of dynamic resource allocation runs first. It has nothing to say, but stops everything when PreFilter did not
    // come as far as its own.
    // Up to 1.36 it says so (recorded).
    let first = if (34..=36).contains(&minor) { "no new claims to deallocate, " } else { "" };
    if minor >= 34 && matches!(evaluation.prefilter, Some(PreFilter::Rejected(_))) {
        return PostFilter { message: "not found".to_owned(), ..PostFilter::default() };
    }
    if let Some(why) = ineligible(cycle, evaluation) {
        return PostFilter { message: format!("{first}preemption: {why}"), ..PostFilter::default() };
    }
    let mut result = dry_run(cycle, evaluation, chooser);
    if result.candidates.is_empty() {
        result.nomination = Nomination::Cleared;
        result.message = format!("{first}preemption: {}", explain(cycle, evaluation, &result.unhelpful));
        return result;
    }
    result.best = best(cycle.cluster, &result.candidates);
    let among = result.best.len();
    let taken = result.best[if among == 1 { 0 } else { chooser.pick(Choice::PreemptionTie, among) }];
    result.nomination = Nomination::Node(result.candidates[taken].node);
    result.victims = result.candidates[taken].victims.clone();
    if minor >= 37 {
        let node = cycle.cluster.node(result.candidates[taken].node).name();
        let victims = result.victims.len();
        result.message =
            format!("preemption: found a potential placement for pod on node {node}, preempting {victims} victims");
    }
    result
}

/// C.7 item 1.
fn ineligible(cycle: &Cycle<'_>, evaluation: &Evaluation) -> Option<&'static str> {
    let cluster = cycle.cluster;
    if cycle.spec.never_preempts {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let nominated = cluster.pod(cycle.pod).nominated.filter(|&node| !cluster.node(node).gone)?;
    if evaluation.rejection(nominated).is_none_or(|rejection| rejection.code == Code::Unresolvable) {
        return None;
    }
    let makes_room = |&other: &PodId| {
        let pod = cluster.pod(other);
        cluster.spec(other).priority < cycle.spec.priority
            && !pod.is_terminal()
            && pod.is_terminating()
            && pod.disruption_target.is_some_and(|(reason, _)| reason == DisruptionReason::PreemptionByScheduler)
    };
    let waits = cluster.pods_of_node(nominated).iter().any(makes_room);
    waits.then_some("not eligible due to a terminating pod on the nominated node.")
}

/// C.7 items 2 to 5.
fn dry_run(cycle: &mut Cycle<'_>, evaluation: &Evaluation, chooser: &mut dyn Chooser) -> PostFilter {
    let mut result = PostFilter::default();
    let helpful = |entry: &&(NodeId, Rejection)| entry.1.code == Code::Unschedulable;
    let nodes: Vec<NodeId> = match evaluation.prefilter {
        Some(PreFilter::Rejected(rejection)) if rejection.code == Code::Unschedulable => {
            cycle.scheduler.node_order().to_vec()
        }
        Some(PreFilter::Rejected(_)) => Vec::new(),
        Some(PreFilter::Narrowed { .. }) | None => {
            evaluation.rejected.iter().filter(helpful).map(|entry| entry.0).collect()
        }
    };
    let enough = nodes.len().min((nodes.len() / 10).max(100));
    // Where the search begins matters only if it may stop before the end.
    let offset = if enough < nodes.len() { chooser.pick(Choice::PreemptionTie, nodes.len()) } else { 0 };
    let mut harmless = false;
    for index in 0..nodes.len() {
        let node = nodes[(offset + index) % nodes.len()];
        match victims_on(cycle, node) {
            Ok(candidate) => {
                harmless |= candidate.violations == 0;
                result.candidates.push(candidate);
                if harmless && result.candidates.len() >= enough {
                    break;
                }
            }
            Err(why) => result.unhelpful.push((node, why)),
        }
    }
    result
}

/// C.7 items 4 and 5: all pods of lower priority are thought away, then spared one by one, the most important first, those that
/// a budget protects before the others.
fn victims_on(cycle: &mut Cycle<'_>, node: NodeId) -> Result<Candidate, Unhelpful> {
    let cluster = cycle.cluster;
    let priority = cycle.spec.priority;
    let lower = |&pod: &PodId| cluster.spec(pod).priority < priority && !cluster.pod(pod).is_terminal();
    let mut potential: Vec<PodId> = cluster.pods_of_node(node).iter().copied().filter(lower).collect();
    if potential.is_empty() {
        return Err(Unhelpful::NoVictims);
    }
    let mut trial = cycle.begin_trial(node);
    for &pod in &potential {
        cycle.remove_pod(&mut trial, pod);
    }
    if let Some(rejection) = cycle.filter_trial(&mut trial) {
        cycle.end_trial(trial);
        return Err(Unhelpful::Rejected(rejection));
    }
    potential.sort_by_key(|&pod| importance(cluster, pod));
    let (protected, others) = split_by_budgets(cluster, potential);
    let mut victims = Vec::new();
    spare(cycle, &mut trial, &protected, &mut victims);
    let violations = victims.len();
    spare(cycle, &mut trial, &others, &mut victims);
    cycle.end_trial(trial);
    victims.sort_by_key(|&pod| importance(cluster, pod));
    Ok(Candidate { node, victims, violations })
}

/// Puts pods back as long as the incoming one still fits.
fn spare(cycle: &mut Cycle<'_>, trial: &mut Trial, pods: &[PodId], victims: &mut Vec<PodId>) {
    for &pod in pods {
        cycle.add_pod(trial, pod);
        if cycle.filter_trial(trial).is_some() {
            cycle.remove_pod(trial, pod);
            victims.push(pod);
        }
    }
}

/// The smaller, the more important: higher priority, then earlier start. A pod that has not started counts as starting now.
fn importance(cluster: &Cluster, pod: PodId) -> (Reverse<i32>, Time) {
    (Reverse(cluster.spec(pod).priority), started(cluster, pod))
}

/// Times of the API have seconds.
fn started(cluster: &Cluster, pod: PodId) -> Time {
    cluster.pod(pod).started.map_or(Time(i64::MAX), |time| Time(time.0.div_euclid(1000) * 1000))
}

/// C.7 item 5: pods whose deletion a budget does not allow, and the others, both in the given order.
fn split_by_budgets(cluster: &Cluster, pods: Vec<PodId>) -> (Vec<PodId>, Vec<PodId>) {
    let mut left: BTreeMap<BudgetId, i32> = BTreeMap::new();
    pods.into_iter().partition(|&pod| {
        let mut violated = false;
        if cluster.spec(pod).labels.is_empty() {
            return false;
        }
        let name = cluster.pod(pod).name;
        for &id in cluster.budgets_of_pod(pod) {
            let budget = cluster.budget(id);
            let selects = budget.selector.as_ref().is_some_and(|selector| !selector.is_empty());
            if !selects
                || !budget.selector_error.is_empty()
                || budget.status.disrupted.iter().any(|entry| entry.0 == name)
            {
                continue;
            }
            let left = left.entry(id).or_insert(budget.status.disruptions_allowed);
            *left -= 1;
            violated |= *left < 0;
        }
        violated
    })
}

/// C.7 item 6: positions of the best candidates.
fn best(cluster: &Cluster, candidates: &[Candidate]) -> Vec<usize> {
    let priority = |pod: PodId| i64::from(cluster.spec(pod).priority);
    let key = |candidate: &Candidate| {
        let victims = &candidate.victims;
        let highest = victims.iter().map(|&pod| priority(pod)).max().unwrap_or(i64::MIN);
        let sum: i64 = victims.iter().map(|&pod| priority(pod) + (1 << 31)).sum();
        let most_important = victims.iter().filter(|&&pod| priority(pod) == highest);
        let earliest = most_important.map(|&pod| started(cluster, pod)).min();
        (candidate.violations, highest, sum, victims.len(), Reverse(earliest))
    };
    let Some(least) = candidates.iter().map(key).min() else { return Vec::new() };
    (0..candidates.len()).filter(|&index| key(&candidates[index]) == least).collect()
}

/// C35: why no node can be made free.
fn explain(cycle: &Cycle<'_>, evaluation: &Evaluation, unhelpful: &[(NodeId, Unhelpful)]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut count = |reason: &str, number: usize| *counts.entry(reason.to_owned()).or_default() += number;
    for (_, why) in unhelpful {
        match why {
            Unhelpful::NoVictims => count(NO_VICTIMS, 1),
            Unhelpful::Rejected(rejection) => {
                rejection.reasons(cycle.spec).iter().for_each(|reason| count(reason, 1));
            }
        }
    }
    let others = evaluation.all_nodes - unhelpful.len();
    if others > 0 {
        count(NOT_HELPFUL, others);
    }
    let mut reasons: Vec<String> = counts.into_iter().map(|(reason, number)| format!("{number} {reason}")).collect();
    reasons.sort();
    format!("0/{} nodes are available: {}.", evaluation.all_nodes, reasons.join(", "))
}

/// Carries out what PostFilter decided (C.7 items 7 and 8): the nomination, and the deletion of the victims with their own grace
/// period, whatever their budgets say.
pub fn carry_out(world: &mut World, pod: PodId, decided: &PostFilter, chooser: &mut dyn Chooser) {
    match decided.nomination {
        Nomination::Unchanged => {}
        Nomination::Cleared => nominate(world, pod, None, chooser),
        Nomination::Node(node) => {
            let superseded = superseded(&world.cluster, &world.scheduler, pod, decided);
            nominate(world, pod, Some(node), chooser);
            for &victim in &decided.victims {
                if world.cluster.pod(victim).deletion.is_none() {
                    world.mark_disrupted(victim, DisruptionReason::PreemptionByScheduler, chooser);
                    world.delete_pod(victim, None, chooser);
                }
            }
            for other in superseded {
                nominate(world, other, None, chooser);
            }
        }
    }
}

/// Pods of lower priority that had hoped for the node and lose their nomination. With asynchronous preemption, they keep it if all
/// victims are on their way out already: then there is nothing to do, and nothing is done.
pub fn superseded(cluster: &Cluster, scheduler: &Scheduler, pod: PodId, decided: &PostFilter) -> Vec<PodId> {
    let Nomination::Node(node) = decided.nomination else { return Vec::new() };
    let idle = decided.victims.iter().all(|&victim| cluster.pod(victim).deletion.is_some());
    if idle && minor(cluster) >= 33 {
        return Vec::new();
    }
    let priority = cluster.spec(pod).priority;
    let hopeful = scheduler.node_state(node).nominated.iter().copied();
    hopeful.filter(|&other| other != pod && cluster.spec(other).priority < priority).collect()
}

fn nominate(world: &mut World, pod: PodId, node: Option<NodeId>, chooser: &mut dyn Chooser) {
    if world.cluster.pod(pod).nominated != node {
        world.cluster.update_pod(pod, |pod| pod.nominated = node);
        world.emit(Event::PodNominated(pod, node), chooser);
    }
}
