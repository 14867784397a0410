//! Ground truth, agenda and virtual clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::cluster::{
    BudgetId, Cluster, Deletion, DisruptionReason, Labels, Millis, Name, Node, NodeId, Owner, Phase, Pod, PodId,
    PodSpec, Readiness, ServiceId, SpecId, Time, WorkloadId,
};
use crate::trace::{Event, Record};
use crate::upgrade::Action;

use super::{Chooser, Delay, Physics, controllers, disruption, engine, host, kubelet, scheduler};

/// Something that may happen next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Task {
    /// The engine looks at the cluster and decides.
    Turn,
    /// The engine carries out an action.
    Act(Action),
    /// A controller looks at a workload.
    SyncWorkload(WorkloadId),
    /// The disruption controller looks at a budget.
    SyncBudget(BudgetId),
    /// The disruption controller looks whether a pod still carries a DisruptionTarget condition that nothing came of.
    ClearDisruptionTarget(PodId),
    /// The endpoint slice controller looks at a Service.
    SyncService(ServiceId),
    /// The node lifecycle controller looks at a node (taints, heartbeats).
    SyncNode(NodeId),
    /// The taint manager deletes a pod whose toleration is spent.
    TaintDelete(PodId),
    /// Pod garbage collection looks at a pod.
    CollectPod(PodId),
    /// The namespace controller deletes what a terminating namespace holds.
    EmptyNamespace(Name),
    /// The scheduler takes the next pod from its queue.
    Schedule,
    /// A kubelet does the next step for a pod.
    Kubelet(PodId, kubelet::Step),
    /// A host does the next step of its maintenance.
    Host(NodeId, host::Step),
    /// The backup is done.
    BackupDone,
    /// Something from outside happens: number in the list of disturbances.
    Disturb(u32),
}

/// The world: a cluster and everything that goes on in it.
#[derive(Clone)]
pub struct World {
    /// The cluster as the API server has it.
    pub cluster: Cluster,
    /// Virtual time.
    pub now: Time,
    /// How long things take.
    pub physics: Arc<Physics>,
    /// What has happened, in order; a driver may take it out as it goes (`std::mem::take`).
    pub trace: Vec<Record>,
    /// The engine, once [`World::start_engine`] was called.
    pub engine: Option<engine::Engine>,
    /// The scheduler's queue and caches.
    pub scheduler: scheduler::Scheduler,
    /// What controllers remember between their syncs.
    pub controllers: controllers::Memory,
    /// How the hosts stand, by node.
    pub hosts: Vec<host::State>,
    /// What somebody else does during the run.
    pub disturbances: Arc<Vec<engine::Disturbance>>,
    /// What kubelets remember.
    pub(super) kubelets: kubelet::Memory,
    agenda: BinaryHeap<Reverse<(Time, u64, Task)>>,
    sequence: u64,
    queued_workloads: Vec<bool>,
    queued_budgets: Vec<bool>,
    queued_services: Vec<bool>,
    /// What the earliest planned turn of the scheduler is for.
    schedule_due: Option<Time>,
    names: u32,
}

impl World {
    /// A world that goes on from what is known of a cluster. Pods in the middle of starting or stopping go on with it;
    /// controllers look at everything once.
    pub fn new(cluster: Cluster, now: Time, physics: Arc<Physics>, chooser: &mut dyn Chooser) -> World {
        let pods = cluster.pods().len();
        // Nobody hears of an Unknown node: what runs there goes on by itself, if at all, and nothing starts or ends (E10, E-T11).
        let down = |node: &Node| node.ready == Readiness::Unknown && !node.gone;
        let hosts =
            cluster.nodes().map(|(_, node)| host::State { down: down(node), ..host::State::default() }).collect();
        let mut world = World {
            scheduler: scheduler::Scheduler::new(&cluster),
            controllers: controllers::Memory::new(&cluster),
            hosts,
            queued_workloads: Vec::new(),
            queued_budgets: Vec::new(),
            queued_services: Vec::new(),
            cluster,
            now,
            physics,
            trace: Vec::new(),
            engine: None,
            disturbances: Arc::default(),
            kubelets: kubelet::Memory::default(),
            agenda: BinaryHeap::new(),
            sequence: 0,
            schedule_due: None,
            // Names that an earlier world gave to pods of this cluster are not given again.
            names: pods as u32,
        };
        kubelet::resume(&mut world, chooser);
        controllers::resume(&mut world, chooser);
        disruption::resume(&mut world, chooser);
        world.wake_scheduler(chooser);
        world
    }

