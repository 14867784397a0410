//! Who serves claims: the volume controller, the provisioners of storage classes, the controller of generic ephemeral volumes,
//! and the attach/detach controller as far as it frees room on a node (KUBERNETES.md C.2.3, H).
//!
//! **Simplification:** they take no time. A volume is provisioned, bound or detached in the moment it is asked for, so an
//! attach limit counts no volume whose pod is gone (H-T8 lasts for seconds).

use std::sync::Arc;

use smallvec::SmallVec;

use crate::cluster::{
    Access, Claim, ClaimId, Cluster, Labels, Name, NodeId, NodeTerm, Operator, PersistentVolume, PodId, Requirement,
    StorageClass, Volume, VolumeId,
};
use crate::simulator::scheduler::volume::{Named, claims, ephemeral_claim, find_volume};
use crate::simulator::{Choice, Chooser, World};

const ZONE: &str = "topology.kubernetes.io/zone";

/// What is remembered between events.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// Claims that were seen: those of the input are left as they are, since whoever should have served them did not.
    seen: usize,
}

impl Memory {
    pub(super) fn new(cluster: &Cluster) -> Memory {
        Memory { seen: cluster.claims().len() }
    }
}

/// The class has a provisioner that makes volumes.
pub fn is_dynamic(class: &StorageClass) -> bool {
    !class.provisioner.is_empty() && class.provisioner != "kubernetes.io/no-provisioner"
}

/// Binds a claim and a volume to each other.
pub fn bind(cluster: &mut Cluster, claim: ClaimId, volume: VolumeId) {
    let (namespace, name) = (cluster.claim(claim).namespace, cluster.claim(claim).name);
    let volume_name = cluster.volume(volume).name;
    cluster.update_volume(volume, |volume| {
        volume.claim = Some((namespace, name));
        volume.phase = Name::new("Bound");
    });
    cluster.update_claim(claim, |claim| {
        claim.volume = volume_name;
        claim.bound = true;
    });
}

/// A provisioner makes a volume for a claim: where the node is, or, for a claim that does not wait for one, anywhere.
pub fn provision(cluster: &mut Cluster, claim: ClaimId, node: Option<NodeId>) {
    let wanted = cluster.claim(claim);
    let Some(class) = wanted.class.and_then(|class| cluster.catalog.storage_classes.get(&class)) else { return };
    let name = Name::new(&format!("pvc-{}-{}", wanted.namespace, wanted.name));
    let volume = PersistentVolume {
        name,
        node_affinity: node.and_then(|node| topology(cluster, class, node)).map(|term| vec![term]),
        labels: Labels::default(),
        class: class.name,
        access: wanted.access,
        block: wanted.block,
        bytes: wanted.bytes,
        claim: None,
        phase: Name::new("Available"),
        driver: class.provisioner,
        handle: name,
        local: false,
        deleting: false,
        gone: false,
    };
    let volume = cluster.add_volume(volume);
    if let Some(node) = node {
        let node = cluster.node(node).name();
        cluster.update_claim(claim, |claim| claim.selected_node = node);
    }
    bind(cluster, claim, volume);
}

/// Which nodes reach a volume that is made for a node: those that agree with it in the labels that the driver names on its
/// CSINode, or else in those that other volumes of the class require, or else in the zone. `None`: all.
fn topology(cluster: &Cluster, class: &StorageClass, node: NodeId) -> Option<NodeTerm> {
    let info = &cluster.node(node).info;
    let told = info.volume_topology.iter().find(|entry| entry.0 == class.provisioner).map(|entry| entry.1.clone());
    let keys = told.or_else(|| keys_of_others(cluster, class)).unwrap_or_else(|| vec![Name::new(ZONE)]);
    let expressions: Vec<Requirement> = keys
        .into_iter()
        .filter_map(|key| Some(Requirement { key, operator: Operator::In(vec![info.labels.get(key)?]) }))
        .collect();
    (!expressions.is_empty()).then_some(NodeTerm { expressions, fields: Vec::new() })
}

fn keys_of_others(cluster: &Cluster, class: &StorageClass) -> Option<Vec<Name>> {
    let mut others = cluster.volumes().map(|(_, volume)| volume);
    let other = others.find(|volume| volume.class == class.name && !volume.driver.is_empty() && !volume.gone)?;
    let terms = other.node_affinity.iter().flatten();
    let mut keys: Vec<Name> = terms.flat_map(|term| &term.expressions).map(|requirement| requirement.key).collect();
    keys.sort();
    keys.dedup();
    Some(keys)
}

