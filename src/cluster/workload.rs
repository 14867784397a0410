//! Everything that owns pods: the controllers that the model plays, and owners it can only name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{IntOrPercent, Name, Selector, SpecId, Time, WorkloadId};

/// `namespace/Kind/name`, or `Kind/name` for an object of the whole cluster: how every object is written in results.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectKey {
    /// Namespace, empty for objects of the whole cluster.
    pub namespace: Name,
    /// Kind.
    pub kind: Name,
    /// Name.
    pub name: Name,
}

impl ObjectKey {
    /// A namespaced object.
    pub fn new(namespace: Name, kind: &str, name: Name) -> ObjectKey {
        ObjectKey { namespace, kind: Name::new(kind), name }
    }

    /// An object of the whole cluster.
    pub fn cluster_wide(kind: &str, name: Name) -> ObjectKey {
        ObjectKey::new(Name::EMPTY, kind, name)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.kind, self.name)
        } else {
            write!(f, "{}/{}/{}", self.namespace, self.kind, self.name)
        }
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a text names no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not namespace/Kind/name or Kind/name")]
pub struct ObjectKeyError(String);

impl FromStr for ObjectKey {
    type Err = ObjectKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            [kind, name] => Ok(ObjectKey::cluster_wide(kind, name.into())),
            [namespace, kind, name] => Ok(ObjectKey::new(namespace.into(), kind, name.into())),
            _ => Err(ObjectKeyError(text.to_owned())),
        }
    }
}

impl<'de> Deserialize<'de> for ObjectKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A workload.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Workload {
    /// What it is called.
    pub key: ObjectKey,
    /// API group and version as found (`apps/v1`).
    pub api_version: Name,
    /// The controlling workload (a ReplicaSet's Deployment, a Job's CronJob).
    pub owner: Option<WorkloadId>,
    /// Controller reference to something that is not in the table: (kind, name).
    pub missing_owner: Option<(Name, Name)>,
    /// Label selector. `None`: none.
    pub selector: Option<Selector>,
    /// Template of its pods. `None` for owners that the model cannot play.
    pub template: Option<SpecId>,
    /// `spec.replicas` (Job: parallelism; DaemonSet: not used).
    pub replicas: i32,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: u32,
    /// `metadata.deletionTimestamp` is set or the object was deleted with orphans left behind.
    pub deleted: bool,
    /// What is particular to its kind.
    pub detail: Detail,
}

/// What is particular to a kind of workload.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Detail {
    /// `apps/v1` Deployment.
    Deployment(Deployment),
    /// `apps/v1` ReplicaSet.
    ReplicaSet(ReplicaSet),
    /// `apps/v1` StatefulSet.
    StatefulSet(StatefulSet),
    /// `apps/v1` DaemonSet.
    DaemonSet(DaemonSet),
    /// `batch/v1` Job.
    Job(Job),
    /// `v1` ReplicationController: behaves as a ReplicaSet.
    ReplicationController,
    /// `batch/v1` CronJob.
    CronJob(CronJob),
    /// An owner of a kind that the model does not play (a custom resource); with the replicas of its scale if known.
    Other,
}

/// A Deployment (KUBERNETES.md D.1).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Deployment {
    /// `strategy.type: Recreate`.
    pub recreate: bool,
    /// `rollingUpdate.maxSurge`.
    pub max_surge: IntOrPercent,
    /// `rollingUpdate.maxUnavailable`.
    pub max_unavailable: IntOrPercent,
    /// `spec.paused`.
    pub paused: bool,
}

/// A ReplicaSet (D.2).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ReplicaSet {
    /// `deployment.kubernetes.io/revision`; 0 when absent. The highest of a Deployment with its template is the new one.
    pub revision: i64,
    /// Creation time: older ReplicaSets are scaled down first.
    pub created: Time,
    /// Its template equals the Deployment's current one: it is the new ReplicaSet.
    pub current: bool,
}

