//! Claims, volumes, storage classes, and what CSI drivers say of nodes.

use std::sync::Arc;

use super::affinity::NodeSelector;
use super::wire::{Amounts, CheckedSelector, Meta, Quantity, object};
use crate::cluster::{
    Access, Claim, Cluster, Name, NodeTerm, Operator, PersistentVolume, Requirement, StorageCapacity, StorageClass,
};

object! {
    /// PersistentVolumeClaim.
    struct RawClaim {
        metadata: Meta,
        spec: ClaimSpec,
        status: PhaseStatus,
    }

    /// `spec` of a claim or claim template.
    struct ClaimSpec {
        access_modes: Vec<Name>,
        storage_class_name: Option<Name>,
        volume_mode: Name,
        volume_name: Name,
        resources: ClaimResources,
        selector: Option<CheckedSelector>,
    }

    /// `spec.resources` of a claim.
    struct ClaimResources {
        requests: Amounts,
    }

    /// A status with a phase.
    struct PhaseStatus {
        phase: Name,
    }

    /// PersistentVolume.
    struct RawPersistentVolume {
        metadata: Meta,
        spec: PersistentVolumeSpec,
        status: PhaseStatus,
    }

    /// `spec` of a volume.
    struct PersistentVolumeSpec {
        access_modes: Vec<Name>,
        capacity: Amounts,
        claim_ref: Option<ClaimReference>,
        csi: Option<CsiSource>,
        local: Option<super::wire::Present>,
        host_path: Option<super::wire::Present>,
        node_affinity: VolumeNodeAffinity,
        storage_class_name: Name,
        volume_mode: Name,
    }

    /// `claimRef`.
    struct ClaimReference {
        namespace: Name,
        name: Name,
    }

    /// `csi` of a volume.
    struct CsiSource {
        driver: Name,
        volume_handle: Name,
    }

    /// `nodeAffinity` of a volume.
    struct VolumeNodeAffinity {
        required: Option<NodeSelector>,
    }

    /// StorageClass.
    struct RawStorageClass {
        metadata: Meta,
        provisioner: Name,
        volume_binding_mode: Name,
        allowed_topologies: Vec<TopologyTerm>,
    }

    /// An alternative of `allowedTopologies`.
    struct TopologyTerm {
        match_label_expressions: Vec<TopologyExpression>,
    }

    /// A requirement of `allowedTopologies`.
    struct TopologyExpression {
        key: Name,
        values: Vec<Name>,
    }

    /// CSIStorageCapacity.
    struct RawStorageCapacity {
        metadata: Meta,
        storage_class_name: Name,
        node_topology: Option<CheckedSelector>,
        capacity: Option<Quantity>,
        maximum_volume_size: Option<Quantity>,
    }

    /// CSIDriver.
    struct RawCsiDriver {
        metadata: Meta,
        spec: CsiDriverSpec,
    }

    /// `spec` of a CSIDriver.
    struct CsiDriverSpec {
        storage_capacity: bool,
        prevent_pod_scheduling_if_missing: bool,
    }

    /// VolumeAttachment.
    struct RawVolumeAttachment {
        metadata: Meta,
        spec: VolumeAttachmentSpec,
    }

    /// `spec` of a VolumeAttachment.
    struct VolumeAttachmentSpec {
        node_name: Name,
        source: AttachmentSource,
    }

    /// `spec.source` of a VolumeAttachment.
    struct AttachmentSource {
        persistent_volume_name: Name,
    }

    /// CSINode.
    struct RawCsiNode {
        metadata: Meta,
        spec: CsiNodeSpec,
    }

    /// `spec` of a CSINode.
    struct CsiNodeSpec {
        drivers: Vec<CsiNodeDriver>,
    }

    /// A driver on a node.
    struct CsiNodeDriver {
        name: Name,
        allocatable: CsiAllocatable,
        topology_keys: Vec<Name>,
    }

    /// `allocatable` of a driver on a node.
    struct CsiAllocatable {
        count: Option<i64>,
    }
}

/// Access modes from their names.
pub(super) fn access(modes: &[Name]) -> Access {
    let has = |mode: &str| modes.iter().any(|found| *found == mode);
    Access {
        rwo: has("ReadWriteOnce"),
        rox: has("ReadOnlyMany"),
        rwx: has("ReadWriteMany"),
        rwop: has("ReadWriteOncePod"),
    }
}

fn storage(amounts: &Amounts) -> i64 {
    amounts.get(&Name::new("storage")).map_or(0, |quantity| quantity.whole)
}

impl ClaimSpec {
    /// Bytes asked for.
    pub(super) fn bytes(&self) -> i64 {
        storage(&self.resources.requests)
    }
}

