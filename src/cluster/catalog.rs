//! What a run does not change: templates, classes, policies, host facts, and what is known of the input itself. Shared by all
//! clones of a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{
    HostFacts, Labels, Millis, Name, ObjectKey, PodSpec, Resources, Selector, SpecId, StorageCapacity, StorageClass,
    Time, Toleration, WorkloadId,
};

/// Everything that is fixed for a run.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    specs: Vec<Arc<PodSpec>>,
    spec_ids: FxHashMap<Arc<PodSpec>, SpecId>,
    /// Namespaces by name. A namespace that only appears on objects is listed without labels.
    pub namespaces: BTreeMap<Name, Namespace>,
    /// PriorityClasses by name.
    pub priority_classes: BTreeMap<Name, PriorityClass>,
    /// RuntimeClasses by name.
    pub runtime_classes: BTreeMap<Name, RuntimeClass>,
    /// StorageClasses by name.
    pub storage_classes: BTreeMap<Name, StorageClass>,
    /// CSIStorageCapacity objects.
    pub storage_capacities: Vec<StorageCapacity>,
    /// CSIDrivers: (name, checks storage capacity, prevents scheduling if missing).
    pub csi_drivers: Vec<(Name, bool, bool)>,
    /// Kinds that CustomResourceDefinitions of the input define, by (group, kind).
    pub custom_kinds: BTreeMap<(Name, Name), CustomKind>,
    /// Workloads whose own object the input lacks: only what they own is known.
    pub unseen: BTreeSet<WorkloadId>,
    /// HorizontalPodAutoscalers.
    pub autoscalers: Vec<Autoscaler>,
    /// ResourceQuotas.
    pub quotas: Vec<Quota>,
    /// Admission webhooks, one entry a webhook.
    pub webhooks: Vec<Webhook>,
    /// Objects stored or last applied with an API version other than the current stable one.
    pub old_apis: Vec<ApiUse>,
    /// Facts about hosts by node name.
    pub hosts: BTreeMap<Name, HostFacts>,
    /// How long pods took from start to Ready, by template, from the input's own history.
    pub start_to_ready: BTreeMap<SpecId, Vec<Millis>>,
    /// What the input held.
    pub input: Input,
}

/// A namespace.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Namespace {
    /// Labels, `kubernetes.io/metadata.name` included.
    pub labels: Labels,
    /// Being deleted: evictions answer 403 (KUBERNETES.md A21).
    pub terminating: bool,
}

/// A PriorityClass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PriorityClass {
    /// Value.
    pub value: i32,
    /// `globalDefault`.
    pub global_default: bool,
    /// `preemptionPolicy: Never`.
    pub never_preempts: bool,
}

/// A kind that a CustomResourceDefinition defines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CustomKind {
    /// `spec.names.plural`.
    pub plural: Name,
    /// Where its objects have the number of their replicas (`specReplicasPath` of the `scale` subresource); `None`: it has no
    /// scale.
    pub scale: Option<Name>,
}

/// A RuntimeClass: what admission adds to the pods that name it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RuntimeClass {
    /// `overhead.podFixed`.
    pub overhead: Resources,
    /// `scheduling.nodeSelector`.
    pub node_selector: Vec<(Name, Name)>,
    /// `scheduling.tolerations`.
    pub tolerations: Vec<Toleration>,
}

/// A HorizontalPodAutoscaler.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Autoscaler {
    /// The object.
    pub key: ObjectKey,
    /// What it scales.
    pub target: ObjectKey,
    /// `minReplicas`.
    pub min: i32,
    /// `maxReplicas`.
    pub max: i32,
}

/// A ResourceQuota.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quota {
    /// The object.
    pub key: ObjectKey,
    /// Per resource: (name, hard, used) in thousandths.
    pub limits: Vec<(Name, i64, i64)>,
    /// It has scopes, so it may not concern all pods.
    pub scoped: bool,
}

