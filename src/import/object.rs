//! One object of the input: what kind it is, and the part of it that is read.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};

use super::admission::RawWebhooks;
use super::directory::group;
use super::job::{RawCronJob, RawJob};
use super::node::RawNode;
use super::pod::RawPod;
use super::policy::{RawAutoscaler, RawBudget, RawNamespace, RawPriorityClass, RawQuota, RawRuntimeClass, RawService};
use super::storage::{
    RawClaim, RawCsiDriver, RawCsiNode, RawPersistentVolume, RawStorageCapacity, RawStorageClass, RawVolumeAttachment,
};
use super::wire::{Meta, Stamp, object};
use super::workload::{RawReplicationController, RawWorkload};
use crate::cluster::{Name, ObjectKey, Time};

object! {
    /// What every object begins with.
    struct Header {
        api_version: Name,
        kind: Name,
    }

    /// What is read of an object whose kind the model does not know.
    struct RawOther {
        metadata: Meta,
        spec: OtherSpec,
    }

    /// An object of which only the metadata is read.
    struct RawBystander {
        metadata: Meta,
    }

    /// CustomResourceDefinition.
    struct RawDefinition {
        metadata: Meta,
        spec: DefinitionSpec,
    }

    /// `spec` of a CustomResourceDefinition.
    struct DefinitionSpec {
        group: Name,
        names: DefinitionNames,
        versions: Vec<DefinitionVersion>,
    }

    /// `names` of a CustomResourceDefinition.
    struct DefinitionNames {
        plural: Name,
        kind: Name,
    }

    /// A version of a CustomResourceDefinition.
    struct DefinitionVersion {
        served: bool,
        subresources: Subresources,
    }

    /// `subresources`.
    struct Subresources {
        scale: Option<ScaleSubresource>,
    }

    /// `subresources.scale`.
    struct ScaleSubresource {
        spec_replicas_path: Name,
    }

    /// Times of an Event or Lease: they tell when the dump was taken.
    struct Moment {
        last_timestamp: Option<Stamp>,
        event_time: Option<Stamp>,
        spec: MomentSpec,
    }

    /// `spec` of a Lease.
    struct MomentSpec {
        renew_time: Option<Stamp>,
    }
}

/// `spec` of an object of an unknown kind: its `replicas`, if it has a number there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OtherSpec {
    pub(super) replicas: i32,
}

impl<'de> Deserialize<'de> for OtherSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Loose {
            Scaled { replicas: i32 },
            Else(IgnoredAny),
        }
        Ok(match Loose::deserialize(deserializer)? {
            Loose::Scaled { replicas } => OtherSpec { replicas },
            Loose::Else(_) => OtherSpec::default(),
        })
    }
}

/// An object, as far as it is read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Object {
    Node(Box<RawNode>),
    Pod(Box<RawPod>),
    /// Deployment, ReplicaSet, StatefulSet or DaemonSet.
    Workload(&'static str, Box<RawWorkload>),
    ReplicationController(Box<RawReplicationController>),
    Job(Box<RawJob>),
    CronJob(Box<RawCronJob>),
    Budget(Box<RawBudget>),
    Service(Box<RawService>),
    Claim(Box<RawClaim>),
    Volume(Box<RawPersistentVolume>),
    StorageClass(Box<RawStorageClass>),
    StorageCapacity(Box<RawStorageCapacity>),
    CsiDriver(Box<RawCsiDriver>),
    CsiNode(Box<RawCsiNode>),
    VolumeAttachment(Box<RawVolumeAttachment>),
    PriorityClass(Box<RawPriorityClass>),
    RuntimeClass(Box<RawRuntimeClass>),
    Namespace(Box<RawNamespace>),
    Quota(Box<RawQuota>),
    Autoscaler(Box<RawAutoscaler>),
    /// MutatingWebhookConfiguration or ValidatingWebhookConfiguration.
    Webhooks(&'static str, Box<RawWebhooks>),
    Definition(Box<RawDefinition>),
    /// Event or Lease.
    Moment(Box<Moment>),
    /// A kind that the model does not know and that may own workloads.
    Other(Box<RawOther>),
    /// A kind of a group of Kubernetes itself that has no part in the model: only the API version it is used with counts.
    Bystander(Box<RawBystander>),
    /// A kind of which nothing is kept (Secrets, ConfigMaps, EndpointSlices).
    Ignored,
}

/// Groups of the API server itself besides those that end in `.k8s.io`.
const OWN_GROUPS: [&str; 6] = ["", "apps", "batch", "autoscaling", "policy", "extensions"];

/// Whether a group is one of the API server itself.
pub(super) fn is_own_group(group: &str) -> bool {
    const OWN: [&str; 14] = [
        "admissionregistration",
        "apiextensions",
        "apiregistration",
        "authentication",
        "authorization",
        "certificates",
        "coordination",
        "discovery",
        "events",
        "flowcontrol.apiserver",
        "networking",
        "node",
        "rbac.authorization",
        "resource",
    ];
    const MORE: [&str; 5] = ["scheduling", "storage", "storagemigration", "internal.apiserver", "lifecycle"];
    OWN_GROUPS.contains(&group)
        || group.strip_suffix(".k8s.io").is_some_and(|name| OWN.contains(&name) || MORE.contains(&name))
}

/// Whether an API version can be the one of a kind that the model reads: `usual` is its stable one.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn known_version(header: &Header, usual: &str) -> Result<(), String> {
    let (found, kind) = (header.api_version.as_str(), header.kind);
    let version = found.rsplit('/').next().unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = version.strip_prefix('v').unwrap_or_default();
    let stage = ["alpha", "beta"].iter().find_map(|stage| number.split_once(stage));
    let shaped = stage.map_or(digits(number), |(major, minor)| digits(major) && digits(minor));
    if !shaped && is_own_group(group(found)) || found.matches('/').count() > 1 {
        return Err(format!("{found:?} is no API version; {kind} usually has {usual}"));
    }
    // Of the core group there is `v1` alone, and kinds of other groups are not in it.
    let (of_core, core) = (!usual.contains('/'), !found.contains('/'));
    if core && (!of_core || version != "v1") {
        return Err(format!("the API has no {kind} in {found}; expected {usual}"));
    }
    // No group has had a third version yet, and only autoscaling has a second stable one.
    let stable = if group(found) == "autoscaling" { 2 } else { 1 };
    let major: u32 = stage.map_or(number, |(major, _)| major).parse().unwrap_or(u32::MAX);
    if is_own_group(group(found)) && major > if stage.is_some() { 2 } else { stable } {
        return Err(format!("the API has no {kind} in {found}; expected {usual}"));
    }
    Ok(())
}

