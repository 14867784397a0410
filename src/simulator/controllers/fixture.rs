//! Small clusters for the controllers' tests.

use std::sync::Arc;

use crate::cluster::{
    Budget, BudgetId, BudgetLimit, BudgetStatus, Cluster, Deployment, Detail, HostJob, IntOrPercent, Labels, Marks,
    Name, Node, NodeId, NodeInfo, ObjectKey, Owner, Phase, Pod, PodId, PodSpec, Readiness, ReplicaSet, Resources,
    Routing, Selector, SpecId, StatefulSet, Time, Version, Workload, WorkloadId,
};

/// A cluster of a version without objects.
pub fn cluster(minor: u16) -> Cluster {
    let mut cluster = Cluster::default();
    cluster.api_server = Some(Version::new(minor, 0));
    cluster
}

/// A node that is Ready.
pub fn node(cluster: &mut Cluster, name: &str) -> NodeId {
    cluster.add_node(Node {
        info: Arc::new(NodeInfo { name: name.into(), ..NodeInfo::default() }),
        allocatable: Resources::default(),
        allocatable_pods: 110,
        taints: Vec::new(),
        unschedulable: false,
        ready: Readiness::Ready,
        ready_since: Time(0),
        pressure: Vec::new(),
        kubelet: None,
        control_plane: None,
        api_since: None,
        routing: Routing::Routed,
        job: HostJob::Absent,
        marks: Marks::default(),
        gone: false,
    })
}

/// The template of all tests' pods, with one more label where it is given.
pub fn template(cluster: &mut Cluster, extra: Option<(&str, &str)>) -> SpecId {
    let labels = [("app", "web")].into_iter().chain(extra);
    let labels: Labels = labels.map(|(key, value)| (Name::new(key), Name::new(value))).collect();
    cluster.intern_spec(PodSpec { namespace: "default".into(), labels, grace_seconds: 30, ..PodSpec::default() })
}

/// A workload called `web` or by the name given.
pub fn workload(
    cluster: &mut Cluster,
    kind: &str,
    name: &str,
    owner: Option<WorkloadId>,
    replicas: i32,
    detail: Detail,
) -> WorkloadId {
    let template = template(cluster, None);
    cluster.add_workload(Workload {
        key: ObjectKey::new("default".into(), kind, name.into()),
        api_version: "apps/v1".into(),
        owner,
        missing_owner: None,
        selector: Some(Selector::from_labels([(Name::new("app"), Name::new("web"))])),
        template: Some(template),
        replicas,
        min_ready_seconds: 0,
        deleted: false,
        detail,
    })
}

/// A Deployment.
pub fn deployment(
    cluster: &mut Cluster,
    replicas: i32,
    max_surge: IntOrPercent,
    max_unavailable: IntOrPercent,
) -> WorkloadId {
    let detail = Deployment { recreate: false, max_surge, max_unavailable, paused: false };
    workload(cluster, "Deployment", "web", None, replicas, Detail::Deployment(detail))
}

/// A ReplicaSet with its pods, so many of them available.
pub fn replica_set(
    cluster: &mut Cluster,
    owner: WorkloadId,
    revision: i64,
    current: bool,
    replicas: i32,
    available: i32,
) -> WorkloadId {
    let detail = ReplicaSet { revision, created: Time(revision * 1000), current };
    let name = format!("web-{revision}");
    let id = workload(cluster, "ReplicaSet", &name, Some(owner), replicas, Detail::ReplicaSet(detail));
    for index in 0..replicas {
        let pod = pod(cluster, id, &format!("{name}-{index}"));
        if index < available {
            ready(cluster, pod);
        }
    }
    id
}

/// A StatefulSet without pods.
pub fn stateful_set(cluster: &mut Cluster, replicas: i32) -> WorkloadId {
    let detail = StatefulSet {
        parallel: false,
        start: 0,
        on_delete: false,
        rolling_update_unset: false,
        partition: 0,
        max_unavailable: None,
        claim_templates: Vec::new(),
        updating: false,
        update_revision: Name::EMPTY,
        current_template: None,
        current_replicas: 0,
    };
    workload(cluster, "StatefulSet", "web", None, replicas, Detail::StatefulSet(detail))
}

/// Changes the StatefulSet's part.
pub fn change_set(cluster: &mut Cluster, id: WorkloadId, change: impl FnOnce(&mut StatefulSet)) {
    cluster.update_workload(id, |workload| {
        if let Detail::StatefulSet(set) = &mut workload.detail {
            change(set);
        }
    });
}

/// A Pending pod without a node.
pub fn pod(cluster: &mut Cluster, owner: WorkloadId, name: &str) -> PodId {
    let spec = cluster.workload(owner).template.unwrap_or_else(|| panic!("a template"));
    let ordinal = name.rsplit('-').next().and_then(|last| last.parse().ok());
    let ordinal = ordinal.filter(|_| cluster.workload(owner).as_stateful_set().is_some());
    cluster.add_pod(Pod {
        name: name.into(),
        spec,
        owner: Owner::Workload(owner),
        ordinal,
        pinned: None,
        node: None,
        phase: Phase::Pending,
        ready: false,
        ready_since: Time(0),
        created: Time(0),
        started: None,
        deletion: None,
        disruption_target: None,
        nominated: None,
        job_finalizer: false,
        foreign_finalizer: false,
        mirror: false,
        unschedulable: false,
        stuck: Name::EMPTY,
        restarts: 0,
        deletion_cost: 0,
        gone: false,
    })
}

/// The pod runs and is Ready.
pub fn ready(cluster: &mut Cluster, pod: PodId) {
    cluster.update_pod(pod, |pod| {
        pod.phase = Phase::Running;
        pod.ready = true;
    });
}

/// The pod is being deleted.
pub fn terminate(cluster: &mut Cluster, pod: PodId) {
    let deletion = crate::cluster::Deletion { since: Time(0), grace_seconds: 30 };
    cluster.update_pod(pod, |pod| pod.deletion = Some(deletion));
}

/// A budget over the pods of all tests.
pub fn budget(cluster: &mut Cluster, name: &str, limit: BudgetLimit) -> BudgetId {
    let id = cluster.add_budget(Budget {
        namespace: "default".into(),
        name: name.into(),
        selector: Some(Selector::from_labels([(Name::new("app"), Name::new("web"))])),
        selector_error: Name::EMPTY,
        limit,
        always_allow_unhealthy: false,
        generation: 1,
        status: BudgetStatus::default(),
        gone: false,
    });
    cluster.reindex();
    id
}
