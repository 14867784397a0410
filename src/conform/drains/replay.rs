//! The state of a replay: the model's world as the recording has left it, the states that components may still see, and what
//! is under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::Context;

use crate::cluster::{
    BudgetId, Cluster, JobEnd, Millis, Name, NodeId, ObjectKey, PodId, ServiceId, SpecId, Time, WorkloadId,
};
use crate::conform::recording::{Scenario, Summary};
use crate::conform::{Mismatch, Report};
use crate::simulator::{Chooser, First, Physics, Task, World, controllers};
use crate::trace::Event;

use super::event::{Line, Recorded};
use super::evictions::Pending;
use super::real::Real;
use super::rollout::Rollout;

/// How long a component may act on an old state, in seconds of the recording. The recorder's machine was shared, so watches
/// lagged by some 100 ms now and then.
const LAG: f64 = 3.0;

/// An earlier state.
struct Past {
    t: f64,
    cluster: Cluster,
}

/// A replay under way.
pub(super) struct Replay<'r> {
    /// Name of the recording.
    name: String,
    pub(super) scenario: &'r Scenario,
    /// What the run came to; a journal has no summary.
    pub(super) summary: Option<&'r Summary>,
    /// A journal of a real run: what its clients and hosts are up to.
    pub(super) real: Option<Real>,
    pub(super) report: Report,
    pub(super) lines: Vec<Line>,
    /// Index of the line that is being looked at.
    pub(super) at: usize,
    pub(super) world: World,
    past: VecDeque<Past>,
    clock: f64,
    start: Time,
    pub(super) pods: BTreeMap<(Name, Name), PodId>,
    /// Pods of the snapshot: when they became Ready is not in it.
    pub(super) first_new: PodId,
    pub(super) requests: Vec<Pending>,
    pub(super) rollouts: BTreeMap<WorkloadId, Rollout>,
    /// Pods that their controller has deleted.
    pub(super) deleted_by_controller: BTreeSet<PodId>,
    /// Pods of a past action of the recorder that deletes pods.
    pub(super) deleted_by_recorder: BTreeSet<PodId>,
    /// Template of each StatefulSet ordinal's last pod.
    pub(super) last_spec: BTreeMap<(WorkloadId, u32), SpecId>,
    /// Numbers that each Job has counted: succeeded, failed, end; those before the last recorded ones are dropped.
    pub(super) counted: BTreeMap<WorkloadId, Vec<(i32, i32, Option<JobEnd>)>>,
    /// Nodes being drained, and nodes whose host is away.
    pub(super) draining: BTreeSet<NodeId>,
    pub(super) away: BTreeMap<NodeId, crate::simulator::Down>,
    /// Since when a pod is in its present stage, in seconds: bound, running, deleting.
    pub(super) since: BTreeMap<PodId, f64>,
    pub(super) lowest_ready: BTreeMap<String, u32>,
    pub(super) lowest_endpoints: BTreeMap<ServiceId, u32>,
}

