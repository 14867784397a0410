//! Who has lost how many ready pods, and to whom: kept up to date event by event, at the cost of the pod that changed.

use smallvec::SmallVec;

use crate::cluster::{BudgetId, Cluster, DisruptionReason, NodeId, Owner, Phase, PodId, ServiceId, Time, WorkloadId};
use crate::trace::{Event, Record};

use super::turns::Turns;
use super::{Floors, Limits, floors};

/// Why a pod does not serve any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// The upgrade: evicted or deleted by the run, its host away, or in the way of a displaced pod.
    Upgrade,
    /// Its own controller wants it so: a rollout, a scale-down.
    Controller,
    /// Somebody else, or the application itself.
    Others,
}

/// Ready pods or endpoints of one workload, Service or budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Tally {
    /// Now.
    pub(super) ready: u32,
    /// At the start.
    pub(super) at_start: u32,
    /// Taken by the upgrade and not back. Any pod that becomes ready counts as the one that comes back.
    pub(super) missing: u32,
    /// It was below its floor before the start: it must not get worse than it was.
    pub(super) degraded: bool,
    /// The upgrade took pods from it at some time.
    pub(super) taken: bool,
}

/// A pod that stopped serving.
#[derive(Clone, Debug, Default)]
pub(super) struct Loss {
    /// Workload whose ready pods are one less.
    pub(super) workload: Option<WorkloadId>,
    /// Budgets whose healthy pods are one less.
    pub(super) budgets: SmallVec<[BudgetId; 2]>,
    /// Services whose ready endpoints are one less.
    pub(super) services: SmallVec<[ServiceId; 2]>,
}

/// What the last event changed.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) pod: PodId,
    pub(super) cause: Cause,
    pub(super) lost: Loss,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seat {
    strong: bool,
    running: bool,
    /// The workload it was counted for.
    top: Option<WorkloadId>,
    /// The upgrade took it.
    taken: bool,
}

/// The state of every application.
#[derive(Clone, Debug)]
pub(super) struct Strength {
    seats: Vec<Seat>,
    workloads: Vec<Tally>,
    budgets: Vec<Tally>,
    services: Vec<Tally>,
    /// Pods that were ready at the start.
    ready_at_start: Vec<bool>,
    disturbed: Option<Time>,
    change: Option<Change>,
}

impl Strength {
    pub(super) fn new(initial: &Cluster, limits: &Limits) -> Strength {
        let mut strength = Strength {
            seats: Vec::new(),
            workloads: Vec::new(),
            budgets: Vec::new(),
            services: Vec::new(),
            ready_at_start: initial.pods().map(|(_, pod)| pod.is_serving_strength()).collect(),
            disturbed: None,
            change: None,
        };
        strength.count(initial);
        let floors = Floors::of(initial, limits);
        for (id, tally) in (0..).map(WorkloadId).zip(&mut strength.workloads) {
            tally.at_start = tally.ready;
            tally.degraded = floors.workload(id).is_some_and(|floor| tally.ready < floor);
        }
        for (id, tally) in (0..).map(ServiceId).zip(&mut strength.services) {
            tally.at_start = tally.ready;
            tally.degraded = floors.service(id).is_some_and(|floor| tally.ready < floor);
        }
        for (id, tally) in (0..).map(BudgetId).zip(&mut strength.budgets) {
            tally.at_start = tally.ready;
            tally.degraded = i64::from(tally.ready) < i64::from(initial.budget(id).status.desired_healthy);
        }
        strength
    }

    /// A workload's ready pods.
    pub(super) fn workload(&self, id: WorkloadId) -> Tally {
        self.workloads.get(id.index()).copied().unwrap_or_default()
    }

    /// A Service's ready endpoints.
    pub(super) fn service(&self, id: ServiceId) -> Tally {
        self.services.get(id.index()).copied().unwrap_or_default()
    }

    /// A budget's healthy pods.
    pub(super) fn budget(&self, id: BudgetId) -> Tally {
        self.budgets.get(id.index()).copied().unwrap_or_default()
    }

    /// What the last event took away, if anything.
    pub(super) fn change(&self) -> Option<&Change> {
        self.change.as_ref()
    }

    /// The upgrade took this pod.
    pub(super) fn is_taken(&self, pod: PodId) -> bool {
        self.seats.get(pod.index()).is_some_and(|seat| seat.taken)
    }

    /// The pod was ready before the run.
    pub(super) fn was_ready_at_start(&self, pod: PodId) -> bool {
        self.ready_at_start.get(pod.index()).copied().unwrap_or(false)
    }

