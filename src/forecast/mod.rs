//! What many walks say together: verdict, lowest ready counts, blocked pods, duration, placement.

mod blocked;
pub mod placement;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, Millis, Name, NodeOutcome, ObjectKey, Time};
use crate::explore::{End, Setup};
use crate::judge::{Class, Floors, Limits, Violation};
use crate::upgrade::Outcome;

pub use placement::{Load, Skew};
pub use watch::{Low, NodeRun, Observed, observe};

/// The answer to "will it stay non-disruptive?".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No rule is broken in any walk, and every walk finishes.
    NonDisruptive,
    /// Some walk does not finish, or the engine refuses to start.
    Blocked,
    /// A rule about the applications is broken in some walk.
    Disruptive,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::NonDisruptive => "non-disruptive",
            Verdict::Blocked => "blocked",
            Verdict::Disruptive => "disruptive",
        })
    }
}

/// A rule that is broken for an object in some of the walks.
#[derive(Clone, Debug)]
pub struct Broken {
    /// In how many walks.
    pub walks: usize,
    /// The first of them.
    pub seed: u64,
    /// How it is broken there.
    pub violation: Violation,
    /// Name of the node whose turn it was.
    pub node: Option<Name>,
}

/// What a workload or Service has to fear.
#[derive(Clone, Debug)]
pub struct Availability {
    /// The object.
    pub key: ObjectKey,
    /// `spec.replicas` of a workload, ready endpoints of a Service at the start.
    pub desired: u32,
    /// Ready at the start.
    pub ready: u32,
    /// What it must not fall under; `None`: nothing is asked of it.
    pub floor: Option<u32>,
    /// It stands under its floor before the start.
    pub degraded_before: bool,
    /// Lowest count of all walks.
    pub lowest: u32,
    /// Where the lowest count was reached first: time since the start, node whose turn it was.
    pub at: Option<(Millis, Option<Name>)>,
    /// Services: the most milliseconds of requests at risk in one walk.
    pub at_risk_millis: i64,
    /// Services: the most evictions of pods behind it in one walk.
    pub evictions: u32,
}

/// What happens to a node.
#[derive(Clone, Debug, Default)]
pub struct NodeForecast {
    /// Name.
    pub name: Name,
    /// Earliest position in the order of any walk; 0: never taken in hand.
    pub order: usize,
    /// In how many walks it was upgraded and put back in service.
    pub done: usize,
    /// In how many walks its drain could not finish.
    pub blocked: usize,
    /// Pods that were left by its drain in some walk, with the reason in the first of them.
    pub blocked_pods: BTreeMap<ObjectKey, String>,
    /// Workloads with a pod that found no node while this one was out, with the scheduler's words.
    pub unplaced: BTreeMap<ObjectKey, Name>,
    /// Time from the first action to the last, a value a walk, sorted.
    pub lengths: Vec<Millis>,
    /// Load at the start.
    pub before: Load,
    /// Most in any walk at any time.
    pub peak: Load,
    /// Loads at the end, a value a walk.
    pub after: Vec<Load>,
}

/// What many walks say.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// Number of walks.
    pub walks: usize,
    /// Seed of the first; the others follow it.
    pub seed: u64,
    /// Start in virtual time.
    pub start: Time,
    /// Worst over all walks.
    pub verdict: Verdict,
    /// Every walk upgrades every node of the goal and puts it back in service.
    pub completes: bool,
    /// Broken rules by code and object.
    pub broken: Vec<Broken>,
    /// Workloads by key.
    pub workloads: Vec<Availability>,
    /// Services by key.
    pub services: Vec<Availability>,
    /// Nodes in the order of their turns, then by name.
    pub nodes: Vec<NodeForecast>,
    /// Duration of the run, a value a walk, sorted.
    pub lengths: Vec<Millis>,
    /// Accepted evictions, a value a walk, sorted.
    pub evictions: Vec<u32>,
    /// Pods that an upgrade can move, at the start.
    pub movable_pods: usize,
    /// Pods that have no node at the end of some walk.
    pub pending: BTreeSet<ObjectKey>,
    /// Why the engine stopped or waits without end, in the first walk where it does.
    pub reasons: Vec<String>,
    /// Seed of the worst walk.
    pub worst_seed: u64,
}

