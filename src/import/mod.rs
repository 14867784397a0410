//! Kubernetes objects become a [`Cluster`]. Only this room reads files; what the objects mean is decided without IO.
//!
//! Every field of the vocabulary says where it comes from. Some answers are this room's own:
//!
//! - **Owners** (M14). A controller reference is followed by namespace, kind and name, and by uid where both sides have one.
//!   If the object is not there although others of its kind are, the owner is missing: nothing brings the pod back. If nothing
//!   of the kind is in the input, because it was not asked for or is a custom resource, the owner is taken to exist as a
//!   workload that the model cannot play, and the input's remarks say so.
//! - **Nodes** that pods name and that are not in the input are nodes that are gone, or, if the input holds no node at all, nodes
//!   of which nothing is known.
//! - **The same object twice**: the newer one counts, and a remark says so.
//! - **Templates** are read as the admission plugins would leave a pod made from them, so that a pod and its template are equal.

mod admission;
mod affinity;
mod amounts;
mod assemble;
mod assumed;
mod canonical;
mod container;
mod directory;
mod error;
mod job;
mod json;
mod load;
mod node;
mod node_service;
mod object;
mod pod;
mod pod_spec;
mod policy;
mod storage;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod upstream;
mod volume;
mod wire;
mod workload;
mod yaml;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

pub use error::{Errors, Problem, Source};
pub use load::{hosts, load};
pub use pod_spec::Admission;
pub use yaml::plain;

use crate::cluster::{Cluster, Name, ObjectKey, Time, Version};
use assemble::Entry;
use object::{Header, Object};

/// Collects objects and makes a cluster of them.
#[derive(Debug, Default)]
pub struct Importer {
    entries: Vec<Entry>,
    problems: Vec<Problem>,
    /// Kinds of Lists that were there, even if empty.
    listed: Vec<Name>,
    admission: Admission,
    api_server: Option<Version>,
    fill_versions: bool,
    /// The objects come from a tree, where other things lie about: what has no kind is passed over.
    in_tree: bool,
    passed_over: usize,
    /// Number of the item of a JSON List that is being read; 0 outside.
    reading: usize,
    /// When the input was taken, where it says so itself.
    taken_at: Option<Time>,
}

impl Importer {
    /// An importer of objects as the API server holds them.
    pub fn new() -> Importer {
        Importer::default()
    }

    /// An importer of objects that were written by hand: pods still go through admission, and `apiVersion` may be left out.
    pub fn of_manifests() -> Importer {
        Importer { admission: Admission::ToCome, fill_versions: true, ..Importer::default() }
    }

    /// Adds an object, or all objects of a List. What is wrong with it is kept for [`Importer::finish`].
    pub fn add(&mut self, value: &Value, source: Source) {
        self.add_as(value, source, &Header::default());
    }

    /// Adds an object that may leave out its version and kind.
    fn add_as(&mut self, value: &Value, source: Source, implied: &Header) {
        let Value::Object(map) = value else {
            if self.in_tree {
                return;
            }
            let message = format!(
                "expected a Kubernetes object, found {}; give the output of `kubectl get nodes,pods,... -A -o yaml`",
                what(value)
            );
            self.problems.push(Problem { source, object: String::new(), field: String::new(), message });
            return;
        };
        let mut header: Header = match serde_path_to_error::deserialize(value) {
            Ok(header) => header,
            Err(error) => {
                let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
                let known = Header { kind: Name::new(kind), ..Header::default() };
                let (field, message) = (error.path().to_string(), error.into_inner().to_string());
                self.problems.push(Problem { source, object: described(value, &known), field, message });
                return;
            }
        };
        let or = |found: Name, implied: Name| if found.is_empty() { implied } else { found };
        header =
            Header { api_version: or(header.api_version, implied.api_version), kind: or(header.kind, implied.kind) };
        if header.kind.is_empty() {
            if let Some(version) = server_version(value) {
                self.api_server = Some(version);
                return;
            }
            if !self.in_tree {
                self.missing(source, value, &header, "kind");
            }
            return;
        }
        if header.kind == "Status" && header.api_version == "v1" {
            if !self.in_tree {
                let said = map.get("message").and_then(Value::as_str).unwrap_or("no message");
                let message = format!("is an error of the API server and no object: {said}");
                self.problems.push(Problem { source, object: "Status".to_owned(), field: String::new(), message });
            }
            return;
        }
        match (header.kind.strip_suffix("List"), map.get("items")) {
            (Some(of), Some(items @ (Value::Array(_) | Value::Null))) => self.add_list(of, &header, items, &source),
            // A kind of somebody else's may end in `List`, too; then it has a name.
            (Some(_), Some(items)) if map.get("metadata").is_none_or(|metadata| metadata.get("name").is_none()) => {
                self.no_list(source, described(value, &header), items);
            }
            (Some(""), _) => self.missing(source, value, &header, "items"),
            (Some(_) | None, _) => self.add_one(value, source, header),
        }
    }

