use std::sync::Arc;

use super::super::fixture;
use super::*;
use crate::cluster::IntOrPercent::{self, Int, Percent};
use crate::cluster::{Detail, Taint};
use crate::simulator::{First, Physics};

fn set(max_unavailable: IntOrPercent, max_surge: IntOrPercent) -> DaemonSet {
    DaemonSet { on_delete: false, max_unavailable, max_surge, node_service: false }
}

/// A DaemonSet with a Ready pod on each of so many nodes.
fn cluster(nodes: usize, detail: DaemonSet) -> (Cluster, WorkloadId) {
    let mut cluster = fixture::cluster(36);
    let id = fixture::workload(&mut cluster, "DaemonSet", "agent", None, 0, Detail::DaemonSet(detail));
    for index in 0..nodes {
        let node = fixture::node(&mut cluster, &format!("n{index}"));
        let pod = fixture::pod(&mut cluster, id, &format!("agent-{index}"));
        fixture::ready(&mut cluster, pod);
        cluster.update_pod(pod, |pod| {
            pod.node = Some(node);
            pod.pinned = Some(node);
        });
    }
    (cluster, id)
}

/// A world in which no pod starts or ends by itself.
fn world(cluster: Cluster) -> World {
    let mut world = World::new(cluster, Time(0), Arc::new(Physics::default()), &mut First);
    until(&mut world, 1);
    world
}

fn until(world: &mut World, seconds: i64) {
    while world.next().is_some_and(|(due, _)| due <= Time(seconds * 1000)) {
        world.forget(|task| matches!(task, Task::Kubelet(..) | Task::Schedule));
        world.step(&mut First);
    }
    world.now = Time(seconds * 1000);
}

fn taint(world: &mut World, node: u32, effect: Effect) {
    let taint = Taint { key: "maintenance".into(), value: Name::EMPTY, effect };
    world.cluster.update_node(NodeId(node), |node| node.taints.push(taint));
    world.emit(Event::NodeTaints(NodeId(node)), &mut First);
}

fn deleting(world: &World) -> Vec<u32> {
    world.cluster.pods().filter(|(_, pod)| pod.is_terminating()).map(|(id, _)| id.0).collect()
}

fn change_template(world: &mut World, id: WorkloadId) -> SpecId {
    let spec = fixture::template(&mut world.cluster, Some(("version", "2")));
    world.cluster.update_workload(id, |workload| workload.template = Some(spec));
    world.wake_workload(id, &mut First);
    spec
}

#[test]
fn limits_round_up() {
    assert_eq!(rollout::limits(&set(Percent(50), Int(0)), 2), (1, 0), "D-T22u");
    assert_eq!(rollout::limits(&set(Percent(50), Int(0)), 3), (2, 0));
    assert_eq!(rollout::limits(&set(Int(0), Percent(100)), 2), (0, 2));
    assert_eq!(rollout::limits(&set(Int(0), Int(0)), 2), (1, 0), "D-T23u");
}

#[test]
fn a_pod_deleted_on_a_cordoned_node_comes_back_there() {
    let (cluster, id) = cluster(2, set(Int(1), Int(0)));
    let mut world = world(cluster);
    world.set_schedulable(NodeId(0), false, &mut First);
    world.delete_pod(PodId(0), None, &mut First);
    until(&mut world, 2);
    assert_eq!(world.cluster.pods_of_workload(id).len(), 2, "a terminating pod blocks its successor");
    world.remove_pod(PodId(0), &mut First);
    until(&mut world, 3);
    let new = world.cluster.pod(PodId(2));
    assert_eq!(new.pinned, Some(NodeId(0)), "D-T24");
    let tolerates = world.cluster.spec(PodId(2)).tolerations.iter().any(|toleration| {
        let key = "node.kubernetes.io/unschedulable".into();
        toleration.tolerates(&Taint { key, value: Name::EMPTY, effect: Effect::NoSchedule })
    });
    assert!(tolerates);
}

