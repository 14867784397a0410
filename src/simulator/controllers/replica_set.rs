//! The ReplicaSet controller, which also plays ReplicationControllers (KUBERNETES.md D.2).

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use crate::cluster::{Cluster, Millis, NodeId, Phase, Pod, PodId, Time, WorkloadId};
use crate::simulator::{Choice, Chooser, NewPod, Task, World};

use super::namespace_is_terminating;

/// Pods that one sync creates or deletes at most.
const BURST: usize = 500;

/// Looks at one workload.
pub(super) fn sync(world: &mut World, id: WorkloadId, chooser: &mut dyn Chooser) {
    let (active, wanted) = (active_pods(&world.cluster, id), world.cluster.workload(id).replicas.max(0) as usize);
    if active.len() < wanted {
        create(world, id, wanted - active.len(), chooser);
    } else {
        for pod in victims(&world.cluster, id, active.len() - wanted, world.now, chooser) {
            world.delete_pod(pod, None, chooser);
        }
    }
    wait_for_availability(world, id);
}

/// How many pods the controller wants to create (positive) or delete (negative) at this state: active pods are held against
/// `spec.replicas`, so a pod is replaced as soon as its deletion is seen (D-T13).
pub fn shortage(cluster: &Cluster, id: WorkloadId) -> i64 {
    i64::from(cluster.workload(id).replicas.max(0)) - active_pods(cluster, id).len() as i64
}

/// Pods that are neither finished nor being deleted.
pub(super) fn active_pods(cluster: &Cluster, id: WorkloadId) -> Vec<PodId> {
    cluster.pods_of_workload(id).iter().copied().filter(|&pod| cluster.pod(pod).is_active()).collect()
}

/// Active pods that have been Ready for `minReadySeconds`.
pub(super) fn available(cluster: &Cluster, id: WorkloadId, now: Time) -> i32 {
    let wait = min_ready(cluster, id);
    let pods = cluster.pods_of_workload(id).iter();
    pods.filter(|&&pod| cluster.pod(pod).is_active() && is_available(cluster.pod(pod), wait, now)).count() as i32
}

/// Ready for at least `wait`.
pub(super) fn is_available(pod: &Pod, wait: Millis, now: Time) -> bool {
    pod.ready && available_at(pod, wait) <= now
}

/// When a Ready pod counts as available. The API keeps whole seconds of the time since when it is Ready, so that it comes up to a
/// second early (recorded: StatefulSet with minReadySeconds 2, Ready at 10.44 s, the next ordinal is created at 12.0 s).
pub(super) fn available_at(pod: &Pod, wait: Millis) -> Time {
    Time(pod.ready_since.0.div_euclid(1000) * 1000) + wait
}

/// `minReadySeconds` of a workload.
pub(super) fn min_ready(cluster: &Cluster, id: WorkloadId) -> Millis {
    Millis::secs(i64::from(cluster.workload(id).min_ready_seconds))
}

fn create(world: &mut World, id: WorkloadId, count: usize, chooser: &mut dyn Chooser) {
    let workload = world.cluster.workload(id);
    let Some(spec) = workload.template else { return };
    if namespace_is_terminating(&world.cluster, workload.key.namespace) {
        return;
    }
    for _ in 0..count.min(BURST) {
        let new = NewPod {
            owner: id,
            spec,
            name: None,
            ordinal: None,
            pinned: None,
            job_finalizer: false,
            foreign_finalizer: false,
        };
        world.create_pod(new, chooser);
    }
    if count > BURST {
        world.wake_workload(id, chooser);
    }
}

/// A pod that became Ready counts as available only after `minReadySeconds`: controllers look again then.
fn wait_for_availability(world: &mut World, id: WorkloadId) {
    let wait = min_ready(&world.cluster, id);
    if wait == Millis(0) {
        return;
    }
    let pods = world.cluster.pods_of_workload(id).iter().map(|&pod| world.cluster.pod(pod));
    let next = pods
        .filter(|pod| pod.is_active() && pod.ready && !is_available(pod, wait, world.now))
        .map(|pod| available_at(pod, wait))
        .min();
    if let Some(due) = next {
        let top = world.cluster.top(id);
        world.at(due, Task::SyncWorkload(id));
        if top != id {
            world.at(due, Task::SyncWorkload(top));
        }
    }
}

/// Which pods a scale-down deletes; the chooser settles what the order leaves open.
fn victims(cluster: &Cluster, id: WorkloadId, count: usize, now: Time, chooser: &mut dyn Chooser) -> Vec<PodId> {
    let mut chosen = Vec::new();
    for mut group in victim_groups(cluster, id, now) {
        while chosen.len() < count.min(BURST) && !group.is_empty() {
            let pick = if group.len() == 1 { 0 } else { chooser.pick(Choice::ControllerTie, group.len()) };
            chosen.push(group.remove(pick));
        }
    }
    chosen
}