/// A StatefulSet (D.3).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct StatefulSet {
    /// `podManagementPolicy: Parallel`.
    pub parallel: bool,
    /// `ordinals.start`.
    pub start: u32,
    /// `updateStrategy: OnDelete`.
    pub on_delete: bool,
    /// The type RollingUpdate was written without the `rollingUpdate` struct, which then stays absent (D-T21b).
    pub rolling_update_unset: bool,
    /// `rollingUpdate.partition`.
    pub partition: u32,
    /// `rollingUpdate.maxUnavailable` (honoured from 1.37, VERSIONS.md V30).
    pub max_unavailable: Option<IntOrPercent>,
    /// Names of `volumeClaimTemplates`.
    pub claim_templates: Vec<ClaimTemplate>,
    /// `status.currentRevision` differs from `status.updateRevision`: a rollout is under way.
    pub updating: bool,
    /// `status.updateRevision`, empty when unknown: the `controller-revision-hash` of updated pods.
    pub update_revision: Name,
    /// Template of the current (old) revision where it differs and is known from a running pod.
    pub current_template: Option<SpecId>,
    /// `status.currentReplicas`.
    pub current_replicas: i32,
}

/// One volumeClaimTemplate.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClaimTemplate {
    /// Name; the claim of ordinal 0 of set `db` is `<name>-db-0`.
    pub name: Name,
    /// `storageClassName`, empty for the default class.
    pub class: Name,
    /// Bytes asked for.
    pub bytes: i64,
    /// Access modes.
    pub access: super::Access,
}

/// A DaemonSet (D.4).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DaemonSet {
    /// `updateStrategy: OnDelete`.
    pub on_delete: bool,
    /// `rollingUpdate.maxUnavailable`.
    pub max_unavailable: IntOrPercent,
    /// `rollingUpdate.maxSurge`.
    pub max_surge: IntOrPercent,
    /// Its pods carry the network, the proxy or storage of a node (M20): they must be Ready before the node takes pods.
    pub node_service: bool,
}

/// A Job (D.5).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Job {
    /// `spec.completions`; `None`: any success completes it.
    pub completions: Option<i32>,
    /// `spec.backoffLimit`.
    pub backoff_limit: i32,
    /// `podReplacementPolicy: Failed`, or a podFailurePolicy exists.
    pub replace_only_failed: bool,
    /// `podFailurePolicy` rules in order.
    pub failure_policy: Vec<FailureRule>,
    /// `completionMode: Indexed`.
    pub indexed: bool,
    /// `spec.suspend`.
    pub suspended: bool,
    /// Pods that count as succeeded, and those whose object is gone.
    pub succeeded: i32,
    /// Pods that count as failed.
    pub failed: i32,
    /// Failures since the last success, for the back-off.
    pub failures_in_row: i32,
    /// When the last failure was finished.
    pub last_failure: Option<Time>,
    /// It is over.
    pub finished: Option<JobEnd>,
    /// Completed indexes of an indexed Job, sorted.
    pub completed_indexes: Vec<u32>,
}

/// How a Job ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum JobEnd {
    /// Condition Complete.
    Complete,
    /// Condition Failed.
    Failed,
}

/// A rule of a podFailurePolicy; the first that matches decides.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FailureRule {
    /// What is done.
    pub action: FailureAction,
    /// `onPodConditions`: types that must be True; empty when the rule is about exit codes.
    pub conditions: Vec<Name>,
    /// `onExitCodes`: (values, `In` (true) or `NotIn`).
    pub exit_codes: Option<(Vec<i32>, bool)>,
}

/// Action of a failure rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FailureAction {
    /// Not counted, replaced.
    Ignore,
    /// Counted.
    Count,
    /// The index fails.
    FailIndex,
    /// The whole Job fails.
    FailJob,
}

/// A CronJob (D.6).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CronJob {
    /// Cron schedule as written.
    pub schedule: Name,
    /// `spec.suspend`.
    pub suspended: bool,
    /// `concurrencyPolicy`: Allow, Forbid or Replace.
    pub concurrency: Name,
    /// What its Jobs look like.
    pub job: Job,
}

impl Workload {
    /// The Deployment's part, if it is one.
    pub fn as_deployment(&self) -> Option<&Deployment> {
        if let Detail::Deployment(detail) = &self.detail { Some(detail) } else { None }
    }

    /// The StatefulSet's part, if it is one.
    pub fn as_stateful_set(&self) -> Option<&StatefulSet> {
        if let Detail::StatefulSet(detail) = &self.detail { Some(detail) } else { None }
    }

    /// The DaemonSet's part, if it is one.
    pub fn as_daemon_set(&self) -> Option<&DaemonSet> {
        if let Detail::DaemonSet(detail) = &self.detail { Some(detail) } else { None }
    }

    /// The Job's part, if it is one.
    pub fn as_job(&self) -> Option<&Job> {
        if let Detail::Job(detail) = &self.detail { Some(detail) } else { None }
    }
}
