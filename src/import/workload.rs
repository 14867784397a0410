//! Deployments, ReplicaSets, StatefulSets, DaemonSets, ReplicationControllers, and owners of other kinds.

use super::affinity::add_daemon_tolerations;
use super::directory::{Directory, other};
use super::node_service::is_node_service;
use super::pod_spec::{Admission, Source, Template};
use super::storage::{ClaimSpec, access};
use super::wire::{CheckedSelector, Count, Meta, Pairs, Portion, object};
use crate::cluster::{
    ClaimTemplate, Cluster, DaemonSet, Deployment, Detail, IntOrPercent, Name, ObjectKey, PodSpec, ReplicaSet,
    Selector, StatefulSet, Workload, WorkloadId,
};

object! {
    /// Deployment, ReplicaSet, StatefulSet, DaemonSet.
    struct RawWorkload {
        metadata: Meta,
        spec: WorkloadSpec,
        status: WorkloadStatus,
    }

    /// What their `spec`s hold together.
    struct WorkloadSpec {
        replicas: Option<Count>,
        selector: Option<CheckedSelector>,
        template: Template,
        min_ready_seconds: Count,
        paused: bool,
        strategy: Strategy,
        update_strategy: Strategy,
        pod_management_policy: Name,
        ordinals: Ordinals,
        volume_claim_templates: Vec<RawClaimTemplate>,
    }

    /// `strategy` and `updateStrategy`.
    struct Strategy {
        #[serde(rename = "type")]
        kind: Name,
        rolling_update: Option<RollingUpdate>,
    }

    /// `rollingUpdate`.
    struct RollingUpdate {
        max_surge: Option<Portion>,
        max_unavailable: Option<Portion>,
        partition: Count,
    }

    /// `ordinals`.
    struct Ordinals {
        start: Count,
    }

    /// An entry of `volumeClaimTemplates`.
    struct RawClaimTemplate {
        metadata: ClaimTemplateMeta,
        spec: ClaimSpec,
    }

    /// `metadata` of a claim template.
    struct ClaimTemplateMeta {
        name: Name,
    }

    /// What is read of their `status`es.
    struct WorkloadStatus {
        current_revision: Name,
        update_revision: Name,
        current_replicas: i32,
    }

    /// ReplicationController, whose selector is a plain map.
    struct RawReplicationController {
        metadata: Meta,
        spec: ReplicationControllerSpec,
    }

    /// `spec` of a ReplicationController.
    struct ReplicationControllerSpec {
        replicas: Option<Count>,
        selector: Pairs,
        template: Template,
        min_ready_seconds: Count,
    }
}

impl RawWorkload {
    /// The pod template as admission leaves it.
    fn template(&self, cluster: &Cluster, daemon: bool) -> PodSpec {
        let namespace = self.metadata.namespace;
        let template = &self.spec.template;
        if !daemon {
            return template.read(&cluster.catalog, namespace);
        }
        // The controller adds its tolerations before admission sees the pod.
        let (labels, annotations) = (&template.metadata.labels, &template.metadata.annotations);
        let mut spec = template.spec.clone();
        let mut tolerations: Vec<_> = spec.tolerations.iter().filter_map(|toleration| toleration.0).collect();
        add_daemon_tolerations(&mut tolerations, spec.host_network);
        spec.tolerations = tolerations.into_iter().map(|one| super::affinity::CheckedToleration(Some(one))).collect();
        Source { namespace, labels, annotations, spec: &spec, allocated: &[], admission: Admission::ToCome }
            .read(&cluster.catalog)
    }

    /// What the API server refuses (`ValidateRollingUpdateDeployment` and its like).
    pub(super) fn refused(&self) -> Option<(&'static str, String)> {
        let fields = [
            ("spec.strategy.rollingUpdate.maxUnavailable", &self.spec.strategy),
            ("spec.updateStrategy.rollingUpdate.maxUnavailable", &self.spec.update_strategy),
        ];
        fields
            .into_iter()
            .find_map(|(field, strategy)| Some((field, strategy.rolling_update.as_ref()?.max_unavailable?.over_all()?)))
    }

    fn replicas(&self) -> i32 {
        self.spec.replicas.map_or(1, |count| count.0)
    }

    fn detail(&self, kind: &str) -> Detail {
        let strategy = if kind == "Deployment" { &self.spec.strategy } else { &self.spec.update_strategy };
        let rolling = strategy.rolling_update.clone().unwrap_or_default();
        let or = |portion: Option<Portion>, default| portion.map_or(default, |portion| portion.0);
        let meta = &self.metadata;
        match kind {
            "Deployment" => Detail::Deployment(Deployment {
                recreate: strategy.kind == "Recreate",
                max_surge: or(rolling.max_surge, IntOrPercent::Percent(25)),
                max_unavailable: or(rolling.max_unavailable, IntOrPercent::Percent(25)),
                paused: self.spec.paused,
            }),
            "ReplicaSet" => Detail::ReplicaSet(ReplicaSet {
                revision: meta
                    .annotations
                    .get("deployment.kubernetes.io/revision")
                    .and_then(|revision| revision.parse().ok())
                    .unwrap_or(0),
                created: meta.created(),
                current: false,
            }),
            "DaemonSet" => Detail::DaemonSet(DaemonSet {
                on_delete: strategy.kind == "OnDelete",
                max_unavailable: or(rolling.max_unavailable, IntOrPercent::Int(1)),
                max_surge: or(rolling.max_surge, IntOrPercent::Int(0)),
                node_service: is_node_service(self),
            }),
            _ => self.stateful_set(),
        }
    }

