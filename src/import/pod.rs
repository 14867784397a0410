//! Pods.

use super::directory::Directory;
use super::pod_spec::{Admission, Source, Spec};
use super::wire::{Amounts, Condition, Meta, Stamp, condition, object};
use crate::cluster::{
    Cluster, Deletion, DisruptionReason, Millis, Name, NodeId, NodeTerm, Operator, Owner, Phase, Pod, PodId, PodSpec,
    Time, WorkloadId,
};

object! {
    /// Pod.
    struct RawPod {
        metadata: Meta,
        spec: Spec,
        status: PodStatus,
    }

    /// `status` of a pod.
    struct PodStatus {
        phase: Name,
        start_time: Option<Stamp>,
        nominated_node_name: Name,
        conditions: Vec<Condition>,
        container_statuses: Vec<ContainerStatus>,
        init_container_statuses: Vec<ContainerStatus>,
    }

    /// Status of a container.
    struct ContainerStatus {
        name: Name,
        restart_count: u32,
        state: ContainerState,
        last_state: ContainerState,
        resources: Option<HeldResources>,
        allocated_resources: Amounts,
    }

    /// `state` of a container.
    struct ContainerState {
        waiting: Option<Waiting>,
        running: Option<Running>,
        terminated: Option<Terminated>,
    }

    /// `state.waiting`.
    struct Waiting {
        reason: Name,
    }

    /// `state.running`.
    struct Running {
        started_at: Option<Stamp>,
    }

    /// `state.terminated`.
    struct Terminated {
        finished_at: Option<Stamp>,
    }

    /// `resources` of a container's status.
    struct HeldResources {
        requests: Amounts,
    }
}

/// Waiting reasons that do not go away by themselves.
const STUCK: [&str; 10] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "ImageInspectError",
    "RegistryUnavailable",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

const MIRROR: &str = "kubernetes.io/config.mirror";
const JOB_FINALIZER: &str = "batch.kubernetes.io/job-tracking";

impl RawPod {
    fn container_statuses(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.status.init_container_statuses.iter().chain(&self.status.container_statuses)
    }

    /// When the deletion was asked for.
    fn deletion(&self) -> Option<Deletion> {
        let meta = &self.metadata;
        let at = meta.deletion_timestamp?.0;
        let grace_seconds =
            meta.deletion_grace_period_seconds.map_or(self.spec.grace_seconds(), |grace| grace.unsigned());
        Some(Deletion { since: at - Millis::secs(i64::from(grace_seconds)), grace_seconds })
    }

    /// The latest time in the pod's status; of a deletion the time when it was asked for.
    pub(super) fn latest(&self) -> Option<Time> {
        let conditions = self.status.conditions.iter().filter_map(|condition| condition.last_transition_time);
        let states = self.container_statuses().flat_map(|status| {
            let running = status.state.running.as_ref().and_then(|running| running.started_at);
            let terminated = status.state.terminated.as_ref().and_then(|terminated| terminated.finished_at);
            [running, terminated].into_iter().flatten()
        });
        let stamps = conditions.chain(states).chain(self.status.start_time).map(|stamp| stamp.0);
        stamps.chain(self.deletion().map(|deletion| deletion.since)).max()
    }

    /// How long it took from start to Ready, if the pod is running, has been Ready since, and never restarted: only then the
    /// two times tell it.
    pub(super) fn start_to_ready(&self) -> Option<Millis> {
        let ready = condition(&self.status.conditions, "Ready").filter(|ready| ready.status == "True")?;
        let span = ready.last_transition_time?.0 - self.status.start_time?.0;
        let restarted = self.container_statuses().any(|status| status.restart_count > 0);
        (self.status.phase == "Running" && !restarted && span.0 >= 0).then_some(span)
    }

    /// When the pod ended, for one that is finished (KUBERNETES.md D.5).
    pub(super) fn finished(&self) -> Option<Time> {
        let ends =
            self.status.container_statuses.iter().filter_map(|status| status.state.terminated.as_ref()?.finished_at);
        let unready = condition(&self.status.conditions, "Ready").filter(|ready| ready.status == "False");
        let latest = ends.max().or(unready.and_then(|ready| ready.last_transition_time)).map(|stamp| stamp.0);
        latest.or(self.deletion().map(|deletion| deletion.since))
    }

