//! Why the engine waits or stops. Every reason has a stable code, evidence, a time allowance where it has one, and the way out.

use crate::cluster::{BudgetId, Cluster, Name, NodeId, Owner, PodId, ServiceId, Time, Version, WorkloadId};

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
    /// A network, proxy or storage DaemonSet is being rolled out: while its pod of a node is away, nobody there hears of endpoints.
    NodeServiceRolls(WorkloadId),
    /// The API server was away: proxies and kubelets that lost it may not have come back to it yet.
    ApiServerFresh,
    /// The pause between two nodes.
    Pause,
    /// The drain of the node took longer than allowed.
    DrainTimeout(NodeId),
    /// A wait took longer than allowed.
    TimeSpent(Box<Reason>),
}

impl Reason {
    /// The node whose host failed or did not come back: the run can go on without it.
    pub fn lost_node(&self) -> Option<NodeId> {
        match self {
            Reason::HostFailed(node) => Some(*node),
            Reason::TimeSpent(reason) => match **reason {
                Reason::HostBusy(node)
                | Reason::NodeComingUp(node)
                | Reason::NodeNotReady(node)
                | Reason::NodeServiceNotReady { node, .. } => Some(node),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A reason in words: code, what is waited for, and the objects.
pub trait Describe {
    /// Stable code, `W...` for waits.
    fn code(&self) -> &'static str;
    /// One sentence with names and numbers.
    fn describe(&self, cluster: &Cluster) -> String;
}

impl Describe for Reason {
    fn code(&self) -> &'static str {
        match self {
            Reason::LockUnknown => "W001",
            Reason::LockHeld { .. } => "W002",
            Reason::BackupRunning => "W003",
            Reason::BackupFailed => "W004",
            Reason::VersionPath { .. } => "W005",
            Reason::Unknown { .. } => "W006",
            Reason::NodeNotReady(_) => "W007",
            Reason::Unmanaged(..) => "W008",
            Reason::DaemonSetPods(..) => "W009",
            Reason::OrphanedDaemonSetPods(..) => "W010",
            Reason::EmptyDir(..) => "W011",
            Reason::Budget { .. } => "W012",
            Reason::SeveralBudgets { .. } => "W013",
            Reason::EvictionError { .. } => "W014",
            Reason::Terminating(_) => "W015",
            Reason::Turn(_) => "W016",
            Reason::Floor { .. } => "W017",
            Reason::ServiceFloor { .. } => "W018",
            Reason::NotAccepted { .. } => "W019",
            Reason::HostBusy(_) => "W020",
            Reason::HostFailed(_) => "W021",
            Reason::NodeComingUp(_) => "W022",
            Reason::NodeServiceNotReady { .. } => "W023",
            Reason::Settling { .. } => "W024",
            Reason::Pause => "W025",
            Reason::DrainTimeout(_) => "W026",
            Reason::TimeSpent(_) => "W027",
            Reason::NodeServiceRolls(_) => "W028",
            Reason::ApiServerFresh => "W029",
        }
    }

    fn describe(&self, cluster: &Cluster) -> String {
        let node_name = |id: &NodeId| cluster.node(*id).name();
        let pod_key = |id: &PodId| cluster.pod_key(*id).to_string();
        match self {
            Reason::LockUnknown => "whether another run upgrades this cluster is not known yet".to_owned(),
            Reason::LockHeld { holder, since } => {
                let seconds = since.0 / 1000;
                let since = jiff::Timestamp::from_second(seconds).map_or(seconds.to_string(), |time| time.to_string());
                format!("{holder} holds the upgrade lock of this cluster since {since}")
            }
            Reason::BackupRunning => "the backup is being taken and verified".to_owned(),
            Reason::BackupFailed => "the backup failed; nothing is upgraded without one".to_owned(),
            Reason::VersionPath { from: Some(from), to, problem } => {
                format!("the cluster cannot go from {from} to {to}: {problem}")
            }
            Reason::VersionPath { from: None, to, problem } => format!("the cluster cannot go to {to}: {problem}"),
            Reason::Unknown { node: Some(node), fact } => format!("{fact} of node {} is not known", node_name(node)),
            Reason::Unknown { node: None, fact } => format!("{fact} is not known"),
            Reason::NodeNotReady(node) => format!("node {} is not Ready", node_name(node)),
            Reason::Unmanaged(node, pods) => format!(
                "cannot delete Pods that declare no controller (use --force to override) on node {}: {}",
                node_name(node),
                in_namespaces(cluster, pods)
            ),
            Reason::DaemonSetPods(node, pods) => format!(
                "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore) on node {}: {}",
                node_name(node),
                in_namespaces(cluster, pods)
            ),
            Reason::OrphanedDaemonSetPods(node, pods) => format!(
                "the DaemonSet of these Pods on node {} does not exist any more (use --force to delete them): {}",
                node_name(node),
                in_namespaces(cluster, pods)
            ),
            Reason::EmptyDir(node, pods) => format!(
                "cannot delete Pods with local storage (use --delete-emptydir-data to override) on node {}: {}",
                node_name(node),
                in_namespaces(cluster, pods)
            ),
            Reason::Budget { pod, budget, message } => {
                let message = match (message.is_empty(), budget) {
                    (true, Some(budget)) => refusal_of(cluster, *budget),
                    (true, None) => "its disruption budget does not allow it".to_owned(),
                    (false, _) => message.to_string(),
                };
                format!("pod {} cannot be evicted now: {message}", pod_key(pod))
            }
            Reason::SeveralBudgets { pod, message } if message.is_empty() => {
                let budgets: Vec<String> =
                    cluster.budgets_of_pod(*pod).iter().map(|&id| cluster.budget(id).name.to_string()).collect();
                format!(
                    "pod {} can never be evicted: This pod has more than one PodDisruptionBudget, which the eviction \
                     subresource does not support ({})",
                    pod_key(pod),
                    budgets.join(", ")
                )
            }
            Reason::SeveralBudgets { pod, message } => format!("pod {} can never be evicted: {message}", pod_key(pod)),
            Reason::EvictionError { pod, code, message } => {
                format!("the eviction of pod {} was answered with {code}: {message}", pod_key(pod))
            }
            Reason::Terminating(pod) => terminating(cluster, *pod),
            Reason::Turn(pod) => format!("pod {} waits until the pod before it is gone", pod_key(pod)),
            Reason::Floor { pod, workload, ready, floor } => format!(
                "evicting pod {} would leave {} with {} ready pods, its floor is {floor}; a replacement is on its way",
                pod_key(pod),
                cluster.workload(*workload).key,
                ready.saturating_sub(1)
            ),
            Reason::ServiceFloor { pod, service, ready, floor } => format!(
                "evicting pod {} would leave {} with {} ready endpoints, its floor is {floor}; a replacement is on its way",
                pod_key(pod),
                cluster.service_key(*service),
                ready.saturating_sub(1)
            ),
            Reason::NotAccepted { pod, workload } => {
                let what = workload.map_or(pod_key(pod), |workload| cluster.workload(workload).key.to_string());
                format!("evicting pod {} interrupts {what}, and nobody has accepted that", pod_key(pod))
            }
            Reason::HostBusy(node) => format!("the host of node {} works on its upgrade", node_name(node)),
            Reason::HostFailed(node) => format!("the upgrade of the host of node {} failed", node_name(node)),
            Reason::NodeComingUp(node) => coming_up(cluster, *node),
            Reason::NodeServiceNotReady { node, workload } => {
                format!("{} has no Ready pod on node {} yet", cluster.workload(*workload).key, node_name(node))
            }
            Reason::Settling { node, workload, ready, wanted } => format!(
                "{} has {ready} of {wanted} ready pods back after the drain of node {}",
                cluster.workload(*workload).key,
                node_name(node)
            ),
            Reason::NodeServiceRolls(workload) => {
                format!("{} is being rolled out", cluster.workload(*workload).key)
            }
            Reason::ApiServerFresh => {
                "the API server was away, and proxies may not have come back to it yet".to_owned()
            }
            Reason::Pause => "the pause between two nodes is not over".to_owned(),
            Reason::DrainTimeout(node) => format!("the drain of node {} took longer than allowed", node_name(node)),
            Reason::TimeSpent(reason) => format!("the time for this is spent: {}", reason.describe(cluster)),
        }
    }
}

/// "name in namespace", as the operator manual lists pods.
fn in_namespaces(cluster: &Cluster, pods: &[PodId]) -> String {
    let entry = |&pod: &PodId| {
        let key = cluster.pod_key(pod);
        match cluster.pod(pod).owner {
            Owner::Missing { kind, name } => format!("{} in {} (its {kind} {name} is gone)", key.name, key.namespace),
            Owner::None | Owner::Node | Owner::Workload(_) => format!("{} in {}", key.name, key.namespace),
        }
    };
    let entries: Vec<String> = pods.iter().map(entry).collect();
    entries.join(", ")
}

/// What the eviction API says of a budget that allows nothing (KUBERNETES.md A.5, A.5.1).
fn refusal_of(cluster: &Cluster, id: BudgetId) -> String {
    let budget = cluster.budget(id);
    let (name, status) = (budget.name, &budget.status);
    let currently = format!("The disruption budget {name} does not allow evicting pods currently");
    if status.observed_generation < budget.generation {
        return format!("The disruption budget {name} is still being processed by the server.");
    }
    match status.condition {
        Some((false, reason, message)) if reason == "SyncFailed" && !message.is_empty() => {
            format!("{currently} because it failed sync: {message}")
        }
        _ if status.current_healthy <= status.desired_healthy => format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            status.desired_healthy, status.current_healthy
        ),
        Some((false, reason, message)) if !message.is_empty() => format!("{currently} ({reason}): {message}"),
        Some(_) | None => currently,
    }
}

fn terminating(cluster: &Cluster, id: PodId) -> String {
    let pod = cluster.pod(id);
    let key = cluster.pod_key(id);
    let grace = pod.deletion.map_or(0, |deletion| deletion.grace_seconds);
    if pod.is_terminal() && (pod.foreign_finalizer || pod.job_finalizer) {
        format!("pod {key} has ended and a finalizer keeps it")
    } else {
        format!("pod {key} was evicted and is still there (grace period {grace} s)")
    }
}

fn coming_up(cluster: &Cluster, id: NodeId) -> String {
    let node = cluster.node(id);
    let kubelet = node.kubelet.map_or("an unknown version".to_owned(), |version| version.to_string());
    format!("node {} is not back yet: condition Ready is {:?}, its kubelet runs {kubelet}", node.name(), node.ready)
}