impl Object {
    /// What the API server refuses although each field by itself can be read: the field, and why.
    pub(super) fn refused(&self) -> Option<(&'static str, String)> {
        match self {
            Object::Budget(raw) => raw.refused(),
            Object::Workload(_, raw) => raw.refused(),
            _ => None,
        }
    }

    /// Reads the object that a deserializer holds.
    ///
    /// # Errors
    ///
    /// The path of the field that cannot be read, and why.
    pub(super) fn read<'de, D: Deserializer<'de>>(
        header: &Header,
        deserializer: D,
    ) -> Result<Object, (String, D::Error)> {
        fn of<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Box<T>, (String, D::Error)> {
            serde_path_to_error::deserialize(deserializer).map(Box::new).map_err(|error| {
                let path = error.path().to_string();
                (if path == "." { String::new() } else { path }, error.into_inner())
            })
        }
        let group = group(&header.api_version);
        let from = deserializer;
        Ok(match (group, &*header.kind) {
            ("", "Node") => Object::Node(of(from)?),
            ("", "Pod") => Object::Pod(of(from)?),
            ("apps" | "extensions", "Deployment") => Object::Workload("Deployment", of(from)?),
            ("apps" | "extensions", "ReplicaSet") => Object::Workload("ReplicaSet", of(from)?),
            ("apps" | "extensions", "DaemonSet") => Object::Workload("DaemonSet", of(from)?),
            ("apps", "StatefulSet") => Object::Workload("StatefulSet", of(from)?),
            ("", "ReplicationController") => Object::ReplicationController(of(from)?),
            ("batch", "Job") => Object::Job(of(from)?),
            ("batch", "CronJob") => Object::CronJob(of(from)?),
            ("policy", "PodDisruptionBudget") => Object::Budget(of(from)?),
            ("", "Service") => Object::Service(of(from)?),
            ("", "PersistentVolumeClaim") => Object::Claim(of(from)?),
            ("", "PersistentVolume") => Object::Volume(of(from)?),
            ("storage.k8s.io", "StorageClass") => Object::StorageClass(of(from)?),
            ("storage.k8s.io", "CSIStorageCapacity") => Object::StorageCapacity(of(from)?),
            ("storage.k8s.io", "CSIDriver") => Object::CsiDriver(of(from)?),
            ("storage.k8s.io", "CSINode") => Object::CsiNode(of(from)?),
            ("storage.k8s.io", "VolumeAttachment") => Object::VolumeAttachment(of(from)?),
            ("scheduling.k8s.io", "PriorityClass") => Object::PriorityClass(of(from)?),
            ("node.k8s.io", "RuntimeClass") => Object::RuntimeClass(of(from)?),
            ("", "Namespace") => Object::Namespace(of(from)?),
            ("", "ResourceQuota") => Object::Quota(of(from)?),
            ("autoscaling", "HorizontalPodAutoscaler") => Object::Autoscaler(of(from)?),
            ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => {
                Object::Webhooks("MutatingWebhookConfiguration", of(from)?)
            }
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => {
                Object::Webhooks("ValidatingWebhookConfiguration", of(from)?)
            }
            ("apiextensions.k8s.io", "CustomResourceDefinition") => Object::Definition(of(from)?),
            ("" | "events.k8s.io", "Event") | ("coordination.k8s.io", "Lease") => Object::Moment(of(from)?),
            (group, _) if is_own_group(group) && !matches!(group, "" | "apps" | "discovery.k8s.io") => {
                Object::Bystander(of(from)?)
            }
            (group, _) if is_own_group(group) => {
                of::<IgnoredAny, D>(from)?;
                Object::Ignored
            }
            _ => Object::Other(of(from)?),
        })
    }

