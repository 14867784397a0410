//! The DaemonSet controller (KUBERNETES.md D.4): which nodes should run a pod, and one pod on each of them.

mod rollout;

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{
    Cluster, DaemonSet, Effect, Millis, Name, Node, NodeId, Owner, Phase, PodId, PodSpec, SpecId, Time, Toleration,
    WorkloadId,
};
use crate::simulator::{Chooser, NewPod, Task, World};
use crate::trace::Event;

use super::{namespace_is_terminating, replica_set};

/// Back-off of failed pods: from 1 s to 15 min per node, forgotten after twice the longest.
const FIRST_BACK_OFF: Millis = Millis::secs(1);
const LONGEST_BACK_OFF: Millis = Millis::secs(15 * 60);

/// What it remembers between its syncs.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    sets: BTreeMap<WorkloadId, State>,
}

/// What it remembers of one DaemonSet.
#[derive(Clone, Debug, Default)]
struct State {
    /// Nodes that have to be looked at.
    dirty: BTreeSet<NodeId>,
    /// Pods by the node they are made for, terminating ones included.
    pods: BTreeMap<NodeId, Vec<PodId>>,
    /// `pods` has to be found anew.
    stale: bool,
    /// How many pods `pods` holds.
    count: usize,
    /// The template when the set was first looked at; pods found then carry labels that only the API server knows.
    first_template: Option<SpecId>,
    /// What those of the found pods carry that belong to an older generation.
    outdated: BTreeSet<SpecId>,
    /// What a pod of the first template looks like, from a pod of the input.
    example: Option<SpecId>,
    /// Failed pods that were deleted last, by node: when, and how long the next one waits.
    back_off: BTreeMap<NodeId, (Time, Millis)>,
}

/// A node changed: it may need a pod, or not any more.
pub(super) fn node_changed(world: &mut World, node: NodeId, event: &Event, chooser: &mut dyn Chooser) {
    if !matches!(event, Event::NodeTaints(_) | Event::NodeCreated(_) | Event::NodeGone(_)) {
        return;
    }
    let sets: Vec<WorkloadId> = world.controllers.daemon_set.sets.keys().copied().collect();
    for id in sets {
        if let Some(state) = world.controllers.daemon_set.sets.get_mut(&id) {
            state.dirty.insert(node);
            if matches!(event, Event::NodeCreated(_)) {
                // Pods of a node that is built anew are the new object's.
                state.stale = true;
            }
        }
        world.wake_workload(id, chooser);
    }
}

/// A pod of a DaemonSet changed.
pub(super) fn pod_changed(world: &mut World, id: PodId) {
    let pod = world.cluster.pod(id);
    let Owner::Workload(owner) = pod.owner else { return };
    let (Some(state), Some(node)) = (world.controllers.daemon_set.sets.get_mut(&owner), pod.pinned.or(pod.node)) else {
        return;
    };
    let pods = state.pods.entry(node).or_default();
    match (pods.iter().position(|&known| known == id), pod.gone) {
        (None, false) => {
            pods.push(id);
            state.count += 1;
        }
        (Some(position), true) => {
            pods.remove(position);
            state.count -= 1;
        }
        (None, true) | (Some(_), false) => {}
    }
    state.dirty.insert(node);
}

/// Looks at one workload.
pub(super) fn sync(world: &mut World, id: WorkloadId, chooser: &mut dyn Chooser) {
    let workload = world.cluster.workload(id);
    let (Some(set), Some(template)) = (workload.as_daemon_set().cloned(), workload.template) else { return };
    if namespace_is_terminating(&world.cluster, workload.key.namespace) {
        return;
    }
    let known = world.controllers.daemon_set.sets.get(&id);
    if known.is_none_or(|state| state.stale || state.count != world.cluster.pods_of_workload(id).len()) {
        learn(world, id, template);
    }
    let Some(state) = world.controllers.daemon_set.sets.get_mut(&id) else { return };
    let dirty = std::mem::take(&mut state.dirty);
    let spec = pod_spec(world, id, template);
    let tolerations = world.cluster.catalog.spec(spec).tolerations.clone();
    for node in dirty {
        look_at_node(world, id, node, &set, spec, &tolerations, chooser);
    }
    if !set.on_delete {
        rollout::step(world, id, &set, template, spec, &tolerations, chooser);
    }
}