    /// Version of the API server that runs in this pod, if it is one of kubeadm's static pods or looks like one.
    pub(super) fn api_server_version(&self) -> Option<crate::cluster::Version> {
        let component = self.metadata.labels.get("component")?;
        let container = self.spec.containers.first().filter(|_| component == "kube-apiserver")?;
        let tag = container.image.rsplit_once(':').map(|(_, tag)| tag)?;
        tag.split('@').next()?.parse().ok()
    }

    /// Since when it is Ready, if it is.
    pub(super) fn ready_since(&self) -> Option<crate::cluster::Time> {
        let ready = self.status.conditions.iter().find(|one| one.kind == "Ready" && one.status == "True")?;
        ready.last_transition_time.map(|stamp| stamp.0)
    }

    /// What a container holds, which may be more than its spec says while a resize is under way
    /// (`determineContainerReqs` of the scheduler's helpers).
    fn held(&self) -> Vec<(Name, Amounts)> {
        let held = |status: &ContainerStatus| {
            let mut amounts = status.resources.as_ref()?.requests.clone();
            super::amounts::raise(&mut amounts, &status.allocated_resources);
            Some((status.name, amounts))
        };
        let sidecar = |name: Name| self.spec.init_containers.iter().any(|one| one.name == name && one.is_sidecar());
        let init = self.status.init_container_statuses.iter().filter(|status| sidecar(status.name));
        self.status.container_statuses.iter().chain(init).filter_map(held).collect()
    }

    fn ordinal(&self) -> Option<u32> {
        let labels = &self.metadata.labels;
        let owner = self.metadata.controller()?;
        match &*owner.kind {
            "StatefulSet" => match labels.get("apps.kubernetes.io/pod-index") {
                Some(index) => index.parse().ok(),
                None => self.metadata.name.strip_prefix(owner.name.as_str())?.strip_prefix('-')?.parse().ok(),
            },
            "Job" => {
                const INDEX: &str = "batch.kubernetes.io/job-completion-index";
                labels.get(INDEX).or(self.metadata.annotations.get(INDEX))?.parse().ok()
            }
            _ => None,
        }
    }

    fn stuck(&self) -> Name {
        let waiting = self.container_statuses().filter_map(|status| Some(status.state.waiting.as_ref()?.reason));
        waiting.into_iter().find(|reason| STUCK.contains(&reason.as_str())).unwrap_or_default()
    }

    fn disruption_target(&self) -> Option<(DisruptionReason, Time)> {
        let condition = condition(&self.status.conditions, "DisruptionTarget").filter(|one| one.status == "True")?;
        let reason = match &*condition.reason {
            "PreemptionByScheduler" => DisruptionReason::PreemptionByScheduler,
            "DeletionByTaintManager" => DisruptionReason::DeletionByTaintManager,
            "DeletionByPodGC" => DisruptionReason::DeletionByPodGc,
            "TerminationByKubelet" => DisruptionReason::TerminationByKubelet,
            _ => DisruptionReason::EvictionByEvictionApi,
        };
        Some((reason, condition.last_transition_time.map_or(Time(0), |stamp| stamp.0)))
    }
}

