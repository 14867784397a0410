//! Why the engine waits or stops. Every reason has a stable code, evidence, a time allowance where it has one, and the way out.

use crate::cluster::{BudgetId, Cluster, Name, NodeId, PodId, ServiceId, Time, Version, WorkloadId};

/// Something that is being waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// What for.
    pub reason: Reason,
    /// When the engine should look again even if nothing changes; `None`: only a change can help.
    pub until: Option<Time>,
    /// When the allowance for this wait is spent; `None`: no limit of its own.
    pub deadline: Option<Time>,
}

/// Why the engine does not go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Whether somebody else upgrades this cluster is not known yet.
    LockUnknown,
    /// Another run holds the lock.
    LockHeld {
        /// Who.
        holder: Name,
        /// Since when.
        since: Time,
    },
    /// The backup is being taken.
    BackupRunning,
    /// The backup failed.
    BackupFailed,
    /// The target is not reachable from the version that runs.
    VersionPath {
        /// What runs; `None`: unknown.
        from: Option<Version>,
        /// The target.
        to: Version,
        /// What is wrong.
        problem: Name,
    },
    /// A fact that the decision needs is not known.
    Unknown {
        /// Node concerned.
        node: Option<NodeId>,
        /// Which fact.
        fact: Name,
    },
    /// A node is not Ready although nobody touches it.
    NodeNotReady(NodeId),
    /// Pods without a controller stand on the node (M14); nothing of the node is evicted.
    Unmanaged(NodeId, Vec<PodId>),
    /// Pods of DaemonSets stand on the node and `ignore_daemonsets` is off.
    DaemonSetPods(NodeId, Vec<PodId>),
    /// Pods of a DaemonSet that does not exist any more.
    OrphanedDaemonSetPods(NodeId, Vec<PodId>),
    /// Pods with emptyDir volumes stand on the node and `delete_emptydir_data` is off.
    EmptyDir(NodeId, Vec<PodId>),
    /// The eviction API refuses for the budget (429).
    Budget {
        /// The pod.
        pod: PodId,
        /// The budget, if it is known which.
        budget: Option<BudgetId>,
        /// The API's answer.
        message: Name,
    },
    /// Two budgets select the pod (500): no eviction will ever pass.
    SeveralBudgets {
        /// The pod.
        pod: PodId,
        /// The API's answer.
        message: Name,
    },
    /// The eviction API answers with another error.
    EvictionError {
        /// The pod.
        pod: PodId,
        /// HTTP code.
        code: u16,
        /// The API's answer.
        message: Name,
    },
    /// The eviction was accepted, the pod object is still there.
    Terminating(PodId),
    /// `serial`: another pod of the node goes first.
    Turn(PodId),
    /// Evicting the pod would take a workload under its floor, and waiting can help.
    Floor {
        /// The pod.
        pod: PodId,
        /// The workload.
        workload: WorkloadId,
        /// Ready pods now.
        ready: u32,
        /// The floor.
        floor: u32,
    },
    /// Evicting the pod would take a Service under its floor, and waiting can help.
    ServiceFloor {
        /// The pod.
        pod: PodId,
        /// The Service.
        service: ServiceId,
        /// Ready endpoints now.
        ready: u32,
        /// The floor.
        floor: u32,
    },
    /// Evicting the pod breaks a floor, waiting cannot help, and the operator has not accepted it.
    NotAccepted {
        /// The pod.
        pod: PodId,
        /// The workload.
        workload: Option<WorkloadId>,
    },
    /// The host works on its upgrade.
    HostBusy(NodeId),
    /// The host's upgrade failed.
    HostFailed(NodeId),
    /// The node is not Ready at the new version yet.
    NodeComingUp(NodeId),
    /// A pod of a network, proxy or storage DaemonSet on the node is not Ready yet (M20).
    NodeServiceNotReady {
        /// The node.
        node: NodeId,
        /// The DaemonSet.
        workload: WorkloadId,
    },
    /// Displaced workloads are not back at strength.
    Settling {
        /// The node whose turn it was.
        node: NodeId,
        /// The workload.
        workload: WorkloadId,
        /// Ready pods now.
        ready: u32,
        /// What it had or should have.
        wanted: u32,
    },
    /// The pause between two nodes.
    Pause,
    /// The drain of the node took longer than allowed.
    DrainTimeout(NodeId),
    /// A wait took longer than allowed.
    TimeSpent(Box<Reason>),
}

/// A reason in words: code, what is waited for, and the objects.
pub trait Describe {
    /// Stable code, `W...` for waits.
    fn code(&self) -> &'static str;
    /// One sentence with names and numbers.
    fn describe(&self, cluster: &Cluster) -> String;
}
