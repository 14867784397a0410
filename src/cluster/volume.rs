//! Storage: claims, volumes, classes.

use super::{Name, NodeTerm};

/// Access modes of a claim or volume.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Access {
    /// ReadWriteOnce.
    pub rwo: bool,
    /// ReadOnlyMany.
    pub rox: bool,
    /// ReadWriteMany.
    pub rwx: bool,
    /// ReadWriteOncePod.
    pub rwop: bool,
}

/// A PersistentVolumeClaim.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Claim {
    /// Namespace.
    pub namespace: Name,
    /// Name.
    pub name: Name,
    /// Bound volume's name (`spec.volumeName`), empty when unbound.
    pub volume: Name,
    /// `status.phase` is Bound (or annotated as fully bound).
    pub bound: bool,
    /// `status.phase` is Lost.
    pub lost: bool,
    /// StorageClass: `None` when the field is absent, empty for "no class".
    pub class: Option<Name>,
    /// Access modes asked for.
    pub access: Access,
    /// `volumeMode: Block`.
    pub block: bool,
    /// Bytes asked for.
    pub bytes: i64,
    /// `volume.kubernetes.io/selected-node`, empty when none.
    pub selected_node: Name,
    /// Selector on volumes.
    pub selector: Option<super::Selector>,
    /// Being deleted.
    pub deleting: bool,
    /// Controller owner: (kind, name), for generic ephemeral volumes the pod.
    pub owner: Option<(Name, Name)>,
    /// The object is gone.
    pub gone: bool,
}

/// A PersistentVolume.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PersistentVolume {
    /// Name.
    pub name: Name,
    /// `spec.nodeAffinity.required`: alternatives; `None` for any node.
    pub node_affinity: Option<Vec<NodeTerm>>,
    /// Labels that matter: zone and region ones, and those that claims select by.
    pub labels: super::Labels,
    /// StorageClass, empty for none.
    pub class: Name,
    /// Access modes offered.
    pub access: Access,
    /// `volumeMode: Block`.
    pub block: bool,
    /// Bytes.
    pub bytes: i64,
    /// Claim it is bound to or reserved for: (namespace, name).
    pub claim: Option<(Name, Name)>,
    /// `status.phase` (Available, Bound, Released, Failed, Pending).
    pub phase: Name,
    /// CSI driver, empty for other kinds.
    pub driver: Name,
    /// CSI handle, for counting attached volumes.
    pub handle: Name,
    /// `local` or `hostPath`: data on one node's disk.
    pub local: bool,
    /// Being deleted.
    pub deleting: bool,
    /// The object is gone.
    pub gone: bool,
}

/// A StorageClass.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct StorageClass {
    /// Name.
    pub name: Name,
    /// Provisioner.
    pub provisioner: Name,
    /// `volumeBindingMode: WaitForFirstConsumer`.
    pub waits_for_consumer: bool,
    /// `allowedTopologies`: alternatives.
    pub allowed_topologies: Vec<NodeTerm>,
    /// Annotated as default class.
    pub default: bool,
}

/// A CSIStorageCapacity.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct StorageCapacity {
    /// StorageClass.
    pub class: Name,
    /// Nodes it speaks of; `None`: none.
    pub topology: Option<super::Selector>,
    /// `capacity` in bytes, if given.
    pub capacity: Option<i64>,
    /// `maximumVolumeSize` in bytes, if given.
    pub maximum: Option<i64>,
}