/// Sees a set for the first time, and does nothing yet.
pub(super) fn meet(world: &mut World, id: WorkloadId) {
    if let (Some(_), Some(template)) = (world.cluster.workload(id).as_daemon_set(), world.cluster.workload(id).template)
    {
        learn(world, id, template);
    }
}

impl Memory {
    /// Pods have to be found anew: the cluster is another one than they were found in.
    pub(super) fn forget_pods(&mut self) {
        self.sets.values_mut().for_each(|state| state.stale = true);
    }
}

/// Finds the pods of a set and has every node looked at.
fn learn(world: &mut World, id: WorkloadId, template: SpecId) {
    let cluster = &world.cluster;
    let mut state = world.controllers.daemon_set.sets.remove(&id).unwrap_or_default();
    state.pods.clear();
    state.stale = false;
    state.count = cluster.pods_of_workload(id).len();
    for &pod in cluster.pods_of_workload(id) {
        if let Some(node) = cluster.pod(pod).pinned.or(cluster.pod(pod).node) {
            state.pods.entry(node).or_default().push(pod);
        }
    }
    if state.first_template.is_none() {
        state.first_template = Some(template);
        let generation = |spec: SpecId| generation(cluster.catalog.spec(spec));
        let specs: BTreeSet<SpecId> = cluster.pods_of_workload(id).iter().map(|&pod| cluster.pod(pod).spec).collect();
        let newest = specs.iter().filter_map(|&spec| generation(spec)).max();
        state.outdated = specs.iter().copied().filter(|&spec| generation(spec) < newest).collect();
        state.example = specs.into_iter().rev().find(|spec| !state.outdated.contains(spec));
    }
    state.dirty = cluster.nodes().map(|(node, _)| node).collect();
    world.controllers.daemon_set.sets.insert(id, state);
}

/// `pod-template-generation` of a pod: the newest is that of the template.
fn generation(spec: &PodSpec) -> Option<i64> {
    spec.labels.get(Name::new("pod-template-generation"))?.parse().ok()
}

/// What a new pod looks like: the template with the tolerations that the controller adds.
fn pod_spec(world: &mut World, id: WorkloadId, template: SpecId) -> SpecId {
    let state = world.controllers.daemon_set.sets.get(&id);
    let example = state.filter(|state| state.first_template == Some(template)).and_then(|state| state.example);
    let mut spec = world.cluster.catalog.spec(example.unwrap_or(template)).clone();
    let missing: Vec<Toleration> = added_tolerations(spec.host_network)
        .into_iter()
        .filter(|added| !spec.tolerations.iter().any(|toleration| toleration == added))
        .collect();
    if missing.is_empty() {
        return example.unwrap_or(template);
    }
    spec.tolerations.extend(missing);
    world.cluster.intern_spec(spec)
}

/// Tolerations that every DaemonSet pod gets.
fn added_tolerations(host_network: bool) -> Vec<Toleration> {
    let toleration = |key: &str, effect: Effect| Toleration {
        key: Name::new(key),
        exists: true,
        value: Name::EMPTY,
        effect: Some(effect),
        seconds: None,
    };
    let mut tolerations = vec![
        toleration("node.kubernetes.io/not-ready", Effect::NoExecute),
        toleration("node.kubernetes.io/unreachable", Effect::NoExecute),
        toleration("node.kubernetes.io/disk-pressure", Effect::NoSchedule),
        toleration("node.kubernetes.io/memory-pressure", Effect::NoSchedule),
        toleration("node.kubernetes.io/pid-pressure", Effect::NoSchedule),
        toleration("node.kubernetes.io/unschedulable", Effect::NoSchedule),
    ];
    if host_network {
        tolerations.push(toleration("node.kubernetes.io/network-unavailable", Effect::NoSchedule));
    }
    tolerations
}

/// Whether a node should get a pod, and whether one that is there may stay. Cordon and resources are not looked at.
fn should_run(node: &Node, spec: &PodSpec, tolerations: &[Toleration]) -> (bool, bool) {
    let tolerated = |effects: &[Effect]| {
        node.taints
            .iter()
            .filter(|taint| effects.contains(&taint.effect))
            .all(|taint| tolerations.iter().any(|toleration| toleration.tolerates(taint)))
    };
    if node.gone || !fits(node, spec) || !tolerated(&[Effect::NoExecute]) {
        return (false, false);
    }
    (tolerated(&[Effect::NoSchedule]), true)
}

