//! What the engine may do. Each action carries its precondition and is checked again where it is carried out, so that a stale
//! or second engine is harmless. Every action is idempotent: doing it twice is doing it once.

use crate::cluster::{NodeId, NodeOutcome, PodId, Version};

/// One thing to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Action {
    /// Take the cluster's upgrade lock.
    TakeLock,
    /// Take a backup, and verify it.
    BackUp,
    /// Record that the run takes this node in hand, and whether it was cordoned before.
    Begin(NodeId),
    /// Stop the API proxy's routing to the node.
    StopRouting(NodeId),
    /// `spec.unschedulable: true`.
    Cordon(NodeId),
    /// Record that the drain begins, and what stands on the node (`Run::standing`).
    BeginDrain(NodeId),
    /// Ask the eviction API. Precondition: this very pod (uid).
    Evict {
        /// The pod.
        pod: PodId,
        /// `gracePeriodSeconds`, `None` for the pod's own.
        grace_seconds: Option<u32>,
    },
    /// Plain DELETE (only with `disable_eviction`). Precondition: this very pod (uid).
    Delete {
        /// The pod.
        pod: PodId,
        /// `gracePeriodSeconds`, `None` for the pod's own.
        grace_seconds: Option<u32>,
    },
    /// Record that the drain was given up with pods left (`on_blocked: continue`).
    ForceOn(NodeId),
    /// Make sure the host's upgrade job to this version has been started. Precondition: no evictable pod on the node
    /// (unless forced), backup verified.
    UpgradeHost {
        /// The node.
        node: NodeId,
        /// The version it gets.
        to: Version,
    },
    /// `spec.unschedulable: false`. Precondition: it was the run that cordoned it.
    Uncordon(NodeId),
    /// Let the API proxy send to the node again.
    ResumeRouting(NodeId),
    /// Record how the run ended for the node.
    End {
        /// The node.
        node: NodeId,
        /// How.
        outcome: NodeOutcome,
    },
    /// Record that the control plane starts its next minor version (`Run::hop`); nodes that are done may be taken
    /// in hand once more.
    NextHop(Version),
    /// Record that the run stops for good.
    Halt,
    /// Give the lock back.
    ReleaseLock,
}

impl Action {
    /// What the action is called in traces and journals.
    pub fn word(&self) -> &'static str {
        match self {
            Action::TakeLock => "take-lock",
            Action::BackUp => "back-up",
            Action::Begin(_) => "begin",
            Action::StopRouting(_) => "stop-routing",
            Action::Cordon(_) => "cordon",
            Action::BeginDrain(_) => "begin-drain",
            Action::Evict { .. } => "evict",
            Action::Delete { .. } => "delete",
            Action::ForceOn(_) => "force-on",
            Action::UpgradeHost { .. } => "upgrade-host",
            Action::Uncordon(_) => "uncordon",
            Action::ResumeRouting(_) => "resume-routing",
            Action::End { .. } => "end",
            Action::NextHop(_) => "next-hop",
            Action::Halt => "halt",
            Action::ReleaseLock => "release-lock",
        }
    }

    /// The node the action concerns, if it concerns one directly.
    pub fn node(&self) -> Option<NodeId> {
        match *self {
            Action::Begin(node)
            | Action::StopRouting(node)
            | Action::Cordon(node)
            | Action::BeginDrain(node)
            | Action::ForceOn(node)
            | Action::UpgradeHost { node, .. }
            | Action::Uncordon(node)
            | Action::ResumeRouting(node)
            | Action::End { node, .. } => Some(node),
            Action::TakeLock
            | Action::BackUp
            | Action::Evict { .. }
            | Action::Delete { .. }
            | Action::NextHop(_)
            | Action::Halt
            | Action::ReleaseLock => None,
        }
    }
}