    /// All that may happen next, with the time it is due, in no particular order.
    pub fn events(&self) -> impl Iterator<Item = (Time, Task)> + '_ {
        self.agenda.iter().map(|Reverse((due, _, task))| (*due, *task))
    }

    /// What is due first.
    pub fn next(&self) -> Option<(Time, Task)> {
        self.agenda.peek().map(|Reverse((due, _, task))| (*due, *task))
    }

    /// Lets the first due task happen. `false`: nothing is left to happen.
    pub fn step(&mut self, chooser: &mut dyn Chooser) -> bool {
        let Some(Reverse((due, _, task))) = self.agenda.pop() else { return false };
        self.now = self.now.max(due);
        self.apply(task, chooser);
        true
    }

    /// Makes one task happen now.
    pub fn apply(&mut self, task: Task, chooser: &mut dyn Chooser) {
        match task {
            Task::Turn => engine::turn(self, chooser),
            Task::Act(action) => engine::act(self, action, chooser),
            Task::SyncWorkload(id) => {
                taken_up(&mut self.queued_workloads, id.index());
                controllers::sync_workload(self, id, chooser);
            }
            Task::SyncBudget(id) => {
                taken_up(&mut self.queued_budgets, id.index());
                disruption::sync(self, id, chooser);
            }
            Task::ClearDisruptionTarget(pod) => disruption::clear_stale_condition(self, pod),
            Task::SyncService(id) => {
                taken_up(&mut self.queued_services, id.index());
                controllers::sync_service(self, id, chooser);
            }
            Task::SyncNode(id) => controllers::sync_node(self, id, chooser),
            Task::TaintDelete(pod) => controllers::taint_delete(self, pod, chooser),
            Task::CollectPod(pod) => controllers::collect_pod(self, pod, chooser),
            Task::EmptyNamespace(namespace) => controllers::empty_namespace(self, namespace, chooser),
            Task::Schedule => {
                self.schedule_due = None;
                scheduler::run(self, chooser);
            }
            Task::Kubelet(pod, step) => kubelet::step(self, pod, step, chooser),
            Task::Host(node, step) => host::step(self, node, step, chooser),
            Task::BackupDone => engine::backup_done(self, chooser),
            Task::Disturb(number) => engine::disturb(self, number, chooser),
        }
    }

    /// Plans a task for a point in time.
    pub fn at(&mut self, due: Time, task: Task) {
        self.sequence += 1;
        self.agenda.push(Reverse((due, self.sequence, task)));
    }

    /// Plans a task after a delay that the chooser settles.
    pub fn after(&mut self, delay: Delay, task: Task, chooser: &mut dyn Chooser) {
        let length = self.length(delay, chooser);
        self.at(self.now + length, task);
    }

    /// A delay's length.
    pub fn length(&self, delay: Delay, chooser: &mut dyn Chooser) -> Millis {
        let (shortest, longest) = self.physics.range(delay);
        chooser.between(delay, shortest, longest)
    }

    /// Takes planned tasks off the agenda (a killed engine forgets what it was about to do).
    pub fn forget(&mut self, forgotten: impl Fn(&Task) -> bool) {
        self.agenda.retain(|Reverse((_, _, task))| !forgotten(task));
    }

    /// Tells the trace and every component that watches.
    pub fn emit(&mut self, event: Event, chooser: &mut dyn Chooser) {
        self.scheduler.observe(&self.cluster, &event, self.now);
        self.react(&event, chooser);
        self.wake_scheduler(chooser);
        self.trace.push(Record { at: self.now, event });
    }

    fn react(&mut self, event: &Event, chooser: &mut dyn Chooser) {
        match *event {
            Event::PodCreated(pod) => {
                controllers::pod_created(self, pod, chooser);
                self.wake_around(pod, event, chooser);
                if self.cluster.pod(pod).node.is_some() {
                    kubelet::pod_bound(self, pod, chooser);
                }
            }
            Event::PodBound(pod, node) => {
                controllers::pod_bound(self, pod, node);
                kubelet::pod_bound(self, pod, chooser);
            }
            Event::PodDeleting(pod) => {
                self.wake_around(pod, event, chooser);
                kubelet::pod_deleting(self, pod, chooser);
            }
            Event::PodRunning(pod) | Event::PodReady(pod) | Event::PodNotReady(pod) => {
                self.wake_around(pod, event, chooser)
            }
            Event::PodSucceeded(pod) | Event::PodFailed(pod) | Event::PodGone(pod) => {
                if let Event::PodGone(pod) = *event {
                    controllers::pod_gone(self, pod);
                    kubelet::pod_gone(self, pod);
                }
                self.wake_around(pod, event, chooser);
            }
            Event::NodeSchedulable(node, _)
            | Event::NodeReady(node, _)
            | Event::NodeTaints(node)
            | Event::NodeCreated(node)
            | Event::NodeGone(node) => {
                controllers::node_changed(self, node, event, chooser);
            }
            Event::Scaled(workload, _) | Event::JobStatus(workload) | Event::WorkloadGone(workload) => {
                self.wake_workload(workload, chooser);
            }
            Event::Acted(_)
            | Event::Evict { .. }
            | Event::PodUnschedulable(..)
            | Event::PodNominated(..)
            | Event::PodRestarted(_)
            | Event::PodDisruptionTarget(..)
            | Event::PodStopped { .. }
            | Event::RequestsAtRisk { .. }
            | Event::NodeVersion(..)
            | Event::ControlPlaneVersion(..)
            | Event::NodeRouted(..)
            | Event::HostStarted(_)
            | Event::HostEnded(..)
            | Event::NodeEnded(..)
            | Event::BudgetStatus(_)
            | Event::BudgetGone(_)
            | Event::Endpoints { .. }
            | Event::Lock
            | Event::Backup
            | Event::RunEnded { .. }
            | Event::EngineRestarted
            | Event::Disturbance(_) => {}
        }
        engine::observe(self, event, chooser);
    }

    /// Wakes the controllers that watch a pod: its owners, the budgets and Services that select it.
    fn wake_around(&mut self, pod: PodId, event: &Event, chooser: &mut dyn Chooser) {
        if let Owner::Workload(owner) = self.cluster.pod(pod).owner {
            controllers::pod_changed(self, pod);
            self.wake_workload(owner, chooser);
            let top = self.cluster.top(owner);
            if top != owner && controllers::reaches_top(&self.cluster, top, pod, event) {
                self.wake_workload(top, chooser);
            }
        }
        disruption::pod_changed(self, pod, chooser);
        for index in 0..self.cluster.services_of_pod(pod).len() {
            let service = self.cluster.services_of_pod(pod)[index];
            self.wake_service(service, chooser);
        }
    }

    /// Somebody gives a pod other labels. Whoever selects or owned it by the old ones is not told of a change by the new ones
    /// (B.6), but its controllers and Services watch both.
    pub fn relabel(&mut self, pod: PodId, labels: Labels, chooser: &mut dyn Chooser) {
        let services_before = self.cluster.services_of_pod(pod).to_vec();
        if let Owner::Workload(owner) = self.cluster.pod(pod).owner {
            self.wake_workload(owner, chooser);
        }
        let spec = PodSpec { labels, ..self.cluster.spec(pod).clone() };
        let spec = self.cluster.intern_spec(spec);
        self.cluster.update_pod(pod, |pod| pod.spec = spec);
        controllers::adopt_orphans(&mut self.cluster);
        for service in services_before {
            self.wake_service(service, chooser);
        }
        self.pod_changed(pod, chooser);
    }

    /// Something about a pod changed for which there is no event of its own.
    pub fn pod_changed(&mut self, pod: PodId, chooser: &mut dyn Chooser) {
        self.wake_around(pod, &Event::PodRunning(pod), chooser);
    }

    /// Has a workload's controller look at it soon.
    pub fn wake_workload(&mut self, id: WorkloadId, chooser: &mut dyn Chooser) {
        if first_call(&mut self.queued_workloads, id.index()) {
            self.after(Delay::Watch, Task::SyncWorkload(id), chooser);
        }
    }

    /// Has the disruption controller look at a budget soon.
    pub fn wake_budget(&mut self, id: BudgetId, chooser: &mut dyn Chooser) {
        if first_call(&mut self.queued_budgets, id.index()) {
            self.after(Delay::Watch, Task::SyncBudget(id), chooser);
        }
    }

    /// Has the endpoint slice controller look at a Service soon.
    pub fn wake_service(&mut self, id: ServiceId, chooser: &mut dyn Chooser) {
        if first_call(&mut self.queued_services, id.index()) {
            self.after(Delay::Watch, Task::SyncService(id), chooser);
        }
    }

    /// Has the scheduler take pods from its queue, once one may be taken. A turn that was planned for later stays planned: it
    /// finds nothing to do.
    pub fn wake_scheduler(&mut self, chooser: &mut dyn Chooser) {
        if self.schedule_due.is_some_and(|planned| planned <= self.now) {
            return;
        }
        let Some(due) = self.scheduler.next_due(self.now) else { return };
        if self.schedule_due.is_none_or(|planned| due < planned) {
            self.schedule_due = Some(due);
            let due = due.max(self.now) + self.length(Delay::Scheduling, chooser);
            self.at(due, Task::Schedule);
        }
    }

    /// Creates a pod object for a workload. `name` is given for StatefulSet pods; others get a fresh one.
    pub fn create_pod(&mut self, new: NewPod, chooser: &mut dyn Chooser) -> PodId {
        self.names += 1;
        let prefix = self.cluster.workload(new.owner).key.name;
        let name = new.name.unwrap_or_else(|| Name::new(&format!("{prefix}-sim{}", self.names)));
        let spec = self.cluster.catalog.spec(new.spec);
        let node = if spec.node_name.is_empty() { None } else { self.cluster.find_node(spec.node_name) };
        let pod = self.cluster.add_pod(Pod {
            name,
            spec: new.spec,
            owner: Owner::Workload(new.owner),
            ordinal: new.ordinal,
            pinned: new.pinned,
            node,
            phase: Phase::Pending,
            ready: false,
            ready_since: self.now,
            created: self.now,
            started: None,
            deletion: None,
            disruption_target: None,
            nominated: None,
            job_finalizer: new.job_finalizer,
            foreign_finalizer: new.foreign_finalizer,
            mirror: false,
            unschedulable: false,
            stuck: Name::EMPTY,
            restarts: 0,
            deletion_cost: 0,
            gone: false,
        });
        self.emit(Event::PodCreated(pod), chooser);
        pod
    }

    /// DELETE of a pod (KUBERNETES.md A.8): unscheduled and terminal pods vanish at once, a terminating one can only be hurried.
    pub fn delete_pod(&mut self, pod: PodId, grace_seconds: Option<u32>, chooser: &mut dyn Chooser) {
        let object = self.cluster.pod(pod);
        if object.gone {
            return;
        }
        let held = object.job_finalizer || object.foreign_finalizer;
        let grace = match (object.deletion, grace_seconds) {
            // Only a shorter grace period than what is left changes anything (E11).
            (Some(_), None) => return,
            (Some(deletion), Some(asked)) => {
                let left = deletion.since + Millis::secs(i64::from(deletion.grace_seconds)) - self.now;
                if deletion.grace_seconds == 0 || (asked > 0 && Millis::secs(i64::from(asked)) >= left) {
                    return;
                }
                asked
            }
            (None, _) if object.node.is_none() || object.is_terminal() => 0,
            (None, asked) => asked.unwrap_or(self.cluster.spec(pod).grace_seconds),
        };
        if grace == 0 && !held && !self.cluster.pod(pod).mirror {
            // The object goes at once; its containers are killed after it (E6).
            kubelet::note_requests_at_risk(self, pod, chooser);
            self.remove_pod(pod, chooser);
            return;
        }
        let since = self.now;
        self.cluster.update_pod(pod, |pod| pod.deletion = Some(Deletion { since, grace_seconds: grace }));
        self.emit(Event::PodDeleting(pod), chooser);
    }

    /// Sets the DisruptionTarget condition. The time of one that is True already stays.
    pub fn mark_disrupted(&mut self, pod: PodId, reason: DisruptionReason, chooser: &mut dyn Chooser) {
        let before = self.cluster.pod(pod).disruption_target;
        if before.is_some_and(|before| before.0 == reason) {
            return;
        }
        let since = before.map_or(self.now, |before| before.1);
        self.cluster.update_pod(pod, |pod| pod.disruption_target = Some((reason, since)));
        self.emit(Event::PodDisruptionTarget(pod, reason), chooser);
    }

    /// The object goes away: the last finalizer is gone and the kubelet (or a delete with grace 0) has let it go.
    pub fn remove_pod(&mut self, pod: PodId, chooser: &mut dyn Chooser) {
        if self.cluster.pod(pod).gone {
            return;
        }
        self.cluster.update_pod(pod, |pod| {
            pod.gone = true;
            pod.ready = false;
        });
        self.emit(Event::PodGone(pod), chooser);
    }

    /// A finalizer was taken off: an object that only waited for that goes away.
    pub fn finalizers_changed(&mut self, pod: PodId, chooser: &mut dyn Chooser) {
        let object = self.cluster.pod(pod);
        let held = object.job_finalizer || object.foreign_finalizer;
        if !held && object.deletion.is_some_and(|deletion| deletion.grace_seconds == 0) {
            self.remove_pod(pod, chooser);
        }
    }

    /// Sets condition Ready.
    pub fn set_ready(&mut self, pod: PodId, ready: bool, chooser: &mut dyn Chooser) {
        if self.cluster.pod(pod).ready == ready {
            return;
        }
        let now = self.now;
        self.cluster.update_pod(pod, |pod| {
            pod.ready = ready;
            pod.ready_since = now;
        });
        self.emit(if ready { Event::PodReady(pod) } else { Event::PodNotReady(pod) }, chooser);
    }

    /// `spec.unschedulable` of a node.
    pub fn set_schedulable(&mut self, node: NodeId, schedulable: bool, chooser: &mut dyn Chooser) {
        if self.cluster.node(node).unschedulable == schedulable {
            self.cluster.update_node(node, |node| node.unschedulable = !schedulable);
            self.emit(Event::NodeSchedulable(node, schedulable), chooser);
        }
    }

    /// `spec.replicas` of a workload.
    pub fn scale(&mut self, workload: WorkloadId, replicas: i32, chooser: &mut dyn Chooser) {
        if self.cluster.workload(workload).replicas == replicas {
            return;
        }
        self.cluster.update_workload(workload, |workload| workload.replicas = replicas);
        self.emit(Event::Scaled(workload, replicas), chooser);
    }
}

/// What a controller asks for when it creates a pod.
#[derive(Clone, Copy, Debug)]
pub struct NewPod {
    /// Owner.
    pub owner: WorkloadId,
    /// Template.
    pub spec: SpecId,
    /// Fixed name (StatefulSets).
    pub name: Option<Name>,
    /// Ordinal or index.
    pub ordinal: Option<u32>,
    /// The one node it may go to (DaemonSets).
    pub pinned: Option<NodeId>,
    /// With the Job-tracking finalizer.
    pub job_finalizer: bool,
    /// With a finalizer of somebody else that its template carries.
    pub foreign_finalizer: bool,
}

/// Takes an entry off the queue. A driver may have a controller look at what nobody has queued, such as an object that is new.
fn taken_up(queued: &mut [bool], index: usize) {
    if let Some(queued) = queued.get_mut(index) {
        *queued = false;
    }
}

/// Marks an entry as queued; false if it was already.
fn first_call(queued: &mut Vec<bool>, index: usize) -> bool {
    if queued.len() <= index {
        queued.resize(index + 1, false);
    }
    !std::mem::replace(&mut queued[index], true)
}
