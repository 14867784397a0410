//! Steps of the operator and of the scenario, and events of nodes and Services.

use std::sync::Arc;

use anyhow::Context;

use crate::cluster::{Cluster, Detail, Effect, JobEnd, Millis, Name, NodeId, ObjectKey, Readiness, Taint, WorkloadId};
use crate::scenario::{Action, Verb};
use crate::simulator::{Choice, Chooser, Delay, Down, First, Task, World};
use crate::trace::Event;

use super::event::{Endpoints, JobStatus, Recorded, Step};
use super::replay::Replay;

/// The recorder may see an event so much before the time at which it was due by its own stamps.
const SETTLE: Millis = Millis(600);

/// Settles every open choice in the same way.
pub(super) struct Nth(pub(super) usize);

impl Chooser for Nth {
    fn pick(&mut self, _: Choice, among: usize) -> usize {
        self.0.min(among - 1)
    }

    fn between(&mut self, _: Delay, shortest: Millis, _: Millis) -> Millis {
        shortest
    }
}

/// The last heartbeat of a host that falls silent is as old as it can be.
struct Longest;

impl Chooser for Longest {
    fn pick(&mut self, _: Choice, _: usize) -> usize {
        0
    }

    fn between(&mut self, _: Delay, _: Millis, longest: Millis) -> Millis {
        longest
    }
}

