//! What must stay up: the floor of a workload is its budget's desired count, kept by the eviction API itself; without a
//! budget one ready pod, and one ready endpoint of every Service; a plan may state others. An eviction that takes something
//! under its floor is held back as long as waiting can help. What was below its floor before the run never gets worse: the
//! eviction of a pod that is not ready takes nothing away.

use smallvec::SmallVec;

use crate::cluster::{
    BudgetId, Cluster, Detail, Millis, ObjectKey, Phase, Pod, PodId, RestartPolicy, ServiceId, Time, Workload,
    WorkloadId,
};

use super::decide::View;
use super::{Accepted, Goal, Reason};

/// A pod that the scheduler rejected so soon after its creation may only be in its back-off (KUBERNETES.md C24-C27).
const SCHEDULING: Millis = Millis::secs(30);

/// A bound pod that is not Ready so long after its start or its last change is not waited for, unless its own history shows
/// longer start-up times.
const START: Millis = Millis::secs(10 * 60);

/// What one decision already takes away; the cluster does not show it yet.
#[derive(Debug, Default)]
pub(super) struct Tally {
    budgets: SmallVec<[(BudgetId, u32); 4]>,
    workloads: SmallVec<[(WorkloadId, u32); 8]>,
    services: SmallVec<[(ServiceId, u32); 8]>,
}

/// What is to be done about an eviction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Ask.
    Go,
    /// Wait, and look again at this time at the latest.
    Hold(Reason, Option<Time>),
    /// Neither waiting helps nor has the operator accepted it.
    Never(Reason),
}

/// Whether waiting brings ready pods.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hope {
    None,
    /// Until then, if ever, this looks different by itself.
    Some(Option<Time>),
}

impl Hope {
    fn or(self, other: impl FnOnce() -> Hope) -> Hope {
        if self == Hope::None { other() } else { self }
    }

    fn until(now: Time, until: Time) -> Hope {
        if now < until { Hope::Some(Some(until)) } else { Hope::None }
    }
}

impl Tally {
    /// Evictions of pods of a budget that this decision asks for already.
    pub fn of_budget(&self, budget: BudgetId) -> u32 {
        count(&self.budgets, budget)
    }

    /// An eviction goes out. `budget`: the one that pays for it.
    pub fn take(&mut self, cluster: &Cluster, pod: PodId, budget: Option<BudgetId>) {
        if let Some(budget) = budget {
            add(&mut self.budgets, budget);
        }
        if let Some(workload) = cluster.top_of_pod(pod)
            && cluster.pod(pod).is_serving_strength()
        {
            add(&mut self.workloads, workload);
        }
        for &service in cluster.services_of_pod(pod) {
            if is_endpoint(cluster, service, cluster.pod(pod)) {
                add(&mut self.services, service);
            }
        }
    }
}

fn count<T: Copy + PartialEq>(list: &[(T, u32)], key: T) -> u32 {
    list.iter().find(|entry| entry.0 == key).map_or(0, |entry| entry.1)
}

fn add<T: Copy + PartialEq, const N: usize>(list: &mut SmallVec<[(T, u32); N]>, key: T)
where
    [(T, u32); N]: smallvec::Array<Item = (T, u32)>,
{
    match list.iter_mut().find(|entry| entry.0 == key) {
        Some(entry) => entry.1 += 1,
        None => list.push((key, 1)),
    }
}

/// Whether the floors let this pod go now.
pub(super) fn verdict(view: View, pod: PodId, tally: &Tally) -> Verdict {
    let cluster = view.cluster;
    let object = cluster.pod(pod);
    let workload = cluster.top_of_pod(pod);
    let accepted = workload.is_some_and(|workload| is_accepted(view.goal, cluster.workload(workload).key));
    if let Some(workload) = workload
        && object.is_serving_strength()
        && let Some(floor) = of_workload(view.goal, cluster, workload, pod)
    {
        let taken = count(&tally.workloads, workload);
        let ready = cluster.ready_pods(workload).saturating_sub(taken);
        if ready <= floor {
            let hope = if taken > 0 { Hope::Some(None) } else { hope_of_workload(view, workload) };
            match hope {
                Hope::Some(until) => return Verdict::Hold(Reason::Floor { pod, workload, ready, floor }, until),
                Hope::None if accepted => {}
                Hope::None => return Verdict::Never(Reason::NotAccepted { pod, workload: Some(workload) }),
            }
        }
    }
    for &service in cluster.services_of_pod(pod) {
        if !is_endpoint(cluster, service, object) {
            continue;
        }
        let key = cluster.service_key(service);
        let floor = stated(view.goal, key).unwrap_or(1);
        let taken = count(&tally.services, service);
        let ready = cluster.ready_endpoints(service).saturating_sub(taken);
        if ready > floor {
            continue;
        }
        let hope = if taken > 0 { Hope::Some(None) } else { hope_of_service(view, service, workload) };
        match hope {
            Hope::Some(until) => return Verdict::Hold(Reason::ServiceFloor { pod, service, ready, floor }, until),
            Hope::None if accepted || is_accepted(view.goal, key) => {}
            Hope::None => return Verdict::Never(Reason::NotAccepted { pod, workload }),
        }
    }
    Verdict::Go
}

