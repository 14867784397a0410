//! What one walk shows.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Cluster, Millis, Name, NodeId, NodeOutcome, ObjectKey, PodId, ServiceId, Time, WorkloadId};
use crate::explore::{End, Setup, walk};
use crate::judge::{Judge, Limits, Violation};
use crate::simulator::World;
use crate::trace::{Event, Record};
use crate::upgrade::{Action, Outcome};

use super::blocked;
use super::placement::{self, Load};

/// The lowest count of something and where it was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Low {
    /// The count.
    pub count: u32,
    /// When, and on whose turn; `None`: it never fell below where it started.
    pub at: Option<(Time, Option<Name>)>,
}

/// How a node fared.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeRun {
    /// Position among the nodes that were taken in hand, from 1.
    pub order: usize,
    /// How long it took from the first action to the last.
    pub length: Option<Millis>,
    /// How the run ended for it; `None`: it did not end.
    pub outcome: Option<NodeOutcome>,
    /// Pods that its drain left: (pod, reason).
    pub blocked: BTreeMap<ObjectKey, String>,
    /// Workloads that had a pod without a node while this one was out, with what the scheduler said.
    pub unplaced: BTreeMap<ObjectKey, Name>,
}

/// What one walk shows.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Its seed.
    pub seed: u64,
    /// How it ended.
    pub end: End,
    /// Time from the start until the engine ended.
    pub length: Millis,
    /// Rules that were broken.
    pub violations: Vec<Violation>,
    /// Lowest ready count of every workload, by id.
    pub workloads: Vec<Low>,
    /// Lowest ready endpoints of every Service, by id.
    pub services: Vec<Low>,
    /// Milliseconds at risk and evictions of every Service, by id.
    pub risks: Vec<(i64, u32)>,
    /// Nodes that were taken in hand, by name.
    pub nodes: BTreeMap<Name, NodeRun>,
    /// Evictions that were accepted.
    pub evictions: u32,
    /// Loads at the end, by node.
    pub placement: Vec<(Name, Load)>,
    /// The most that each node of the start had to carry, by id.
    pub peaks: Vec<Load>,
    /// Pods without a node at the end.
    pub pending: BTreeSet<ObjectKey>,
    /// Reasons with which the engine stopped or is stuck, in words.
    pub reasons: Vec<String>,
}

/// Walks once and watches.
pub fn observe(setup: &Setup, limits: &Limits, seed: u64) -> Observed {
    let cluster = &setup.cluster;
    let mut judge = Judge::new(cluster, limits.clone());
    let mut watch = Watch::new(cluster);
    let walk = walk(setup, seed, &mut |record, world| {
        judge.observe(record, &world.cluster);
        watch.observe(record, world);
    });
    let world = &walk.world;
    let ended = match &walk.end {
        End::Ended(_, at) => *at,
        End::Stuck | End::Endless => world.now,
    };
    let mut nodes = watch.nodes;
    if matches!(walk.end, End::Stuck | End::Endless) {
        blocked::name_what_stopped(world, &mut nodes);
    }
    let pods = world.cluster.pods();
    let pending =
        pods.filter(|(_, pod)| pod.is_active() && pod.node.is_none()).map(|(id, _)| world.cluster.pod_key(id));
    Observed {
        seed,
        length: ended - setup.start,
        violations: judge.finish(world.now, &world.cluster, matches!(walk.end, End::Ended(Outcome::Done, _))),
        workloads: watch.workloads,
        services: watch.services,
        risks: watch.risks,
        nodes,
        evictions: watch.evictions,
        placement: placement::loads(&world.cluster),
        peaks: watch.peaks,
        pending: pending.collect(),
        reasons: blocked::reasons(world),
        end: walk.end,
    }
}

struct Watch {
    workloads: Vec<Low>,
    services: Vec<Low>,
    risks: Vec<(i64, u32)>,
    nodes: BTreeMap<Name, NodeRun>,
    started: BTreeMap<NodeId, Time>,
    evictions: u32,
    loads: Vec<Load>,
    peaks: Vec<Load>,
}

impl Watch {
    fn new(cluster: &Cluster) -> Watch {
        let loads: Vec<Load> = cluster.nodes().map(|(id, _)| Load::of_node(cluster, id)).collect();
        Watch {
            workloads: cluster.workloads().map(|(id, _)| Low { count: cluster.ready_pods(id), at: None }).collect(),
            services: cluster.services().map(|(id, _)| Low { count: cluster.ready_endpoints(id), at: None }).collect(),
            risks: vec![(0, 0); cluster.services().len()],
            nodes: BTreeMap::new(),
            started: BTreeMap::new(),
            evictions: 0,
            peaks: loads.clone(),
            loads,
        }
    }