    pub(super) fn observe(&mut self, record: &Record, cluster: &Cluster, turns: &Turns) {
        self.change = None;
        if self.workloads.len() != cluster.workloads().len()
            || self.budgets.len() != cluster.budgets().len()
            || self.services.len() != cluster.services().len()
        {
            self.count(cluster);
        }
        match record.event {
            Event::Disturbance(_) => self.disturbed = Some(record.at),
            Event::WorkloadGone(_) | Event::BudgetGone(_) => self.count(cluster),
            Event::Scaled(workload, replicas) => self.scaled(workload, replicas, cluster),
            Event::Evict { pod, code: 200 | 201, .. } => self.take(pod, cluster),
            Event::PodDisruptionTarget(pod, reason) if is_by_upgrade(reason, pod, cluster, turns, record.at) => {
                self.take(pod, cluster);
            }
            Event::PodCreated(pod)
            | Event::PodRunning(pod)
            | Event::PodSucceeded(pod)
            | Event::PodFailed(pod)
            | Event::PodReady(pod)
            | Event::PodNotReady(pod)
            | Event::PodDeleting(pod)
            | Event::PodGone(pod) => self.pod_changed(pod, record, cluster, turns),
            _ => {}
        }
    }

    fn pod_changed(&mut self, pod: PodId, record: &Record, cluster: &Cluster, turns: &Turns) {
        let before = self.seat(pod);
        let now = Seat { top: cluster.top_of_pod(pod), taken: before.taken, ..look(pod, cluster) };
        if before.strong == now.strong && before.running == now.running && before.top == now.top {
            return;
        }
        let cause = self.cause(pod, record, cluster, turns);
        if cause == Cause::Upgrade && before.strong && !now.strong {
            self.take(pod, cluster);
        }
        let taken = cause == Cause::Upgrade;
        let mut lost = Loss::default();
        if let Some(top) = now.top
            && change(&mut self.workloads[top.index()], before.strong, now.strong, taken)
        {
            lost.workload = Some(top);
        }
        for &budget in cluster.budgets_of_pod(pod) {
            if change(&mut self.budgets[budget.index()], before.strong, now.strong, taken) {
                lost.budgets.push(budget);
            }
        }
        for &service in cluster.services_of_pod(pod) {
            let published = cluster.service(service).publish_not_ready;
            let endpoint = |seat: Seat| if published { seat.running } else { seat.strong && seat.running };
            if change(&mut self.services[service.index()], endpoint(before), endpoint(now), taken) {
                lost.services.push(service);
            }
        }
        let taken = self.seats[pod.index()].taken;
        self.seats[pod.index()] = Seat { taken, ..now };
        if lost.workload.is_some() || !lost.budgets.is_empty() || !lost.services.is_empty() {
            self.change = Some(Change { pod, cause, lost });
        }
    }

    fn cause(&self, pod: PodId, record: &Record, cluster: &Cluster, turns: &Turns) -> Cause {
        let object = cluster.pod(pod);
        if self.is_taken(pod) || object.node.is_some_and(|node| turns.is_away(node, record.at)) {
            return Cause::Upgrade;
        }
        if self.disturbed == Some(record.at) {
            return Cause::Others;
        }
        match record.event {
            Event::PodDeleting(_) | Event::PodGone(_) => Cause::Controller,
            _ => Cause::Others,
        }
    }

    /// The upgrade takes a pod that was neither ended nor on its way out.
    fn take(&mut self, pod: PodId, cluster: &Cluster) {
        self.seat(pod);
        let seat = &mut self.seats[pod.index()];
        if seat.taken || (cluster.pod(pod).is_terminal() && !seat.running) {
            return;
        }
        seat.taken = true;
        if let Owner::Workload(owner) = cluster.pod(pod).owner {
            self.workloads[owner.index()].taken = true;
            self.workloads[cluster.top(owner).index()].taken = true;
        }
    }

    /// Fewer pods are wanted: those that were taken need not come back.
    fn scaled(&mut self, workload: WorkloadId, replicas: i32, cluster: &Cluster) {
        let tally = &mut self.workloads[workload.index()];
        let wanted = u32::try_from(replicas).unwrap_or(0).saturating_sub(tally.ready);
        let fewer = tally.missing.saturating_sub(wanted);
        tally.missing -= fewer;
        let Some(template) = cluster.workload(workload).template else { return };
        let matches = cluster.matches(template);
        for budget in &matches.budgets {
            let missing = &mut self.budgets[budget.index()].missing;
            *missing = missing.saturating_sub(fewer);
        }
        for service in &matches.services {
            let missing = &mut self.services[service.index()].missing;
            *missing = missing.saturating_sub(fewer);
        }
    }

