//! What kubelets do with the pods of their node (KUBERNETES.md E): start, readiness, restart, stop, final delete.

mod admission;
mod attach;
mod resolver;
mod start;
mod stop;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{
    Cluster, Deletion, Millis, Name, NodeId, Owner, Phase, Pod, PodId, RestartPolicy, SpecId, Time, Version,
};
use crate::trace::Event;

use super::{Chooser, Delay, Task, World};

pub(super) use attach::pod_gone;
pub(super) use start::pod_bound;
pub(super) use stop::{note_requests_at_risk, pod_deleting};

/// A Running pod that has not become Ready for so long by the time of the input is taken for one that never will.
const GIVEN_UP_AFTER: Millis = Millis::secs(5 * 60);

/// Back-off of containers that end again and again (E.1): 10 s, doubled, at most 300 s, forgotten after 10 min of running.
const FIRST_CRASH_BACK_OFF: Millis = Millis::secs(10);
const LONGEST_CRASH_BACK_OFF: Millis = Millis::secs(300);
const CRASH_FORGOTTEN_AFTER: Millis = Millis::secs(10 * 60);

/// A step of a pod's life on its node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// Containers run.
    Started,
    /// The pod becomes Ready.
    Ready,
    /// Containers that ended run again, in place.
    Restarted,
    /// The pod ends by itself.
    Finished,
    /// Readiness drops because of the deletion.
    Unready,
    /// Containers of a deleted pod have ended.
    Stopped,
    /// The final delete.
    Removed,
}

/// What kubelets know that the API does not show.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// Templates whose pods cannot start or become Ready (a wrong image, a crash loop): their replacements will not either.
    hopeless: BTreeSet<SpecId>,
    /// Images that pods have brought to nodes.
    pulled: BTreeSet<(NodeId, Name)>,
    /// Crash-loop back-off by pod: how long the next restart waits.
    crashes: BTreeMap<PodId, Millis>,
    attachments: attach::Attachments,
}

impl Memory {
    fn new(cluster: &Cluster) -> Memory {
        let (mut stuck, mut ready) = (BTreeSet::new(), BTreeSet::new());
        let mut memory = Memory { attachments: attach::Attachments::new(cluster), ..Memory::default() };
        for (_, pod) in cluster.pods().filter(|(_, pod)| !pod.gone) {
            if pod.ready {
                ready.insert(pod.spec);
            } else if !pod.stuck.is_empty() {
                stuck.insert(pod.spec);
            }
            if let Some(node) = pod.node.filter(|_| pod.phase == Phase::Running) {
                memory.pulled.extend(start::images(cluster, pod.spec).map(|image| (node, image)));
            }
        }
        memory.hopeless = stuck.difference(&ready).copied().collect();
        memory
    }
}

/// Goes on with every pod of the input.
pub(super) fn resume(world: &mut World, chooser: &mut dyn Chooser) {
    world.kubelets = Memory::new(&world.cluster);
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
            // One that cannot start stays as it is, however well its siblings do.
            if pod.stuck.is_empty() {
                pod_bound(world, id, chooser);
            }
        } else if pod.phase == Phase::Running && pod.ready {
            let since = pod.ready_since;
            plan_finish(world, id, since);
        } else if pod.phase == Phase::Running
            && pod.stuck.is_empty()
            && pod.started.is_some_and(|started| world.now - started < GIVEN_UP_AFTER)
        {
            start::plan_ready(world, id, chooser);
        }
    }
}

/// One step.
pub(super) fn step(world: &mut World, id: PodId, step: Step, chooser: &mut dyn Chooser) {
    let pod = world.cluster.pod(id);
    if pod.gone {
        return;
    }
    match step {
        Step::Started => start::started(world, id, chooser),
        Step::Ready => {
            if pod.phase == Phase::Running && pod.deletion.is_none() && !pod.ready && !is_down(world, id) {
                world.set_ready(id, true, chooser);
                plan_finish(world, id, world.now);
            }
        }
        Step::Restarted => {
            if pod.phase == Phase::Running && pod.deletion.is_none() && !is_down(world, id) {
                world.cluster.update_pod(id, |pod| pod.restarts += 1);
                world.emit(Event::PodRestarted(id), chooser);
                start::plan_ready(world, id, chooser);
            }
        }
        Step::Finished => finished(world, id, chooser),
        Step::Unready => world.set_ready(id, false, chooser),
        Step::Stopped => {
            if !pod.is_terminal() && !is_down(world, id) {
                stop::stopped(world, id, chooser);
            }
        }
        Step::Removed => removed(world, id, chooser),
    }
}

/// The final delete. With a finalizer left it only takes the rest of the grace period away.
fn removed(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    let pod = world.cluster.pod(id);
    let Some(deletion) = pod.deletion else { return };
    if is_static(pod) && pod.node.is_some_and(|node| !world.cluster.node(node).gone) {
        replace_mirror(world, id, chooser);
        return;
    }
    let deletion = Deletion { grace_seconds: 0, ..deletion };
    world.cluster.update_pod(id, |pod| pod.deletion = Some(deletion));
    world.finalizers_changed(id, chooser);
}

/// The mirror of a static pod was deleted: the containers run on, and the kubelet writes a new mirror (E.5).
fn replace_mirror(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    let mirror = world.cluster.pod(id).clone();
    world.remove_pod(id, chooser);
    let created = world.now;
    let (ready, running) = (mirror.ready, mirror.phase == Phase::Running);
    let new = Pod { deletion: None, disruption_target: None, ready: false, created, gone: false, ..mirror };
    let new = world.cluster.add_pod(new);
    world.emit(Event::PodCreated(new), chooser);
    if running {
        world.set_ready(new, ready, chooser);
    }
}

