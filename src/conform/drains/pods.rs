//! Events of pods: creation and deletion by controllers, and their life on a node.

use crate::cluster::{Cluster, Deletion, Detail, Millis, Name, NodeId, Owner, Phase, PodId, SpecId, WorkloadId};
use crate::simulator::controllers::stateful_set::{self, Step};
use crate::simulator::{Down, First, KubeletStep, NewPod, Task, World};
use crate::trace::Event;

use super::event::{PodName, Recorded};
use super::nodes::Nth;
use super::replay::Replay;
use super::rollout::{knows, leaving};

/// A stage may be seen so many seconds earlier than its duration says, since the recorder sees both ends late.
const EARLY: f64 = 0.6;

/// Durations of the played kubelets where no annotation says otherwise (DRAINS.md).
const STAGE: f64 = 0.2;

/// How long before its event the time of a condition may have been taken.
const WRITTEN_BEFORE: Millis = Millis(100);

impl Replay<'_> {
    /// A pod object appeared.
    pub(super) fn pod_created(
        &mut self,
        ns: &str,
        pod: &str,
        controller: Option<String>,
        index: Option<String>,
        object: Option<serde_json::Value>,
    ) {
        self.report.count("pod.created");
        let key = (Name::new(ns), Name::new(pod));
        if self.pods.contains_key(&key) {
            self.mismatch("pod.created", pod, "the name is taken".to_owned(), "created".to_owned());
            return;
        }
        if let Some(object) = object {
            self.foreign_pod(key, controller.as_deref(), object);
            return;
        }
        let Some(controller) = controller else {
            let created =
                self.world.cluster.pods().rev().find(|(id, found)| {
                    !found.gone && found.name == pod && self.world.cluster.spec(*id).namespace == ns
                });
            match created.map(|(id, _)| id) {
                Some(id) => {
                    self.pods.insert(key, id);
                }
                None => self.mismatch("pod.created", pod, "nobody creates it".to_owned(), "created".to_owned()),
            }
            return;
        };
        let Some(owner) = self.find_workload(ns, &controller).or_else(|| self.job_of_cron_job(ns, &controller)) else {
            self.mismatch("pod.created", pod, format!("no {controller}"), "created".to_owned());
            return;
        };
        let ordinal = index.and_then(|index| index.parse().ok());
        let new = match self.world.cluster.workload(owner).detail {
            Detail::ReplicaSet(_) | Detail::ReplicationController => self.by_replica_set(owner),
            Detail::StatefulSet(_) => self.by_stateful_set(owner, ordinal),
            Detail::Deployment(_) | Detail::DaemonSet(_) | Detail::Job(_) | Detail::CronJob(_) | Detail::Other => {
                self.by_sync(owner, ordinal, pod)
            }
        };
        let Some(new) = new else {
            self.mismatch("pod.created", pod, format!("{controller} wants no pod"), "created".to_owned());
            self.take_in(owner, key);
            return;
        };
        let id = self.world.create_pod(NewPod { name: Some(key.1), ..new }, &mut First);
        self.pods.insert(key, id);
        self.since.insert(id, self.seconds());
    }

    fn by_replica_set(&mut self, owner: WorkloadId) -> Option<NewPod> {
        let leaving = leaving(&self.world.cluster, self.world.cluster.workload(owner).key.namespace);
        if leaving || !self.may_create(owner) {
            return None;
        }
        self.world.cluster.workload(owner).template.map(|spec| plain(owner, spec))
    }

    fn by_stateful_set(&mut self, owner: WorkloadId, ordinal: Option<u32>) -> Option<NewPod> {
        let wanted = ordinal?;
        let now = self.world.now;
        let created = self
            .states()
            .filter(|state| knows(state, owner))
            .flat_map(|state| stateful_set::plan(state, owner, now))
            .find_map(|step| match step {
                Step::Create { ordinal, updated } if ordinal == wanted => Some(updated),
                Step::Create { .. } | Step::Delete(_) => None,
            })?;
        let last = self.last_spec.get(&(owner, wanted)).copied();
        let spec = stateful_set::template(&mut self.world.cluster, owner, wanted, created, last)?;
        stateful_set::create_claims(&mut self.world.cluster, owner, wanted);
        Some(NewPod { ordinal, ..plain(owner, spec) })
    }

    /// Controllers whose decision only a sync of the model shows.
    fn by_sync(&mut self, owner: WorkloadId, ordinal: Option<u32>, name: &str) -> Option<NewPod> {
        let node = self.lines[self.at..].iter().find_map(|line| match &line.event {
            Recorded::PodBound { pod, node, .. } if pod == name => self.world.cluster.find_node(Name::new(node)),
            _ => None,
        });
        let mut found = None;
        for state in self.states().filter(|state| owner.index() < state.workloads().len()) {
            let known = state.pods().len();
            let since = self.world.cluster.pods().skip(known).filter(|(_, pod)| pod.owner == Owner::Workload(owner));
            let own: Vec<Option<NodeId>> = since.map(|(_, pod)| pod.pinned).collect();
            let trial = self.synced_soon(state, owner);
            let mut created: Vec<(PodId, Option<NodeId>)> = trial
                .cluster
                .pods()
                .skip(known)
                .filter(|(_, pod)| pod.owner == Owner::Workload(owner))
                .map(|(id, pod)| (id, pod.pinned))
                .collect();
            for pinned in own {
                if let Some(position) = created.iter().position(|entry| entry.1 == pinned) {
                    created.remove(position);
                }
            }
            let fits = |entry: &&(PodId, Option<NodeId>)| {
                trial.cluster.pod(entry.0).ordinal == ordinal.or(trial.cluster.pod(entry.0).ordinal)
                    && (entry.1.is_none() || node.is_none() || entry.1 == node)
            };
            if let Some(&(id, _)) = created.iter().find(fits) {
                let pod = trial.cluster.pod(id).clone();
                found = Some((pod, trial.cluster.spec(id).clone(), trial));
                break;
            }
        }
        let (pod, spec, trial) = found?;
        if self.world.cluster.workload(owner).as_job().is_some() {
            self.take_over_job(owner, &trial);
        }
        let spec = self.world.cluster.intern_spec(spec);
        Some(NewPod {
            ordinal: pod.ordinal,
            pinned: pod.pinned,
            job_finalizer: pod.job_finalizer,
            foreign_finalizer: pod.foreign_finalizer,
            ..plain(owner, spec)
        })
    }

    /// A sync of the workload with an old view of the pods. Back-offs are counted in whole seconds of a clock of which the
    /// recording does not tell the phase, so they may be over a second earlier. What a Job has counted is its own writing.
    fn synced_soon(&self, state: &Cluster, owner: WorkloadId) -> World {
        let mut trial = self.trial(state);
        let detail = self.world.cluster.workload(owner).detail.clone();
        trial.cluster.update_workload(owner, |workload| workload.detail = detail);
        trial.now = trial.now + Millis::secs(1);
        trial.apply(Task::SyncWorkload(owner), &mut First);
        trial
    }

    /// Phase Running.
    pub(super) fn pod_running(&mut self, name: &PodName) {
        self.report.count("pod.running");
        let Some(id) = self.find_pod(&name.ns, &name.pod) else { return };
        self.kubelet_does(id, "pod.running", KubeletStep::Started, |pod| pod.phase == Phase::Running);
        let start = self.world.cluster.spec(id).timing.start;
        self.not_before(id, "pod.running", start.map_or(STAGE, |length| length.as_secs_f64()));
        let now = self.world.now;
        self.world.cluster.update_pod(id, |pod| {
            pod.phase = Phase::Running;
            pod.started = Some(now);
        });
        self.emit(Event::PodRunning(id));
        self.since.insert(id, self.seconds());
    }

    /// Condition Ready became True.
    pub(super) fn pod_ready(&mut self, name: &PodName) {
        self.report.count("pod.ready");
        let Some(id) = self.find_pod(&name.ns, &name.pod) else { return };
        self.kubelet_does(id, "pod.ready", KubeletStep::Ready, |pod| pod.ready);
        let timing = self.world.cluster.spec(id).timing;
        if timing.never_ready && !self.scenario_sets_ready() {
            self.mismatch("pod.ready", &name.pod, "it never becomes Ready".to_owned(), "Ready".to_owned());
        }
        self.not_before(id, "pod.ready", timing.ready.map_or(STAGE, |length| length.as_secs_f64()));
        self.world.set_ready(id, true, &mut First);
        // The kubelet wrote the time before the event was seen: it may be of the second before.
        self.world.cluster.update_pod(id, |pod| pod.ready_since = pod.ready_since - WRITTEN_BEFORE);
        self.since.insert(id, self.seconds());
    }

    fn scenario_sets_ready(&self) -> bool {
        self.scenario.actions.iter().any(|action| action.verb == crate::scenario::Verb::Ready)
    }

    /// Condition Ready became False.
    pub(super) fn pod_not_ready(&mut self, name: &PodName) {
        self.report.count("pod.notready");
        let Some(id) = self.find_pod(&name.ns, &name.pod) else { return };
        let pod = self.world.cluster.pod(id);
        let enabled = pod.deletion.is_some()
            || pod.is_terminal()
            || self.restarts_in_place(id)
            || self.loses_its_node(id)
            || self.scenario.actions.iter().any(|action| action.verb == crate::scenario::Verb::Unready);
        if !enabled && self.real.is_some() {
            self.report.pass_over("pods that lose their readiness by themselves (probes, crashes)");
        } else if !enabled {
            self.mismatch("pod.notready", &name.pod, "nothing takes Ready away".to_owned(), "not ready".to_owned());
        }
        self.world.set_ready(id, false, &mut First);
        if self.world.cluster.pod(id).deletion.is_none() {
            self.since.insert(id, self.seconds());
        }
    }

    /// The host of the pod has come back: containers are started again.
    fn restarts_in_place(&self, id: PodId) -> bool {
        let Some(node) = self.world.cluster.pod(id).node else { return false };
        let name = self.world.cluster.node(node).name();
        if self.works_on(name) {
            return true;
        }
        self.lines[..self.at].iter().rev().any(|line| match &line.event {
            Recorded::Step(super::event::Step::Up(up)) => up.node == name.as_str() && line.t > self.seconds() - 3.0,
            _ => false,
        })
    }

    /// The node lifecycle controller marks the pods of a node that is not Ready any more.
    fn loses_its_node(&self, id: PodId) -> bool {
        let Some(node) = self.world.cluster.pod(id).node else { return false };
        let mut trial = self.trial(&self.world.cluster);
        trial.now = trial.now + Millis::secs(5);
        trial.apply(Task::SyncNode(node), &mut First);
        !trial.cluster.pod(id).ready
    }

    /// Phase Failed or Succeeded.
    pub(super) fn pod_ended(&mut self, name: &PodName, failed: bool) {
        let kind = if failed { "pod.failed" } else { "pod.succeeded" };
        self.report.count(kind);
        let Some(id) = self.find_pod(&name.ns, &name.pod) else { return };
        let wanted = if failed { Phase::Failed } else { Phase::Succeeded };
        let spec = self.world.cluster.spec(id);
        let timing = spec.timing;
        let stop = match (timing.ignores_term, timing.stop, self.world.cluster.pod(id).deletion) {
            (true, _, Some(deletion)) => f64::from(deletion.grace_seconds),
            (_, Some(fixed), _) => fixed.as_secs_f64(),
            (_, None, _) => STAGE,
        };
        let run = timing.run.map(|length| length.as_secs_f64());
        let real = self.real.is_some();
        // With which code an application ends is its own affair.
        let ended = |pod: &crate::cluster::Pod| if real { pod.is_terminal() } else { pod.phase == wanted };
        if self.world.cluster.pod(id).deletion.is_some() {
            let finished = self.kubelet_would(id, KubeletStep::Finished, ended);
            if !finished {
                self.kubelet_does(id, kind, KubeletStep::Stopped, ended);
                self.not_before(id, kind, stop);
            }
        } else if real && run.is_none() {
            self.report.pass_over("pods that end by themselves");
        } else if self.world.cluster.pod(id).phase == Phase::Pending {
            self.kubelet_does(id, kind, KubeletStep::Started, |pod| pod.phase == wanted);
        } else {
            self.kubelet_does(id, kind, KubeletStep::Finished, |pod| pod.phase == wanted);
            match run {
                Some(run) if id >= self.first_new => self.not_before(id, kind, run),
                Some(_) => {}
                None => self.mismatch(kind, &name.pod, "it runs on".to_owned(), kind.to_owned()),
            }
        }
        self.world.set_ready(id, false, &mut First);
        self.world.cluster.update_pod(id, |pod| pod.phase = wanted);
        self.emit(if failed { Event::PodFailed(id) } else { Event::PodSucceeded(id) });
        self.since.insert(id, self.seconds());
    }

    /// Whether the kubelet's step is enabled at one of the states.
    fn kubelet_would(&self, id: PodId, step: KubeletStep, test: impl Fn(&crate::cluster::Pod) -> bool) -> bool {
        let knows = |state: &&Cluster| id.index() < state.pods().len();
        self.states().filter(knows).any(|state| {
            let trial = self.tried(state, Task::Kubelet(id, step));
            test(trial.cluster.pod(id))
        })
    }

    fn kubelet_does(&mut self, id: PodId, kind: &str, step: KubeletStep, test: impl Fn(&crate::cluster::Pod) -> bool) {
        if !self.kubelet_would(id, step, test) {
            let pod = self.world.cluster.pod(id);
            let model = format!("the kubelet does not (phase {:?}, deletion {:?})", pod.phase, pod.deletion);
            let name = pod.name;
            self.mismatch(kind, &name, model, kind.to_owned());
        }
    }

    fn not_before(&mut self, id: PodId, kind: &str, length: f64) {
        let Some(&since) = self.since.get(&id) else { return };
        let passed = self.seconds() - since;
        if passed + EARLY < length {
            let name = self.world.cluster.pod(id).name;
            self.mismatch(kind, &name, format!("after {length} s"), format!("after {passed:.3} s"));
        }
    }

    /// deletionTimestamp appeared, or an eviction hurried it.
    pub(super) fn pod_deleting(&mut self, ns: &str, pod: &str, grace: u32, reason: Option<&str>) {
        self.report.count("pod.deleting");
        let Some(id) = self.find_pod(ns, pod) else { return };
        if !self.may_be_deleted(id, reason) {
            let model = "nobody deletes it".to_owned();
            self.mismatch("pod.deleting", pod, model, reason.unwrap_or("plain delete").to_owned());
        }
        let own = self.world.cluster.spec(id).grace_seconds;
        let asked = self.scenario.options.flags.grace;
        let immediate = self.world.cluster.pod(id).node.is_none() || self.world.cluster.pod(id).is_terminal();
        let immediate = immediate || self.world.cluster.pod(id).mirror;
        if grace != own && Some(grace) != asked && !(immediate && grace == 0) {
            self.mismatch("pod.deleting", pod, format!("grace {own} or {asked:?}"), format!("grace {grace}"));
        }
        let since = self.world.now;
        self.world.cluster.update_pod(id, |pod| pod.deletion = Some(Deletion { since, grace_seconds: grace }));
        self.emit(Event::PodDeleting(id));
        self.since.insert(id, self.seconds());
    }

    /// Whether somebody may delete the pod now.
    fn may_be_deleted(&mut self, id: PodId, reason: Option<&str>) -> bool {
        if self.is_exchanged(id) {
            return true;
        }
        let cluster = &self.world.cluster;
        let evicted = self.requests.iter().any(|pending| pending.pod == Some(id));
        match reason {
            Some("EvictionByEvictionAPI") if evicted => return true,
            Some("PreemptionByScheduler") => return self.may_preempt(id),
            Some("DeletionByTaintManager" | "DeletionByPodGC") => return cluster.pod(id).disruption_target.is_some(),
            _ => {}
        }
        if self.deleted_by_recorder.contains(&id) || leaving(cluster, cluster.spec(id).namespace) {
            return true;
        }
        let options = &self.scenario.options;
        let by_kubectl = options.driver.as_deref() == Some("kubectl") && options.flags.disable_eviction;
        if by_kubectl && cluster.pod(id).node.is_some_and(|node| self.draining.contains(&node)) {
            return true;
        }
        let Owner::Workload(owner) = cluster.pod(id).owner else { return false };
        if cluster.workload(owner).deleted {
            return true;
        }
        let knows_pod = |state: &&Cluster| id.index() < state.pods().len();
        let leaves = |trial: World| trial.cluster.pod(id).deletion.is_some() || trial.cluster.pod(id).gone;
        let allowed = match cluster.workload(owner).detail {
            Detail::ReplicaSet(_) | Detail::ReplicationController => self.may_delete(owner, id),
            Detail::StatefulSet(_) => {
                let now = self.world.now;
                self.states().any(|state| {
                    knows(state, owner) && stateful_set::plan(state, owner, now).contains(&Step::Delete(id))
                })
            }
            // Which of its old pods goes first is open (J.4). It waits until it sees what it has done itself (`expectations` in
            // pkg/controller/daemon/daemon_controller.go).
            Detail::DaemonSet(_) => {
                let pods = cluster.pods_of_workload(owner);
                let (choices, newest) = (pods.len(), pods.iter().copied().max());
                let deleted = self.deleted_by_controller.iter().copied();
                let deleted: Vec<PodId> =
                    deleted.filter(|&pod| cluster.pod(pod).owner == Owner::Workload(owner)).collect();
                let sees_itself = |state: &&Cluster| {
                    let knows = |pod: PodId| pod.index() < state.pods().len();
                    let leaves =
                        |&pod: &PodId| knows(pod) && (state.pod(pod).deletion.is_some() || state.pod(pod).gone);
                    newest.is_none_or(knows) && deleted.iter().all(leaves)
                };
                self.states().filter(knows_pod).filter(sees_itself).any(|state| {
                    (0..choices).any(|choice| leaves(self.chosen(state, Task::SyncWorkload(owner), &mut Nth(choice))))
                })
            }
            Detail::Deployment(_) | Detail::Job(_) | Detail::CronJob(_) | Detail::Other => {
                self.states().filter(knows_pod).any(|state| leaves(self.tried(state, Task::SyncWorkload(owner))))
                    || self.cron_job_replaces(owner)
            }
        };
        if allowed {
            self.deleted_by_controller.insert(id);
        }
        allowed
    }

    /// The object is gone.
    pub(super) fn pod_gone(&mut self, name: &PodName) {
        self.report.count("pod.gone");
        let Some(id) = self.find_pod(&name.ns, &name.pod) else { return };
        if !self.may_go(id) {
            let pod = self.world.cluster.pod(id);
            let model = format!("the object stays (phase {:?}, deletion {:?})", pod.phase, pod.deletion);
            self.mismatch("pod.gone", &name.pod, model, "gone".to_owned());
        }
        let pod = self.world.cluster.pod(id);
        if let (Owner::Workload(owner), Some(ordinal)) = (pod.owner, pod.ordinal) {
            self.last_spec.insert((owner, ordinal), pod.spec);
        }
        self.world.remove_pod(id, &mut First);
        self.pods.remove(&(Name::new(&name.ns), Name::new(&name.pod)));
        self.since.remove(&id);
    }

    fn may_go(&mut self, id: PodId) -> bool {
        if self.is_exchanged(id) {
            return true;
        }
        let pod = self.world.cluster.pod(id).clone();
        // Who has put a finalizer on a pod, takes it away: that is not in a journal.
        let held = (pod.foreign_finalizer && self.real.is_none()) || (pod.job_finalizer && !self.job_lets_go(id));
        if held {
            return false;
        }
        match pod.deletion {
            Some(deletion) => {
                let stopped = pod.is_terminal() || pod.phase == Phase::Pending || deletion.grace_seconds == 0;
                let collected = |state: &Cluster| {
                    let mut trial = self.trial(state);
                    trial.apply(Task::CollectPod(id), &mut First);
                    trial.cluster.pod(id).gone
                };
                let away = pod.node.and_then(|node| self.away.get(&node));
                stopped && (away.is_none_or(|&mode| mode == Down::None) || deletion.grace_seconds == 0)
                    || collected(&self.world.cluster)
            }
            None => {
                (pod.node.is_none() || pod.is_terminal() || self.scenario.options.flags.grace == Some(0))
                    && (self.may_be_deleted(id, None) || self.requests.iter().any(|pending| pending.pod == Some(id)))
            }
        }
    }

    /// The Job has counted the pod, or would at one of the states.
    fn job_lets_go(&self, id: PodId) -> bool {
        let Owner::Workload(owner) = self.world.cluster.pod(id).owner else { return false };
        let knows = |state: &&Cluster| id.index() < state.pods().len();
        self.states().filter(knows).any(|state| {
            let trial = self.synced_soon(state, owner);
            !trial.cluster.pod(id).job_finalizer
        })
    }

    /// The Job of a CronJob under the name of its scheduled minute, if the CronJob would create it then.
    fn job_of_cron_job(&mut self, ns: &str, controller: &str) -> Option<WorkloadId> {
        let name = controller.strip_prefix("Job/")?;
        let (cron_job, minute) = name.rsplit_once('-')?;
        let minute: i64 = minute.parse().ok()?;
        let cron_job = self.find_workload(ns, &format!("CronJob/{cron_job}"))?;
        let trial = self.cron_job_at(cron_job, minute);
        let key = crate::cluster::ObjectKey::new(Name::new(ns), "Job", Name::new(name));
        let created = trial.cluster.workloads().find(|(_, job)| job.key == key).map(|(_, job)| job.clone())?;
        let spec = created.template.map(|template| trial.cluster.catalog.spec(template).clone());
        let template = spec.map(|spec| self.world.cluster.intern_spec(spec));
        let job = self.world.cluster.add_workload(crate::cluster::Workload { template, ..created });
        self.world.wake_workload(job, &mut First);
        for (id, workload) in trial.cluster.workloads() {
            if workload.deleted && id.index() < self.world.cluster.workloads().len() {
                self.world.cluster.update_workload(id, |workload| workload.deleted = true);
            }
        }
        // The states before do not know the Job, and its first pod may follow at once.
        self.remember();
        Some(job)
    }

    fn cron_job_at(&self, cron_job: WorkloadId, minute: i64) -> World {
        let mut trial = self.trial(&self.world.cluster);
        trial.now = crate::cluster::Time(minute * 60_000);
        trial.apply(Task::SyncWorkload(cron_job), &mut First);
        trial
    }

    /// The CronJob above the Job goes on to its next Job and takes this one away (`concurrencyPolicy: Replace`).
    fn cron_job_replaces(&mut self, job: WorkloadId) -> bool {
        let workload = self.world.cluster.workload(job);
        let Some(cron_job) = workload.owner else { return false };
        let Some(minute) = workload.key.name.rsplit('-').next().and_then(|last| last.parse::<i64>().ok()) else {
            return false;
        };
        let trial = self.cron_job_at(cron_job, minute + 1);
        trial.cluster.workload(job).deleted
    }
}

fn plain(owner: WorkloadId, spec: SpecId) -> NewPod {
    NewPod { owner, spec, name: None, ordinal: None, pinned: None, job_finalizer: false, foreign_finalizer: false }
}