/// The floor of a workload that the engine itself has to keep. `None`: there is none, or its budget keeps it.
fn of_workload(goal: &Goal, cluster: &Cluster, workload: WorkloadId, pod: PodId) -> Option<u32> {
    let object = cluster.workload(workload);
    if let Some(floor) = stated(goal, object.key) {
        return Some(floor);
    }
    if !goal.disable_eviction && !cluster.budgets_of_pod(pod).is_empty() {
        return None;
    }
    match &object.detail {
        Detail::Deployment(_) | Detail::ReplicaSet(_) | Detail::StatefulSet(_) | Detail::ReplicationController => {
            Some(u32::from(object.replicas > 0))
        }
        // Nobody calls a pod that runs to its end; a Job's pod that is evicted is run again.
        Detail::Other => (cluster.spec(pod).restart_policy == RestartPolicy::Always).then_some(1),
        Detail::DaemonSet(_) | Detail::Job(_) | Detail::CronJob(_) => None,
    }
}

fn stated(goal: &Goal, key: ObjectKey) -> Option<u32> {
    if goal.floors.is_empty() { None } else { goal.floors.get(&key.to_string()).copied() }
}

fn is_accepted(goal: &Goal, key: ObjectKey) -> bool {
    match &goal.accepted_disruptions {
        Accepted::All => true,
        Accepted::Named(names) => !names.is_empty() && names.contains(&key.to_string()),
    }
}

/// Counted among the ready endpoints of the Service now, and no more once it is evicted.
fn is_endpoint(cluster: &Cluster, service: ServiceId, pod: &Pod) -> bool {
    let ready = cluster.service(service).publish_not_ready || pod.is_serving_strength();
    ready && pod.phase == Phase::Running && pod.deletion.is_none()
}

fn hope_of_workload(view: View, workload: WorkloadId) -> Hope {
    let cluster = view.cluster;
    let family = || std::iter::once(&workload).chain(cluster.owned_workloads(workload));
    let pods = || family().flat_map(|&member| cluster.pods_of_workload(member));
    best(pods().map(|&pod| hope_of_pod(view, pod))).or(|| {
        let active = pods().filter(|&&pod| cluster.pod(pod).is_active()).count();
        let stuck = pods().any(|&pod| cluster.pod(pod).is_active() && !cluster.pod(pod).stuck.is_empty());
        let missing = wanted(cluster.workload(workload)).is_some_and(|wanted| active < wanted as usize);
        if missing && !stuck { Hope::Some(None) } else { Hope::None }
    })
}

fn hope_of_service(view: View, service: ServiceId, workload: Option<WorkloadId>) -> Hope {
    let pods = view.cluster.pods_of_service(service).iter();
    best(pods.map(|&pod| hope_of_pod(view, pod)))
        .or(|| workload.map_or(Hope::None, |workload| hope_of_workload(view, workload)))
}

/// Hope without an end before the longest hope with one.
fn best(hopes: impl Iterator<Item = Hope>) -> Hope {
    let mut best = Hope::None;
    for hope in hopes {
        match (best, hope) {
            (_, Hope::None) => {}
            (_, Hope::Some(None)) => return hope,
            (Hope::Some(Some(latest)), Hope::Some(Some(until))) if until <= latest => {}
            (Hope::None | Hope::Some(_), Hope::Some(Some(_))) => best = hope,
        }
    }
    best
}

/// Whether this pod may become Ready, or make room for one that does.
fn hope_of_pod(view: View, pod: PodId) -> Hope {
    let object = view.cluster.pod(pod);
    if object.is_terminating() {
        // Its successor may need its name, its volume or its place.
        return Hope::Some(None);
    }
    if !object.is_active() || object.ready || !object.stuck.is_empty() {
        return Hope::None;
    }
    if object.node.is_some() {
        let changed = object.started.unwrap_or(object.created).max(object.ready_since);
        return Hope::until(view.now, changed + start_allowance(view.cluster, object));
    }
    if view.cluster.spec(pod).gated {
        return Hope::None;
    }
    let more_room_soon = view.in_hand().any(|node| view.cluster.node(node).marks.host_touched.is_some());
    if !object.unschedulable || object.nominated.is_some() || more_room_soon {
        return Hope::Some(None);
    }
    Hope::until(view.now, object.created + SCHEDULING)
}

fn start_allowance(cluster: &Cluster, pod: &Pod) -> Millis {
    let seen = cluster.catalog.start_to_ready.get(&pod.spec).and_then(|samples| samples.iter().max());
    seen.map_or(START, |longest| START.max(Millis(longest.0 * 2)))
}

/// How many pods a workload should have, where its kind says so.
pub(super) fn wanted(workload: &Workload) -> Option<u32> {
    match &workload.detail {
        Detail::Deployment(_) | Detail::ReplicaSet(_) | Detail::StatefulSet(_) | Detail::ReplicationController => {
            Some(workload.replicas.max(0) as u32)
        }
        Detail::DaemonSet(_) | Detail::Job(_) | Detail::CronJob(_) | Detail::Other => None,
    }
}