/// Active pods in the order in which a scale-down takes them (`ActivePodsWithRanks`); pods of one group are equal for that
/// order, or differ only by a comparison of their random UIDs.
pub fn victim_groups(cluster: &Cluster, id: WorkloadId, now: Time) -> Vec<Vec<PodId>> {
    let ranks = active_pods_by_node(cluster, id);
    let mut ordered: Vec<(VictimKey, PodId)> =
        active_pods(cluster, id).into_iter().map(|pod| (VictimKey::of(cluster.pod(pod), &ranks, now), pod)).collect();
    ordered.sort();
    ordered.chunk_by(|a, b| a.0 == b.0).flat_map(|group| refine(cluster, group, now)).collect()
}

/// Pods with the same Ready second are told apart by restarts and creation time.
fn refine(cluster: &Cluster, group: &[(VictimKey, PodId)], now: Time) -> Vec<Vec<PodId>> {
    let pods = group.iter().map(|entry| entry.1);
    let ready_seconds: Vec<i64> = pods.clone().map(|pod| cluster.pod(pod).ready_since.0.div_euclid(1000)).collect();
    let ready = group.first().is_some_and(|(key, _)| key.ready);
    if ready && ready_seconds.windows(2).any(|pair| pair[0] != pair[1]) {
        return vec![pods.collect()];
    }
    let key = |pod: PodId| {
        let object = cluster.pod(pod);
        (Reverse(object.restarts), age_bucket(object.created, now))
    };
    let mut ordered: Vec<_> = pods.map(|pod| (key(pod), pod)).collect();
    ordered.sort();
    ordered.chunk_by(|a, b| a.0 == b.0).map(|group| group.iter().map(|entry| entry.1).collect()).collect()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct VictimKey {
    assigned: bool,
    phase: u8,
    ready: bool,
    deletion_cost: i32,
    crowd: Reverse<usize>,
    ready_bucket: i64,
}

impl VictimKey {
    fn of(pod: &Pod, ranks: &FxHashMap<Option<NodeId>, usize>, now: Time) -> VictimKey {
        VictimKey {
            assigned: pod.node.is_some(),
            phase: match pod.phase {
                Phase::Pending => 0,
                Phase::Unknown => 1,
                Phase::Running | Phase::Succeeded | Phase::Failed => 2,
            },
            ready: pod.ready,
            deletion_cost: pod.deletion_cost,
            crowd: Reverse(ranks.get(&pod.node).copied().unwrap_or(0)),
            ready_bucket: if pod.ready { age_bucket(pod.ready_since, now) } else { 0 },
        }
    }
}

/// Ages are compared by the logarithm of their nanoseconds (LogarithmicScaleDown); the API keeps whole seconds.
fn age_bucket(since: Time, now: Time) -> i64 {
    let age = now - Time(since.0.div_euclid(1000) * 1000);
    if age.0 <= 0 { -1 } else { i64::from((age.0 as u64).saturating_mul(1_000_000).ilog2()) }
}

/// Active pods of the whole family (all ReplicaSets of the Deployment) by node.
fn active_pods_by_node(cluster: &Cluster, id: WorkloadId) -> FxHashMap<Option<NodeId>, usize> {
    let top = cluster.top(id);
    let family: &[WorkloadId] = if top == id { &[id] } else { cluster.owned_workloads(top) };
    let mut count = FxHashMap::default();
    for &pod in family.iter().flat_map(|&member| cluster.pods_of_workload(member)) {
        if cluster.pod(pod).is_active() {
            *count.entry(cluster.pod(pod).node).or_default() += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::cluster::IntOrPercent::Percent;

    #[test]
    fn victims_by_state_cost_and_crowd() {
        let mut cluster = fixture::cluster(36);
        let web = fixture::deployment(&mut cluster, 6, Percent(25), Percent(25));
        let set = fixture::replica_set(&mut cluster, web, 1, true, 6, 4);
        let pods = cluster.pods_of_workload(set).to_vec();
        let [a, b] = ["a", "b"].map(|name| fixture::node(&mut cluster, name));
        for (&pod, node) in pods.iter().zip([a, a, b, b, b]) {
            cluster.update_pod(pod, |pod| pod.node = Some(node));
        }
        cluster.update_pod(pods[3], |pod| pod.deletion_cost = -1);
        let order = victim_groups(&cluster, set, Time(10_000_000));
        let expected = [vec![pods[5]], vec![pods[4]], vec![pods[3]], vec![pods[2]], vec![pods[0], pods[1]]];
        assert_eq!(order, expected, "unassigned, not ready, cheap, crowded, rest");
    }

    #[test]
    fn longer_ready_pods_stay() {
        let mut cluster = fixture::cluster(36);
        let web = fixture::deployment(&mut cluster, 3, Percent(25), Percent(25));
        let set = fixture::replica_set(&mut cluster, web, 1, true, 3, 3);
        let pods = cluster.pods_of_workload(set).to_vec();
        let now = Time(1_000_000);
        for (&pod, age) in pods.iter().zip([900, 10, 11]) {
            cluster.update_pod(pod, |pod| pod.ready_since = now - Millis::secs(age));
        }
        let order = victim_groups(&cluster, set, now);
        assert_eq!(order, [vec![pods[1], pods[2]], vec![pods[0]]], "10 s and 11 s are one bucket, told apart by UID");
    }
}
