//! Clusters in short form become Kubernetes objects.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::Version;

use super::{ClusterForm, workload};

/// When everything in a generated cluster was created: long before the run.
pub(super) const CREATED: &str = "2026-01-01T00:00:00Z";

/// When pods that end by themselves were started: just before the run.
pub(super) const STARTED: &str = "2026-01-06T11:59:59Z";

/// `nodes:` of a scenario file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Nodes {
    /// How many workers: `<prefix>1`, `<prefix>2` ...
    pub count: usize,
    /// `n` when left out.
    pub prefix: String,
    /// How many nodes of a kubeadm control plane: `cp1`, `cp2` ...
    pub control_plane: usize,
    /// Zones, round robin.
    pub zones: Vec<String>,
    /// What all of them are like, control plane included.
    pub all: Node,
    /// What one is like, by name.
    pub overrides: BTreeMap<String, Node>,
}

impl Default for Nodes {
    fn default() -> Self {
        Nodes {
            count: 0,
            prefix: "n".to_owned(),
            control_plane: 0,
            zones: Vec::new(),
            all: Node::default(),
            overrides: BTreeMap::new(),
        }
    }
}

/// What a node is like.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Node {
    /// Allocatable CPU; 4 when left out.
    cpu: Option<Value>,
    /// Allocatable memory; 8Gi when left out.
    memory: Option<Value>,
    /// Allocatable pods; 110 when left out.
    pods: Option<u32>,
    /// Kubelet version; v1.36.2 when left out.
    kubelet: Option<Version>,
    /// More labels.
    labels: BTreeMap<String, String>,
    /// Taints as `key=value:Effect`.
    taints: Vec<String>,
    /// `spec.unschedulable`.
    cordoned: bool,
    /// Condition Ready is False.
    not_ready: bool,
}

/// Name of a node and whether pods without special tolerations are put on it.
pub(super) struct Place {
    pub(super) name: String,
    pub(super) zone: Option<String>,
    pub(super) open: bool,
}

/// All objects of a cluster in short form.
pub(super) fn objects(form: &ClusterForm) -> anyhow::Result<Vec<Value>> {
    let version = form.version.unwrap_or(Version::new(37, 0));
    let mut objects = vec![json!({"serverVersion": {"gitVersion": version.to_string()}})];
    let mut places = Vec::new();
    let nodes = &form.nodes;
    for index in 0..nodes.control_plane {
        control_plane_node(nodes, index, version, &mut objects)?;
    }
    for index in 0..nodes.count {
        let name = format!("{}{}", nodes.prefix, index + 1);
        let zone = (!nodes.zones.is_empty()).then(|| nodes.zones[index % nodes.zones.len()].clone());
        let own = nodes.overrides.get(&name);
        let open = own.is_none_or(|own| own.taints.is_empty() && !own.cordoned) && nodes.all.taints.is_empty();
        objects.push(node(&name, zone.as_deref(), &[&nodes.all, own.unwrap_or(&Node::default())])?);
        places.push(Place { name, zone, open });
    }
    let is_node = |name: &String| {
        places.iter().any(|place| place.name == *name)
            || (1..=nodes.control_plane).any(|one| *name == format!("cp{one}"))
    };
    if let Some(unknown) = nodes.overrides.keys().find(|name| !is_node(name)) {
        bail!("nodes.overrides names {unknown}, which is no node");
    }
    for form in &form.workloads {
        let made = workload::objects(form, &places).with_context(|| format!("workload {}", form.name))?;
        objects.extend(made);
    }
    Ok(objects)
}

fn node(name: &str, zone: Option<&str>, layers: &[&Node]) -> anyhow::Result<Value> {
    let mut labels = BTreeMap::from([("kubernetes.io/hostname".to_owned(), name.to_owned())]);
    if let Some(zone) = zone {
        labels.insert("topology.kubernetes.io/zone".to_owned(), zone.to_owned());
    }
    let (mut cpu, mut memory, mut pods, mut kubelet) = (json!("4"), json!("8Gi"), 110, Version::new(36, 2));
    let (mut taints, mut cordoned, mut ready) = (Vec::new(), false, true);
    for layer in layers {
        cpu = layer.cpu.as_ref().map_or(cpu, text);
        memory = layer.memory.as_ref().map_or(memory, text);
        pods = layer.pods.unwrap_or(pods);
        kubelet = layer.kubelet.unwrap_or(kubelet);
        labels.extend(layer.labels.clone());
        for taint in &layer.taints {
            let parts = taint.rsplit_once(':').with_context(|| format!("taint {taint:?} is not key=value:Effect"))?;
            let (key, value) = parts.0.split_once('=').unwrap_or((parts.0, ""));
            taints.push(json!({"key": key, "value": value, "effect": parts.1}));
        }
        cordoned |= layer.cordoned;
        ready &= !layer.not_ready;
    }
    let amounts = json!({"cpu": cpu, "memory": memory, "pods": pods.to_string()});
    let condition =
        json!({"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": CREATED});
    Ok(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels, "creationTimestamp": CREATED},
        "spec": {"taints": taints, "unschedulable": cordoned},
        "status": {
            "allocatable": amounts, "capacity": amounts, "conditions": [condition],
            "nodeInfo": {"kubeletVersion": kubelet.to_string()},
        },
    }))
}

/// A quantity may be written as a number.
pub(super) fn text(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.to_string()),
        other => other.clone(),
    }
}

/// A control-plane node as kubeadm sets it up, with the mirrors of its static pods.
fn control_plane_node(nodes: &Nodes, index: usize, version: Version, objects: &mut Vec<Value>) -> anyhow::Result<()> {
    let name = format!("cp{}", index + 1);
    let own = Node {
        kubelet: Some(version),
        labels: BTreeMap::from([("node-role.kubernetes.io/control-plane".to_owned(), String::new())]),
        taints: vec!["node-role.kubernetes.io/control-plane=:NoSchedule".to_owned()],
        ..Node::default()
    };
    let over = nodes.overrides.get(&name);
    objects.push(node(&name, None, &[&nodes.all, &own, over.unwrap_or(&Node::default())])?);
    for component in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let tag = if component == "etcd" { "3.6.6-0".to_owned() } else { version.to_string() };
        objects.push(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": format!("{component}-{name}"), "namespace": "kube-system", "creationTimestamp": CREATED,
                "labels": {"component": component, "tier": "control-plane"},
                "annotations": {"kubernetes.io/config.mirror": "1", "kubernetes.io/config.source": "file"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "controller": true}],
            },
            "spec": {
                "nodeName": name, "hostNetwork": true, "priorityClassName": "system-node-critical",
                "tolerations": [{"effect": "NoExecute", "operator": "Exists"}],
                "containers": [{"name": component, "image": format!("registry.k8s.io/{component}:{tag}")}],
            },
            "status": running(true, CREATED),
        }));
    }
    Ok(())
}

/// `status` of a pod that runs since then. Without a start time it says nothing of how long a start takes.
pub(super) fn running(ready: bool, since: &str) -> Value {
    let word = |status: bool| if status { "True" } else { "False" };
    let condition =
        |kind: &str, status: bool| json!({"type": kind, "status": word(status), "lastTransitionTime": since});
    json!({"phase": "Running", "conditions": [condition("Ready", ready), condition("PodScheduled", true)]})
}
