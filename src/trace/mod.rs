//! One event vocabulary for simulated and real runs. Events carry ids; a [`Record`] is written as a [`Line`] of JSON with names.

mod line;
mod picture;

use crate::cluster::{
    BudgetId, DisruptionReason, NodeId, NodeOutcome, PodId, Readiness, ServiceId, Time, Version, WorkloadId,
};
use crate::upgrade::Action;

pub use line::{Header, Line, ReadError, read};

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The engine carried an action out (for evictions see also `Evict`).
    Acted(Action),
    /// An answer of the eviction API, or of a plain delete (code 200).
    Evict {
        /// The pod.
        pod: PodId,
        /// HTTP code.
        code: u16,
        /// Text of the answer, empty on success.
        message: crate::cluster::Name,
    },
    /// A pod object appeared.
    PodCreated(PodId),
    /// The pod got its node.
    PodBound(PodId, NodeId),
    /// The scheduler found no node.
    PodUnschedulable(PodId, crate::cluster::Name),
    /// The scheduler nominated a node (or took the nomination back).
    PodNominated(PodId, Option<NodeId>),
    /// Phase Running.
    PodRunning(PodId),
    /// Phase Succeeded.
    PodSucceeded(PodId),
    /// Phase Failed.
    PodFailed(PodId),
    /// Condition Ready became True.
    PodReady(PodId),
    /// Condition Ready became False.
    PodNotReady(PodId),
    /// Containers of a pod were restarted in place.
    PodRestarted(PodId),
    /// Condition DisruptionTarget was set.
    PodDisruptionTarget(PodId, DisruptionReason),
    /// deletionTimestamp appeared.
    PodDeleting(PodId),
    /// The containers of a pod being deleted have ended. `cut_short`: they were killed before their grace was over.
    PodStopped {
        /// The pod.
        pod: PodId,
        /// Killed although grace was left (the host went away).
        cut_short: bool,
    },
    /// The object is gone.
    PodGone(PodId),
    /// A pod of a Service ended before every proxy had dropped it: requests were at risk for so long (KUBERNETES.md E.10).
    RequestsAtRisk {
        /// The Service.
        service: ServiceId,
        /// The pod.
        pod: PodId,
        /// How long, in milliseconds.
        millis: i64,
    },
    /// `spec.unschedulable` changed.
    NodeSchedulable(NodeId, bool),
    /// Condition Ready changed.
    NodeReady(NodeId, Readiness),
    /// Taints changed.
    NodeTaints(NodeId),
    /// The kubelet reports a version.
    NodeVersion(NodeId, Version),
    /// The control plane's components on this node run a version.
    ControlPlaneVersion(NodeId, Version),
    /// A Node object appeared.
    NodeCreated(NodeId),
    /// A Node object is gone.
    NodeGone(NodeId),
    /// Routing to the node stopped or resumed.
    NodeRouted(NodeId, bool),
    /// The host's upgrade job started.
    HostStarted(NodeId),
    /// The host's upgrade job ended.
    HostEnded(NodeId, bool),
    /// The run ended for a node.
    NodeEnded(NodeId, NodeOutcome),
    /// Status of a budget was written.
    BudgetStatus(BudgetId),
    /// A budget is gone.
    BudgetGone(BudgetId),
    /// Endpoints of a Service changed.
    Endpoints {
        /// The Service.
        service: ServiceId,
        /// Ready endpoints.
        ready: u32,
        /// Serving ones, terminating ones that still serve included.
        serving: u32,
        /// Terminating ones.
        terminating: u32,
        /// All.
        total: u32,
    },
    /// `spec.replicas` of a workload changed.
    Scaled(WorkloadId, i32),
    /// Status of a Job changed.
    JobStatus(WorkloadId),
    /// A workload object is gone.
    WorkloadGone(WorkloadId),
    /// The lock changed hands.
    Lock,
    /// The backup's state changed.
    Backup,
    /// The run is over.
    RunEnded {
        /// True: done; false: stopped.
        done: bool,
    },
    /// The engine was killed and started again.
    EngineRestarted,
    /// Somebody else did something (scenario action, fault).
    Disturbance(crate::cluster::Name),
}

/// An event with its time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// When.
    pub at: Time,
    /// What.
    pub event: Event,
}