/// A pod object appeared: the claims of its generic ephemeral volumes are made, and claims that do not wait for a consumer get
/// a volume.
pub(super) fn pod_created(world: &mut World, pod: PodId, chooser: &mut dyn Chooser) {
    for claim in ephemeral_claims(&world.cluster, pod) {
        if world.cluster.find_claim(claim.namespace, claim.name).is_none() {
            world.cluster.add_claim(claim);
        }
    }
    let all = world.cluster.claims().len();
    let seen = std::mem::replace(&mut world.controllers.persistent_volume.seen, all);
    for claim in (seen..all).map(|index| ClaimId(index as u32)) {
        serve(&mut world.cluster, claim, chooser);
    }
    if seen < all {
        world.scheduler.storage_changed(&world.cluster, world.now);
    }
}

/// Serves a claim that does not wait for a consumer.
fn serve(cluster: &mut Cluster, id: ClaimId, chooser: &mut dyn Chooser) {
    let claim = cluster.claim(id);
    let class = claim.class.and_then(|class| cluster.catalog.storage_classes.get(&class));
    if claim.bound || !claim.volume.is_empty() || class.is_some_and(|class| class.waits_for_consumer) {
        return;
    }
    if let Some(volume) = find_volume(cluster, id) {
        bind(cluster, id, volume);
    } else if let Some(class) = class.filter(|class| is_dynamic(class)) {
        // The driver takes any topology that the class allows.
        let allowed = |node: NodeId| {
            let labels = &cluster.node(node).info.labels;
            class.allowed_topologies.is_empty()
                || class.allowed_topologies.iter().any(|term| term.matches(labels, Name::EMPTY))
        };
        let mut places: Vec<(NodeTerm, NodeId)> = Vec::new();
        for (node, _) in cluster.nodes().filter(|(id, node)| !node.gone && allowed(*id)) {
            if let Some(term) = topology(cluster, class, node)
                && places.iter().all(|place| place.0 != term)
            {
                places.push((term, node));
            }
        }
        let place = match places.len() {
            0 => None,
            number => Some(places[chooser.pick(Choice::ControllerTie, number)].1),
        };
        provision(cluster, id, place);
        cluster.update_claim(id, |claim| claim.selected_node = Name::EMPTY);
    }
}

fn ephemeral_claims(cluster: &Cluster, pod: PodId) -> Vec<Claim> {
    let spec = cluster.spec(pod);
    let name_of_pod = cluster.pod(pod).name;
    let default = || cluster.catalog.storage_classes.values().find(|class| class.default).map(|class| class.name);
    let claim = |volume: &Volume| {
        let Volume::Ephemeral { name, class, bytes } = volume else { return None };
        Some(Claim {
            namespace: spec.namespace,
            name: ephemeral_claim(name_of_pod, *name),
            volume: Name::EMPTY,
            bound: false,
            lost: false,
            class: if class.is_empty() { default() } else { Some(*class) },
            access: Access { rwo: true, ..Access::default() },
            block: false,
            bytes: *bytes,
            selected_node: Name::EMPTY,
            selector: None,
            deleting: false,
            owner: Some((Name::new("Pod"), name_of_pod)),
            gone: false,
        })
    };
    spec.volumes.iter().filter_map(claim).collect()
}

/// A pod object is gone: its ephemeral claims go with it, and its volumes are detached from the node. A volume that another
/// pod of the node uses too is counted by that pod.
pub(super) fn pod_gone(world: &mut World, pod: PodId) {
    let cluster = &mut world.cluster;
    let name = cluster.pod(pod).name;
    let node = cluster.pod(pod).node.map(|node| cluster.node(node).name());
    let named: SmallVec<[Named; 4]> = claims(cluster, pod).collect();
    for named in named {
        let Some(id) = named.id else { continue };
        let volume = cluster.claim(id).volume;
        let attached = |there: &Vec<Name>| there.contains(&volume);
        if let Some(node) = node.filter(|node| cluster.attached.get(node).is_some_and(attached))
            && let Some(there) = Arc::make_mut(&mut cluster.attached).get_mut(&node)
        {
            there.retain(|name| *name != volume);
        }
        if named.ephemeral && named.is_owned_by(cluster.claim(id), name) {
            cluster.update_claim(id, |claim| claim.gone = true);
            if let Some(volume) = cluster.find_volume(volume) {
                cluster.update_volume(volume, |volume| volume.gone = true);
            }
        }
    }
}
