//! The rolling update of a DaemonSet (KUBERNETES.md D.4): old pods give way within `maxUnavailable` or `maxSurge`.

use crate::cluster::{DaemonSet, Millis, NodeId, PodId, SpecId, Time, Toleration, WorkloadId};
use crate::simulator::{Choice, Chooser, Task, World};

use super::{create, is_available, is_surging, pods_on, should_run};
use crate::simulator::controllers::replica_set;

/// How many pods may be unavailable and how many nodes may run two, for so many nodes that should run one; percentages round
/// up, and both 0 means one unavailable (D-T22u, D-T23u).
pub(super) fn limits(set: &DaemonSet, desired: i32) -> (usize, usize) {
    let surge = set.max_surge.round_up(desired).max(0) as usize;
    let unavailable = set.max_unavailable.round_up(desired).max(0) as usize;
    match (unavailable, surge) {
        (0, 0) => (1, 0),
        limits => limits,
    }
}

/// One step of the rolling update; nothing happens while no pod is old.
pub(super) fn step(
    world: &mut World,
    id: WorkloadId,
    set: &DaemonSet,
    template: SpecId,
    spec: SpecId,
    tolerations: &[Toleration],
    chooser: &mut dyn Chooser,
) {
    let cluster = &world.cluster;
    let Some(state) = world.controllers.daemon_set.sets.get(&id) else { return };
    let is_old = |pod: PodId| {
        let found = cluster.pod(pod).spec;
        if state.first_template == Some(template) { state.outdated.contains(&found) } else { found != spec }
    };
    if !cluster.pods_of_workload(id).iter().any(|&pod| is_old(pod)) {
        return;
    }
    let mut nodes: Vec<(NodeId, Option<PodId>, Option<PodId>)> = Vec::new();
    let mut desired = 0;
    for (node, object) in cluster.nodes() {
        let wanted = should_run(object, cluster.catalog.spec(spec), tolerations).0;
        desired += i32::from(wanted);
        let pods: Vec<PodId> =
            pods_on(world, id, node).into_iter().filter(|&pod| cluster.pod(pod).deletion.is_none()).collect();
        let old = pods.iter().copied().find(|&pod| is_old(pod));
        let new = pods.iter().copied().find(|&pod| !is_old(pod));
        if wanted || old.is_some() || new.is_some() {
            nodes.push((node, old, new));
        }
    }
    let (max_unavailable, max_surge) = limits(set, desired);
    if is_surging(set) {
        surge(world, id, spec, &nodes, max_surge, chooser);
    } else {
        replace(world, id, &nodes, max_unavailable, chooser);
    }
    wait_for_availability(world, id);
}

/// So many of the candidates: the controller iterates a map of nodes, which has no order (J.4).
fn choose<T>(mut candidates: Vec<T>, count: usize, chooser: &mut dyn Chooser) -> Vec<T> {
    if candidates.len() <= count {
        return candidates;
    }
    (0..count).map(|_| candidates.remove(chooser.pick(Choice::ControllerTie, candidates.len()))).collect()
}

/// Without surge: unavailable old pods go whatever the budget, available ones as far as it reaches.
fn replace(
    world: &mut World,
    id: WorkloadId,
    nodes: &[(NodeId, Option<PodId>, Option<PodId>)],
    max_unavailable: usize,
    chooser: &mut dyn Chooser,
) {
    let mut unavailable = 0;
    let (mut broken, mut candidates) = (Vec::new(), Vec::new());
    for &(_, old, new) in nodes {
        let available = |pod: PodId| is_available(&world.cluster, id, pod, world.now);
        match (old, new) {
            (None, None) => unavailable += 1,
            (_, Some(new)) => unavailable += usize::from(!available(new)),
            (Some(old), None) if available(old) => candidates.push(old),
            (Some(old), None) => {
                unavailable += 1;
                broken.push(old);
            }
        }
    }
    let candidates = choose(candidates, max_unavailable.saturating_sub(unavailable), chooser);
    for pod in broken.into_iter().chain(candidates) {
        world.delete_pod(pod, None, chooser);
    }
}

/// With surge: a node whose old pod is unavailable gets a new one at once, others as far as `maxSurge` reaches; the old one
/// goes when the new one is available or the old one is not.
fn surge(
    world: &mut World,
    id: WorkloadId,
    spec: SpecId,
    nodes: &[(NodeId, Option<PodId>, Option<PodId>)],
    max_surge: usize,
    chooser: &mut dyn Chooser,
) {
    let mut surging = 0;
    let (mut urgent, mut candidates, mut done) = (Vec::new(), Vec::new(), Vec::new());
    for &(node, old, new) in nodes {
        let available = |pod: PodId| is_available(&world.cluster, id, pod, world.now);
        match (old, new) {
            (None, _) => {}
            (Some(old), None) if available(old) => candidates.push(node),
            (Some(_), None) => urgent.push(node),
            (Some(old), Some(new)) => {
                if available(new) || !available(old) {
                    done.push(old);
                } else {
                    surging += 1;
                }
            }
        }
    }
    let candidates = choose(candidates, max_surge.saturating_sub(surging), chooser);
    for pod in done {
        world.delete_pod(pod, None, chooser);
    }
    for node in urgent.into_iter().chain(candidates) {
        create(world, id, node, spec, chooser);
    }
}

/// A new pod counts as available only after `minReadySeconds`.
fn wait_for_availability(world: &mut World, id: WorkloadId) {
    let wait = replica_set::min_ready(&world.cluster, id);
    if wait == Millis(0) {
        return;
    }
    let pods = world.cluster.pods_of_workload(id).iter().map(|&pod| world.cluster.pod(pod));
    let next: Option<Time> = pods
        .filter(|pod| pod.is_serving_strength() && replica_set::available_at(pod, wait) > world.now)
        .map(|pod| replica_set::available_at(pod, wait))
        .min();
    if let Some(due) = next {
        world.at(due, Task::SyncWorkload(id));
    }
}