impl Replay<'_> {
    pub(super) fn step(&mut self, step: Step) -> anyhow::Result<()> {
        match step {
            Step::Cordon(_) | Step::Uncordon(_) | Step::End => {}
            Step::DrainStart(name) => {
                self.draining.extend(self.world.cluster.find_node(Name::new(&name.node)));
            }
            Step::DrainEnd(name) => {
                if let Some(node) = self.world.cluster.find_node(Name::new(&name.node)) {
                    self.draining.remove(&node);
                }
            }
            Step::Down { node, mode } => {
                if let Some(node) = self.find_node(&node) {
                    self.away.insert(node, mode);
                    self.world.hosts[node.index()].down = mode != Down::None;
                    if mode == Down::Silent {
                        crate::simulator::controllers::heartbeat_lost(&mut self.world, node, &mut Longest);
                    }
                }
            }
            Step::Up(name) => {
                let node = self.world.cluster.nodes().rev().find(|(_, node)| node.name() == name.node.as_str());
                if let Some((node, _)) = node {
                    self.away.remove(&node);
                    self.world.hosts[node.index()].down = false;
                }
            }
            Step::Action { action } => return self.action(&action),
        }
        Ok(())
    }

    /// An action of the scenario takes effect. What it does to pods and budgets is recorded as events of their own, which it
    /// only enables.
    fn action(&mut self, action: &Action) -> anyhow::Result<()> {
        let deployment = self.named_workload(action);
        let disturbance = action.compile()?;
        match action.verb {
            Verb::DeletePods => {
                let pods = action.pods.as_ref().context("pods")?.select(&self.world.cluster);
                self.deleted_by_recorder.extend(pods);
            }
            Verb::Delete => self.deletion(action, &disturbance),
            Verb::Ready | Verb::Unready | Verb::Cordon | Verb::Uncordon | Verb::Wait => {}
            // No recorder does these.
            Verb::KillEngine | Verb::FailHost | Verb::HangHost | Verb::TakeLock | Verb::FailBackup => {}
            Verb::Patch | Verb::PatchPods | Verb::Create => {
                let template = deployment.map(|id| (id, self.world.cluster.workload(id).template));
                (disturbance.act)(&mut self.world, &mut First);
                if let Some((id, template)) = template {
                    self.patched(id, template);
                }
            }
        }
        Ok(())
    }

    fn named_workload(&self, action: &Action) -> Option<WorkloadId> {
        let namespace = Name::new(action.namespace.as_deref().unwrap_or("default"));
        let key = ObjectKey::new(namespace, action.kind.as_deref()?, Name::new(action.name.as_deref()?));
        self.world.cluster.find_workload(&key)
    }

    fn patched(&mut self, id: WorkloadId, template: Option<crate::cluster::SpecId>) {
        let workload = self.world.cluster.workload(id);
        if workload.as_deployment().is_none() {
            return;
        }
        let replicas = workload.replicas;
        if let Some(rollout) = self.rollouts.get_mut(&id) {
            rollout.resized(replicas);
        }
        let has_new = self.world.cluster.owned_workloads(id).iter().any(
            |&set| matches!(&self.world.cluster.workload(set).detail, Detail::ReplicaSet(detail) if detail.current),
        );
        if workload.template != template && !has_new {
            let name = self.name_of_next_replica_set(id);
            self.new_replica_set(id, name);
        }
    }

    /// The name under which the Deployment's next ReplicaSet appears, which the model cannot know.
    fn name_of_next_replica_set(&self, id: WorkloadId) -> Name {
        let deployment = self.world.cluster.workload(id).key;
        let known = |name: &str| {
            let key = ObjectKey::new(deployment.namespace, "ReplicaSet", Name::new(name));
            self.world.cluster.find_workload(&key).is_some()
        };
        let names = self.lines[self.at..].iter().filter_map(|line| match &line.event {
            Recorded::PodCreated { ns, controller: Some(controller), .. } if deployment.namespace == ns.as_str() => {
                controller.strip_prefix("ReplicaSet/")
            }
            _ => None,
        });
        let own = |name: &&str| name.starts_with(&format!("{}-", deployment.name)) && !known(name);
        Name::new(names.into_iter().find(own).unwrap_or("not-seen"))
    }

    /// DELETE of an object: what it owns goes by events of its own.
    pub(super) fn deletion(&mut self, action: &Action, disturbance: &crate::simulator::Disturbance) {
        let cluster = self.world.cluster.clone();
        (disturbance.act)(&mut self.world, &mut First);
        // Pods keep their state until their own events say otherwise.
        for (id, before) in cluster.pods() {
            let after = self.world.cluster.pod(id).clone();
            if after != *before {
                if after.deletion != before.deletion || after.gone != before.gone {
                    self.deleted_by_recorder.insert(id);
                }
                let owner = after.owner;
                self.world.cluster.update_pod(id, |pod| *pod = crate::cluster::Pod { owner, ..before.clone() });
            }
        }
        let namespace = action.kind.as_deref() == Some("Namespace");
        if namespace {
            self.deleted_by_recorder.extend(self.pods.values().copied().filter(|&pod| {
                action.name.as_deref().is_some_and(|name| self.world.cluster.spec(pod).namespace == name)
            }));
        }
    }

    pub(super) fn node_schedulable(&mut self, node: &str, schedulable: bool) {
        let kind = if schedulable { "node.uncordoned" } else { "node.cordoned" };
        self.report.count(kind);
        let asked =
            self.lines[..self.at].iter().rev().take_while(|line| line.t > self.seconds() - 30.0).any(
                |line| match &line.event {
                    Recorded::Step(Step::Cordon(name)) => !schedulable && name.node == node,
                    Recorded::Step(Step::Uncordon(name)) => schedulable && name.node == node,
                    Recorded::Step(Step::Action { action }) => action.node.as_deref() == Some(node),
                    Recorded::Act(act) => {
                        act.node.as_deref() == Some(node) && act.what == if schedulable { "uncordon" } else { "cordon" }
                    }
                    _ => false,
                },
            );
        if !asked && self.real.is_some() {
            self.report.pass_over("nodes that somebody else cordons or uncordons");
        } else if !asked {
            self.mismatch(kind, node, "nobody asked for it".to_owned(), kind.to_owned());
        }
        if let Some(node) = self.find_node(node) {
            if schedulable {
                self.given_back(node);
            }
            self.world.set_schedulable(node, schedulable, &mut First);
        }
    }

    pub(super) fn node_ready(&mut self, name: &str, ready: Readiness) {
        let kind = if ready == Readiness::Ready { "node.ready" } else { "node.notready" };
        self.report.count(kind);
        let Some(node) = self.find_node(name) else { return };
        if self.real.is_some() {
            self.real_node_ready(node, ready);
            return;
        }
        let mode = self.away.get(&node).copied();
        let enabled = match ready {
            Readiness::Ready => mode.is_none(),
            // A new Node is registered with this condition (E23).
            Readiness::NotReady => {
                mode == Some(Down::Shutdown) || self.world.cluster.node(node).ready == Readiness::NotReady
            }
            Readiness::Unknown => mode == Some(Down::Silent) && self.falls_silent(node),
        };
        if !enabled {
            self.mismatch(kind, name, format!("not enabled (host {mode:?})"), format!("{ready:?}"));
        }
        let now = self.world.now;
        self.world.cluster.update_node(node, |node| {
            node.ready = ready;
            node.ready_since = now;
        });
        self.emit(Event::NodeReady(node, ready));
    }

    /// The node lifecycle controller takes note of the silence.
    fn falls_silent(&self, node: NodeId) -> bool {
        let trial = self.tried(&self.world.cluster, Task::SyncNode(node));
        trial.cluster.node(node).ready == Readiness::Unknown
    }

    pub(super) fn node_version(&mut self, node: &str, version: &str) {
        self.report.count("node.version");
        let Some(node) = self.find_node(node) else { return };
        if let Ok(version) = version.parse() {
            self.may_change_version("node.version", node, version);
            self.world.cluster.update_node(node, |node| node.kubelet = Some(version));
            self.emit(Event::NodeVersion(node, version));
        }
    }

    pub(super) fn node_gone(&mut self, name: &str) {
        self.report.count("node.gone");
        let Some(node) = self.find_node(name) else { return };
        if self.real.is_some() {
            self.report.pass_over("nodes that somebody deletes");
        } else if self.away.get(&node) != Some(&Down::Delete) {
            self.mismatch("node.gone", name, "not enabled".to_owned(), "gone".to_owned());
        }
        self.world.cluster.update_node(node, |node| node.gone = true);
        self.emit(Event::NodeGone(node));
    }

    /// A Node object of the same name takes the place, and the pods, of the one that was deleted.
    pub(super) fn node_created(&mut self, name: &str) {
        if self.real.is_some() {
            // Its object stood before.
            self.report.pass_over("nodes that somebody creates");
            return;
        }
        self.report.count("node.created");
        let old = self.world.cluster.nodes().rev().find(|(_, node)| node.name() == name).map(|(id, _)| id);
        let Some(old) = old.filter(|&old| self.world.cluster.node(old).gone) else {
            self.mismatch("node.created", name, "not enabled".to_owned(), "created".to_owned());
            return;
        };
        let now = self.world.now;
        let mut node = self.world.cluster.node(old).clone();
        node.info = Arc::clone(&node.info);
        node.gone = false;
        node.unschedulable = false;
        // Admission taints every new Node object (D20).
        node.taints = parse_taint("node.kubernetes.io/not-ready:NoSchedule").into_iter().collect();
        node.ready = Readiness::NotReady;
        node.ready_since = now;
        let new = self.world.cluster.add_node(node);
        self.world.hosts.push(Default::default());
        for pod in self.world.cluster.pods_of_node(old).to_vec() {
            self.world.cluster.update_pod(pod, |pod| {
                pod.node = Some(new);
                pod.pinned = pod.pinned.map(|_| new);
            });
        }
        self.emit(Event::NodeCreated(new));
    }

    /// The taints of a node changed: by the node lifecycle controller, in one or several passes.
    pub(super) fn node_taints(&mut self, name: &str, recorded: &[String]) {
        self.report.count("node.taints");
        let Some(node) = self.find_node(name) else { return };
        let wanted: Option<Vec<Taint>> = recorded.iter().map(|text| parse_taint(text)).collect();
        let Some(mut wanted) = wanted else {
            self.mismatch("node.taints", name, "a taint".to_owned(), format!("{recorded:?}"));
            return;
        };
        wanted.sort();
        let wanted = wanted;
        let mut present = self.world.cluster.node(node).taints.clone();
        self.take_foreign_taints(&mut present, &wanted);
        let of = |taints: &[Taint], no_execute: bool| {
            let mut taints: Vec<Taint> =
                taints.iter().copied().filter(|taint| (taint.effect == Effect::NoExecute) == no_execute).collect();
            taints.sort();
            taints
        };
        let mut seen = Vec::new();
        let mut found = None;
        let states = self.states().filter(|state| state.nodes().len() > node.index());
        for (state, choice) in states.flat_map(|state| (0..state.nodes().len()).map(move |choice| (state, choice))) {
            let mut trial = self.trial(state);
            // A write names what it was made from, so the controller saw the present taints.
            trial.cluster.update_node(node, |node| node.taints = present.clone());
            trial.now = trial.now + SETTLE;
            for _ in 0..3 {
                trial.apply(Task::SyncNode(node), &mut Nth(choice));
            }
            // One worker writes the NoSchedule taints, another one the NoExecute taints, in any order.
            let after = &trial.cluster.node(node).taints;
            let reached =
                |no_execute| [&present, after].iter().any(|taints| of(taints, no_execute) == of(&wanted, no_execute));
            if reached(true) && reached(false) {
                let no_execute = of(&present, true) != of(&wanted, true);
                // What the pass does to other nodes is still to come here, so its memory is only good without that.
                let alone = trial.cluster.nodes().all(|(id, other)| {
                    id == node || of(&other.taints, true) == of(&self.world.cluster.node(id).taints, true)
                });
                found = Some((no_execute && alone).then(|| trial.controllers.clone()));
                break;
            }
            seen.push(after.clone());
        }
        match found {
            Some(Some(memory)) => {
                self.world.controllers = memory;
                // The pass may have had an old view: what it does not know yet is still to come.
                let ready = self.world.cluster.node(node).ready;
                self.emit(Event::NodeReady(node, ready));
            }
            Some(None) => {}
            None => {
                seen.dedup();
                self.mismatch("node.taints", name, format!("{seen:?}"), format!("{recorded:?}"));
            }
        }
        self.world.cluster.update_node(node, |node| node.taints = wanted);
        self.emit(Event::NodeTaints(node));
    }

    pub(super) fn endpoints(&mut self, recorded: &Endpoints) {
        self.report.count("endpoints");
        let Some(service) = self.find_service(&recorded.ns, &recorded.service) else {
            self.mismatch("endpoints", &recorded.service, "no such service".to_owned(), "endpoints".to_owned());
            return;
        };
        let Endpoints { ready, serving, terminating, total, .. } = *recorded;
        let count = |state: &Cluster| crate::simulator::controllers::endpoints(state, service);
        let wanted = (ready, serving, terminating, total);
        if !self.states().any(|state| count(state) == wanted) {
            let mut seen: Vec<_> = self.states().map(count).collect();
            seen.dedup();
            self.mismatch("endpoints", &recorded.service, format!("{seen:?}"), format!("{wanted:?}"));
        }
        let lowest = self.lowest_endpoints.entry(service).or_insert(ready);
        *lowest = (*lowest).min(ready);
    }

    pub(super) fn job_status(&mut self, recorded: &JobStatus) {
        let Some(id) = self.find_workload(&recorded.ns, &format!("Job/{}", recorded.job)) else {
            if recorded.owner.as_deref().is_some_and(|owner| owner.starts_with("CronJob/")) {
                self.report.pass_over("Jobs that a CronJob creates at its own time");
            } else {
                self.mismatch("job.status", &recorded.job, "no such job".to_owned(), "a status".to_owned());
            }
            return;
        };
        self.report.count("job.status");
        let condition = |kind: &str| recorded.conditions.iter().any(|condition| condition.starts_with(kind));
        let end = match (condition("Complete"), condition("Failed")) {
            (true, _) => Some(JobEnd::Complete),
            (false, true) => Some(JobEnd::Failed),
            (false, false) => None,
        };
        let wanted = (recorded.succeeded, recorded.failed, end);
        let counted = self.counted.entry(id).or_default();
        match counted.iter().position(|numbers| *numbers == wanted) {
            Some(position) => {
                counted.drain(..position);
            }
            None => {
                let model = format!("{counted:?}");
                self.mismatch("job.status", &recorded.job, model, format!("{wanted:?}"));
            }
        }
    }

    /// Jobs count pods that have ended and let them go. Only the numbers are recorded, and later, so the model counts as soon
    /// as it can; a recorded status must be one that it has come by.
    pub(super) fn settle_jobs(&mut self) {
        let jobs = self.world.cluster.workloads().filter(|(_, job)| job.as_job().is_some() && !job.deleted);
        for id in jobs.map(|(id, _)| id).collect::<Vec<WorkloadId>>() {
            let trial = self.tried(&self.world.cluster, Task::SyncWorkload(id));
            self.take_over_job(id, &trial);
        }
    }

    /// Takes over what a sync of a Job has counted.
    pub(super) fn take_over_job(&mut self, id: WorkloadId, trial: &World) {
        self.world.controllers = trial.controllers.clone();
        let detail = trial.cluster.workload(id).detail.clone();
        if let Detail::Job(job) = &detail {
            let numbers = (job.succeeded, job.failed, job.finished);
            let counted = self.counted.entry(id).or_default();
            if counted.last() != Some(&numbers) {
                counted.push(numbers);
            }
        }
        self.world.cluster.update_workload(id, |job| job.detail = detail);
        for pod in self.world.cluster.pods_of_workload(id).to_vec() {
            if pod.index() < trial.cluster.pods().len() && !trial.cluster.pod(pod).job_finalizer {
                self.world.cluster.update_pod(pod, |pod| pod.job_finalizer = false);
            }
        }
    }

    pub(super) fn job_gone(&mut self, ns: &str, job: &str) {
        self.report.count("job.gone");
        if let Some(id) = self.find_workload(ns, &format!("Job/{job}")) {
            self.world.cluster.update_workload(id, |job| job.deleted = true);
            self.emit(Event::WorkloadGone(id));
        }
    }
}

fn parse_taint(text: &str) -> Option<Taint> {
    let (key, effect) = text.rsplit_once(':')?;
    let (key, value) = key.split_once('=').unwrap_or((key, ""));
    let effect = match effect {
        "NoSchedule" => Effect::NoSchedule,
        "PreferNoSchedule" => Effect::PreferNoSchedule,
        "NoExecute" => Effect::NoExecute,
        _ => return None,
    };
    Some(Taint { key: Name::new(key), value: Name::new(value), effect })
}
