//! Recorded placements (PLACEMENTS.md) and the state that they are replayed against: objects as the API server has them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A cluster and the decisions that were made in it, one after the other.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) family: String,
    pub(super) objects: Vec<Value>,
    pub(super) decisions: Vec<Decision>,
    /// Workers of the filters, where it matters.
    pub(super) parallelism: Option<u32>,
    /// The scheduler's node list, where it matters.
    pub(super) node_order: Option<Vec<String>>,
    /// Arguments of plugins that differ from the default profile.
    pub(super) config: Option<Value>,
}

/// One scheduling attempt.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Decision {
    #[serde(default)]
    pub(super) before: Changes,
    pub(super) pod: Value,
    #[serde(default)]
    pub(super) stored: Map<String, Value>,
    pub(super) attempt: u32,
    pub(super) nominated_before: Option<String>,
    #[serde(default)]
    pub(super) nominated_pods: BTreeMap<String, Vec<String>>,
    pub(super) prefilter: Option<PreFilter>,
    #[serde(default)]
    pub(super) nominated_only: bool,
    pub(super) feasible: Vec<String>,
    pub(super) rejected: BTreeMap<String, Rejection>,
    pub(super) scores: BTreeMap<String, BTreeMap<String, i64>>,
    pub(super) totals: BTreeMap<String, i64>,
    pub(super) chosen: Option<String>,
    pub(super) message: Option<String>,
    pub(super) nominated: Option<String>,
    pub(super) victims: Vec<String>,
    pub(super) preemption: Option<Preemption>,
    pub(super) postfilter: Option<String>,
    pub(super) sampling: Option<Sampling>,
    #[serde(default)]
    pub(super) removed: bool,
    #[serde(default)]
    pub(super) after: Changes,
}

/// Changes from outside.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Changes {
    pub(super) delete: Vec<Reference>,
    pub(super) upsert: Vec<Value>,
    pub(super) terminating: Vec<String>,
}

/// An object by name.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Reference {
    kind: String,
    #[serde(default)]
    namespace: String,
    name: String,
}

/// What PreFilter said of all nodes.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum PreFilter {
    Rejected(Rejection),
    Narrowed { nodes: Vec<String> },
}

/// Why a node was rejected.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Rejection {
    pub(super) plugin: String,
    pub(super) reason: String,
    pub(super) code: String,
}

/// The dry run of preemption.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Preemption {
    pub(super) candidates: BTreeMap<String, Candidate>,
    pub(super) unhelpful: BTreeMap<String, Rejection>,
}

/// A node where deleting pods makes room.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Candidate {
    pub(super) victims: Vec<String>,
    pub(super) pdb_violations: usize,
}

/// Which nodes were looked at.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Sampling {
    pub(super) start: usize,
    pub(super) to_find: usize,
    pub(super) of: usize,
}

impl Decision {
    /// The pod as the scheduler saw it at its first attempt.
    fn stored_pod(&self) -> Value {
        let mut pod = self.pod.clone();
        for (field, value) in &self.stored {
            let known = &mut pod["spec"][field.as_str()];
            match (known.as_array_mut(), value.as_array()) {
                (Some(known), Some(containers)) if field == "containers" || field == "initContainers" => {
                    containers.iter().for_each(|container| merge_container(known, container));
                }
                _ => *known = value.clone(),
            }
        }
        pod
    }
}

/// Fields of a container that the API server changed.
fn merge_container(containers: &mut [Value], changed: &Value) {
    let known = containers.iter_mut().find(|known| known["name"] == changed["name"]);
    if let (Some(known), Some(changed)) = (known.and_then(Value::as_object_mut), changed.as_object()) {
        known.extend(changed.clone());
    }
}

/// The objects of a case at one instant, in the order in which the scheduler came to know them.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) objects: Vec<Value>,
}

fn text<'a>(object: &'a Value, section: &str, field: &str) -> &'a str {
    object[section][field].as_str().unwrap_or_default()
}

impl State {
    fn position(&self, kind: &str, namespace: &str, name: &str) -> Option<usize> {
        self.objects.iter().position(|object| {
            object["kind"] == *kind
                && text(object, "metadata", "name") == name
                && text(object, "metadata", "namespace") == namespace
        })
    }

    fn pod(&mut self, namespace: &str, name: &str) -> Option<&mut Value> {
        let position = self.position("Pod", namespace, name)?;
        self.objects.get_mut(position)
    }

    /// Makes changes that came from outside.
    pub(super) fn change(&mut self, changes: &Changes) {
        for gone in &changes.delete {
            if let Some(position) = self.position(&gone.kind, &gone.namespace, &gone.name) {
                self.objects.remove(position);
            }
        }
        for object in &changes.upsert {
            let (namespace, name) = (text(object, "metadata", "namespace"), text(object, "metadata", "name"));
            match self.position(object["kind"].as_str().unwrap_or_default(), namespace, name) {
                Some(position) => self.objects[position] = object.clone(),
                None => self.objects.push(object.clone()),
            }
        }
        for name in &changes.terminating {
            let (namespace, name) = name.split_once('/').unwrap_or(("", name));
            if let Some(pod) = self.pod(namespace, name) {
                let condition =
                    json!({"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"});
                pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                pod["status"]["conditions"] = json!([condition]);
            }
        }
    }

    /// Namespace and name of the pod of an attempt, which is created if it is its first.
    pub(super) fn incoming(&mut self, decision: &Decision) -> (String, String) {
        let pod = &decision.pod;
        let key = (text(pod, "metadata", "namespace").to_owned(), text(pod, "metadata", "name").to_owned());
        if decision.attempt == 1 {
            self.objects.push(decision.stored_pod());
        }
        key
    }

    /// Sets or takes back a nomination.
    pub(super) fn nominate(&mut self, (namespace, name): (&str, &str), node: Option<&str>) {
        if let Some(pod) = self.pod(namespace, name) {
            match node {
                Some(node) => pod["status"]["nominatedNodeName"] = json!(node),
                None => {
                    if let Some(status) = pod["status"].as_object_mut() {
                        status.remove("nominatedNodeName");
                    }
                }
            }
        }
    }

    /// The recorded outcome of an attempt.
    pub(super) fn conclude(&mut self, decision: &Decision, (namespace, name): (&str, &str)) {
        self.nominate((namespace, name), decision.nominated.as_deref());
        if let Some(position) = self.position("Pod", namespace, name)
            && (decision.removed || decision.chosen.is_some())
        {
            let mut pod = self.objects.remove(position);
            if let Some(node) = &decision.chosen {
                pod["spec"]["nodeName"] = json!(node);
                // Pods of a node are in the order in which they came to it.
                self.objects.push(pod);
            }
        }
        self.change(&decision.after);
    }
}
