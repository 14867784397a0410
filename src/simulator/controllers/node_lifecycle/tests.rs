use std::sync::Arc;

use super::super::fixture;
use super::*;
use crate::cluster::{
    Cluster, Detail, DisruptionReason, NodeInfo, Phase, PodId, PodSpec, ReplicaSet, Toleration, WorkloadId,
};
use crate::simulator::{First, Physics};

/// A cluster of so many nodes with one Ready pod on each, that tolerates both NoExecute taints for so many seconds.
fn cluster(nodes: usize, seconds: Option<i64>) -> (Cluster, WorkloadId) {
    let mut cluster = fixture::cluster(36);
    let detail = ReplicaSet { revision: 1, created: Time(0), current: true };
    let set = fixture::workload(&mut cluster, "ReplicaSet", "web", None, nodes as i32, Detail::ReplicaSet(detail));
    let tolerations = [NOT_READY, UNREACHABLE].map(|key| Toleration {
        key: key.into(),
        exists: true,
        value: Name::EMPTY,
        effect: Some(Effect::NoExecute),
        seconds,
    });
    let spec = cluster.intern_spec(PodSpec {
        namespace: "default".into(),
        tolerations: tolerations.to_vec(),
        grace_seconds: 30,
        ..PodSpec::default()
    });
    cluster.update_workload(set, |set| set.template = Some(spec));
    for index in 0..nodes {
        let node = fixture::node(&mut cluster, &format!("n{index}"));
        let pod = fixture::pod(&mut cluster, set, &format!("web-{index}"));
        fixture::ready(&mut cluster, pod);
        cluster.update_pod(pod, |pod| pod.node = Some(node));
    }
    (cluster, set)
}

fn world(cluster: Cluster) -> World {
    World::new(cluster, Time(0), Arc::new(Physics::default()), &mut First)
}

fn until(world: &mut World, seconds: i64) {
    while world.next().is_some_and(|(due, _)| due <= Time(seconds * 1000)) {
        world.step(&mut First);
    }
    world.now = Time(seconds * 1000);
}

/// The kubelet of a node stops.
fn silence(world: &mut World, node: u32) {
    world.hosts[node as usize].down = true;
    heartbeat_lost(world, NodeId(node), &mut First);
}

fn has(world: &World, node: u32, key: &str, effect: Effect) -> bool {
    world.cluster.node(NodeId(node)).taints.iter().any(|taint| taint.key == key && taint.effect == effect)
}

fn pod_on(world: &World, node: u32) -> PodId {
    world.cluster.pods_of_node(NodeId(node))[0]
}

#[test]
fn cordon_taints_and_touches_no_pod() {
    let (cluster, _) = cluster(2, Some(300));
    let mut world = world(cluster);
    world.set_schedulable(NodeId(0), false, &mut First);
    until(&mut world, 60);
    assert!(has(&world, 0, UNSCHEDULABLE, Effect::NoSchedule), "D-T40");
    assert!(world.cluster.pod(pod_on(&world, 0)).is_serving_strength());
    world.set_schedulable(NodeId(0), true, &mut First);
    until(&mut world, 120);
    assert!(world.cluster.node(NodeId(0)).taints.is_empty());
}

#[test]
fn silence_below_the_grace_period_leaves_no_trace() {
    let (cluster, _) = cluster(3, Some(300));
    let mut world = world(cluster);
    silence(&mut world, 0);
    until(&mut world, 49);
    world.hosts[0].down = false;
    heartbeat_back(&mut world, NodeId(0));
    until(&mut world, 200);
    assert_eq!(world.cluster.node(NodeId(0)).ready, Readiness::Ready, "D-T32");
    assert!(world.cluster.node(NodeId(0)).taints.is_empty());
}

#[test]
fn silence_makes_the_node_unknown_and_its_pods_unready_until_it_is_back() {
    let (cluster, _) = cluster(3, Some(300));
    let mut world = world(cluster);
    silence(&mut world, 0);
    until(&mut world, 56);
    assert_eq!(world.cluster.node(NodeId(0)).ready, Readiness::Unknown, "D-T33");
    let pod = pod_on(&world, 0);
    assert!(!world.cluster.pod(pod).ready, "D14");
    assert_eq!(world.cluster.pod(pod).phase, Phase::Running);
    assert!(has(&world, 0, UNREACHABLE, Effect::NoSchedule) && has(&world, 0, UNREACHABLE, Effect::NoExecute));
    world.hosts[0].down = false;
    crate::simulator::host::set_readiness(&mut world, NodeId(0), Readiness::Ready, &mut First);
    until(&mut world, 500);
    assert!(world.cluster.node(NodeId(0)).taints.is_empty());
    assert_eq!(world.cluster.pod(pod).deletion, None, "the toleration's timer is cancelled");
}

#[test]
fn older_controllers_wait_40_seconds() {
    let (mut cluster, _) = cluster(3, Some(300));
    cluster.api_server = Some(crate::cluster::Version::new(31, 0));
    let mut world = world(cluster);
    silence(&mut world, 0);
    until(&mut world, 46);
    assert_eq!(world.cluster.node(NodeId(0)).ready, Readiness::Unknown, "D10");
}

