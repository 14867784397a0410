//! What kubelets do with the pods of their node (KUBERNETES.md E): start, readiness, stop, final delete.

use std::collections::BTreeSet;

use crate::cluster::{Deletion, Millis, Name, Phase, PodId, PreStop, RestartPolicy, ServiceId, SpecId, Volume};
use crate::trace::Event;

use super::{Chooser, Delay, Task, World};

/// A container that has started gets at least so long between SIGTERM and SIGKILL (E2).
const SHORTEST_KILL: Millis = Millis::secs(2);

/// A Running pod that has not become Ready for so long by the time of the input is taken for one that never will.
const GIVEN_UP_AFTER: Millis = Millis::secs(5 * 60);

/// A step of a pod's life on its node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// Containers run.
    Started,
    /// The pod becomes Ready.
    Ready,
    /// The pod ends by itself.
    Finished,
    /// Readiness drops because of the deletion.
    Unready,
    /// Containers of a deleted pod have ended.
    Stopped,
    /// The final delete.
    Removed,
}

/// Templates whose pods cannot start or become Ready (a wrong image, a crash loop): their replacements will not either.
pub(super) fn hopeless_templates(world: &World) -> BTreeSet<SpecId> {
    let mut stuck = BTreeSet::new();
    let mut ready = BTreeSet::new();
    for (_, pod) in world.cluster.pods().filter(|(_, pod)| !pod.gone) {
        if pod.ready {
            ready.insert(pod.spec);
        } else if !pod.stuck.is_empty() {
            stuck.insert(pod.spec);
        }
    }
    stuck.difference(&ready).copied().collect()
}

/// Goes on with every pod of the input.
pub(super) fn resume(world: &mut World, chooser: &mut dyn Chooser) {
    let bound: Vec<PodId> =
        world.cluster.pods().filter(|(_, pod)| !pod.gone && pod.node.is_some()).map(|(id, _)| id).collect();
    for id in bound {
        let pod = world.cluster.pod(id);
        if pod.deletion.is_some() {
            if pod.is_terminal() {
                world.after(Delay::Cleanup, Task::Kubelet(id, Step::Removed), chooser);
            } else {
                pod_deleting(world, id, chooser);
            }
        } else if pod.phase == Phase::Pending {
            pod_bound(world, id, chooser);
        } else if pod.phase == Phase::Running && pod.ready {
            plan_finish(world, id);
        } else if pod.phase == Phase::Running
            && pod.stuck.is_empty()
            && pod.started.is_some_and(|started| world.now - started < GIVEN_UP_AFTER)
        {
            plan_ready(world, id, chooser);
        }
    }
}

/// A pod was bound to a node.
pub(super) fn pod_bound(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    if is_down(world, id) || world.hopeless.contains(&world.cluster.pod(id).spec) {
        return;
    }
    let length = match world.cluster.spec(id).timing.start {
        Some(fixed) => fixed,
        None => half_of_measured(world, id, Delay::Start, chooser),
    };
    world.at(world.now + length, Task::Kubelet(id, Step::Started));
}

/// Deletion of a pod has begun, or was hurried.
pub(super) fn pod_deleting(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    if world.physics.ready_drops_at_deletion && world.cluster.pod(id).ready {
        world.after(Delay::Watch, Task::Kubelet(id, Step::Unready), chooser);
    }
    note_requests_at_risk(world, id, chooser);
    if is_down(world, id) {
        return;
    }
    let pod = world.cluster.pod(id);
    let Some(deletion) = pod.deletion else { return };
    let due = if pod.phase == Phase::Pending {
        world.now + world.length(Delay::Cleanup, chooser)
    } else {
        let length = stop_length(world, id, Millis::secs(i64::from(deletion.grace_seconds)), chooser);
        (deletion.since + length).max(world.now)
    };
    world.at(due, Task::Kubelet(id, Step::Stopped));
}

/// How long the containers of a pod take to end (E2): the preStop hook consumes the grace period, SIGTERM follows, and
/// SIGKILL ends what is left.
fn stop_length(world: &mut World, id: PodId, grace: Millis, chooser: &mut dyn Chooser) -> Millis {
    let spec = world.cluster.spec(id);
    let timing = spec.timing;
    let pre_stop = spec.containers.iter().filter_map(|container| container.pre_stop).map(|hook| match hook {
        PreStop::Sleep(length) => length,
        PreStop::Unknown => Millis(0),
    });
    let pre_stop = pre_stop.max().unwrap_or(Millis(0));
    let own = match (timing.ignores_term, timing.stop) {
        (true, _) => grace,
        (false, Some(fixed)) => fixed,
        (false, None) => world.length(Delay::Stop, chooser),
    };
    if pre_stop >= grace {
        grace + own.min(SHORTEST_KILL)
    } else {
        pre_stop + own.min(SHORTEST_KILL.max(Millis(grace.0 - pre_stop.0)))
    }
}