    fn observe(&mut self, record: &Record, world: &World) {
        let cluster = &world.cluster;
        match record.event {
            Event::PodDeleting(pod) | Event::PodNotReady(pod) | Event::PodSucceeded(pod) | Event::PodFailed(pod) => {
                self.count_ready(record.at, pod, cluster);
            }
            Event::PodGone(pod) => {
                self.count_ready(record.at, pod, cluster);
                self.reload(pod, cluster);
            }
            Event::PodBound(pod, _) => self.reload(pod, cluster),
            Event::PodUnschedulable(pod, message) => self.note_unplaced(pod, message, cluster),
            Event::Evict { pod, code: 200 | 201, .. } => {
                self.evictions += 1;
                for service in cluster.services_of_pod(pod) {
                    if let Some(risk) = self.risks.get_mut(service.index()) {
                        risk.1 += 1;
                    }
                }
            }
            Event::RequestsAtRisk { service, millis, .. } => {
                if let Some(risk) = self.risks.get_mut(service.index()) {
                    risk.0 += millis;
                }
            }
            Event::Acted(Action::Begin(node)) => {
                let order = self.nodes.len() + 1;
                self.started.entry(node).or_insert(record.at);
                self.nodes.entry(cluster.node(node).name()).or_insert_with(|| NodeRun { order, ..NodeRun::default() });
            }
            Event::NodeEnded(node, outcome) => self.node_ended(record.at, node, outcome, world),
            // Now, not when the world has come to rest: what held the run may be gone by then.
            Event::RunEnded { done: false } => blocked::name_what_stopped(world, &mut self.nodes),
            _ => {}
        }
    }

    fn count_ready(&mut self, at: Time, pod: PodId, cluster: &Cluster) {
        let turn = || cluster.nodes_under_maintenance().first().map(|&node| cluster.node(node).name());
        if let Some(workload) = cluster.top_of_pod(pod) {
            lower(&mut self.workloads, workload.index(), cluster.ready_pods(workload), at, turn);
        }
        for &service in cluster.services_of_pod(pod) {
            lower(&mut self.services, service.index(), cluster.ready_endpoints(service), at, turn);
        }
    }

    fn reload(&mut self, pod: PodId, cluster: &Cluster) {
        let Some(node) = cluster.pod(pod).node else { return };
        if let Some(peak) = self.peaks.get_mut(node.index()) {
            let load = Load::of_node(cluster, node);
            self.loads[node.index()] = load;
            peak.raise_to(load);
        }
    }

    fn note_unplaced(&mut self, pod: PodId, message: Name, cluster: &Cluster) {
        let owner = cluster.top_of_pod(pod).map(|workload| cluster.workload(workload).key);
        for &node in cluster.nodes_under_maintenance() {
            if let Some(run) = self.nodes.get_mut(&cluster.node(node).name()) {
                run.unplaced.entry(owner.unwrap_or_else(|| cluster.pod_key(pod))).or_insert(message);
            }
        }
    }

    fn node_ended(&mut self, at: Time, node: NodeId, outcome: NodeOutcome, world: &World) {
        let began = self.started.get(&node).copied();
        let run = self.nodes.entry(world.cluster.node(node).name()).or_default();
        run.outcome = Some(outcome);
        run.length = began.map(|began| at - began);
        if outcome == NodeOutcome::Blocked {
            run.blocked = blocked::pods_left(world, node);
        }
    }
}

fn lower(lows: &mut [Low], index: usize, count: u32, at: Time, turn: impl Fn() -> Option<Name>) {
    if let Some(low) = lows.get_mut(index)
        && count < low.count
    {
        *low = Low { count, at: Some((at, turn())) };
    }
}

/// Ids of the workloads that a forecast speaks of: those that no other workload of the cluster owns.
pub fn top_workloads(cluster: &Cluster) -> impl Iterator<Item = WorkloadId> + '_ {
    cluster.workloads().map(|(id, _)| id).filter(|&id| cluster.top(id) == id && !cluster.workload(id).deleted)
}

/// Ids of the Services that a forecast speaks of: those that select pods.
pub fn selecting_services(cluster: &Cluster) -> impl Iterator<Item = ServiceId> + '_ {
    cluster.services().filter(|(_, service)| service.selector.is_some() && !service.gone).map(|(id, _)| id)
}