#[test]
fn a_noschedule_taint_keeps_the_pod_and_prevents_its_successor() {
    let (cluster, id) = cluster(2, set(Int(1), Int(0)));
    let mut world = world(cluster);
    taint(&mut world, 0, Effect::NoSchedule);
    until(&mut world, 2);
    assert!(deleting(&world).is_empty(), "D-T25");
    world.delete_pod(PodId(0), Some(0), &mut First);
    until(&mut world, 5);
    assert_eq!(world.cluster.pods_of_workload(id).len(), 1);
}

#[test]
fn a_noexecute_taint_deletes_the_pod() {
    let (cluster, _) = cluster(2, set(Int(1), Int(0)));
    let mut world = world(cluster);
    taint(&mut world, 0, Effect::NoExecute);
    until(&mut world, 2);
    assert_eq!(deleting(&world), [0], "D-T26");
}

#[test]
fn a_new_node_gets_a_pod() {
    let (cluster, id) = cluster(1, set(Int(1), Int(0)));
    let mut world = world(cluster);
    let node = fixture::node(&mut world.cluster, "new");
    world.hosts.push(Default::default());
    world.emit(Event::NodeCreated(node), &mut First);
    until(&mut world, 2);
    let pods = world.cluster.pods_of_workload(id);
    assert_eq!(pods.len(), 2);
    assert_eq!(world.cluster.pod(pods[1]).pinned, Some(node));
}

#[test]
fn a_rollout_goes_node_by_node() {
    let (cluster, id) = cluster(3, set(Int(1), Int(0)));
    let mut world = world(cluster);
    let new = change_template(&mut world, id);
    until(&mut world, 2);
    assert_eq!(deleting(&world), [0]);
    world.remove_pod(PodId(0), &mut First);
    until(&mut world, 3);
    let successor = *world.cluster.pods_of_workload(id).last().unwrap();
    assert_eq!(world.cluster.spec(successor).labels, world.cluster.catalog.spec(new).labels);
    assert!(deleting(&world).is_empty(), "the successor is not available yet");
    fixture::ready(&mut world.cluster, successor);
    world.emit(Event::PodReady(successor), &mut First);
    until(&mut world, 4);
    assert_eq!(deleting(&world), [1]);
}

#[test]
fn a_dead_node_uses_up_the_budget_of_a_rollout() {
    let (mut cluster, id) = cluster(3, set(Int(1), Int(0)));
    cluster.update_pod(PodId(2), |pod| pod.ready = false);
    let mut world = world(cluster);
    change_template(&mut world, id);
    until(&mut world, 2);
    assert_eq!(deleting(&world), [2], "D-T27: only the pod of the dead node itself");
}

#[test]
fn surge_starts_the_new_pod_first() {
    let (cluster, id) = cluster(2, set(Int(0), Int(1)));
    let mut world = world(cluster);
    change_template(&mut world, id);
    until(&mut world, 2);
    assert!(deleting(&world).is_empty());
    let pods = world.cluster.pods_of_workload(id).to_vec();
    assert_eq!(pods.len(), 3, "one node runs two");
    fixture::ready(&mut world.cluster, pods[2]);
    world.emit(Event::PodReady(pods[2]), &mut First);
    until(&mut world, 3);
    assert_eq!(deleting(&world).len(), 1);
}

#[test]
fn on_delete_updates_nothing() {
    let (cluster, id) = cluster(2, DaemonSet { on_delete: true, ..set(Int(1), Int(0)) });
    let mut world = world(cluster);
    change_template(&mut world, id);
    until(&mut world, 10);
    assert!(deleting(&world).is_empty());
}

#[test]
fn failed_pods_are_replaced_with_a_growing_back_off() {
    let (cluster, id) = cluster(1, set(Int(1), Int(0)));
    let mut world = world(cluster);
    let mut failed_at = Vec::new();
    for second in 1..10 {
        until(&mut world, second);
        let pods = world.cluster.pods_of_workload(id).to_vec();
        let Some(&pod) = pods.iter().find(|&&pod| world.cluster.pod(pod).is_active()) else { continue };
        world.cluster.update_pod(pod, |pod| pod.phase = Phase::Failed);
        world.emit(Event::PodFailed(pod), &mut First);
        failed_at.push(second);
    }
    assert_eq!(failed_at, [1, 2, 3, 5, 9], "at once, then 1, 2, 4 s after the former deletion");
}
