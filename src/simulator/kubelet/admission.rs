//! The kubelet's own admission of a pod (KUBERNETES.md E.4): cordon, NoSchedule taints and pod affinity are not looked at.
//!
//! **Not modelled:** critical pods that evict others to get in, CPU, memory and topology managers, pressure.

use crate::cluster::{Cluster, Effect, HostPort, NodeId, PodId, PodSpec};
use crate::simulator::World;

/// Whether the node takes the pod; a pod that is refused is Failed for good.
pub(super) fn admits(world: &World, id: PodId, node: NodeId) -> bool {
    let cluster = &world.cluster;
    let spec = cluster.spec(id);
    fits_node(cluster, spec, node)
        && tolerates(cluster, id, node)
        && has_room(cluster, id, node)
        && ports_are_free(cluster, id, node)
}

/// `NodeAffinity`: node selector and required node affinity.
fn fits_node(cluster: &Cluster, spec: &PodSpec, node: NodeId) -> bool {
    let info = &cluster.node(node).info;
    spec.node_selector.iter().all(|&(key, value)| info.labels.get(key) == Some(value))
        && spec
            .node_affinity
            .as_ref()
            .is_none_or(|terms| terms.iter().any(|term| term.matches(&info.labels, info.name)))
}

/// NoExecute taints, for all but static pods.
fn tolerates(cluster: &Cluster, id: PodId, node: NodeId) -> bool {
    let tolerations = &cluster.spec(id).tolerations;
    super::is_static(cluster.pod(id))
        || cluster
            .node(node)
            .taints
            .iter()
            .filter(|taint| taint.effect == Effect::NoExecute)
            .all(|taint| tolerations.iter().any(|toleration| toleration.tolerates(taint)))
}

/// `OutOfcpu`, `OutOfmemory`, `OutOfpods` and so on: pods that were admitted before keep their room until they have ended.
fn has_room(cluster: &Cluster, id: PodId, node: NodeId) -> bool {
    let spec = cluster.spec(id);
    let mut used = spec.requests.clone();
    let mut pods = 1;
    for &other in cluster.pods_of_node(node) {
        let pod = cluster.pod(other);
        if other != id && !pod.is_terminal() && super::was_admitted(pod) {
            used.add(&cluster.spec(other).requests);
            pods += 1;
        }
    }
    let node = cluster.node(node);
    let room = &node.allocatable;
    pods <= node.allocatable_pods
        && (spec.requests.milli_cpu == 0 || used.milli_cpu <= room.milli_cpu)
        && (spec.requests.memory == 0 || used.memory <= room.memory)
        && (spec.requests.ephemeral == 0 || used.ephemeral <= room.ephemeral)
        && spec.requests.scalar.iter().all(|&(name, amount)| amount == 0 || used.scalar(name) <= room.scalar(name))
}

/// `NodePorts`.
fn ports_are_free(cluster: &Cluster, id: PodId, node: NodeId) -> bool {
    let wanted = &cluster.spec(id).host_ports;
    wanted.is_empty()
        || !cluster.pods_of_node(node).iter().any(|&other| {
            let pod = cluster.pod(other);
            let taken = &cluster.spec(other).host_ports;
            other != id
                && !pod.is_terminal()
                && super::was_admitted(pod)
                && taken.iter().any(|a| wanted.iter().any(|b| conflict(a, b)))
        })
}

fn conflict(a: &HostPort, b: &HostPort) -> bool {
    let anywhere = |port: &HostPort| port.ip.is_empty() || port.ip == "0.0.0.0";
    a.port == b.port && a.protocol == b.protocol && (a.ip == b.ip || anywhere(a) || anywhere(b))
}
