//! Node lifecycle and taint eviction (KUBERNETES.md D.7, D.8).

mod eviction;
mod zone;

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Effect, Millis, Name, Node, NodeId, Readiness, Taint, Time};
use crate::simulator::{Choice, Chooser, Delay, Task, World};
use crate::trace::Event;

pub(super) use eviction::{pod_bound, taint_delete};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Node conditions besides Ready, and the NoSchedule taint each brings (D15).
const PRESSURE: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// What it remembers between its syncs.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// Readiness of each node at the last monitor pass.
    seen: BTreeMap<NodeId, Readiness>,
    /// Nodes whose NoSchedule taints have to be looked at.
    stale_taints: BTreeSet<NodeId>,
    /// Nodes that the next monitor pass has to look at.
    changed: BTreeSet<NodeId>,
    /// When the next monitor pass is due.
    pass: Option<Time>,
    /// Last heartbeat of silent kubelets.
    silent: BTreeMap<NodeId, Time>,
    zones: zone::Zones,
    taint_manager: eviction::TaintManager,
}

/// Looks at every node once.
pub(super) fn resume(world: &mut World, chooser: &mut dyn Chooser) {
    let nodes: Vec<NodeId> = world.cluster.nodes().filter(|(_, node)| !node.gone).map(|(id, _)| id).collect();
    for id in nodes {
        let node = world.cluster.node(id);
        let (ready, stale) = (node.ready, wanted_no_schedule(node) != managed(node, Effect::NoSchedule));
        // The pods of a node that is not Ready were marked when it became so, before the input was taken.
        world.controllers.node_lifecycle.seen.insert(id, ready);
        if stale {
            refresh_taints_soon(world, id, chooser);
        }
        if wanted_no_execute(ready) != managed(world.cluster.node(id), Effect::NoExecute).first().map(|taint| taint.key)
        {
            pass_soon(world, id, chooser);
        }
        eviction::taints_changed(world, id);
    }
}

/// A node changed.
pub(super) fn node_changed(world: &mut World, id: NodeId, event: &Event, chooser: &mut dyn Chooser) {
    match event {
        Event::NodeReady(..) => {
            world.controllers.node_lifecycle.silent.remove(&id);
            refresh_taints_soon(world, id, chooser);
            pass_soon(world, id, chooser);
        }
        Event::NodeSchedulable(..) => refresh_taints_soon(world, id, chooser),
        Event::NodeCreated(_) => {
            let ready = world.cluster.node(id).ready;
            world.controllers.node_lifecycle.seen.insert(id, ready);
            refresh_taints_soon(world, id, chooser);
            pass_soon(world, id, chooser);
        }
        Event::NodeTaints(_) => eviction::taints_changed(world, id),
        Event::NodeGone(_) => forget(world, id),
        _ => {}
    }
}

fn forget(world: &mut World, id: NodeId) {
    let memory = &mut world.controllers.node_lifecycle;
    memory.seen.remove(&id);
    memory.stale_taints.remove(&id);
    memory.changed.remove(&id);
    memory.silent.remove(&id);
    memory.zones.cancel(id);
}

/// The worker that keeps NoSchedule taints in step with the conditions: triggered by node updates, not rate limited (D15).
fn refresh_taints_soon(world: &mut World, id: NodeId, chooser: &mut dyn Chooser) {
    if world.controllers.node_lifecycle.stale_taints.insert(id) {
        world.after(Delay::Watch, Task::SyncNode(id), chooser);
    }
}

/// The next monitor pass looks at this node (D10: every 5 s).
fn pass_soon(world: &mut World, id: NodeId, chooser: &mut dyn Chooser) {
    world.controllers.node_lifecycle.changed.insert(id);
    if world.controllers.node_lifecycle.pass.is_none() {
        let due = world.now + world.length(Delay::NodeMonitor, chooser);
        world.controllers.node_lifecycle.pass = Some(due);
        world.at(due, Task::SyncNode(id));
    }
}

/// Looks at one node.
pub(super) fn sync(world: &mut World, id: NodeId, chooser: &mut dyn Chooser) {
    if world.controllers.node_lifecycle.stale_taints.remove(&id) && !world.cluster.node(id).gone {
        let wanted = wanted_no_schedule(world.cluster.node(id));
        replace_taints(world, id, Effect::NoSchedule, &wanted, chooser);
    }
    if world.controllers.node_lifecycle.silent.get(&id).is_some_and(|&last| world.now >= last + grace(world)) {
        world.controllers.node_lifecycle.pass = Some(world.now);
    }
    if world.controllers.node_lifecycle.pass.is_some_and(|due| due <= world.now) {
        monitor(world, chooser);
    }
    zone::taint_due(world, chooser);
}

/// A kubelet has fallen silent. Its last heartbeat is up to one renewal of its lease old (D11, D12).
pub(super) fn heartbeat_lost(world: &mut World, id: NodeId, chooser: &mut dyn Chooser) {
    let last = world.now - world.length(Delay::Heartbeat, chooser);
    world.controllers.node_lifecycle.silent.insert(id, last);
    let due = last + grace(world) + world.length(Delay::NodeMonitor, chooser);
    world.at(due.max(world.now), Task::SyncNode(id));
}

/// The heartbeats of a silent kubelet are back before anybody took note.
pub(super) fn heartbeat_back(world: &mut World, id: NodeId) {
    world.controllers.node_lifecycle.silent.remove(&id);
}

