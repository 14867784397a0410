//! Nodes.

use std::sync::Arc;

use super::affinity::CheckedTaint;
use super::amounts::resources;
use super::storage::NodeDrivers;
use super::wire::{Amounts, Condition, Meta, condition, object};
use crate::cluster::{Cluster, HostJob, Marks, Name, Node, NodeId, NodeInfo, Readiness, Routing, Time, Version};

object! {
    /// Node.
    struct RawNode {
        metadata: Meta,
        spec: NodeSpec,
        status: NodeStatus,
    }

    /// `spec` of a node.
    struct NodeSpec {
        unschedulable: bool,
        taints: Vec<CheckedTaint>,
    }

    /// `status` of a node.
    struct NodeStatus {
        allocatable: Option<Amounts>,
        capacity: Amounts,
        conditions: Vec<Condition>,
        addresses: Vec<Address>,
        images: Vec<ContainerImage>,
        node_info: SystemInfo,
    }

    /// An address.
    struct Address {
        #[serde(rename = "type")]
        kind: Name,
        address: Name,
    }

    /// An image that the node has.
    struct ContainerImage {
        names: Vec<Name>,
        size_bytes: i64,
    }

    /// `nodeInfo`.
    struct SystemInfo {
        kubelet_version: Option<Version>,
        os_image: Name,
        kernel_version: Name,
        container_runtime_version: Name,
    }
}

const CONTROL_PLANE_ROLES: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

impl RawNode {
    /// The latest time that the node's status knows of.
    pub(super) fn latest(&self) -> Option<Time> {
        let conditions = self.status.conditions.iter();
        conditions
            .flat_map(|one| [one.last_heartbeat_time, one.last_transition_time])
            .flatten()
            .map(|stamp| stamp.0)
            .max()
    }

    /// The Ready condition is there.
    pub(super) fn says_whether_ready(&self) -> bool {
        condition(&self.status.conditions, "Ready").is_some()
    }

    /// The node, with what its CSINode says.
    fn read(&self, drivers: NodeDrivers) -> Node {
        let NodeStatus { conditions, node_info, .. } = &self.status;
        let labels = self.metadata.labels.labels();
        let address = self.status.addresses.iter().find(|address| address.kind == "InternalIP");
        let mut images: Vec<(Name, i64)> = self
            .status
            .images
            .iter()
            .flat_map(|image| image.names.iter().map(|&name| (name, image.size_bytes)))
            .collect();
        images.sort();
        images.dedup_by_key(|image| image.0);
        let has_label = |key: &str| labels.get(Name::new(key)).is_some();
        let info = NodeInfo {
            name: self.metadata.name,
            images,
            address: address.map(|address| address.address).unwrap_or_default(),
            os_image: node_info.os_image,
            kernel: node_info.kernel_version,
            runtime: node_info.container_runtime_version,
            volume_limits: drivers.limits,
            volume_topology: drivers.topology,
            control_plane: CONTROL_PLANE_ROLES.iter().any(|role| has_label(role)),
            excluded_from_zone_state: has_label("node.kubernetes.io/exclude-disruption"),
            labels,
        };
        let allocatable = self.status.allocatable.as_ref().unwrap_or(&self.status.capacity);
        let ready = condition(conditions, "Ready");
        let pressure = ["MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"];
        Node {
            info: Arc::new(info),
            allocatable: resources(allocatable),
            allocatable_pods: allocatable.get(&Name::new("pods")).map_or(0, |quantity| quantity.whole),
            taints: self.spec.taints.iter().map(|taint| taint.0).collect(),
            unschedulable: self.spec.unschedulable,
            ready: match ready.map(|ready| &*ready.status) {
                None | Some("True") => Readiness::Ready,
                Some("False") => Readiness::NotReady,
                Some(_) => Readiness::Unknown,
            },
            ready_since: ready.and_then(|ready| ready.last_transition_time).map_or(Time(0), |stamp| stamp.0),
            pressure: pressure
                .into_iter()
                .filter(|kind| condition(conditions, kind).is_some_and(|condition| condition.status == "True"))
                .map(Name::new)
                .collect(),
            kubelet: node_info.kubelet_version,
            control_plane: None,
            api_since: None,
            routing: Routing::default(),
            job: HostJob::default(),
            marks: Marks::default(),
            gone: false,
        }
    }
}

/// Adds a node, or brings one up to date: what the run remembers on it stays, and so does what its CSINode says.
pub(super) fn node(cluster: &mut Cluster, raw: &RawNode, known: Option<NodeId>) -> NodeId {
    match known {
        None => cluster.add_node(raw.read(NodeDrivers::default())),
        Some(id) => {
            let info = &cluster.node(id).info;
            let drivers = NodeDrivers { limits: info.volume_limits.clone(), topology: info.volume_topology.clone() };
            cluster.update_node(id, |node| {
                let (control_plane, api_since) = (node.control_plane, node.api_since);
                let (routing, job, marks) = (node.routing, node.job, node.marks);
                *node = Node { control_plane, api_since, routing, job, marks, ..raw.read(drivers) };
            });
            id
        }
    }
}

/// Sets what the CSINode of a node says.
pub(super) fn set_drivers(cluster: &mut Cluster, id: NodeId, drivers: NodeDrivers) {
    cluster.update_node(id, |node| {
        let info = Arc::make_mut(&mut node.info);
        (info.volume_limits, info.volume_topology) = (drivers.limits, drivers.topology);
    });
}

/// A node that objects name and that is not in the input. `gone`: its object is known not to be there.
pub(super) fn unknown_node(cluster: &mut Cluster, name: Name, gone: bool) -> NodeId {
    let raw = RawNode { metadata: Meta { name, ..Meta::default() }, ..RawNode::default() };
    cluster.add_node(Node { gone, ..raw.read(NodeDrivers::default()) })
}
