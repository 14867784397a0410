//! Pod garbage collection (KUBERNETES.md D.9).

use crate::cluster::{DisruptionReason, Effect, Millis, Name, NodeId, Phase, PodId, Readiness};
use crate::simulator::{Chooser, Delay, Task, World};
use crate::trace::Event;

/// Finished pods that are kept (`--terminated-pod-gc-threshold`, D30).
const KEPT: usize = 12_500;

/// How long a missing Node object is waited for before its pods are given up (D32).
const QUARANTINE: Millis = Millis::secs(40);

const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Looks at every pod once.
pub(super) fn resume(world: &mut World, chooser: &mut dyn Chooser) {
    let pods = || world.cluster.pods().filter(|(_, pod)| !pod.gone);
    let mut finished: Vec<PodId> = pods().filter(|(_, pod)| pod.is_terminal()).map(|(id, _)| id).collect();
    finished.sort_by_key(|&id| (world.cluster.pod(id).created, id));
    let surplus = finished.len().saturating_sub(KEPT);
    let unscheduled = pods().filter(|(_, pod)| pod.node.is_none() && pod.deletion.is_some()).map(|(id, _)| id);
    let collected: Vec<PodId> = unscheduled.chain(finished.into_iter().take(surplus)).collect();
    for pod in collected {
        world.after(Delay::PodGc, Task::CollectPod(pod), chooser);
    }
    let nodes = world.cluster.nodes().len();
    for index in 0..nodes {
        look_at_node(world, NodeId(index as u32), chooser);
    }
}

/// A node changed.
pub(super) fn node_changed(world: &mut World, node: NodeId, event: &Event, chooser: &mut dyn Chooser) {
    match event {
        Event::NodeGone(_) | Event::NodeTaints(_) | Event::NodeReady(..) => look_at_node(world, node, chooser),
        _ => {}
    }
}

fn look_at_node(world: &mut World, node: NodeId, chooser: &mut dyn Chooser) {
    let wait = if world.cluster.node(node).gone {
        QUARANTINE
    } else if is_out_of_service(world, node) {
        Millis(0)
    } else {
        return;
    };
    let due = world.now + wait + world.length(Delay::PodGc, chooser);
    for pod in world.cluster.pods_of_node(node).to_vec() {
        world.at(due, Task::CollectPod(pod));
    }
}

fn is_out_of_service(world: &World, node: NodeId) -> bool {
    let node = world.cluster.node(node);
    let tainted = node.taints.iter().any(|taint| {
        taint.key == Name::new(OUT_OF_SERVICE) && matches!(taint.effect, Effect::NoSchedule | Effect::NoExecute)
    });
    tainted && node.ready != Readiness::Ready
}

/// Looks at one pod.
pub(super) fn collect(world: &mut World, pod: PodId, chooser: &mut dyn Chooser) {
    let object = world.cluster.pod(pod);
    if object.gone {
        return;
    }
    match object.node {
        None if object.deletion.is_some() || object.is_terminal() => world.delete_pod(pod, Some(0), chooser),
        None => {}
        Some(node) if world.cluster.node(node).gone => {
            if !object.is_terminal() {
                world.mark_disrupted(pod, DisruptionReason::DeletionByPodGc, chooser);
                world.cluster.update_pod(pod, |pod| {
                    pod.phase = Phase::Failed;
                    pod.ready = false;
                });
                world.emit(Event::PodFailed(pod), chooser);
            }
            world.delete_pod(pod, Some(0), chooser);
        }
        Some(node) if object.is_terminal() || (object.deletion.is_some() && is_out_of_service(world, node)) => {
            world.delete_pod(pod, Some(0), chooser);
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::fixture;
    use super::*;
    use crate::cluster::{Deletion, IntOrPercent, Time};
    use crate::simulator::{First, Physics};

    #[test]
    fn pods_of_a_gone_node_are_collected_and_replaced_after_the_quarantine() {
        let mut cluster = fixture::cluster(36);
        let node = fixture::node(&mut cluster, "a");
        let web = fixture::deployment(&mut cluster, 2, IntOrPercent::Percent(25), IntOrPercent::Percent(25));
        let set = fixture::replica_set(&mut cluster, web, 1, true, 2, 2);
        let [live, terminating] = cluster.pods_of_workload(set)[..] else { panic!("two pods") };
        for pod in [live, terminating] {
            cluster.update_pod(pod, |pod| pod.node = Some(node));
        }
        let deletion = Deletion { since: Time(0), grace_seconds: 300 };
        cluster.update_pod(terminating, |pod| pod.deletion = Some(deletion));
        cluster.update_node(node, |node| node.gone = true);
        let mut world = World::new(cluster, Time(0), Arc::new(Physics::default()), &mut First);
        world.forget(|task| matches!(task, Task::Kubelet(..)));
        while world.next().is_some_and(|(due, _)| due < Time(39_000)) {
            world.step(&mut First);
        }
        assert!(!world.cluster.pod(live).gone && !world.cluster.pod(terminating).gone);
        while world.next().is_some_and(|(due, _)| due < Time(70_000)) {
            world.step(&mut First);
        }
        assert!(world.cluster.pod(live).gone && world.cluster.pod(terminating).gone);
        let reason = world.cluster.pod(live).disruption_target.map(|target| target.0);
        assert_eq!(reason, Some(DisruptionReason::DeletionByPodGc));
        assert_eq!(world.cluster.pods_of_workload(set).len(), 2, "both are replaced");
    }
}
