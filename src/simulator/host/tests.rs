use std::sync::Arc;

use super::*;
use crate::cluster::{Cluster, Container, DaemonSet, Detail, IntOrPercent, PodSpec, Resources, Time, WorkloadId};
use crate::simulator::controllers::fixture;
use crate::simulator::{First, Physics};

/// A control-plane node and a worker with kube-proxy of this image on both.
fn kubeadm(image: &str) -> (World, WorkloadId) {
    let mut cluster: Cluster = fixture::cluster(36);
    let old = Version::new(36, 3);
    cluster.api_server = Some(old);
    for name in ["cp1", "n1"] {
        let id = fixture::node(&mut cluster, name);
        cluster.update_node(id, |node| {
            node.allocatable = Resources { milli_cpu: 1000, memory: 1 << 30, ..Resources::default() };
            node.kubelet = Some(old);
            node.control_plane = (name == "cp1").then_some(old);
            Arc::make_mut(&mut node.info).control_plane = name == "cp1";
        });
    }
    let one = IntOrPercent::Int(1);
    let detail =
        DaemonSet { on_delete: false, max_unavailable: one, max_surge: IntOrPercent::Int(0), node_service: true };
    let set = fixture::workload(&mut cluster, "DaemonSet", "kube-proxy", None, 0, Detail::DaemonSet(detail));
    let template = cluster.workload(set).template.unwrap();
    let containers = vec![Container { name: "c".into(), image: image.into(), ..Container::default() }];
    let spec = PodSpec { containers, namespace: "kube-system".into(), ..cluster.catalog.spec(template).clone() };
    let template = cluster.intern_spec(spec);
    cluster.update_workload(set, |set| {
        set.key.namespace = "kube-system".into();
        set.template = Some(template);
    });
    for node in 0..2 {
        let pod = fixture::pod(&mut cluster, set, "kube-proxy");
        fixture::ready(&mut cluster, pod);
        cluster.update_pod(pod, |pod| (pod.node, pod.started) = (Some(NodeId(node)), Some(Time(0))));
    }
    cluster.reindex();
    (World::new(cluster, Time(0), Arc::new(Physics::default()), &mut First), set)
}

/// Images of the pods after the control-plane node was upgraded, by node.
fn images_after_upgrade(image: &str) -> Vec<(NodeId, String)> {
    let (mut world, set) = kubeadm(image);
    start(&mut world, NodeId(0), Version::new(37, 2), &mut First);
    while world.next().is_some_and(|(due, _)| due <= Time(600_000)) {
        world.step(&mut First);
    }
    assert!(world.cluster.node(NodeId(0)).api_since.is_some());
    let pods = world.cluster.pods_of_workload(set).iter();
    let mut found: Vec<(NodeId, String)> = pods
        .map(|&pod| {
            assert!(world.cluster.pod(pod).ready);
            (world.cluster.pod(pod).node.unwrap(), world.cluster.spec(pod).containers[0].image.to_string())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn kubeadm_rolls_its_proxy_out_with_the_last_api_server() {
    let new = "registry/kube-proxy:v1.37.2".to_owned();
    let both = vec![(NodeId(0), new.clone()), (NodeId(1), new)];
    assert_eq!(images_after_upgrade("registry/kube-proxy:v1.36.3"), both, "KUBERNETES.md G.5");
    let other = "registry/other-proxy:v2".to_owned();
    let both = vec![(NodeId(0), other.clone()), (NodeId(1), other.clone())];
    assert_eq!(images_after_upgrade(&other), both, "another tool's proxy stays");
}
