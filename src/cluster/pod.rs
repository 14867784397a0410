//! Pods: what a template fixes once and for all ([`PodSpec`]) and what changes during a run ([`Pod`]).

use smallvec::SmallVec;

use super::{Labels, Millis, Name, Node, NodeId, Operator, Requirement, Resources, Selector, SpecId, Time, WorkloadId};

/// Key of the taint that stands for a cordon.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The part of a pod that never changes and that pods of one template share. Kept in `Cluster::specs`, outside the state
/// that is cloned and compared.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct PodSpec {
    /// Namespace of the pod; selectors work inside it.
    pub namespace: Name,
    /// Labels, as the pod carries them.
    pub labels: Labels,
    /// What the scheduler books (KUBERNETES.md C.2.2: containers, init containers, overhead, pod-level resources).
    pub requests: Resources,
    /// CPU (milli) and memory (bytes) with 100m / 200Mi assumed per container without a request (C.3.1).
    pub nonzero_requests: (i64, i64),
    /// The same without pod-level resources, which the Fit scorer takes for the pod to be placed (C.3.1). Equal to
    /// `nonzero_requests` unless `spec.resources` is set.
    pub scored_requests: (i64, i64),
    /// `spec.overhead`, already part of `requests` (VERSIONS.md V24).
    pub overhead: Resources,
    /// Host ports of all containers, host-network defaults included.
    pub host_ports: Vec<HostPort>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `spec.nodeSelector`, all must hold.
    pub node_selector: Vec<(Name, Name)>,
    /// `requiredDuringScheduling...` node affinity: terms are alternatives. `None`: no such field.
    pub node_affinity: Option<Vec<NodeTerm>>,
    /// Preferred node affinity: (weight, term).
    pub node_preferences: Vec<(i32, NodeTerm)>,
    /// Required pod affinity terms.
    pub affinity: Vec<AffinityTerm>,
    /// Preferred pod affinity: (weight, term).
    pub affinity_preferences: Vec<(i32, AffinityTerm)>,
    /// Required pod anti-affinity terms.
    pub anti_affinity: Vec<AffinityTerm>,
    /// Preferred pod anti-affinity: (weight, term).
    pub anti_affinity_preferences: Vec<(i32, AffinityTerm)>,
    /// Tolerations, those that admission adds included.
    pub tolerations: Vec<Toleration>,
    /// Topology spread constraints, `matchLabelKeys` merged into the selectors.
    pub spread: Vec<SpreadConstraint>,
    /// Containers in spec order.
    pub containers: Vec<Container>,
    /// Init containers in spec order.
    pub init_containers: Vec<Container>,
    /// Volumes in spec order.
    pub volumes: Vec<Volume>,
    /// Resolved priority.
    pub priority: i32,
    /// `spec.priorityClassName`, empty when none.
    pub priority_class: Name,
    /// `preemptionPolicy: Never`.
    pub never_preempts: bool,
    /// `spec.nodeName` written in a template: the pod bypasses the scheduler. Empty when none.
    pub node_name: Name,
    /// `spec.schedulerName`; empty means the default scheduler.
    pub scheduler_name: Name,
    /// Some scheduling gate is set (C32).
    pub gated: bool,
    /// `terminationGracePeriodSeconds`.
    pub grace_seconds: u32,
    /// When containers are started again.
    pub restart_policy: RestartPolicy,
    /// `spec.dnsPolicy`; empty means ClusterFirst.
    pub dns_policy: Name,
    /// `spec.runtimeClassName`, empty when none.
    pub runtime_class: Name,
    /// Readiness gates exist: readiness also depends on something outside the kubelet.
    pub readiness_gates: bool,
    /// `spec.resourceClaims` exist (dynamic resource allocation; not modelled).
    pub resource_claims: bool,
    /// Durations fixed by `sim/*` annotations (recordings and scenario files).
    pub timing: Timing,
}

impl PodSpec {
    /// Whether `nodeSelector` and the required node affinity hold for a node (KUBERNETES.md C4, C.2.1).
    pub fn selects(&self, node: &Node) -> bool {
        self.node_selector.iter().all(|&(key, value)| node.info.labels.get(key) == Some(value))
            && self
                .node_affinity
                .as_ref()
                .is_none_or(|terms| terms.iter().any(|term| term.matches(&node.info.labels, node.name())))
    }