    fn stateful_set(&self) -> Detail {
        let (spec, status) = (&self.spec, &self.status);
        let strategy = &spec.update_strategy;
        let rolling = strategy.rolling_update.clone();
        Detail::StatefulSet(StatefulSet {
            parallel: spec.pod_management_policy == "Parallel",
            start: spec.ordinals.start.unsigned(),
            on_delete: strategy.kind == "OnDelete",
            partition: rolling.as_ref().map_or(0, |rolling| rolling.partition.unsigned()),
            // The API server fills the struct in only where the type was left out, too (KUBERNETES.md D.3).
            rolling_update_unset: strategy.kind == "RollingUpdate" && rolling.is_none(),
            max_unavailable: rolling.and_then(|rolling| rolling.max_unavailable).map(|portion| portion.0),
            claim_templates: spec.volume_claim_templates.iter().map(RawClaimTemplate::read).collect(),
            updating: status.current_revision != status.update_revision,
            update_revision: status.update_revision,
            current_template: None,
            current_replicas: status.current_replicas,
        })
    }
}

impl RawClaimTemplate {
    fn read(&self) -> ClaimTemplate {
        ClaimTemplate {
            name: self.metadata.name,
            class: self.spec.storage_class_name.unwrap_or_default(),
            bytes: self.spec.bytes(),
            access: access(&self.spec.access_modes),
        }
    }
}

/// Adds a workload, or brings one up to date.
pub(super) fn workload(
    cluster: &mut Cluster,
    directory: &mut Directory,
    kind: &'static str,
    api_version: Name,
    raw: &RawWorkload,
) -> WorkloadId {
    let template = raw.template(cluster, kind == "DaemonSet");
    let template = cluster.intern_spec(template);
    let made = Made {
        selector: raw.spec.selector.clone().map(|selector| selector.0),
        replicas: raw.replicas(),
        min_ready_seconds: raw.spec.min_ready_seconds.unsigned(),
        template: Some(template),
        detail: raw.detail(kind),
    };
    put(cluster, directory, kind, api_version, &raw.metadata, made)
}

/// Adds a ReplicationController, or brings one up to date.
pub(super) fn replication_controller(
    cluster: &mut Cluster,
    directory: &mut Directory,
    api_version: Name,
    raw: &RawReplicationController,
) -> WorkloadId {
    let spec = &raw.spec;
    let template = spec.template.read(&cluster.catalog, raw.metadata.namespace);
    let template = cluster.intern_spec(template);
    let selector = if spec.selector.0.is_empty() { &spec.template.metadata.labels } else { &spec.selector };
    let made = Made {
        selector: Some(Selector::from_labels(selector.0.iter().copied())),
        replicas: spec.replicas.map_or(1, |count| count.0),
        min_ready_seconds: spec.min_ready_seconds.unsigned(),
        template: Some(template),
        detail: Detail::ReplicationController,
    };
    put(cluster, directory, "ReplicationController", api_version, &raw.metadata, made)
}

/// The parts of a workload that its kind decides.
pub(super) struct Made {
    /// Label selector.
    pub(super) selector: Option<Selector>,
    /// Replicas.
    pub(super) replicas: i32,
    /// `minReadySeconds`.
    pub(super) min_ready_seconds: u32,
    /// Template of its pods.
    pub(super) template: Option<crate::cluster::SpecId>,
    /// What is particular.
    pub(super) detail: Detail,
}

/// Puts a workload into the table, without its owner.
pub(super) fn put(
    cluster: &mut Cluster,
    directory: &mut Directory,
    kind: &str,
    api_version: Name,
    meta: &Meta,
    made: Made,
) -> WorkloadId {
    let key = ObjectKey::new(meta.namespace, kind, meta.name);
    let workload = Workload {
        selector: made.selector,
        template: made.template,
        replicas: made.replicas,
        min_ready_seconds: made.min_ready_seconds,
        deleted: meta.deletion_timestamp.is_some(),
        detail: made.detail,
        ..other(key, api_version)
    };
    match directory.workload(&key) {
        Some(id) => {
            cluster.update_workload(id, |known| {
                let (owner, missing_owner) = (known.owner, known.missing_owner);
                *known = Workload { owner, missing_owner, ..workload };
            });
            id
        }
        None => {
            let id = cluster.add_workload(workload);
            directory.add_workload(key, id, meta.uid);
            id
        }
    }
}

/// Looks up the controlling owner of a workload; the workload must not have pods yet.
pub(super) fn set_owner(cluster: &mut Cluster, directory: &mut Directory, id: WorkloadId, meta: &Meta) {
    if let Some(reference) = meta.controller() {
        let owner = directory.owner(cluster, meta.namespace, reference);
        let missing = owner.is_none().then_some((reference.kind, reference.name));
        cluster.update_workload(id, |workload| (workload.owner, workload.missing_owner) = (owner, missing));
    }
}