/// Walks many times, in parallel, and puts together what the walks show. `done` is told after each walk.
pub fn forecast(setup: &Setup, limits: &Limits, seed: u64, walks: usize, done: &(dyn Fn() + Sync)) -> Forecast {
    let observed: Vec<Observed> = (0..walks.max(1) as u64)
        .into_par_iter()
        .map(|number| {
            let observed = observe(setup, limits, seed.wrapping_add(number));
            done();
            observed
        })
        .collect();
    fold(setup, limits, seed, &observed)
}

/// Whether a walk finished the upgrade: the engine says done and put no node back.
fn completes(observed: &Observed) -> bool {
    matches!(observed.end, End::Ended(Outcome::Done, _))
        && observed.nodes.values().all(|run| run.outcome != Some(NodeOutcome::Blocked))
}

fn verdict_of(observed: &Observed) -> Verdict {
    let worst = observed.violations.iter().map(|violation| violation.class).max();
    match worst {
        Some(Class::Disruptive | Class::Engine) => Verdict::Disruptive,
        Some(Class::Blocked) => Verdict::Blocked,
        None if completes(observed) => Verdict::NonDisruptive,
        None => Verdict::Blocked,
    }
}

fn fold(setup: &Setup, limits: &Limits, seed: u64, observed: &[Observed]) -> Forecast {
    let cluster = &setup.cluster;
    let floors = Floors::of(cluster, limits);
    let mut lengths: Vec<Millis> = observed.iter().map(|walk| walk.length).collect();
    let mut evictions: Vec<u32> = observed.iter().map(|walk| walk.evictions).collect();
    lengths.sort_unstable();
    evictions.sort_unstable();
    let verdict = observed.iter().map(verdict_of).max().unwrap_or(Verdict::NonDisruptive);
    let worst =
        observed.iter().max_by_key(|walk| (verdict_of(walk), walk.violations.len(), std::cmp::Reverse(walk.seed)));
    let stopped = observed.iter().find(|walk| !walk.reasons.is_empty());
    Forecast {
        walks: observed.len(),
        seed,
        start: setup.start,
        verdict,
        completes: observed.iter().all(completes),
        broken: fold_broken(cluster, observed),
        workloads: fold_workloads(setup, &floors, observed),
        services: fold_services(setup, &floors, observed),
        nodes: fold_nodes(cluster, observed),
        lengths,
        evictions,
        movable_pods: cluster
            .pods()
            .filter(|(_, pod)| pod.is_active() && pod.node.is_some() && placement::is_movable(cluster, pod))
            .count(),
        pending: observed.iter().flat_map(|walk| walk.pending.iter().copied()).collect(),
        reasons: stopped.map(|walk| walk.reasons.clone()).unwrap_or_default(),
        worst_seed: worst.map_or(seed, |walk| walk.seed),
    }
}

