//! End of a pod: preStop, SIGTERM, SIGKILL, sidecars (KUBERNETES.md E.2), and what its clients notice (E.10).

use crate::cluster::{Container, Millis, Phase, PodId, PreStop, ServiceId};
use crate::simulator::{Chooser, Delay, Task, World};
use crate::trace::Event;

use super::{Step, end, is_down, is_static};

/// A container that has started gets at least so long between SIGTERM and SIGKILL (E2).
const SHORTEST_KILL: Millis = Millis::secs(2);

/// Deletion of a pod has begun, or was hurried.
pub(in crate::simulator) fn pod_deleting(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    let pod = world.cluster.pod(id);
    if is_static(pod) {
        world.after(Delay::Cleanup, Task::Kubelet(id, Step::Removed), chooser);
        return;
    }
    if world.physics.played_kubelets && pod.ready {
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

/// How long the containers of a pod take to end (E2, E3): all at once, each by its preStop hook, which consumes the grace
/// period, then SIGTERM, then SIGKILL; sidecars one after another once the others have ended.
fn stop_length(world: &World, id: PodId, grace: Millis, chooser: &mut dyn Chooser) -> Millis {
    let spec = world.cluster.spec(id);
    let timing = spec.timing;
    let own = match (timing.ignores_term, timing.stop) {
        (true, _) => grace,
        (false, Some(fixed)) => fixed,
        (false, None) => world.length(Delay::Stop, chooser),
    };
    let ends = spec.containers.iter().map(|container| pre_stop_length(world, container, chooser));
    // Recordings and tests may have pods without containers.
    let mut elapsed = ends.map(|pre_stop| stopped_after(pre_stop, own, grace)).max();
    let mut elapsed = *elapsed.get_or_insert(stopped_after(Millis(0), own, grace));
    for sidecar in spec.init_containers.iter().filter(|container| container.sidecar) {
        // Its hook begins at once; SIGTERM comes when its turn has come, too.
        elapsed = elapsed.max(pre_stop_length(world, sidecar, chooser).min(grace));
        if timing.stop.is_none() {
            let left = SHORTEST_KILL.max(Millis(grace.0 - elapsed.0));
            elapsed = elapsed + world.length(Delay::Stop, chooser).min(left);
        }
    }
    elapsed
}

fn pre_stop_length(world: &World, container: &Container, chooser: &mut dyn Chooser) -> Millis {
    match container.pre_stop {
        Some(PreStop::Sleep(length)) => length,
        Some(PreStop::Unknown) => world.length(Delay::PreStop, chooser),
        None => Millis(0),
    }
}

/// When a container has ended that runs a hook for so long and then takes so long to follow SIGTERM.
pub(super) fn stopped_after(pre_stop: Millis, own: Millis, grace: Millis) -> Millis {
    if pre_stop >= grace {
        grace + own.min(SHORTEST_KILL)
    } else {
        pre_stop + own.min(SHORTEST_KILL.max(Millis(grace.0 - pre_stop.0)))
    }
}

/// A ready pod leaves its Services: until the last proxy has dropped it, requests reach it. Unless it serves on for longer,
/// the process may be gone by then (E.10). How long it serves after SIGTERM is known only where the input says so; a hook that
/// cannot be read is not judged.
pub(in crate::simulator) fn note_requests_at_risk(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    let pod = world.cluster.pod(id);
    let already_counted = pod.deletion.is_some_and(|deletion| deletion.since < world.now);
    let forced = pod.deletion.is_none();
    let services: Vec<ServiceId> = world.cluster.services_of_pod(id).to_vec();
    let proxied = |service: &ServiceId| !world.cluster.service(*service).headless;
    if !pod.ready || already_counted || !services.iter().any(proxied) {
        return;
    }
    let Some(serves_on) = serves_on(world, id, forced) else { return };
    let mut dropped = world.length(Delay::Proxy, chooser);
    let api_servers = world.cluster.nodes().filter(|(_, node)| !node.gone).filter_map(|(_, node)| node.api_since);
    let reconnected = api_servers.min().map(|since| since + world.physics.range(Delay::Reconnect).1 - world.now);
    if let Some(left) = reconnected.filter(|left| left.0 > 0) {
        dropped = dropped.max(world.length(Delay::Reconnect, chooser).min(left));
    }
    if dropped <= serves_on {
        return;
    }
    for service in services {
        if !world.cluster.service(service).headless {
            let millis = dropped.0 - serves_on.0;
            world.emit(Event::RequestsAtRisk { service, pod: id, millis }, chooser);
        }
    }
}

/// How long the containers that serve go on after the deletion; `None`: cannot be told. Those that declare ports serve; where
/// none does, any may.
fn serves_on(world: &World, id: PodId, forced: bool) -> Option<Millis> {
    let spec = world.cluster.spec(id);
    let after_term = match (spec.timing.ignores_term, spec.timing.stop) {
        (true, _) => return Some(Millis(i64::MAX)),
        (false, stop) => stop.unwrap_or_default(),
    };
    if forced {
        return Some(after_term.min(SHORTEST_KILL));
    }
    let declares = spec.containers.iter().any(|container| !container.ports.is_empty());
    let serving = spec.containers.iter().filter(|container| !declares || !container.ports.is_empty());
    let hooks: Vec<Option<PreStop>> = serving.map(|container| container.pre_stop).collect();
    if hooks.contains(&Some(PreStop::Unknown)) {
        return None;
    }
    let shortest = hooks.into_iter().map(|hook| match hook {
        Some(PreStop::Sleep(length)) => length,
        Some(PreStop::Unknown) | None => Millis(0),
    });
    Some(shortest.min().unwrap_or_default() + after_term)
}

/// The containers of a pod that is being deleted have ended.
pub(super) fn stopped(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    world.emit(Event::PodStopped { pod: id, cut_short: false }, chooser);
    // The kubelet reports a terminal phase for pods that never ran, too (E7); played ones do not.
    if world.cluster.pod(id).phase != Phase::Pending || !world.physics.played_kubelets {
        // Whoever ignores SIGTERM is killed (137).
        let timing = world.cluster.spec(id).timing;
        let failed = timing.ignores_term || timing.stop_exit_code.unwrap_or(143) != 0;
        end(world, id, failed, chooser);
    }
    world.after(Delay::Cleanup, Task::Kubelet(id, Step::Removed), chooser);
}