/// A ready pod leaves its Services: until the last proxy has dropped it, requests reach it. Without a preStop delay that is
/// longer, the process may be gone by then (E.10).
fn note_requests_at_risk(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    let pod = world.cluster.pod(id);
    let already_counted = pod.deletion.is_some_and(|deletion| deletion.since < world.now);
    if !pod.ready || already_counted || world.cluster.services_of_pod(id).is_empty() {
        return;
    }
    let spec = world.cluster.spec(id);
    let hooks: Vec<PreStop> = spec.containers.iter().filter_map(|container| container.pre_stop).collect();
    if spec.timing.ignores_term || hooks.contains(&PreStop::Unknown) {
        return;
    }
    let serves_on = hooks
        .iter()
        .map(|hook| match hook {
            PreStop::Sleep(length) => *length,
            PreStop::Unknown => Millis(0),
        })
        .max()
        .unwrap_or(Millis(0));
    let dropped = world.length(Delay::Proxy, chooser);
    if dropped <= serves_on {
        return;
    }
    let services: Vec<ServiceId> = world.cluster.services_of_pod(id).to_vec();
    for service in services {
        let millis = dropped.0 - serves_on.0;
        world.emit(Event::RequestsAtRisk { service, pod: id, millis }, chooser);
    }
}

/// One step.
pub(super) fn step(world: &mut World, id: PodId, step: Step, chooser: &mut dyn Chooser) {
    let pod = world.cluster.pod(id);
    if pod.gone {
        return;
    }
    match step {
        Step::Started => started(world, id, chooser),
        Step::Ready => {
            if pod.phase == Phase::Running && pod.deletion.is_none() && !pod.ready && !is_down(world, id) {
                world.set_ready(id, true, chooser);
                plan_finish(world, id);
            }
        }
        Step::Finished => finished(world, id, chooser),
        Step::Unready => world.set_ready(id, false, chooser),
        Step::Stopped => {
            if !pod.is_terminal() && !is_down(world, id) {
                stopped(world, id, false, chooser);
            }
        }
        Step::Removed => {
            // With a finalizer left the final delete only takes the rest of the grace period away.
            if let Some(deletion) = pod.deletion {
                let deletion = Deletion { grace_seconds: 0, ..deletion };
                world.cluster.update_pod(id, |pod| pod.deletion = Some(deletion));
                world.finalizers_changed(id, chooser);
            }
        }
    }
}

fn started(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    let pod = world.cluster.pod(id);
    if pod.phase != Phase::Pending || pod.deletion.is_some() || is_down(world, id) {
        return;
    }
    if !admitted(world, id) {
        world.cluster.update_pod(id, |pod| pod.phase = Phase::Failed);
        world.emit(Event::PodFailed(id), chooser);
        return;
    }
    if volume_is_attached_elsewhere(world, id) {
        world.after(Delay::Attach, Task::Kubelet(id, Step::Started), chooser);
        return;
    }
    let now = world.now;
    world.cluster.update_pod(id, |pod| {
        pod.phase = Phase::Running;
        pod.started = Some(now);
    });
    world.emit(Event::PodRunning(id), chooser);
    plan_ready(world, id, chooser);
}

/// The kubelet's own admission (E.4), for pods that no scheduler placed: the room on the node.
fn admitted(world: &World, id: PodId) -> bool {
    let spec = world.cluster.spec(id);
    let Some(node) = world.cluster.pod(id).node else { return false };
    if spec.node_name.is_empty() {
        return true;
    }
    let mut used = spec.requests.clone();
    let mut pods = 1;
    for &other in world.cluster.pods_of_node(node) {
        let running = world.cluster.pod(other);
        if other != id && !running.is_terminal() && running.phase != Phase::Pending {
            used.add(&world.cluster.spec(other).requests);
            pods += 1;
        }
    }
    let node = world.cluster.node(node);
    pods <= node.allocatable_pods
        && (spec.requests.milli_cpu == 0 || used.milli_cpu <= node.allocatable.milli_cpu)
        && (spec.requests.memory == 0 || used.memory <= node.allocatable.memory)
}

/// A ReadWriteOnce volume that is still in use on another node cannot be attached here (H2-H4).
fn volume_is_attached_elsewhere(world: &World, id: PodId) -> bool {
    let cluster = &world.cluster;
    let pod = cluster.pod(id);
    let spec = cluster.spec(id);
    let Some(owner) = cluster.top_of_pod(id) else { return false };
    spec.volumes.iter().any(|volume| {
        let Volume::Claim { name, .. } = volume else { return false };
        let Some(claim) = cluster.find_claim(spec.namespace, *name) else { return false };
        let claim = cluster.claim(claim);
        let Some(volume) = cluster.find_volume(claim.volume) else { return false };
        let volume = cluster.volume(volume);
        let single = volume.access.rwo && !volume.access.rox && !volume.access.rwx;
        single && !volume.local && uses_elsewhere(world, owner, pod.node, spec.namespace, *name)
    })
}

