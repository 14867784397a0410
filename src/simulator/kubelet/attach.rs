//! Volumes on their way from node to node (KUBERNETES.md H.2, H.3): a pod waits for them before its containers start.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, Millis, NodeId, Phase, PodId, Readiness, Time, VolumeId};
use crate::simulator::scheduler::volume::claims;
use crate::simulator::{Chooser, Delay, World};

/// A volume of an unhealthy node is detached by force after waiting so long (H5).
const FORCE_AFTER: Millis = Millis::secs(6 * 60);

/// How often a pod looks again whether a volume has come free.
const LOOK_AGAIN: Millis = Millis::secs(1);

/// Where volumes are attached.
#[derive(Clone, Debug, Default)]
pub(super) struct Attachments {
    nodes: BTreeMap<VolumeId, Vec<NodeId>>,
    /// Since when a volume has been waited for that its dead node does not let go.
    waited: BTreeMap<VolumeId, Time>,
}

impl Attachments {
    /// The volumes of all pods that run, where they run, and those that VolumeAttachments name.
    pub(super) fn new(cluster: &Cluster) -> Attachments {
        let mut attachments = Attachments::default();
        for (id, pod) in cluster.pods().filter(|(_, pod)| !pod.gone && pod.phase == Phase::Running) {
            if let Some(node) = pod.node {
                volumes(cluster, id).into_iter().for_each(|volume| attachments.add(volume, node));
            }
        }
        for (node, names) in cluster.attached.iter() {
            let Some(node) = cluster.find_node(*node) else { continue };
            names.iter().filter_map(|name| cluster.find_volume(*name)).for_each(|volume| attachments.add(volume, node));
        }
        attachments
    }

    fn add(&mut self, volume: VolumeId, node: NodeId) {
        let nodes = self.nodes.entry(volume).or_default();
        if !nodes.contains(&node) {
            nodes.push(node);
        }
    }
}

/// Volumes of a pod that have to be attached to its node: those of a driver, not of the node's own disks.
fn volumes(cluster: &Cluster, id: PodId) -> Vec<VolumeId> {
    if cluster.spec(id).volumes.is_empty() {
        return Vec::new();
    }
    claims(cluster, id)
        .filter_map(|named| cluster.find_volume(cluster.claim(named.id?).volume))
        .filter(|&volume| !cluster.volume(volume).local && !cluster.volume(volume).driver.is_empty())
        .collect()
}

/// A pod is gone: its node, unless its kubelet is down, lets go of the volumes that no other pod there uses (H2).
pub(in crate::simulator) fn pod_gone(world: &mut World, id: PodId) {
    let Some(node) = world.cluster.pod(id).node.filter(|node| !world.hosts[node.index()].down) else { return };
    for volume in volumes(&world.cluster, id) {
        if !is_used(&world.cluster, volume, node)
            && let Some(nodes) = world.kubelets.attachments.nodes.get_mut(&volume)
        {
            nodes.retain(|other| *other != node);
        }
    }
}

/// How long a pod has to wait for its volumes before it looks again; `None`: all are there.
pub(super) fn wait(world: &mut World, id: PodId, node: NodeId, chooser: &mut dyn Chooser) -> Option<Millis> {
    let mut longest = None;
    for volume in volumes(&world.cluster, id) {
        let there = world.kubelets.attachments.nodes.get(&volume).cloned().unwrap_or_default();
        if there.contains(&node) {
            continue;
        }
        let access = world.cluster.volume(volume).access;
        let single = (access.rwo || access.rwop) && !access.rox && !access.rwx;
        let held = single && there.iter().any(|&other| is_held(world, volume, other));
        let length = if held {
            LOOK_AGAIN
        } else {
            if single {
                world.kubelets.attachments.nodes.remove(&volume);
            }
            world.kubelets.attachments.add(volume, node);
            world.kubelets.attachments.waited.remove(&volume);
            world.length(Delay::Attach, chooser)
        };
        longest = longest.max(Some(length));
    }
    longest
}

/// Whether a node still has a volume: a pod there uses it until its containers have ended (H2), and a kubelet that is down has
/// not unmounted it (H3), until it is taken by force (H5).
fn is_held(world: &mut World, volume: VolumeId, node: NodeId) -> bool {
    let cluster = &world.cluster;
    if cluster.node(node).gone {
        return false;
    }
    let used = is_used(cluster, volume, node);
    if used || !world.hosts[node.index()].down {
        return used;
    }
    let now = world.now;
    let since = *world.kubelets.attachments.waited.entry(volume).or_insert(now);
    world.cluster.node(node).ready == Readiness::Ready || now - since < FORCE_AFTER
}

/// Whether a pod of a node has a volume.
fn is_used(cluster: &Cluster, volume: VolumeId, node: NodeId) -> bool {
    cluster.pods_of_node(node).iter().any(|&pod| {
        let object = cluster.pod(pod);
        !object.gone && !object.is_terminal() && super::was_admitted(object) && volumes(cluster, pod).contains(&volume)
    })
}