impl<'r> Replay<'r> {
    pub(super) fn new(
        name: String,
        scenario: &'r Scenario,
        summary: Option<&'r Summary>,
        lines: Vec<Line>,
        cluster: Cluster,
    ) -> Replay<'r> {
        let start = cluster.catalog.input.taken_at;
        let real = summary.is_none().then(|| Real::new(&cluster));
        let physics = if real.is_some() { Physics::default() } else { scenario.physics() };
        let mut world = World::new(cluster, start, std::sync::Arc::new(physics), &mut First);
        world.forget(|_| true);
        for id in world.cluster.workloads().map(|(id, _)| id).collect::<Vec<_>>() {
            controllers::meet(&mut world, id);
        }
        let cluster = &world.cluster;
        let live = cluster.pods().filter(|(_, pod)| !pod.gone);
        let pods = live.map(|(id, pod)| ((cluster.catalog.spec(pod.spec).namespace, pod.name), id)).collect();
        let first_new = PodId(cluster.pods().len() as u32);
        let rollouts = Rollout::all(cluster);
        let mut replay = Replay {
            name,
            scenario,
            summary,
            real,
            report: Report::default(),
            lines,
            at: 0,
            past: VecDeque::new(),
            clock: 0.0,
            start,
            pods,
            first_new,
            requests: Vec::new(),
            rollouts,
            deleted_by_controller: BTreeSet::new(),
            deleted_by_recorder: BTreeSet::new(),
            last_spec: BTreeMap::new(),
            counted: BTreeMap::new(),
            draining: BTreeSet::new(),
            away: BTreeMap::new(),
            since: BTreeMap::new(),
            lowest_ready: BTreeMap::new(),
            lowest_endpoints: world
                .cluster
                .services()
                .map(|(id, _)| (id, controllers::endpoints(&world.cluster, id).0))
                .collect(),
            world,
        };
        replay.note_strength();
        replay.settle_jobs();
        replay
    }

    /// Goes through all lines.
    pub(super) fn play(mut self) -> anyhow::Result<Report> {
        for at in 0..self.lines.len() {
            self.at = at;
            let line = self.lines[at].clone();
            self.close_requests(line.rv);
            self.clock = self.clock.max(line.t);
            self.world.now = self.start + Millis((self.clock * 1000.0) as i64);
            self.remember();
            self.line(line.event).with_context(|| format!("{} line {}", self.name, line.number))?;
            self.world.forget(|_| true);
            self.world.trace.clear();
            self.note_strength();
            self.settle_jobs();
            self.try_requests();
        }
        self.close_requests(u64::MAX);
        if let Some(summary) = self.summary {
            self.end(summary);
        }
        Ok(self.report)
    }

    fn line(&mut self, event: Recorded) -> anyhow::Result<()> {
        match event {
            Recorded::Step(step) => return self.step(step),
            Recorded::Evict(request) => self.request(request),
            Recorded::PodCreated { ns, pod, controller, index, object } => {
                self.pod_created(&ns, &pod, controller, index, object);
            }
            Recorded::PodBound { ns, pod, node } => self.pod_bound(&ns, &pod, &node),
            Recorded::PodUnschedulable { ns, pod, message } => self.pod_unschedulable(&ns, &pod, &message),
            Recorded::PodNominated { ns, pod, node } => self.pod_nominated(&ns, &pod, &node),
            Recorded::PodPending(_) => self.report.pass_over("a pod goes back to Pending"),
            Recorded::PodRunning(name) => self.pod_running(&name),
            Recorded::PodSucceeded(name) => self.pod_ended(&name, false),
            Recorded::PodFailed(name) => self.pod_ended(&name, true),
            Recorded::PodReady(name) => self.pod_ready(&name),
            Recorded::PodNotReady(name) => self.pod_not_ready(&name),
            Recorded::PodDisruptionTarget { ns, pod, reason } => self.pod_disrupted(&ns, &pod, &reason),
            Recorded::PodDeleting { ns, pod, grace, reason } => self.pod_deleting(&ns, &pod, grace, reason.as_deref()),
            Recorded::PodGone(name) => self.pod_gone(&name),
            Recorded::NodeCordoned(name) => self.node_schedulable(&name.node, false),
            Recorded::NodeUncordoned(name) => self.node_schedulable(&name.node, true),
            Recorded::NodeReady(name) => self.node_ready(&name.node, crate::cluster::Readiness::Ready),
            Recorded::NodeNotReady { node, status } => {
                let unknown = status == "Unknown";
                use crate::cluster::Readiness::{NotReady, Unknown};
                self.node_ready(&node, if unknown { Unknown } else { NotReady });
            }
            Recorded::NodeVersion { node, version } => self.node_version(&node, &version),
            Recorded::NodeTaints { node, taints } => self.node_taints(&node, &taints),
            Recorded::NodeCreated(name) => self.node_created(&name.node),
            Recorded::NodeGone(name) => self.node_gone(&name.node),
            Recorded::BudgetStatus(status) => self.budget_status(&status),
            Recorded::BudgetGone { ns, pdb } => self.budget_gone(&ns, &pdb),
            Recorded::Endpoints(endpoints) => self.endpoints(&endpoints),
            Recorded::JobStatus(status) => self.job_status(&status),
            Recorded::JobGone { ns, job } => self.job_gone(&ns, &job),
            Recorded::Event { .. } => self.report.pass_over("core Events (they change nothing)"),
            Recorded::Act(act) => self.act(&act),
            Recorded::Object { object } => self.object(object),
            Recorded::Gone { kind, ns, name } => self.gone(&kind, &ns, &name)?,
            Recorded::HostStarted(name) => self.host(&name.node, "host.started"),
            Recorded::HostEnded(name) => self.host(&name.node, "host.ended"),
            Recorded::Start(_) | Recorded::Begin {} | Recorded::Gap { .. } | Recorded::End {} => {}
        }
        Ok(())
    }

    /// Keeps the present state as one that components may go on seeing.
    pub(super) fn remember(&mut self) {
        let oldest = self.clock - LAG;
        while self.past.front().is_some_and(|past| past.t < oldest) {
            self.past.pop_front();
        }
        self.past.push_back(Past { t: self.clock, cluster: self.world.cluster.clone() });
    }

    /// The states that a component may act on: the present one first, then ever older ones.
    pub(super) fn states(&self) -> impl Iterator<Item = &Cluster> {
        self.past.iter().rev().map(|past| &past.cluster)
    }

    /// A copy of the world as a component with an old view sees it.
    pub(super) fn trial(&self, state: &Cluster) -> World {
        let mut trial = self.world.clone();
        trial.cluster = state.clone();
        trial.controllers.forget_pods();
        trial.trace.clear();
        trial
    }

    /// What a task leads to at a state.
    pub(super) fn tried(&self, state: &Cluster, task: Task) -> World {
        self.chosen(state, task, &mut First)
    }

    /// What a task leads to at a state, if open choices are settled so.
    pub(super) fn chosen(&self, state: &Cluster, task: Task, chooser: &mut dyn Chooser) -> World {
        let mut trial = self.trial(state);
        trial.apply(task, chooser);
        trial
    }

    /// Seconds of the recording up to the present line.
    pub(super) fn seconds(&self) -> f64 {
        self.clock
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.world.emit(event, &mut First);
    }

    pub(super) fn mismatch(&mut self, kind: &str, subject: &str, model: String, recorded: String) {
        let line = &self.lines[self.at.min(self.lines.len() - 1)];
        let place = match self.real {
            Some(_) => format!("line {} ({}) {subject}", line.number, super::real::time(self.start, line.t)),
            None => format!("revision {} ({:.3} s) {subject}", line.rv, line.t),
        };
        self.report.mismatches.push(Mismatch {
            recording: self.name.clone(),
            place,
            kind: kind.to_owned(),
            model,
            recorded,
        });
    }

    pub(super) fn find_pod(&mut self, ns: &str, pod: &str) -> Option<PodId> {
        let found = self.pods.get(&(Name::new(ns), Name::new(pod))).copied();
        if found.is_none() {
            self.mismatch("pods", &format!("{ns}/{pod}"), "no such pod".to_owned(), "an event of it".to_owned());
        }
        found
    }

    pub(super) fn find_node(&mut self, node: &str) -> Option<NodeId> {
        let found = self.world.cluster.find_node(Name::new(node));
        if found.is_none() {
            self.mismatch("nodes", node, "no such node".to_owned(), "an event of it".to_owned());
        }
        found
    }

    pub(super) fn find_budget(&self, ns: &str, name: &str) -> Option<BudgetId> {
        let key = ObjectKey::new(Name::new(ns), "PodDisruptionBudget", Name::new(name));
        let found = |id: &BudgetId| self.world.cluster.budget_key(*id) == key && !self.world.cluster.budget(*id).gone;
        self.world.cluster.budgets().map(|(id, _)| id).find(found)
    }

    pub(super) fn find_service(&self, ns: &str, name: &str) -> Option<ServiceId> {
        let key = ObjectKey::new(Name::new(ns), "Service", Name::new(name));
        self.world.cluster.services().map(|(id, _)| id).find(|&id| self.world.cluster.service_key(id) == key)
    }

    pub(super) fn find_workload(&self, ns: &str, kind_and_name: &str) -> Option<WorkloadId> {
        let (kind, name) = kind_and_name.split_once('/')?;
        self.world.cluster.find_workload(&ObjectKey::new(Name::new(ns), kind, Name::new(name)))
    }

    /// Keeps the lowest numbers of ready pods and endpoints.
    fn note_strength(&mut self) {
        let cluster = &self.world.cluster;
        for owner in self.summary.iter().flat_map(|summary| summary.initial_ready.keys()) {
            let ready = ready(cluster, &self.pods, owner);
            match self.lowest_ready.get_mut(owner) {
                Some(lowest) => *lowest = (*lowest).min(ready),
                None => {
                    self.lowest_ready.insert(owner.clone(), ready);
                }
            }
        }
    }
}

/// Ready pods of `ns/Kind/name`; a bare pod is its own owner.
pub(super) fn ready(cluster: &Cluster, pods: &BTreeMap<(Name, Name), PodId>, owner: &str) -> u32 {
    let parts: Vec<&str> = owner.split('/').collect();
    let [ns, kind, name] = parts[..] else { return 0 };
    if kind == "Pod" {
        let pod = pods.get(&(Name::new(ns), Name::new(name)));
        return pod.map_or(0, |&pod| u32::from(cluster.pod(pod).is_serving_strength()));
    }
    let key = ObjectKey::new(Name::new(ns), kind, Name::new(name));
    let found = cluster.workloads().rev().find(|(_, workload)| workload.key == key);
    found.map_or(0, |(id, _)| cluster.ready_pods(id))
}