    /// Whether the pod tolerates this taint.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|toleration| toleration.tolerates(taint))
    }

    /// Whether the pod tolerates every taint that keeps pods away (C3).
    pub fn tolerates_all(&self, taints: &[Taint]) -> bool {
        let keep_away = |taint: &&Taint| matches!(taint.effect, Effect::NoSchedule | Effect::NoExecute);
        taints.iter().filter(keep_away).all(|taint| self.tolerates(taint))
    }

    /// Whether the pod may go to a cordoned node: it tolerates the taint that stands for the cordon (C1).
    pub fn tolerates_cordon(&self) -> bool {
        self.tolerates(&Taint { key: Name::new(UNSCHEDULABLE), value: Name::EMPTY, effect: Effect::NoSchedule })
    }
}

/// Durations that annotations of a recording or scenario fix for a pod. `None`: taken from history or defaults.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Timing {
    /// `sim/start-seconds`: bound -> Running.
    pub start: Option<Millis>,
    /// `sim/ready-seconds`: Running -> Ready.
    pub ready: Option<Millis>,
    /// `sim/ready-seconds: never`.
    pub never_ready: bool,
    /// `sim/stop-seconds`: deletion -> containers ended.
    pub stop: Option<Millis>,
    /// `sim/stop-seconds: ignore`: uses the whole grace period.
    pub ignores_term: bool,
    /// `sim/run-seconds`: Ready -> ended by itself.
    pub run: Option<Millis>,
    /// `sim/exit-code`: of a pod that ends by itself; default 0.
    pub exit_code: i32,
    /// `sim/stop-exit-code`: of a pod that is stopped; `None` means 143.
    pub stop_exit_code: Option<i32>,
}

/// `spec.restartPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum RestartPolicy {
    /// Restart always (the default).
    #[default]
    Always,
    /// Restart after a failure.
    OnFailure,
    /// Never restart.
    Never,
}

/// One host port. An empty address stands for `0.0.0.0`, which conflicts with every address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct HostPort {
    /// Address, empty for all.
    pub ip: Name,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Name,
    /// Port number.
    pub port: u16,
}

/// One alternative of a node selector: all requirements must hold; a term without any matches nothing.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct NodeTerm {
    /// Requirements on labels.
    pub expressions: Vec<Requirement>,
    /// Requirements on fields; only `metadata.name` exists.
    pub fields: Vec<Requirement>,
}

impl NodeTerm {
    /// Whether a node with these labels and this name satisfies every requirement; without any, none does.
    pub fn matches(&self, labels: &Labels, name: Name) -> bool {
        let field = |requirement: &Requirement| match &requirement.operator {
            Operator::In(names) => names.contains(&name),
            Operator::NotIn(names) => !names.contains(&name),
            Operator::Exists | Operator::DoesNotExist | Operator::Gt(_) | Operator::Lt(_) => false,
        };
        !(self.expressions.is_empty() && self.fields.is_empty())
            && self.expressions.iter().all(|requirement| requirement.matches(labels))
            && self.fields.iter().all(field)
    }
}

/// One term of inter-pod affinity or anti-affinity.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AffinityTerm {
    /// Which pods; `None` matches none. `matchLabelKeys` are merged in.
    pub selector: Option<Selector>,
    /// Namespaces by name. Empty together with no `namespace_selector`: the pod's own.
    pub namespaces: Vec<Name>,
    /// Namespaces by label; an empty selector means all.
    pub namespace_selector: Option<Selector>,
    /// Label of the node that names the domain.
    pub topology_key: Name,
}

/// A toleration. An empty key (with `Exists`) tolerates all taints, an empty effect all effects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Toleration {
    /// Key, empty for all.
    pub key: Name,
    /// `Exists` (true) or `Equal`.
    pub exists: bool,
    /// Value for `Equal`.
    pub value: Name,
    /// Effect, `None` for all.
    pub effect: Option<Effect>,
    /// How long a NoExecute taint is tolerated; `None` for ever.
    pub seconds: Option<i64>,
}