fn fold_broken(cluster: &Cluster, observed: &[Observed]) -> Vec<Broken> {
    let mut all: BTreeMap<(&'static str, ObjectKey), Broken> = BTreeMap::new();
    for walk in observed {
        let mut seen = BTreeSet::new();
        for violation in &walk.violations {
            let key = (violation.code, violation.object);
            let first = seen.insert(key);
            all.entry(key).and_modify(|broken| broken.walks += usize::from(first)).or_insert_with(|| Broken {
                walks: 1,
                seed: walk.seed,
                node: violation.node.map(|node| cluster.node(node).name()),
                violation: violation.clone(),
            });
        }
    }
    let mut broken: Vec<Broken> = all.into_values().collect();
    broken.sort_by_key(|broken| (std::cmp::Reverse(broken.violation.class), broken.violation.at));
    broken
}

/// The lowest of all walks, and where it was reached first.
fn lowest(setup: &Setup, lows: impl Iterator<Item = Low>) -> (u32, Option<(Millis, Option<Name>)>) {
    let low = lows.min_by_key(|low| (low.count, low.at.map(|at| at.0)));
    let low = low.unwrap_or(Low { count: 0, at: None });
    (low.count, low.at.map(|(at, turn)| (at - setup.start, turn)))
}

fn fold_workloads(setup: &Setup, floors: &Floors, observed: &[Observed]) -> Vec<Availability> {
    let cluster = &setup.cluster;
    let all = watch::top_workloads(cluster).filter(|&id| {
        let workload = cluster.workload(id);
        workload.as_daemon_set().is_none() && (workload.replicas > 0 || cluster.ready_pods(id) > 0)
    });
    let mut all: Vec<Availability> = all
        .map(|id| {
            let workload = cluster.workload(id);
            let (lowest, at) = lowest(setup, observed.iter().map(|walk| walk.workloads[id.index()]));
            let floor = floors.workload(id);
            let ready = cluster.ready_pods(id);
            Availability {
                key: workload.key,
                desired: u32::try_from(workload.replicas).unwrap_or(0),
                ready,
                floor,
                degraded_before: floor.is_some_and(|floor| ready < floor),
                lowest,
                at,
                at_risk_millis: 0,
                evictions: 0,
            }
        })
        .collect();
    all.sort_by_key(|item| item.key);
    all
}

fn fold_services(setup: &Setup, floors: &Floors, observed: &[Observed]) -> Vec<Availability> {
    let cluster = &setup.cluster;
    let mut all: Vec<Availability> = watch::selecting_services(cluster)
        .map(|id| {
            let (lowest, at) = lowest(setup, observed.iter().map(|walk| walk.services[id.index()]));
            let floor = floors.service(id);
            let ready = cluster.ready_endpoints(id);
            let risks = observed.iter().map(|walk| walk.risks[id.index()]);
            Availability {
                key: cluster.service_key(id),
                desired: ready,
                ready,
                floor,
                degraded_before: floor.is_some_and(|floor| ready < floor),
                lowest,
                at,
                at_risk_millis: risks.clone().map(|risk| risk.0).max().unwrap_or(0),
                evictions: risks.map(|risk| risk.1).max().unwrap_or(0),
            }
        })
        .collect();
    all.sort_by_key(|item| item.key);
    all
}

fn fold_nodes(cluster: &Cluster, observed: &[Observed]) -> Vec<NodeForecast> {
    let mut all: BTreeMap<Name, NodeForecast> = BTreeMap::new();
    for (id, node) in cluster.nodes().filter(|(_, node)| !node.gone) {
        let mut forecast = NodeForecast { name: node.name(), ..NodeForecast::default() };
        forecast.before = Load::of_node(cluster, id);
        for walk in observed {
            forecast.peak.raise_to(walk.peaks[id.index()]);
        }
        all.insert(node.name(), forecast);
    }
    for walk in observed {
        for (&name, load) in walk.placement.iter().map(|(name, load)| (name, load)) {
            if let Some(forecast) = all.get_mut(&name) {
                forecast.after.push(*load);
            }
        }
        for (&name, run) in &walk.nodes {
            let Some(forecast) = all.get_mut(&name) else { continue };
            if run.order > 0 && (forecast.order == 0 || run.order < forecast.order) {
                forecast.order = run.order;
            }
            forecast.done += usize::from(run.outcome == Some(NodeOutcome::Done));
            forecast.blocked += usize::from(!run.blocked.is_empty());
            forecast.lengths.extend(run.length);
            for (pod, reason) in &run.blocked {
                forecast.blocked_pods.entry(*pod).or_insert_with(|| reason.clone());
            }
            for (&workload, &message) in &run.unplaced {
                forecast.unplaced.entry(workload).or_insert(message);
            }
        }
    }
    let mut nodes: Vec<NodeForecast> = all.into_values().collect();
    nodes.iter_mut().for_each(|node| node.lengths.sort_unstable());
    nodes.sort_by_key(|node| (if node.order == 0 { usize::MAX } else { node.order }, node.name));
    nodes
}

/// The value that this share of the sorted values does not exceed; `None` without values.
pub fn quantile<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((share * last as f64).ceil() as usize).copied()
}