/// Adds a pod, or brings one up to date.
pub(super) fn pod(cluster: &mut Cluster, directory: &mut Directory, raw: &RawPod, admission: Admission) -> PodId {
    let meta = &raw.metadata;
    let held = raw.held();
    let mut spec = Source {
        namespace: meta.namespace,
        labels: &meta.labels,
        annotations: &meta.annotations,
        spec: &raw.spec,
        allocated: &held,
        admission,
    }
    .read(&cluster.catalog);
    let owner = match meta.controller() {
        None => Owner::None,
        Some(reference) => directory.owner_of_pod(cluster, meta.namespace, reference),
    };
    let pinned = if meta.controller().is_some_and(|owner| owner.kind == "DaemonSet") { unpin(&mut spec) } else { None };
    let mut node = |name: Name| (!name.is_empty()).then(|| directory.node(cluster, name));
    let (pinned, at, nominated): (Option<NodeId>, _, _) =
        (pinned.and_then(&mut node), node(raw.spec.node_name), node(raw.status.nominated_node_name));
    // Where the scheduler has put a pod is no part of its template; a node that is written in the template is.
    spec.node_name = match owner {
        Owner::Workload(owner) => {
            let template = cluster.workload(owner).template.map(|template| cluster.catalog.spec(template).node_name);
            template.filter(|node| *node == raw.spec.node_name).unwrap_or_default()
        }
        Owner::None | Owner::Missing { .. } | Owner::Node => Name::EMPTY,
    };
    if let (Owner::Workload(owner), Some(node)) = (owner, at) {
        drop_topology_labels(cluster, directory, &mut spec, owner, node);
    }
    let spec = cluster.intern_spec(spec);
    let status = &raw.status;
    let ready = condition(&status.conditions, "Ready");
    let scheduled = condition(&status.conditions, "PodScheduled");
    let finalizers = &meta.finalizers;
    // Those of the garbage collector go away with what it does.
    let of_model = [JOB_FINALIZER, "foregroundDeletion", "orphan"];
    let deletion_cost = meta.annotations.get("controller.kubernetes.io/pod-deletion-cost");
    let pod = Pod {
        name: meta.name,
        spec,
        owner,
        ordinal: raw.ordinal(),
        pinned,
        node: at,
        phase: match &*status.phase {
            "Running" => Phase::Running,
            "Succeeded" => Phase::Succeeded,
            "Failed" => Phase::Failed,
            "Unknown" => Phase::Unknown,
            _ => Phase::Pending,
        },
        ready: ready.is_some_and(|ready| ready.status == "True"),
        ready_since: ready.and_then(|ready| ready.last_transition_time).map_or(Time(0), |stamp| stamp.0),
        created: meta.created(),
        started: status.start_time.map(|stamp| stamp.0),
        deletion: raw.deletion(),
        disruption_target: raw.disruption_target(),
        nominated,
        job_finalizer: finalizers.iter().any(|finalizer| *finalizer == JOB_FINALIZER),
        foreign_finalizer: finalizers.iter().any(|finalizer| !of_model.contains(&finalizer.as_str())),
        mirror: owner == Owner::Node || meta.annotations.get(MIRROR).is_some(),
        unschedulable: scheduled.is_some_and(|one| one.status == "False" && one.reason == "Unschedulable"),
        stuck: raw.stuck(),
        restarts: raw.container_statuses().map(|status| status.restart_count).sum(),
        deletion_cost: deletion_cost.and_then(|cost| cost.parse().ok()).unwrap_or(0),
        gone: false,
    };
    match directory.pods.get(&(meta.namespace, meta.name)) {
        Some(&id) => {
            cluster.update_pod(id, |known| *known = pod);
            id
        }
        None => {
            let id = cluster.add_pod(pod);
            directory.pods.insert((meta.namespace, meta.name), id);
            id
        }
    }
}

/// Takes the node out of a spec whose every node affinity term names one node by `metadata.name`, as the DaemonSet
/// controller writes it (`ReplaceDaemonSetPodNodeNameNodeAffinity`), so that all pods of the set share one template.
fn unpin(spec: &mut PodSpec) -> Option<Name> {
    let pinned_to = |term: &NodeTerm| match term.fields[..] {
        [ref only] if only.key == "metadata.name" => match &only.operator {
            Operator::In(nodes) if nodes.len() == 1 => Some(nodes[0]),
            _ => None,
        },
        [..] => None,
    };
    let terms = spec.node_affinity.as_mut()?;
    let node = terms.first().and_then(pinned_to)?;
    if terms.iter().any(|term| pinned_to(term) != Some(node)) {
        return None;
    }
    for term in terms.iter_mut() {
        term.fields.clear();
    }
    if terms.iter().all(|term| term.expressions.is_empty()) {
        spec.node_affinity = None;
    }
    Some(node)
}

/// Zone and region, which the API server copies from the node to a pod's labels when the pod is bound (admission plugin
/// PodTopologyLabels). They are left out, since they are not of the template and every pod of it would be another kind; unless a
/// budget or Service selects by them.
fn drop_topology_labels(cluster: &Cluster, directory: &Directory, spec: &mut PodSpec, owner: WorkloadId, node: NodeId) {
    let template = cluster.workload(owner).template.map(|template| &cluster.catalog.spec(template).labels);
    for &key in &directory.unselected_topology {
        let Some(value) = spec.labels.get(key) else { continue };
        let of_template = template.is_some_and(|labels| labels.get(key).is_some());
        if !of_template && cluster.node(node).info.labels.get(key) == Some(value) {
            spec.labels = spec.labels.iter().filter(|pair| pair.0 != key).collect();
        }
    }
}