/// The pod is written by its kubelet: the API only shows a mirror of it.
fn is_static(pod: &Pod) -> bool {
    pod.mirror || pod.owner == Owner::Node
}

/// The kubelet has taken the pod in: it holds its room until it has ended.
fn was_admitted(pod: &Pod) -> bool {
    pod.started.is_some() || pod.phase == Phase::Running
}

/// A pod that ends by itself does so `sim/run-seconds` after it became Ready.
fn plan_finish(world: &mut World, id: PodId, ready_since: Time) {
    if let Some(length) = world.cluster.spec(id).timing.run {
        let due = (ready_since + length).max(world.now);
        world.at(due, Task::Kubelet(id, Step::Finished));
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
        (RestartPolicy::Always, _) | (RestartPolicy::OnFailure, true) => restart_after_crash(world, id, chooser),
        (RestartPolicy::OnFailure, false) | (RestartPolicy::Never, _) => end(world, id, failed, chooser),
    }
}

/// The first restart comes at once, the next ones after a back-off (E.1).
fn restart_after_crash(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    let pod = world.cluster.pod(id);
    let ran = world.now - pod.ready_since;
    world.set_ready(id, false, chooser);
    let known = world.kubelets.crashes.get(&id).copied().filter(|_| ran < CRASH_FORGOTTEN_AFTER);
    let next = known.map_or(FIRST_CRASH_BACK_OFF, |wait| Millis((2 * wait.0).min(LONGEST_CRASH_BACK_OFF.0)));
    world.kubelets.crashes.insert(id, next);
    let due = world.now + known.unwrap_or_default() + world.length(Delay::Start, chooser);
    world.at(due, Task::Kubelet(id, Step::Restarted));
}

fn end(world: &mut World, id: PodId, failed: bool, chooser: &mut dyn Chooser) {
    world.set_ready(id, false, chooser);
    world.cluster.update_pod(id, |pod| pod.phase = if failed { Phase::Failed } else { Phase::Succeeded });
    world.emit(if failed { Event::PodFailed(id) } else { Event::PodSucceeded(id) }, chooser);
}

/// A pod starts again in a new sandbox, if one can start (G23).
fn restart_anew(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    if resolver::sandbox_starts(&world.cluster, id) {
        restart(world, id, chooser);
    } else {
        world.set_ready(id, false, chooser);
    }
}

/// Containers start again in place: not Ready, then Ready.
fn restart(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    world.set_ready(id, false, chooser);
    world.after(Delay::Start, Task::Kubelet(id, Step::Restarted), chooser);
}

/// The host is back: pods that ran are started again (E26), pods that waited go on, deletions are carried out (E10).
pub(super) fn host_is_back(world: &mut World, node: NodeId, chooser: &mut dyn Chooser) {
    for id in world.cluster.pods_of_node(node).to_vec() {
        let pod = world.cluster.pod(id);
        if pod.gone {
            continue;
        }
        let never = world.cluster.spec(id).restart_policy == RestartPolicy::Never && !world.physics.played_kubelets;
        if pod.is_terminal() {
            if pod.deletion.is_some() {
                world.after(Delay::Cleanup, Task::Kubelet(id, Step::Removed), chooser);
            }
        } else if pod.deletion.is_some() {
            stop::stopped(world, id, chooser);
        } else if pod.phase == Phase::Running && never {
            end(world, id, true, chooser);
        } else if pod.phase == Phase::Running {
            restart_anew(world, id, chooser);
        } else {
            pod_bound(world, id, chooser);
        }
    }
}

/// A kubelet of another version has taken the node over while containers ran on (E.6).
pub(super) fn kubelet_was_exchanged(
    world: &mut World,
    node: NodeId,
    from: Option<Version>,
    to: Version,
    manifests_changed: bool,
    chooser: &mut dyn Chooser,
) {
    let other_minor = from.is_some_and(|from| from.minor != to.minor);
    // Up to 1.30 the hash of a container covers more than name and image, so its kubelet's successor sees another container.
    let other_hash = from.is_some_and(|from| from.minor < 31) && to.minor >= 31;
    // Before 1.35 readiness is forgotten until the first probe succeeds (E22).
    let flaps = to.minor < 35;
    for id in world.cluster.pods_of_node(node).to_vec() {
        let pod = world.cluster.pod(id);
        if pod.gone || pod.phase != Phase::Running || pod.deletion.is_some() {
            continue;
        }
        if is_static(pod) && (other_minor || manifests_changed) {
            restart_anew(world, id, chooser);
        } else if other_hash {
            restart(world, id, chooser);
        } else if flaps && pod.ready {
            let period = world.cluster.spec(id).containers.iter().filter_map(|container| container.readiness);
            if let Some(longest) = period.map(|probe| i64::from(probe.period_seconds.max(1))).max() {
                world.set_ready(id, false, chooser);
                let wait = chooser.between(Delay::Ready, Millis(0), Millis::secs(longest));
                world.at(world.now + wait, Task::Kubelet(id, Step::Ready));
            }
        }
    }
}

fn is_down(world: &World, id: PodId) -> bool {
    world.cluster.pod(id).node.is_some_and(|node| world.hosts[node.index()].down)
}