    fn seat(&mut self, pod: PodId) -> Seat {
        if self.seats.len() <= pod.index() {
            self.seats.resize(pod.index() + 1, Seat::default());
        }
        self.seats[pod.index()]
    }

    /// Counts everything anew: at the start, and when objects came or went that others are counted by.
    fn count(&mut self, cluster: &Cluster) {
        for (tallies, length) in [
            (&mut self.workloads, cluster.workloads().len()),
            (&mut self.budgets, cluster.budgets().len()),
            (&mut self.services, cluster.services().len()),
        ] {
            tallies.resize(length, Tally::default());
            tallies.iter_mut().for_each(|tally| tally.ready = 0);
        }
        self.seats.resize(cluster.pods().len().max(self.seats.len()), Seat::default());
        for (id, _) in cluster.pods() {
            let seat = Seat { top: cluster.top_of_pod(id), taken: self.is_taken(id), ..look(id, cluster) };
            self.seats[id.index()] = seat;
            if let Some(top) = seat.top {
                self.workloads[top.index()].ready += u32::from(seat.strong);
            }
            for budget in cluster.budgets_of_pod(id) {
                self.budgets[budget.index()].ready += u32::from(seat.strong);
            }
            for &service in cluster.services_of_pod(id) {
                let published = cluster.service(service).publish_not_ready;
                let endpoint = if published { seat.running } else { seat.strong && seat.running };
                self.services[service.index()].ready += u32::from(endpoint);
            }
        }
    }
}

impl Tally {
    /// The floor that the upgrade is held to: never more than there would be without it, nor more than there was if the
    /// application was degraded before.
    pub(super) fn floor(&self, asked: u32) -> u32 {
        let without_upgrade = asked.min(self.ready + self.missing);
        if self.degraded { without_upgrade.min(self.at_start) } else { without_upgrade }
    }
}

/// Adjusts a tally for one pod; true if it lost it.
fn change(tally: &mut Tally, was: bool, is: bool, taken: bool) -> bool {
    match (was, is) {
        (false, true) => {
            tally.ready += 1;
            tally.missing = tally.missing.saturating_sub(1);
            false
        }
        (true, false) => {
            tally.ready = tally.ready.saturating_sub(1);
            if taken {
                tally.missing += 1;
                tally.taken = true;
            }
            true
        }
        (false, false) | (true, true) => false,
    }
}

fn look(pod: PodId, cluster: &Cluster) -> Seat {
    let pod = cluster.pod(pod);
    Seat { strong: pod.is_serving_strength(), running: pod.phase == Phase::Running && !pod.gone, ..Seat::default() }
}

fn is_by_upgrade(reason: DisruptionReason, pod: PodId, cluster: &Cluster, turns: &Turns, at: Time) -> bool {
    match reason {
        DisruptionReason::EvictionByEvictionApi => true,
        // Somebody needs the room because nodes are out.
        DisruptionReason::PreemptionByScheduler => !cluster.nodes_under_maintenance().is_empty(),
        DisruptionReason::DeletionByTaintManager
        | DisruptionReason::DeletionByPodGc
        | DisruptionReason::TerminationByKubelet => cluster.pod(pod).node.is_some_and(|node| turns.is_away(node, at)),
    }
}

/// On whose turn something happened to a pod: its own node's if that is in hand, else the only one that is.
pub(super) fn turn_of(pod: PodId, cluster: &Cluster) -> Option<NodeId> {
    let in_hand = cluster.nodes_under_maintenance();
    match cluster.pod(pod).node {
        Some(node) if in_hand.contains(&node) => Some(node),
        _ if in_hand.len() == 1 => Some(in_hand[0]),
        _ => None,
    }
}

/// A floor that the last event broke on the upgrade's account: the ready count and the floor it is held to.
pub(super) fn below(tally: Tally, asked: u32, cause: Cause) -> Option<(u32, u32)> {
    let floor = tally.floor(asked);
    let answerable = match cause {
        Cause::Upgrade => true,
        Cause::Others => tally.missing > 0,
        Cause::Controller => false,
    };
    (answerable && tally.ready < floor).then_some((tally.ready, floor))
}

/// The floor of a budget as it stands now.
pub(super) fn desired(cluster: &Cluster, budget: BudgetId) -> u32 {
    u32::try_from(cluster.budget(budget).status.desired_healthy).unwrap_or(0)
}

/// What the plan states for a workload, as long as that is to have pods at all.
pub(super) fn stated(cluster: &Cluster, limits: &Limits, id: WorkloadId) -> Option<u32> {
    let workload = cluster.workload(id);
    let wants_pods = !workload.deleted && (workload.replicas > 0 || floors::default_floor(cluster, id).is_none());
    floors::stated_workload(cluster, limits, id).filter(|_| wants_pods)
}