fn fits(node: &Node, spec: &PodSpec) -> bool {
    let labels = &node.info.labels;
    (spec.node_name.is_empty() || spec.node_name == node.name())
        && spec.node_selector.iter().all(|&(key, value)| labels.get(key) == Some(value))
        && spec.node_affinity.as_ref().is_none_or(|terms| terms.iter().any(|term| term.matches(labels, node.name())))
}

fn look_at_node(
    world: &mut World,
    id: WorkloadId,
    node: NodeId,
    set: &DaemonSet,
    spec: SpecId,
    tolerations: &[Toleration],
    chooser: &mut dyn Chooser,
) {
    let (run, stay) = should_run(world.cluster.node(node), world.cluster.catalog.spec(spec), tolerations);
    let pods = pods_on(world, id, node);
    if !stay {
        for pod in pods.into_iter().filter(|&pod| world.cluster.pod(pod).deletion.is_none()).collect::<Vec<_>>() {
            // Pods bound to a Node object that is gone are left to pod garbage collection.
            if !world.cluster.node(node).gone || world.cluster.pod(pod).node.is_none() {
                world.delete_pod(pod, None, chooser);
            }
        }
        return;
    }
    let left = |world: &World, pod: PodId| !is_surging(set) || world.cluster.pod(pod).deletion.is_none();
    if !pods.iter().any(|&pod| left(world, pod)) {
        if run {
            create(world, id, node, spec, chooser);
        }
        return;
    }
    let mut live = Vec::new();
    for pod in pods {
        let object = world.cluster.pod(pod);
        match object.phase {
            _ if object.deletion.is_some() => {}
            Phase::Failed => delete_failed(world, id, node, pod, chooser),
            Phase::Succeeded => world.delete_pod(pod, None, chooser),
            Phase::Pending | Phase::Running | Phase::Unknown => live.push(pod),
        }
    }
    if !is_surging(set) && live.len() > 1 {
        live.sort_by_key(|&pod| (world.cluster.pod(pod).node.is_none(), world.cluster.pod(pod).created, pod));
        live[1..].iter().for_each(|&pod| world.delete_pod(pod, None, chooser));
    }
}

/// Pods made for a node; those that have ended and are being deleted count no longer.
fn pods_on(world: &World, id: WorkloadId, node: NodeId) -> Vec<PodId> {
    let known = world.controllers.daemon_set.sets.get(&id).and_then(|state| state.pods.get(&node));
    let pods = known.into_iter().flatten().copied();
    pods.filter(|&pod| {
        let pod = world.cluster.pod(pod);
        !(pod.gone || pod.is_terminal() && pod.deletion.is_some())
    })
    .collect()
}

/// A failed pod goes, and its successor comes, after a back-off that grows with every failure on the node.
fn delete_failed(world: &mut World, id: WorkloadId, node: NodeId, pod: PodId, chooser: &mut dyn Chooser) {
    let now = world.now;
    let Some(state) = world.controllers.daemon_set.sets.get_mut(&id) else { return };
    let length = match state.back_off.get(&node) {
        Some(&(last, length)) if now - last < length => {
            state.dirty.insert(node);
            world.at(last + length, Task::SyncWorkload(id));
            return;
        }
        Some(&(last, length)) if now - last <= Millis(2 * LONGEST_BACK_OFF.0) => {
            Millis((2 * length.0).min(LONGEST_BACK_OFF.0))
        }
        Some(_) | None => FIRST_BACK_OFF,
    };
    state.back_off.insert(node, (now, length));
    world.delete_pod(pod, None, chooser);
}

fn is_surging(set: &DaemonSet) -> bool {
    set.max_surge.round_up(100) != 0
}

fn create(world: &mut World, id: WorkloadId, node: NodeId, spec: SpecId, chooser: &mut dyn Chooser) {
    let new = NewPod {
        owner: id,
        spec,
        name: None,
        ordinal: None,
        pinned: Some(node),
        job_finalizer: false,
        foreign_finalizer: false,
    };
    world.create_pod(new, chooser);
}

fn is_available(cluster: &Cluster, id: WorkloadId, pod: PodId, now: Time) -> bool {
    replica_set::is_available(cluster.pod(pod), replica_set::min_ready(cluster, id), now)
}

#[cfg(test)]
mod tests;
