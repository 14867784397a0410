//! Nodes: the API object, what the run has written on it, and the host below it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Labels, Name, Resources, Taint, Time, Version};

/// The part of a node that seldom changes, shared between clones of a cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct NodeInfo {
    /// Name.
    pub name: Name,
    /// Labels.
    pub labels: Labels,
    /// `status.images`: (normalised name, bytes), sorted by name.
    pub images: Vec<(Name, i64)>,
    /// InternalIP, empty when unknown.
    pub address: Name,
    /// `nodeInfo.osImage`.
    pub os_image: Name,
    /// `nodeInfo.kernelVersion`.
    pub kernel: Name,
    /// `nodeInfo.containerRuntimeVersion`.
    pub runtime: Name,
    /// CSI drivers of the node (`CSINode`) with their attach limits; `i64::MAX` where a driver gives none.
    pub volume_limits: Vec<(Name, i64)>,
    /// Labels that name a CSI driver's topology (`CSINode`, `topologyKeys`), by driver.
    pub volume_topology: Vec<(Name, Vec<Name>)>,
    /// Carries a control-plane role label (`node-role.kubernetes.io/control-plane` or `/master`), or runs a mirror pod of
    /// kube-apiserver.
    pub control_plane: bool,
    /// Labelled `node.kubernetes.io/exclude-disruption` (KUBERNETES.md D19).
    pub excluded_from_zone_state: bool,
}

/// The Ready condition of a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Readiness {
    /// The kubelet says so.
    Ready,
    /// The kubelet says it is not.
    NotReady,
    /// The kubelet has been silent (status Unknown).
    Unknown,
}

/// Whether the API proxy sends requests to a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum Routing {
    /// It does.
    #[default]
    Routed,
    /// The run has begun to stop it: some places may send to the node no more, others still do.
    Stopping,
    /// Routing was stopped for the maintenance.
    Stopped,
}

/// How the supervised upgrade job of a host stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum HostJob {
    /// Not started.
    #[default]
    Absent,
    /// Started, not ended.
    Running {
        /// When it was started.
        since: Time,
    },
    /// Ended well; the kubelet of the new version has been started.
    Succeeded,
    /// Ended with an error.
    Failed,
}

/// How the run ended for a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeOutcome {
    /// Upgraded and back in service.
    Done,
    /// Left as it was, or put back: its drain could not finish.
    Blocked,
}

/// What the run remembers on the node itself (annotations `cmsim.dev/*`), so that any restarted process finds it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Marks {
    /// When the run took the node in hand. `None`: not yet.
    pub started: Option<Time>,
    /// The node was already unschedulable when the run took it: it stays so afterwards (the operator's own cordon).
    pub was_cordoned: bool,
    /// Routing to the node was already stopped when the run took it: it stays so afterwards.
    pub was_unrouted: bool,
    /// When the drain began.
    pub drain_started: Option<Time>,
    /// When the drain was given up although pods are left (`on_blocked: continue`).
    pub forced: Option<Time>,
    /// When the host was first touched: from here on there is no simple way back.
    pub host_touched: Option<Time>,
    /// When the node was made schedulable again.
    pub uncordoned: Option<Time>,
    /// How it ended, and when.
    pub outcome: Option<(NodeOutcome, Time)>,
}

/// A node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Node {
    /// What seldom changes.
    pub info: Arc<NodeInfo>,
    /// `status.allocatable` without pods.
    pub allocatable: Resources,
    /// `status.allocatable.pods`.
    pub allocatable_pods: i64,
    /// `spec.taints`.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`: cordoned.
    pub unschedulable: bool,
    /// Condition Ready.
    pub ready: Readiness,
    /// When Ready last changed.
    pub ready_since: Time,
    /// Memory, disk or PID pressure, or no network: the condition types that are True.
    pub pressure: Vec<Name>,
    /// `nodeInfo.kubeletVersion`. `None`: not in the input.
    pub kubelet: Option<Version>,
    /// Version of the control plane's static pods on this node; `None` on workers.
    pub control_plane: Option<Version>,
    /// When the API server of this node became Ready; `None`: there is none, or it is not known.
    pub api_since: Option<Time>,
    /// Whether the API proxy sends to it.
    pub routing: Routing,
    /// The host's upgrade job.
    pub job: HostJob,
    /// What the run remembers.
    pub marks: Marks,
    /// The Node object is gone.
    pub gone: bool,
}

impl Node {
    /// Name.
    pub fn name(&self) -> Name {
        self.info.name
    }

    /// Belongs to the control plane.
    pub fn is_control_plane(&self) -> bool {
        self.info.control_plane
    }
}