    fn add_list(&mut self, of: &str, list: &Header, items: &Value, source: &Source) {
        let mut implied = Header::default();
        if !of.is_empty() {
            implied = Header { api_version: list.api_version, kind: Name::new(of) };
            self.listed.push(implied.kind);
        }
        for (index, item) in items.as_array().into_iter().flatten().enumerate() {
            self.add_as(item, Source { item: index + 1, ..source.clone() }, &implied);
        }
    }

    fn add_one(&mut self, value: &Value, source: Source, mut header: Header) {
        if header.api_version.is_empty() && self.fill_versions {
            header.api_version = Name::new(usual_version(&header.kind));
        }
        if header.api_version.is_empty() {
            self.missing(source, value, &header, "apiVersion");
            return;
        }
        if let Err(message) = object::known_version(&header, usual_version(&header.kind)) {
            let (object, field) = (described(value, &header), "apiVersion".to_owned());
            self.problems.push(Problem { source, object, field, message });
            return;
        }
        match Object::read(&header, value) {
            Ok(object) => self.enter(header, object, source),
            Err((field, error)) => {
                let object = described(value, &header);
                self.problems.push(Problem { source, object, field, message: error.to_string() });
            }
        }
    }

    fn enter(&mut self, header: Header, mut object: Object, source: Source) {
        object.fill_namespace();
        let wrong = object.meta().and_then(|meta| {
            let fields = [("metadata.name", meta.name), ("metadata.namespace", meta.namespace)];
            fields.into_iter().find(|(_, name)| !may_be_a_name(name))
        });
        if let Some((field, name)) = wrong {
            let message =
                format!("{name:?} is no name: it has at most 253 characters and no spaces or control characters");
            let (object, field) = (header.kind.to_string(), field.to_owned());
            self.problems.push(Problem { source, object, field, message });
            return;
        }
        if let Some((field, message)) = object.refused() {
            let object = object.key(&header).map(|key| key.to_string()).unwrap_or_default();
            self.problems.push(Problem { source, object, field: field.to_owned(), message });
            return;
        }
        if object.meta().is_some_and(|meta| meta.name.is_empty()) {
            let message = "is missing".to_owned();
            let field = "metadata.name".to_owned();
            self.problems.push(Problem { source, object: header.kind.to_string(), field, message });
            return;
        }
        self.entries.push(Entry { source, header, object });
    }

    fn no_list(&mut self, source: Source, object: String, items: &Value) {
        let message = format!("expected a list, found {}", what(items));
        self.problems.push(Problem { source, object, field: "items".to_owned(), message });
    }

    fn missing(&mut self, source: Source, value: &Value, header: &Header, field: &str) {
        let (object, message) = (described(value, header), "is missing".to_owned());
        self.problems.push(Problem { source, object, field: field.to_owned(), message });
    }

    /// Makes the cluster.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with any object, in the order of the places.
    pub fn finish(mut self) -> Result<Cluster, Errors> {
        if self.problems.is_empty() {
            return Ok(assemble::assemble(self));
        }
        self.problems.sort();
        Err(Errors { problems: self.problems })
    }
}

/// The cluster that objects as the API server holds them make.
///
/// # Errors
///
/// Everything that is wrong with any object.
pub fn from_objects(objects: impl IntoIterator<Item = Value>) -> Result<Cluster, Errors> {
    let mut importer = Importer::new();
    importer.fill_versions = true;
    for (index, object) in objects.into_iter().enumerate() {
        importer.add(&object, Source { item: index + 1, ..Source::default() });
    }
    importer.finish()
}

/// The cluster that objects read from an API server make. `kinds`: those of which all objects were read; `now`: when.
///
/// # Errors
///
/// Everything that is wrong with any object.
pub fn from_live<'a>(
    objects: impl IntoIterator<Item = &'a Value>,
    kinds: &[&str],
    api_server: Option<Version>,
    now: Time,
) -> Result<Cluster, Errors> {
    let mut importer = Importer { api_server, taken_at: Some(now), ..Importer::default() };
    importer.listed = kinds.iter().copied().map(Name::new).collect();
    let file: Arc<str> = "API server".into();
    for (index, object) in objects.into_iter().enumerate() {
        importer.add(object, Source { file: Arc::clone(&file), item: index + 1, ..Source::default() });
    }
    importer.finish()
}