fn uses_elsewhere(
    world: &World,
    owner: crate::cluster::WorkloadId,
    node: Option<crate::cluster::NodeId>,
    namespace: Name,
    claim: Name,
) -> bool {
    let cluster = &world.cluster;
    let owners =
        cluster.workloads().filter(|(id, workload)| *id == owner || workload.owner == Some(owner)).map(|(id, _)| id);
    owners.flat_map(|owner| cluster.pods_of_workload(owner)).any(|&other| {
        let pod = cluster.pod(other);
        let spec = cluster.spec(other);
        pod.node.is_some()
            && pod.node != node
            && !pod.is_terminal()
            && spec.namespace == namespace
            && spec.volumes.iter().any(|volume| matches!(volume, Volume::Claim { name, .. } if *name == claim))
    })
}

fn plan_ready(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    let timing = world.cluster.spec(id).timing;
    if timing.never_ready || world.hopeless.contains(&world.cluster.pod(id).spec) {
        return;
    }
    let length = match timing.ready {
        Some(fixed) => fixed,
        None => half_of_measured(world, id, Delay::Ready, chooser) + probe_delay(world, id),
    };
    world.at(world.now + length, Task::Kubelet(id, Step::Ready));
}

/// What the probes themselves cost where the input has no history (E.3): the first effective attempt, and the attempts that
/// `successThreshold` asks for.
fn probe_delay(world: &World, id: PodId) -> Millis {
    if world.physics.measured.contains_key(&world.cluster.pod(id).spec) {
        return Millis(0);
    }
    let probes = world.cluster.spec(id).containers.iter().filter_map(|container| container.readiness);
    let slowest = probes.map(|probe| {
        let delay = i64::from(probe.initial_delay_seconds.max(0));
        let period = i64::from(probe.period_seconds.max(1));
        let first = if delay == 0 { 0 } else { (delay + period - 1) / period * period };
        Millis::secs(first + i64::from(probe.success_threshold.max(1) - 1) * period)
    });
    slowest.max().unwrap_or(Millis(0))
}

/// Half of the time from start to Ready that the input shows for this template, or the general bounds of the delay.
fn half_of_measured(world: &mut World, id: PodId, delay: Delay, chooser: &mut dyn Chooser) -> Millis {
    match world.physics.measured.get(&world.cluster.pod(id).spec) {
        Some(&(shortest, longest)) => chooser.between(delay, Millis(shortest.0 / 2), Millis(longest.0 / 2)),
        None => world.length(delay, chooser),
    }
}

fn plan_finish(world: &mut World, id: PodId) {
    if let Some(length) = world.cluster.spec(id).timing.run {
        world.at(world.now + length, Task::Kubelet(id, Step::Finished));
    }
}

fn finished(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    let pod = world.cluster.pod(id);
    if pod.phase != Phase::Running || pod.deletion.is_some() || is_down(world, id) {
        return;
    }
    let spec = world.cluster.spec(id);
    let failed = spec.timing.exit_code != 0;
    match (spec.restart_policy, failed) {
        (RestartPolicy::Always, _) | (RestartPolicy::OnFailure, true) => restart(world, id, chooser),
        (RestartPolicy::OnFailure, false) | (RestartPolicy::Never, _) => end(world, id, failed, chooser),
    }
}

/// Containers start again in place: not Ready, then Ready.
pub(super) fn restart(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    world.set_ready(id, false, chooser);
    world.cluster.update_pod(id, |pod| pod.restarts += 1);
    world.emit(Event::PodRestarted(id), chooser);
    plan_ready(world, id, chooser);
}

/// The containers of a pod that is being deleted have ended.
pub(super) fn stopped(world: &mut World, id: PodId, cut_short: bool, chooser: &mut dyn Chooser) {
    world.emit(Event::PodStopped { pod: id, cut_short }, chooser);
    if world.cluster.pod(id).phase != Phase::Pending {
        let failed = world.cluster.spec(id).timing.stop_exit_code.unwrap_or(143) != 0;
        end(world, id, failed, chooser);
    }
    world.after(Delay::Cleanup, Task::Kubelet(id, Step::Removed), chooser);
}

fn end(world: &mut World, id: PodId, failed: bool, chooser: &mut dyn Chooser) {
    world.set_ready(id, false, chooser);
    world.cluster.update_pod(id, |pod| pod.phase = if failed { Phase::Failed } else { Phase::Succeeded });
    world.emit(if failed { Event::PodFailed(id) } else { Event::PodSucceeded(id) }, chooser);
}

/// The host is back: pods that ran are started again, pods that waited go on, deletions are carried out.
pub(super) fn host_is_back(world: &mut World, node: crate::cluster::NodeId, chooser: &mut dyn Chooser) {
    for id in world.cluster.pods_of_node(node).to_vec() {
        let pod = world.cluster.pod(id);
        if pod.gone || pod.is_terminal() {
            continue;
        }
        if pod.deletion.is_some() {
            stopped(world, id, false, chooser);
        } else if pod.phase == Phase::Running {
            restart(world, id, chooser);
        } else {
            pod_bound(world, id, chooser);
        }
    }
}

fn is_down(world: &World, id: PodId) -> bool {
    world.cluster.pod(id).node.is_some_and(|node| world.hosts[node.index()].down)
}