/// `--node-monitor-grace-period`: 40 s before 1.32 (D10).
pub(super) fn grace(world: &World) -> Millis {
    let default = match world.cluster.api_server {
        Some(version) if version.minor < 32 => Millis::secs(40),
        _ => Millis::secs(50),
    };
    world.physics.node_monitor_grace.unwrap_or(default)
}

/// The grace period is over: Ready becomes Unknown (D13).
fn became_unknown(world: &mut World, id: NodeId, chooser: &mut dyn Chooser) {
    world.controllers.node_lifecycle.silent.remove(&id);
    if world.cluster.node(id).gone || world.cluster.node(id).ready == Readiness::Unknown {
        return;
    }
    let now = world.now;
    world.cluster.update_node(id, |node| {
        node.ready = Readiness::Unknown;
        node.ready_since = now;
    });
    world.emit(Event::NodeReady(id, Readiness::Unknown), chooser);
}

/// A monitor pass: silent nodes become Unknown, and nodes whose condition changed since the last pass are looked at.
fn monitor(world: &mut World, chooser: &mut dyn Chooser) {
    let limit = world.now - grace(world);
    let silent = world.controllers.node_lifecycle.silent.iter().filter(|entry| *entry.1 <= limit);
    for id in silent.map(|entry| *entry.0).collect::<Vec<_>>() {
        became_unknown(world, id, chooser);
    }
    world.controllers.node_lifecycle.pass = None;
    // A pass works on several nodes at a time: which of them stands first in the queue is open.
    let mut changed: Vec<NodeId> = std::mem::take(&mut world.controllers.node_lifecycle.changed).into_iter().collect();
    while !changed.is_empty() {
        let next = if changed.len() == 1 { 0 } else { chooser.pick(Choice::ControllerTie, changed.len()) };
        let id = changed.remove(next);
        let node = world.cluster.node(id);
        if node.gone {
            continue;
        }
        let ready = node.ready;
        let before = world.controllers.node_lifecycle.seen.insert(id, ready);
        if before == Some(Readiness::Ready) && ready != Readiness::Ready {
            mark_pods_not_ready(world, id, chooser);
        }
        let taint = managed(world.cluster.node(id), Effect::NoExecute).first().map(|taint| taint.key);
        match (wanted_no_execute(ready), taint) {
            (None, _) => {
                world.controllers.node_lifecycle.zones.cancel(id);
                replace_taints(world, id, Effect::NoExecute, &[], chooser);
            }
            // Already tainted for the other reason: swapped at once, past the queue.
            (Some(wanted), Some(found)) if wanted != found => {
                replace_taints(world, id, Effect::NoExecute, &[taint_of(wanted, Effect::NoExecute)], chooser);
            }
            (Some(_), Some(_)) => {}
            (Some(_), None) => world.controllers.node_lifecycle.zones.enqueue(&world.cluster, id),
        }
    }
    zone::assess(world, chooser);
}

/// All pods of the node get Ready=False in their status; containers are not touched (D14).
fn mark_pods_not_ready(world: &mut World, id: NodeId, chooser: &mut dyn Chooser) {
    for pod in world.cluster.pods_of_node(id).to_vec() {
        world.set_ready(pod, false, chooser);
    }
}

/// The NoSchedule taints that conditions and cordon ask for (D15).
fn wanted_no_schedule(node: &Node) -> Vec<Taint> {
    let mut keys = Vec::new();
    match node.ready {
        Readiness::Ready => {}
        Readiness::NotReady => keys.push(NOT_READY),
        Readiness::Unknown => keys.push(UNREACHABLE),
    }
    keys.extend(PRESSURE.iter().filter(|(kind, _)| node.pressure.iter().any(|found| found == kind)).map(|pair| pair.1));
    if node.unschedulable {
        keys.push(UNSCHEDULABLE);
    }
    let mut taints: Vec<Taint> = keys.iter().map(|key| taint_of(Name::new(key), Effect::NoSchedule)).collect();
    taints.sort();
    taints
}

/// The NoExecute taint that the Ready condition asks for (D16).
fn wanted_no_execute(ready: Readiness) -> Option<Name> {
    match ready {
        Readiness::Ready => None,
        Readiness::NotReady => Some(Name::new(NOT_READY)),
        Readiness::Unknown => Some(Name::new(UNREACHABLE)),
    }
}

fn taint_of(key: Name, effect: Effect) -> Taint {
    Taint { key, value: Name::EMPTY, effect }
}

/// The taints of a node that this controller manages, sorted.
fn managed(node: &Node, effect: Effect) -> Vec<Taint> {
    let mut taints: Vec<Taint> = node.taints.iter().filter(|taint| is_managed(taint, effect)).copied().collect();
    taints.sort();
    taints
}

fn is_managed(taint: &Taint, effect: Effect) -> bool {
    let ours = [NOT_READY, UNREACHABLE].iter().any(|key| taint.key == *key)
        || (effect == Effect::NoSchedule
            && (taint.key == UNSCHEDULABLE || PRESSURE.iter().any(|pair| taint.key == pair.1)));
    taint.effect == effect && ours
}

fn replace_taints(world: &mut World, id: NodeId, effect: Effect, wanted: &[Taint], chooser: &mut dyn Chooser) {
    let node = world.cluster.node(id);
    if managed(node, effect) == wanted {
        return;
    }
    world.cluster.update_node(id, |node| {
        node.taints.retain(|taint| !is_managed(taint, effect));
        node.taints.extend_from_slice(wanted);
    });
    world.emit(Event::NodeTaints(id), chooser);
}

#[cfg(test)]
mod tests;