/// One webhook of an admission configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Webhook {
    /// The configuration object.
    pub configuration: ObjectKey,
    /// Name of the webhook.
    pub name: Name,
    /// `failurePolicy: Fail` (the default).
    pub fails_closed: bool,
    /// Service behind it: (namespace, name); `None` for a URL.
    pub service: Option<(Name, Name)>,
    /// Rules: (operations, resources as `group/resource`), `*` as written.
    pub rules: Vec<(Vec<Name>, Vec<Name>)>,
    /// Namespaces it looks at.
    pub namespace_selector: Option<Selector>,
    /// Objects it looks at.
    pub object_selector: Option<Selector>,
    /// `timeoutSeconds`.
    pub timeout_seconds: i32,
}

impl Webhook {
    /// Whether some rule is about this operation on this resource of the core group (`pods`, `pods/eviction`).
    pub fn sees(&self, operation: &str, resource: &str) -> bool {
        self.rules.iter().any(|(operations, resources)| {
            let operation = operations.iter().any(|one| *one == "*" || *one == operation);
            operation && resources.iter().any(|pattern| covers(pattern, resource))
        })
    }
}

/// Whether a rule's `group/resource` covers a resource of the core group. `*` is every resource without subresources,
/// `*/*` every resource with them, `pods/*` the subresources of pods.
fn covers(pattern: &str, resource: &str) -> bool {
    let Some((group, pattern)) = pattern.split_once('/') else { return false };
    let subresource = resource.split_once('/');
    let matches = match pattern.split_once('/') {
        None => pattern == resource || (pattern == "*" && subresource.is_none()),
        Some(("*", "*")) => true,
        Some((base, "*")) => subresource.is_some_and(|(of, _)| of == base),
        Some(("*", sub)) => subresource.is_some_and(|(_, name)| name == sub),
        Some(_) => pattern == resource,
    };
    (group.is_empty() || group == "*") && matches
}

/// An object and the API version it is used with.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ApiUse {
    /// The object.
    pub key: ObjectKey,
    /// `apiVersion`.
    pub api_version: Name,
    /// Found in the last-applied annotation rather than on the object.
    pub last_applied: bool,
}

/// What the input held.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Input {
    /// Instant the dump was taken, as far as its own timestamps tell: the latest of them.
    pub taken_at: Time,
    /// How many objects of each kind were read.
    pub kinds: BTreeMap<Name, usize>,
    /// Kinds that `check` reads and that were not in the input at all, with what is assumed instead.
    pub missing: Vec<(Name, &'static str)>,
    /// Kinds that were passed over, with their number.
    pub unknown: BTreeMap<Name, usize>,
    /// Other remarks about the input (duplicates, references to absent objects, ...).
    pub remarks: Vec<String>,
    /// Features in use that no part of the model covers, found at import: (object, what).
    pub not_modelled: Vec<(ObjectKey, String)>,
}

impl Catalog {
    /// The id of a template, added if it is new.
    pub fn intern_spec(&mut self, spec: PodSpec) -> SpecId {
        if let Some(&id) = self.spec_ids.get(&spec) {
            return id;
        }
        let spec = Arc::new(spec);
        let id = SpecId(u32::try_from(self.specs.len()).expect("fewer than 2^32 templates"));
        self.specs.push(Arc::clone(&spec));
        self.spec_ids.insert(spec, id);
        id
    }

    /// The id of a template that is known already.
    pub fn find_spec(&self, spec: &PodSpec) -> Option<SpecId> {
        self.spec_ids.get(spec).copied()
    }

    /// A template.
    pub fn spec(&self, id: SpecId) -> &PodSpec {
        &self.specs[id.index()]
    }

    /// All templates with their ids.
    pub fn specs(&self) -> impl Iterator<Item = (SpecId, &PodSpec)> {
        self.specs.iter().enumerate().map(|(index, spec)| (SpecId(index as u32), &**spec))
    }

    /// Number of templates.
    pub fn spec_count(&self) -> usize {
        self.specs.len()
    }
}