/// The cluster of a recording's initial state (DRAINS.md): `{controlPlane, objects: {Kind: [...]}}`, or only the objects by kind.
///
/// # Errors
///
/// Everything that is wrong with any object.
pub fn from_recording(recording: &Value) -> Result<Cluster, Errors> {
    let mut importer =
        Importer { admission: Admission::TolerationsLeftOut, fill_versions: true, ..Importer::default() };
    let version = recording.get("controlPlane").and_then(Value::as_str).unwrap_or("v1.36.2");
    importer.api_server = version.parse().ok();
    importer.taken_at = recording.get("time").and_then(|time| wire::Stamp::deserialize(time).ok()).map(|stamp| stamp.0);
    let mut objects = recording.get("objects").unwrap_or(recording).clone();
    name_uids(&mut objects);
    let objects = &objects;
    let Some(kinds) = objects.as_object() else {
        importer.add(objects, Source::default());
        return importer.finish();
    };
    // Of these kinds a recording holds all that was there.
    importer.listed.extend(["Node", "ReplicaSet", "StatefulSet", "DaemonSet", "Job"].map(Name::new));
    if !kinds.contains_key("Node") {
        importer.listed.retain(|kind| *kind != "Node");
    }
    for (kind, list) in kinds {
        let implied = Header { api_version: Name::EMPTY, kind: Name::new(kind) };
        for (index, object) in list.as_array().into_iter().flatten().enumerate() {
            importer.add_as(object, Source { item: index + 1, ..Source::default() }, &implied);
        }
    }
    importer.finish()
}

/// Recordings write uids that differ from run to run as `<uid>`, also where they are values of labels, which that is not.
fn name_uids(value: &mut Value) {
    match value {
        Value::String(text) if text == "<uid>" => "uid".clone_into(text),
        Value::Array(list) => list.iter_mut().for_each(name_uids),
        Value::Object(map) => map.values_mut().for_each(name_uids),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Puts one more object, as the API server holds it, into a cluster: a new one is added, one that is known is brought up to date
/// and keeps its id.
///
/// # Errors
///
/// What is wrong with the object.
pub fn apply(cluster: &mut Cluster, object: Value) -> Result<(), Problem> {
    change(cluster, &object, Admission::Done)
}

/// Puts an object that somebody creates into a cluster: a pod goes through admission.
///
/// # Errors
///
/// What is wrong with the object.
pub fn create(cluster: &mut Cluster, object: Value) -> Result<(), Problem> {
    change(cluster, &object, Admission::ToCome)
}

fn change(cluster: &mut Cluster, object: &Value, admission: Admission) -> Result<(), Problem> {
    let mut importer = Importer { admission, fill_versions: true, ..Importer::default() };
    importer.add(object, Source::default());
    match importer.problems.pop() {
        Some(problem) => Err(problem),
        None => {
            assemble::upsert(cluster, &importer.entries, admission);
            Ok(())
        }
    }
}

/// Whether an annotation means something to the model.
pub fn reads_annotation(name: &str) -> bool {
    wire::KNOWN_ANNOTATIONS.contains(&name) || name == crate::cluster::NODE_RECORD
}

/// Version of the API server that runs in a pod, if it is one of kubeadm's static pods or looks like one.
pub fn api_server_version(pod: &Value) -> Option<Version> {
    pod::RawPod::deserialize(pod).ok()?.api_server_version()
}

/// What kind of JSON value this is.
fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// `namespace/Kind/name` of an object that may be defective.
fn described(value: &Value, header: &Header) -> String {
    let text = |pointer: &str| Name::new(value.pointer(pointer).and_then(Value::as_str).unwrap_or_default());
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let kind = if header.kind.is_empty() { Name::new("?") } else { header.kind };
    match (header.kind.is_empty(), name.is_empty()) {
        (_, false) => ObjectKey { namespace, kind, name }.to_string(),
        (_, true) => header.kind.to_string(),
    }
}

/// Whether this can be a name; the empty one is another matter. What the API refuses beyond that is let pass: recordings hold
/// names that no API server has seen.
fn may_be_a_name(name: &str) -> bool {
    name.len() <= 253 && !name.chars().any(|character| character.is_control() || character.is_whitespace())
}

/// The API server's version from what `kubectl version -o json` or a support bundle says.
fn server_version(value: &Value) -> Option<Version> {
    ["/serverVersion/gitVersion", "/info/gitVersion"].iter().find_map(|at| value.pointer(at)?.as_str()?.parse().ok())
}

/// The stable version of a kind that the model knows.
fn usual_version(kind: &str) -> &'static str {
    match kind {
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => "apps/v1",
        "Job" | "CronJob" => "batch/v1",
        "PodDisruptionBudget" => "policy/v1",
        "HorizontalPodAutoscaler" => "autoscaling/v2",
        "StorageClass" | "CSINode" | "CSIDriver" | "CSIStorageCapacity" | "VolumeAttachment" => "storage.k8s.io/v1",
        "PriorityClass" => "scheduling.k8s.io/v1",
        "RuntimeClass" => "node.k8s.io/v1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => "admissionregistration.k8s.io/v1",
        "CustomResourceDefinition" => "apiextensions.k8s.io/v1",
        "Lease" => "coordination.k8s.io/v1",
        _ => "v1",
    }
}