    /// The metadata of an object that is kept.
    pub(super) fn meta(&self) -> Option<&Meta> {
        Some(match self {
            Object::Node(raw) => &raw.metadata,
            Object::Pod(raw) => &raw.metadata,
            Object::Workload(_, raw) => &raw.metadata,
            Object::ReplicationController(raw) => &raw.metadata,
            Object::Job(raw) => &raw.metadata,
            Object::CronJob(raw) => &raw.metadata,
            Object::Budget(raw) => &raw.metadata,
            Object::Service(raw) => &raw.metadata,
            Object::Claim(raw) => &raw.metadata,
            Object::Volume(raw) => &raw.metadata,
            Object::StorageClass(raw) => &raw.metadata,
            Object::StorageCapacity(raw) => &raw.metadata,
            Object::CsiDriver(raw) => &raw.metadata,
            Object::CsiNode(raw) => &raw.metadata,
            Object::VolumeAttachment(raw) => &raw.metadata,
            Object::PriorityClass(raw) => &raw.metadata,
            Object::RuntimeClass(raw) => &raw.metadata,
            Object::Namespace(raw) => &raw.metadata,
            Object::Quota(raw) => &raw.metadata,
            Object::Autoscaler(raw) => &raw.metadata,
            Object::Webhooks(_, raw) => &raw.metadata,
            Object::Definition(raw) => &raw.metadata,
            Object::Other(raw) => &raw.metadata,
            Object::Bystander(raw) => &raw.metadata,
            Object::Moment(_) | Object::Ignored => return None,
        })
    }

    fn meta_mut(&mut self) -> Option<&mut Meta> {
        Some(match self {
            Object::Pod(raw) => &mut raw.metadata,
            Object::Workload(_, raw) => &mut raw.metadata,
            Object::ReplicationController(raw) => &mut raw.metadata,
            Object::Job(raw) => &mut raw.metadata,
            Object::CronJob(raw) => &mut raw.metadata,
            Object::Budget(raw) => &mut raw.metadata,
            Object::Service(raw) => &mut raw.metadata,
            Object::Claim(raw) => &mut raw.metadata,
            Object::Quota(raw) => &mut raw.metadata,
            Object::Autoscaler(raw) => &mut raw.metadata,
            Object::StorageCapacity(_)
            | Object::Node(_)
            | Object::Volume(_)
            | Object::StorageClass(_)
            | Object::CsiDriver(_)
            | Object::CsiNode(_)
            | Object::VolumeAttachment(_)
            | Object::PriorityClass(_)
            | Object::RuntimeClass(_)
            | Object::Namespace(_)
            | Object::Webhooks(..)
            | Object::Definition(_)
            | Object::Other(_)
            | Object::Moment(_)
            | Object::Bystander(_)
            | Object::Ignored => return None,
        })
    }

    /// Puts a namespaced object without namespace into `default`, where `kubectl apply` would put it.
    pub(super) fn fill_namespace(&mut self) {
        if let Some(meta) = self.meta_mut().filter(|meta| meta.namespace.is_empty()) {
            meta.namespace = Name::new("default");
        }
    }

    /// The key of an object that is kept.
    pub(super) fn key(&self, header: &Header) -> Option<ObjectKey> {
        let kind = super::directory::kind_name(&header.api_version, header.kind);
        self.meta().map(|meta| ObjectKey { namespace: meta.namespace, kind, name: meta.name })
    }

    /// The latest time that stands in the object.
    pub(super) fn latest(&self) -> Option<Time> {
        let own = match self {
            Object::Node(raw) => raw.latest(),
            Object::Pod(raw) => raw.latest(),
            Object::Job(raw) => raw.latest(),
            Object::Moment(raw) => [raw.last_timestamp, raw.event_time, raw.spec.renew_time]
                .into_iter()
                .flatten()
                .max()
                .map(|stamp| stamp.0),
            _ => None,
        };
        own.max(self.meta().and_then(Meta::latest))
    }
}