/// What a taint does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Effect {
    /// No new pods.
    NoSchedule,
    /// New pods rather elsewhere.
    PreferNoSchedule,
    /// No new pods, and running ones are deleted.
    NoExecute,
}

/// A taint of a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Taint {
    /// Key.
    pub key: Name,
    /// Value, often empty.
    pub value: Name,
    /// Effect.
    pub effect: Effect,
}

impl Toleration {
    /// Whether the toleration covers the taint (KUBERNETES.md C.2.1).
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|effect| effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && (self.exists || self.value == taint.value)
    }
}

/// A topology spread constraint.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SpreadConstraint {
    /// How uneven the domains may be.
    pub max_skew: i32,
    /// Label of the node that names the domain.
    pub topology_key: Name,
    /// `DoNotSchedule` (true) or `ScheduleAnyway`.
    pub required: bool,
    /// Which pods count; `None` matches none.
    pub selector: Option<Selector>,
    /// `minDomains`, 1 when absent.
    pub min_domains: i32,
    /// `nodeAffinityPolicy: Honor` (the default).
    pub honor_affinity: bool,
    /// `nodeTaintsPolicy: Honor` (default is Ignore).
    pub honor_taints: bool,
}

/// What is kept of a container.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Container {
    /// Name.
    pub name: Name,
    /// Image, normalised (`:latest` added where neither tag nor digest stands).
    pub image: Name,
    /// Its own requests.
    pub requests: Resources,
    /// Readiness probe.
    pub readiness: Option<Probe>,
    /// Liveness probe.
    pub liveness: Option<Probe>,
    /// Startup probe.
    pub startup: Option<Probe>,
    /// `lifecycle.preStop`.
    pub pre_stop: Option<PreStop>,
    /// An init container with `restartPolicy: Always`.
    pub sidecar: bool,
    /// Ports that are declared.
    pub ports: SmallVec<[u16; 2]>,
}

/// A probe's timing (KUBERNETES.md E.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Probe {
    /// `initialDelaySeconds`.
    pub initial_delay_seconds: i32,
    /// `periodSeconds`.
    pub period_seconds: i32,
    /// `successThreshold`.
    pub success_threshold: i32,
    /// `failureThreshold`.
    pub failure_threshold: i32,
    /// An `exec` probe (VERSIONS.md V40).
    pub exec: bool,
}

/// A preStop hook.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PreStop {
    /// `sleep`, or a command that is only a sleep: how long.
    Sleep(Millis),
    /// Anything else: how long it takes is not known.
    Unknown,
}

/// A volume of a pod.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Volume {
    /// A claim by name.
    Claim {
        /// Name of the claim in the pod's namespace.
        name: Name,
        /// Mounted read-only.
        read_only: bool,
    },
    /// A generic ephemeral volume: its claim is named `<pod>-<volume>`.
    Ephemeral {
        /// Name of the volume.
        name: Name,
        /// StorageClass, empty for the default one.
        class: Name,
        /// Bytes asked for.
        bytes: i64,
    },
    /// `emptyDir`, whatever the medium.
    EmptyDir,
    /// `hostPath`.
    HostPath {
        /// Path on the node.
        path: Name,
    },
    /// A disk named in the pod itself (GCE PD, EBS, iSCSI, RBD) that VolumeRestrictions knows.
    InlineDisk {
        /// Kind and identity, for example `gce/disk-1`.
        disk: Name,
        /// Several read-only users may share it.
        read_only: bool,
    },
    /// Inline CSI volume.
    Csi {
        /// Driver.
        driver: Name,
    },
    /// An image as volume.
    Image {
        /// Reference, normalised.
        image: Name,
    },
    /// Nothing that matters for placement: configMap, secret, projected, downwardAPI, nfs...
    Other,
}

/// Who owns a pod (the ownerReference with `controller: true`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Owner {
    /// No controller: nothing brings the pod back (M14).
    None,
    /// A workload of the table. Its kind may be one that the model does not know.
    Workload(WorkloadId),
    /// The reference names an object that is not there.
    Missing {
        /// Kind in the reference.
        kind: Name,
        /// Name in the reference.
        name: Name,
    },
    /// The Node itself: a mirror pod.
    Node,
}

