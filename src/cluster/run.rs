//! What stands in the cluster about the run itself (a Lease and a ConfigMap).

use super::{Name, NodeId, PodId, Time, Version, WorkloadId};

/// Who holds the cluster's upgrade lock (M11).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Lock {
    /// Not asked yet.
    #[default]
    Unknown,
    /// Nobody.
    Free,
    /// This run.
    Ours,
    /// Somebody else.
    Other {
        /// The holder.
        holder: Name,
        /// Since when.
        since: Time,
    },
}

/// How the backup stands (M7, M8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Backup {
    /// None of this run.
    #[default]
    Absent,
    /// Being taken.
    Running {
        /// Since when.
        since: Time,
    },
    /// Taken and verified.
    Verified,
    /// Failed.
    Failed,
}

/// An eviction that was refused: remembered so that a retry keeps its distance (KUBERNETES.md A13, A14, F.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Refusal {
    /// When the answer came.
    pub at: Time,
    /// HTTP code.
    pub code: u16,
    /// `Retry-After` in seconds, 0 when absent.
    pub retry_after_seconds: u32,
    /// The answer's text.
    pub message: Name,
    /// How many times this pod was refused.
    pub count: u32,
}

/// A workload that had pods on a node when its drain began: what must be back before the node is done with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Standing {
    /// The node.
    pub node: NodeId,
    /// The topmost workload of the pods.
    pub workload: WorkloadId,
    /// Its ready pods then, in the whole cluster.
    pub ready: u32,
}

/// Record of the run.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Run {
    /// The lock.
    pub lock: Lock,
    /// The backup.
    pub backup: Backup,
    /// Last refusal per pod that still stands, sorted by pod.
    pub refusals: Vec<(PodId, Refusal)>,
    /// The run was stopped for good by the engine, and why it stopped stands in the journal.
    pub stopped: bool,
    /// Where the control plane stands on its path, minor by minor. `None`: not started.
    pub hop: Option<Version>,
    /// When the first node was taken in hand.
    pub started: Option<Time>,
    /// When the run last ended with a node.
    pub last_ended: Option<Time>,
    /// What stood on the nodes that are being drained, sorted; written at `BeginDrain`, dropped at `End`.
    pub standing: Vec<Standing>,
}

impl Run {
    /// What stood on a node when its drain began.
    pub fn standing_on(&self, node: NodeId) -> &[Standing] {
        let first = self.standing.partition_point(|entry| entry.node < node);
        let length = self.standing[first..].partition_point(|entry| entry.node == node);
        &self.standing[first..first + length]
    }

    /// The refusal that stands for a pod.
    pub fn refusal(&self, pod: PodId) -> Option<&Refusal> {
        self.refusals.binary_search_by_key(&pod, |entry| entry.0).ok().map(|position| &self.refusals[position].1)
    }
}
