//! The taint manager: pods that do not tolerate a NoExecute taint are deleted, past every budget (KUBERNETES.md D.8).

use std::collections::BTreeMap;

use crate::cluster::{DisruptionReason, Effect, Millis, NodeId, PodId, Taint, Time, Toleration};
use crate::simulator::{Chooser, Task, World};

/// What the taint manager remembers: pods whose toleration runs out, and when.
#[derive(Clone, Debug, Default)]
pub(super) struct TaintManager {
    due: BTreeMap<PodId, Time>,
}

/// The taints of a node changed.
pub(super) fn taints_changed(world: &mut World, id: NodeId) {
    for pod in world.cluster.pods_of_node(id).to_vec() {
        consider(world, pod, id);
    }
}

/// A pod was bound: the node may carry taints that it tolerates for a while only.
pub(in crate::simulator::controllers) fn pod_bound(world: &mut World, pod: PodId, node: NodeId) {
    consider(world, pod, node);
}

fn consider(world: &mut World, pod: PodId, node: NodeId) {
    let taints = no_execute(&world.cluster.node(node).taints);
    let due = &mut world.controllers.node_lifecycle.taint_manager.due;
    if taints.is_empty() {
        due.remove(&pod);
        return;
    }
    match tolerated_for(&world.cluster.spec(pod).tolerations, &taints) {
        // A change of taints never moves a timer that runs.
        Some(length) if length > Millis(0) => {
            if let std::collections::btree_map::Entry::Vacant(entry) = due.entry(pod) {
                entry.insert(world.now + length);
                world.at(world.now + length, Task::TaintDelete(pod));
            }
        }
        Some(_) => {
            due.insert(pod, world.now);
            world.at(world.now, Task::TaintDelete(pod));
        }
        None => {
            due.remove(&pod);
        }
    }
}

fn no_execute(taints: &[Taint]) -> Vec<Taint> {
    taints.iter().filter(|taint| taint.effect == Effect::NoExecute).copied().collect()
}

/// How long the taints are tolerated: `None` for ever, 0 not at all. The shortest toleration that is used decides.
fn tolerated_for(tolerations: &[Toleration], taints: &[Taint]) -> Option<Millis> {
    let mut shortest: Option<i64> = None;
    for taint in taints {
        let Some(used) = tolerations.iter().find(|toleration| toleration.tolerates(taint)) else {
            return Some(Millis(0));
        };
        if let Some(seconds) = used.seconds {
            shortest = Some(shortest.map_or(seconds, |least| least.min(seconds)));
        }
    }
    shortest.map(|seconds| Millis::secs(seconds.max(0)))
}

/// Deletes a pod whose toleration is spent.
pub(in crate::simulator::controllers) fn taint_delete(world: &mut World, pod: PodId, chooser: &mut dyn Chooser) {
    let due = &mut world.controllers.node_lifecycle.taint_manager.due;
    if due.get(&pod).is_none_or(|&due| due > world.now) {
        return;
    }
    due.remove(&pod);
    let object = world.cluster.pod(pod);
    if object.gone || object.deletion.is_some() {
        return;
    }
    world.mark_disrupted(pod, DisruptionReason::DeletionByTaintManager, chooser);
    world.delete_pod(pod, None, chooser);
}