#[test]
fn a_pod_on_a_dead_node_is_deleted_after_its_toleration_and_replaced() {
    let (cluster, set) = cluster(3, Some(300));
    let mut world = world(cluster);
    silence(&mut world, 0);
    until(&mut world, 349);
    let pod = pod_on(&world, 0);
    assert_eq!(world.cluster.pod(pod).deletion, None);
    until(&mut world, 356);
    assert!(world.cluster.pod(pod).deletion.is_some(), "D-T34");
    let reason = world.cluster.pod(pod).disruption_target.map(|target| target.0);
    assert_eq!(reason, Some(DisruptionReason::DeletionByTaintManager));
    until(&mut world, 1000);
    assert!(!world.cluster.pod(pod).gone, "no kubelet lets the object go (E10)");
    assert_eq!(world.cluster.pods_of_workload(set).len(), 4);
}

#[test]
fn a_toleration_of_0_seconds_ends_with_the_taint() {
    let (cluster, _) = cluster(3, Some(0));
    let mut world = world(cluster);
    silence(&mut world, 0);
    until(&mut world, 57);
    assert!(world.cluster.pod(pod_on(&world, 0)).deletion.is_some(), "D-T41");
}

#[test]
fn a_toleration_without_seconds_never_ends() {
    let (cluster, _) = cluster(3, None);
    let mut world = world(cluster);
    silence(&mut world, 0);
    until(&mut world, 3600);
    assert_eq!(world.cluster.pod(pod_on(&world, 0)).deletion, None);
}

#[test]
fn two_of_three_nodes_are_no_partial_disruption() {
    let (cluster, _) = cluster(3, Some(300));
    let mut world = world(cluster);
    [0, 1].into_iter().for_each(|node| silence(&mut world, node));
    until(&mut world, 375);
    assert!((0..2).all(|node| world.cluster.pod(pod_on(&world, node)).deletion.is_some()), "D-T35");
}

#[test]
fn three_of_five_nodes_stop_evictions() {
    let (cluster, _) = cluster(5, Some(300));
    let mut world = world(cluster);
    (0..3).for_each(|node| silence(&mut world, node));
    until(&mut world, 1000);
    let tainted = (0..3).filter(|&node| has(&world, node, UNREACHABLE, Effect::NoExecute)).count();
    assert_eq!(tainted, 0, "D-T36");
    assert!((0..3).all(|node| has(&world, node, UNREACHABLE, Effect::NoSchedule)));
}

#[test]
fn all_nodes_down_evict_nobody() {
    let (cluster, _) = cluster(3, Some(300));
    let mut world = world(cluster);
    silence(&mut world, 0);
    until(&mut world, 100);
    assert!(has(&world, 0, UNREACHABLE, Effect::NoExecute));
    [1, 2].into_iter().for_each(|node| silence(&mut world, node));
    until(&mut world, 1000);
    assert!((0..3).all(|node| !has(&world, node, UNREACHABLE, Effect::NoExecute)), "D-T37");
    assert!((0..3).all(|node| world.cluster.pod(pod_on(&world, node)).deletion.is_none()));
}

#[test]
fn the_second_of_two_failing_nodes_is_tainted_10_seconds_later() {
    let (cluster, _) = cluster(5, Some(300));
    let mut world = world(cluster);
    [0, 1].into_iter().for_each(|node| silence(&mut world, node));
    let mut at = [None; 2];
    while world.next().is_some_and(|(due, _)| due <= Time(100_000)) {
        world.step(&mut First);
        for (node, at) in (0..).zip(&mut at) {
            if at.is_none() && has(&world, node, UNREACHABLE, Effect::NoExecute) {
                *at = Some(world.now);
            }
        }
    }
    let [Some(first), Some(second)] = at else { panic!("both are tainted: {at:?}") };
    assert_eq!(second - first, Millis::secs(10), "D-T38");
}

#[test]
fn a_zone_of_its_own_is_tainted_at_its_own_pace() {
    let (mut cluster, _) = cluster(4, Some(300));
    for node in 0..4 {
        let zone = if node < 2 { "a" } else { "b" };
        cluster.update_node(NodeId(node), |object| {
            let labels = object.info.labels.with("topology.kubernetes.io/zone".into(), zone.into());
            object.info = Arc::new(NodeInfo { labels, ..(*object.info).clone() });
        });
    }
    let mut world = world(cluster);
    [0, 2].into_iter().for_each(|node| silence(&mut world, node));
    until(&mut world, 56);
    assert!([0, 2].into_iter().all(|node| has(&world, node, UNREACHABLE, Effect::NoExecute)), "D16");
}

#[test]
fn a_taint_of_a_user_deletes_pods_that_do_not_tolerate_it() {
    let (cluster, _) = cluster(2, Some(300));
    let mut world = world(cluster);
    let taint = taint_of("maintenance".into(), Effect::NoExecute);
    world.cluster.update_node(NodeId(0), |node| node.taints.push(taint));
    world.emit(Event::NodeTaints(NodeId(0)), &mut First);
    until(&mut world, 1);
    assert!(world.cluster.pod(PodId(0)).deletion.is_some() && world.cluster.pod(PodId(1)).deletion.is_none());
}

#[test]
fn not_ready_swaps_to_unreachable_without_a_new_timer() {
    let (cluster, _) = cluster(3, Some(300));
    let mut world = world(cluster);
    world.hosts[0].down = true;
    crate::simulator::host::set_readiness(&mut world, NodeId(0), Readiness::NotReady, &mut First);
    until(&mut world, 200);
    assert!(has(&world, 0, NOT_READY, Effect::NoExecute));
    heartbeat_lost(&mut world, NodeId(0), &mut First);
    until(&mut world, 260);
    assert!(has(&world, 0, UNREACHABLE, Effect::NoExecute) && !has(&world, 0, NOT_READY, Effect::NoExecute));
    until(&mut world, 310);
    assert!(world.cluster.pod(pod_on(&world, 0)).deletion.is_some(), "the timer runs from the first taint");
}