/// `status.phase`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Not all containers started.
    Pending,
    /// At least one container runs.
    Running,
    /// Ended, all exit codes 0.
    Succeeded,
    /// Ended, some exit code not 0, or rejected by the kubelet.
    Failed,
    /// The kubelet cannot say.
    Unknown,
}

/// A pod's `deletionTimestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Deletion {
    /// When the deletion was asked for.
    pub since: Time,
    /// `deletionGracePeriodSeconds`. The timestamp in the API is `since` plus this.
    pub grace_seconds: u32,
}

/// Reason of the `DisruptionTarget` condition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum DisruptionReason {
    /// The eviction API.
    EvictionByEvictionApi,
    /// A pod of higher priority takes the room.
    PreemptionByScheduler,
    /// A NoExecute taint.
    DeletionByTaintManager,
    /// Its node is gone.
    DeletionByPodGc,
    /// The kubelet itself.
    TerminationByKubelet,
}

impl DisruptionReason {
    /// The word in the condition.
    pub fn as_str(self) -> &'static str {
        match self {
            DisruptionReason::EvictionByEvictionApi => "EvictionByEvictionAPI",
            DisruptionReason::PreemptionByScheduler => "PreemptionByScheduler",
            DisruptionReason::DeletionByTaintManager => "DeletionByTaintManager",
            DisruptionReason::DeletionByPodGc => "DeletionByPodGC",
            DisruptionReason::TerminationByKubelet => "TerminationByKubelet",
        }
    }
}

/// A pod object. Fields change only through the methods of [`Cluster`](super::Cluster), which keep the indexes right.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Pod {
    /// Name.
    pub name: Name,
    /// What never changes.
    pub spec: SpecId,
    /// Who brings it back.
    pub owner: Owner,
    /// Index of a StatefulSet pod or an indexed Job's pod.
    pub ordinal: Option<u32>,
    /// The one node a DaemonSet pod is made for (its `metadata.name` affinity).
    pub pinned: Option<NodeId>,
    /// `spec.nodeName`.
    pub node: Option<NodeId>,
    /// `status.phase`.
    pub phase: Phase,
    /// Condition Ready is True.
    pub ready: bool,
    /// When Ready last changed.
    pub ready_since: Time,
    /// `metadata.creationTimestamp`.
    pub created: Time,
    /// `status.startTime`: when the kubelet saw it.
    pub started: Option<Time>,
    /// Set once deletion has begun.
    pub deletion: Option<Deletion>,
    /// Condition DisruptionTarget=True and since when.
    pub disruption_target: Option<(DisruptionReason, Time)>,
    /// `status.nominatedNodeName`.
    pub nominated: Option<NodeId>,
    /// Carries the Job-tracking finalizer.
    pub job_finalizer: bool,
    /// Carries a finalizer that nothing in the model removes.
    pub foreign_finalizer: bool,
    /// Mirror of a static pod.
    pub mirror: bool,
    /// Condition PodScheduled=False, reason Unschedulable: the scheduler has tried.
    pub unschedulable: bool,
    /// A waiting reason that will not go away by itself (`CrashLoopBackOff`, `ImagePullBackOff`, ...); empty when none.
    pub stuck: Name,
    /// Sum of container restarts.
    pub restarts: u32,
    /// `controller.kubernetes.io/pod-deletion-cost`.
    pub deletion_cost: i32,
    /// The object is gone; the record stays so that traces and reports can name it.
    pub gone: bool,
}

impl Pod {
    /// Phase Succeeded or Failed.
    pub fn is_terminal(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Deletion has begun and the object is still there.
    pub fn is_terminating(&self) -> bool {
        self.deletion.is_some() && !self.gone
    }

    /// Neither terminal nor terminating nor gone: what controllers count (KUBERNETES.md D3).
    pub fn is_active(&self) -> bool {
        !self.gone && !self.is_terminal() && self.deletion.is_none()
    }

    /// Ready and not being deleted: what budgets and floors count.
    pub fn is_serving_strength(&self) -> bool {
        self.ready && self.deletion.is_none() && !self.gone
    }
}