/// Adds a claim, or brings one up to date.
pub(super) fn claim(cluster: &mut Cluster, raw: &RawClaim) {
    let annotations = &raw.metadata.annotations;
    let spec = &raw.spec;
    let controller = raw.metadata.controller();
    let claim = Claim {
        namespace: raw.metadata.namespace,
        name: raw.metadata.name,
        volume: spec.volume_name,
        bound: raw.status.phase == "Bound" || annotations.get("pv.kubernetes.io/bind-completed").is_some(),
        lost: raw.status.phase == "Lost",
        class: annotations.get("volume.beta.kubernetes.io/storage-class").or(spec.storage_class_name),
        access: access(&spec.access_modes),
        block: spec.volume_mode == "Block",
        bytes: spec.bytes(),
        selected_node: annotations.get("volume.kubernetes.io/selected-node").unwrap_or_default(),
        selector: spec.selector.clone().map(|selector| selector.0),
        deleting: raw.metadata.deletion_timestamp.is_some(),
        owner: controller.map(|owner| (owner.kind, owner.name)),
        gone: false,
    };
    match cluster.find_claim(claim.namespace, claim.name) {
        Some(id) => cluster.update_claim(id, |known| *known = claim),
        None => {
            cluster.add_claim(claim);
        }
    }
}

/// Adds a volume, or brings one up to date.
pub(super) fn volume(cluster: &mut Cluster, raw: &RawPersistentVolume) {
    let spec = &raw.spec;
    let csi = spec.csi.clone().unwrap_or_default();
    let annotated = raw.metadata.annotations.get("volume.beta.kubernetes.io/storage-class");
    let volume = PersistentVolume {
        name: raw.metadata.name,
        node_affinity: spec.node_affinity.required.as_ref().map(NodeSelector::terms),
        labels: raw.metadata.labels.labels(),
        class: annotated.unwrap_or(spec.storage_class_name),
        access: access(&spec.access_modes),
        block: spec.volume_mode == "Block",
        bytes: storage(&spec.capacity),
        claim: spec.claim_ref.as_ref().map(|claim| (claim.namespace, claim.name)),
        phase: raw.status.phase,
        driver: csi.driver,
        handle: csi.volume_handle,
        local: spec.local.is_some() || spec.host_path.is_some(),
        deleting: raw.metadata.deletion_timestamp.is_some(),
        gone: false,
    };
    match cluster.find_volume(volume.name) {
        Some(id) => cluster.update_volume(id, |known| *known = volume),
        None => {
            cluster.add_volume(volume);
        }
    }
}

/// Notes a volume as attached to a node.
pub(super) fn attachment(cluster: &mut Cluster, raw: &RawVolumeAttachment) {
    let volume = raw.spec.source.persistent_volume_name;
    let there = Arc::make_mut(&mut cluster.attached).entry(raw.spec.node_name).or_default();
    if !volume.is_empty() && !there.contains(&volume) {
        there.push(volume);
    }
}

impl RawStorageClass {
    pub(super) fn read(&self) -> StorageClass {
        let annotations = &self.metadata.annotations;
        let default =
            ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
                .iter()
                .any(|key| annotations.get(key).is_some_and(|value| value == "true"));
        let term = |term: &TopologyTerm| NodeTerm {
            expressions: term
                .match_label_expressions
                .iter()
                .map(|entry| Requirement { key: entry.key, operator: Operator::In(entry.values.clone()) })
                .collect(),
            fields: Vec::new(),
        };
        StorageClass {
            name: self.metadata.name,
            provisioner: self.provisioner,
            waits_for_consumer: self.volume_binding_mode == "WaitForFirstConsumer",
            allowed_topologies: self.allowed_topologies.iter().map(term).collect(),
            default,
        }
    }
}

impl RawStorageCapacity {
    pub(super) fn read(&self) -> StorageCapacity {
        StorageCapacity {
            class: self.storage_class_name,
            topology: self.node_topology.clone().map(|selector| selector.0),
            capacity: self.capacity.map(|quantity| quantity.whole),
            maximum: self.maximum_volume_size.map(|quantity| quantity.whole),
        }
    }
}

impl RawCsiNode {
    /// The node's drivers: attach limits, and the labels that name a driver's topology.
    pub(super) fn drivers(&self) -> NodeDrivers {
        let drivers = &self.spec.drivers;
        NodeDrivers {
            limits: drivers.iter().map(|one| (one.name, one.allocatable.count.unwrap_or(i64::MAX))).collect(),
            topology: drivers.iter().map(|one| (one.name, one.topology_keys.clone())).collect(),
        }
    }
}

/// What a CSINode says of its node.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeDrivers {
    /// Attach limits by driver; `i64::MAX` where a driver gives none.
    pub(super) limits: Vec<(Name, i64)>,
    /// Topology labels by driver.
    pub(super) topology: Vec<(Name, Vec<Name>)>,
}
