//! Workloads in short form become Kubernetes objects: the workload, its pods where they are said to be, budgets, a Service,
//! claims and volumes.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::build::{CREATED, Place, STARTED, running, text};

/// A workload in short form.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Form {
    /// Name; the pods' label `app`.
    pub name: String,
    /// Deployment when left out; StatefulSet, DaemonSet, ReplicaSet, Job, or Pod for bare pods.
    kind: Option<Kind>,
    /// `default` when left out.
    namespace: Option<String>,
    /// 1 when left out; a DaemonSet has a pod on every node that takes pods.
    replicas: Option<usize>,
    /// CPU request of the container.
    cpu: Option<Value>,
    /// Memory request of the container.
    memory: Option<Value>,
    /// Nodes of the pods, in order; round robin when left out.
    on: Vec<String>,
    /// So many pods, the last ones, wait for a node.
    pending: usize,
    /// So many pods, the last ones, run and are not ready, in a crash loop.
    broken: usize,
    /// More labels of the pods.
    labels: BTreeMap<String, String>,
    /// Budgets: `{minAvailable: 1}`, `{maxUnavailable: 20%}`, with `unhealthy: AlwaysAllow` if need be.
    budgets: Vec<Budget>,
    /// A Service of the same name selects the pods.
    service: bool,
    /// Topology spread constraints.
    spread: Vec<Spread>,
    /// Pods keep apart.
    apart: Option<Apart>,
    /// `terminationGracePeriodSeconds`.
    grace: Option<u32>,
    /// A preStop hook that sleeps so many seconds.
    pre_stop: Option<u32>,
    /// Seconds from binding to Running.
    start: Option<f64>,
    /// Seconds from Running to Ready, or `never`.
    ready: Option<Value>,
    /// Seconds from SIGTERM to the end, or `ignore`.
    stop: Option<Value>,
    /// Seconds from Ready to the end, for pods that end by themselves.
    run: Option<f64>,
    /// Exit code of a pod that ends by itself.
    exit_code: Option<i32>,
    /// Exit code of a pod that is stopped.
    stop_exit_code: Option<i32>,
    /// The pods have an emptyDir volume.
    empty_dir: bool,
    /// StatefulSets: every pod has a volume.
    storage: Option<Storage>,
    /// Merged into the pods' spec.
    pod_spec: Value,
    /// Merged into the workload's spec.
    spec: Value,
}

/// Kinds in short form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Kind {
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    Pod,
}

/// A budget of the workload's pods.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Budget {
    min_available: Option<Value>,
    max_unavailable: Option<Value>,
    unhealthy: Option<String>,
}

/// A topology spread constraint on the workload's own pods.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spread {
    /// `hostname` or `zone`.
    by: Domain,
    /// DoNotSchedule.
    #[serde(default)]
    hard: bool,
    /// 1 when left out.
    max_skew: Option<u32>,
    min_domains: Option<u32>,
    /// `nodeTaintsPolicy: Honor`.
    #[serde(default)]
    honor_taints: bool,
}

/// Anti-affinity between the workload's own pods.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Apart {
    /// `hostname` or `zone`.
    by: Domain,
    /// Required, not preferred.
    #[serde(default)]
    hard: bool,
}

/// What domains are told apart by.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Domain {
    Hostname,
    Zone,
}

impl Domain {
    fn key(self) -> &'static str {
        match self {
            Domain::Hostname => "kubernetes.io/hostname",
            Domain::Zone => "topology.kubernetes.io/zone",
        }
    }
}

/// Where the volumes of a StatefulSet may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Storage {
    /// A disk of the node.
    Local,
    /// Attached to any node of the zone.
    Zonal,
    /// Attached to any node.
    Network,
}

/// All objects of a workload.
pub(super) fn objects(form: &Form, places: &[Place]) -> anyhow::Result<Vec<Value>> {
    if form.name.is_empty() {
        bail!("`name` is missing");
    }
    let kind = form.kind.unwrap_or(Kind::Deployment);
    if form.storage.is_some() && kind != Kind::StatefulSet {
        bail!("`storage` is for StatefulSets");
    }
    let on = form.nodes(kind, places)?;
    let mut objects = form.owners(kind, on.len())?;
    for (index, node) in on.iter().enumerate() {
        if let (Some(storage), Some(node)) = (form.storage, node) {
            objects.extend(form.volume(storage, index, node));
        }
        objects.push(form.pod(kind, index, *node, on.len())?);
    }
    objects.extend(form.budgets.iter().enumerate().map(|(index, budget)| form.budget(index, budget)));
    if form.service {
        objects.push(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": form.meta(&form.name, json!({})),
            "spec": {"selector": {"app": form.name}, "ports": [{"port": 80}]},
        }));
    }
    Ok(objects)
}

impl Form {
    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    fn meta(&self, name: &str, more: Value) -> Value {
        merged(json!({"name": name, "namespace": self.namespace(), "creationTimestamp": CREATED}), &more)
    }

    fn labels(&self) -> Value {
        let mut labels = self.labels.clone();
        labels.insert("app".to_owned(), self.name.clone());
        json!(labels)
    }

    /// The node of each pod; `None`: it waits for one.
    fn nodes<'a>(&self, kind: Kind, places: &'a [Place]) -> anyhow::Result<Vec<Option<&'a Place>>> {
        let open: Vec<&Place> = places.iter().filter(|place| place.open).collect();
        let count = match (kind, self.replicas) {
            (_, Some(count)) => count,
            (Kind::DaemonSet, None) if self.on.is_empty() => return Ok(places.iter().map(Some).collect()),
            (_, None) => self.on.len().max(1),
        };
        let placed = count.saturating_sub(self.pending);
        if !self.on.is_empty() && self.on.len() != placed {
            bail!("`on` names {} nodes for {placed} pods", self.on.len());
        }
        let find = |name: &String| {
            places.iter().find(|place| place.name == *name).with_context(|| format!("there is no node {name}"))
        };
        let mut nodes: Vec<Option<&Place>> = match (self.on.is_empty(), open.is_empty()) {
            (false, _) => self.on.iter().map(find).map(|place| place.map(Some)).collect::<anyhow::Result<_>>()?,
            (true, true) if placed > 0 => bail!("there is no node for its pods"),
            (true, _) => (0..placed).map(|index| Some(open[index % open.len()])).collect(),
        };
        nodes.resize(count, None);
        Ok(nodes)
    }

    fn owners(&self, kind: Kind, replicas: usize) -> anyhow::Result<Vec<Value>> {
        let selector = json!({"matchLabels": {"app": self.name}});
        let template = |hash: bool| json!({"metadata": self.pod_meta(hash), "spec": self.pod_spec()});
        let spec = |fields: Value| merged(fields, &self.spec);
        Ok(match kind {
            Kind::Pod => Vec::new(),
            Kind::Deployment => vec![
                json!({
                    "apiVersion": "apps/v1", "kind": "Deployment",
                    "metadata": self.meta(&self.name, json!({"annotations": {"deployment.kubernetes.io/revision": "1"}})),
                    "spec": spec(json!({"replicas": replicas, "selector": selector, "template": template(false)})),
                }),
                json!({
                    "apiVersion": "apps/v1", "kind": "ReplicaSet",
                    "metadata": self.meta(&format!("{}-1", self.name), json!({
                        "annotations": {"deployment.kubernetes.io/revision": "1"},
                        "labels": {"app": self.name, "pod-template-hash": "1"},
                        "ownerReferences": [self.reference("Deployment", &self.name)],
                    })),
                    "spec": {
                        "replicas": replicas, "template": template(true),
                        "selector": {"matchLabels": {"app": self.name, "pod-template-hash": "1"}},
                    },
                }),
            ],
            Kind::ReplicaSet | Kind::StatefulSet => {
                let mut fields = json!({"replicas": replicas, "selector": selector, "template": template(false)});
                if let Some(storage) = self.storage {
                    fields["volumeClaimTemplates"] =
                        json!([{"metadata": {"name": "data"}, "spec": claim_spec(storage)}]);
                }
                let kind = if kind == Kind::ReplicaSet { "ReplicaSet" } else { "StatefulSet" };
                vec![self.workload(kind, "apps/v1", spec(fields))]
            }
            Kind::DaemonSet => {
                vec![self.workload(
                    "DaemonSet",
                    "apps/v1",
                    spec(json!({"selector": selector, "template": template(false)})),
                )]
            }
            Kind::Job => {
                let fields = json!({"parallelism": replicas, "completions": replicas, "template": template(false)});
                vec![self.workload("Job", "batch/v1", spec(fields))]
            }
        })
    }

    fn workload(&self, kind: &str, api_version: &str, spec: Value) -> Value {
        json!({"apiVersion": api_version, "kind": kind, "metadata": self.meta(&self.name, json!({})), "spec": spec})
    }

    fn reference(&self, kind: &str, name: &str) -> Value {
        let version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
        json!({"apiVersion": version, "kind": kind, "name": name, "controller": true})
    }

    fn pod_meta(&self, hash: bool) -> Value {
        let mut labels = self.labels();
        if hash {
            labels["pod-template-hash"] = json!("1");
        }
        let mut annotations = Map::new();
        let mut fixed = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                annotations.insert(format!("sim/{key}"), text(&value));
            }
        };
        fixed("start-seconds", self.start.map(|seconds| json!(seconds.to_string())));
        fixed("ready-seconds", self.ready.clone());
        fixed("stop-seconds", self.stop.clone());
        fixed("run-seconds", self.run.map(|seconds| json!(seconds.to_string())));
        fixed("exit-code", self.exit_code.map(|code| json!(code.to_string())));
        fixed("stop-exit-code", self.stop_exit_code.map(|code| json!(code.to_string())));
        json!({"labels": labels, "annotations": annotations})
    }

    fn pod_spec(&self) -> Value {
        let mut requests = Map::new();
        for (name, amount) in [("cpu", &self.cpu), ("memory", &self.memory)] {
            if let Some(amount) = amount {
                requests.insert(name.to_owned(), text(amount));
            }
        }
        let mut container = json!({"name": "c", "image": "app:1", "resources": {"requests": requests}});
        if let Some(seconds) = self.pre_stop {
            container["lifecycle"] = json!({"preStop": {"sleep": {"seconds": seconds}}});
        }
        let mut spec = json!({"containers": [container]});
        if let Some(grace) = self.grace {
            spec["terminationGracePeriodSeconds"] = json!(grace);
        }
        if self.kind == Some(Kind::Job) {
            spec["restartPolicy"] = json!("Never");
        }
        if self.empty_dir {
            spec["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
        }
        let own = json!({"matchLabels": {"app": self.name}});
        if !self.spread.is_empty() {
            let constraint = |spread: &Spread| {
                let mut constraint = json!({
                    "maxSkew": spread.max_skew.unwrap_or(1), "topologyKey": spread.by.key(), "labelSelector": own,
                    "whenUnsatisfiable": if spread.hard { "DoNotSchedule" } else { "ScheduleAnyway" },
                });
                if let Some(least) = spread.min_domains {
                    constraint["minDomains"] = json!(least);
                }
                if spread.honor_taints {
                    constraint["nodeTaintsPolicy"] = json!("Honor");
                }
                constraint
            };
            spec["topologySpreadConstraints"] = self.spread.iter().map(constraint).collect();
        }
        if let Some(apart) = &self.apart {
            let term = json!({"labelSelector": own, "topologyKey": apart.by.key()});
            spec["affinity"] = if apart.hard {
                json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})
            } else {
                let term = json!({"weight": 100, "podAffinityTerm": term});
                json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}})
            };
        }
        merged(spec, &self.pod_spec)
    }

    fn pod(&self, kind: Kind, index: usize, place: Option<&Place>, replicas: usize) -> anyhow::Result<Value> {
        let node = place.map(|place| place.name.as_str());
        let (name, owner) = match kind {
            Kind::Deployment => {
                let set = format!("{}-1", self.name);
                (format!("{set}-{}", index + 1), Some(self.reference("ReplicaSet", &set)))
            }
            Kind::ReplicaSet => {
                (format!("{}-{}", self.name, index + 1), Some(self.reference("ReplicaSet", &self.name)))
            }
            Kind::StatefulSet => (format!("{}-{index}", self.name), Some(self.reference("StatefulSet", &self.name))),
            Kind::DaemonSet => {
                let node = node.context("a DaemonSet's pod waits for no node")?;
                (format!("{}-{node}", self.name), Some(self.reference("DaemonSet", &self.name)))
            }
            Kind::Job => (format!("{}-{}", self.name, index + 1), Some(self.reference("Job", &self.name))),
            Kind::Pod if replicas == 1 => (self.name.clone(), None),
            Kind::Pod => (format!("{}-{}", self.name, index + 1), None),
        };
        let mut meta = merged(self.meta(&name, json!({})), &self.pod_meta(kind == Kind::Deployment));
        if let Some(owner) = owner {
            meta["ownerReferences"] = json!([owner]);
        }
        let mut spec = self.pod_spec();
        match kind {
            Kind::StatefulSet => {
                meta["labels"]["statefulset.kubernetes.io/pod-name"] = json!(name);
                meta["labels"]["apps.kubernetes.io/pod-index"] = json!(index.to_string());
                spec["hostname"] = json!(name);
                if self.storage.is_some() {
                    let claim = json!({"name": "data", "persistentVolumeClaim": {"claimName": format!("data-{name}")}});
                    let mut volumes = spec["volumes"].as_array().cloned().unwrap_or_default();
                    volumes.push(claim);
                    spec["volumes"] = json!(volumes);
                }
            }
            Kind::DaemonSet => {
                let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
                spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
                    json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
            }
            Kind::Job => meta["finalizers"] = json!(["batch.kubernetes.io/job-tracking"]),
            Kind::Deployment | Kind::ReplicaSet | Kind::Pod => {}
        }
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec});
        match node {
            Some(node) => {
                let ready = index + self.broken + self.pending < replicas;
                pod["spec"]["nodeName"] = json!(node);
                pod["status"] = running(ready, if self.run.is_some() { STARTED } else { CREATED });
                if !ready {
                    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
                    pod["status"]["containerStatuses"] = json!([{"name": "c", "restartCount": 7, "state": waiting}]);
                }
            }
            None => pod["status"] = json!({"phase": "Pending"}),
        }
        Ok(pod)
    }

    fn budget(&self, index: usize, budget: &Budget) -> Value {
        let mut spec = json!({"selector": {"matchLabels": {"app": self.name}}});
        let fields = [("minAvailable", &budget.min_available), ("maxUnavailable", &budget.max_unavailable)];
        for (field, value) in fields {
            if let Some(value) = value {
                spec[field] = value.clone();
            }
        }
        if let Some(policy) = &budget.unhealthy {
            spec["unhealthyPodEvictionPolicy"] = json!(policy);
        }
        let name = if index == 0 { self.name.clone() } else { format!("{}-{}", self.name, index + 1) };
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": self.meta(&name, json!({"generation": 1})), "spec": spec,
        })
    }

    fn volume(&self, storage: Storage, index: usize, place: &Place) -> Vec<Value> {
        let claim = format!("data-{}-{index}", self.name);
        let volume = format!("pv-{claim}");
        let mut spec = json!({
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": class(storage),
            "claimRef": {"namespace": self.namespace(), "name": claim},
        });
        let domain = match storage {
            Storage::Local => Some(("kubernetes.io/hostname", place.name.clone())),
            Storage::Zonal => place.zone.clone().map(|zone| ("topology.kubernetes.io/zone", zone)),
            Storage::Network => None,
        };
        if let Some((key, value)) = domain {
            let expression = json!({"key": key, "operator": "In", "values": [value]});
            spec["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}});
        }
        if storage == Storage::Local {
            spec["local"] = json!({"path": "/data"});
        } else {
            spec["csi"] = json!({"driver": "disk.example.com", "volumeHandle": volume});
        }
        let mut claim_spec = claim_spec(storage);
        claim_spec["volumeName"] = json!(volume);
        vec![
            json!({
                "apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": volume, "creationTimestamp": CREATED}, "spec": spec, "status": {"phase": "Bound"},
            }),
            json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": self.meta(&claim, json!({"annotations": {"pv.kubernetes.io/bind-completed": "yes"}})),
                "spec": claim_spec, "status": {"phase": "Bound"},
            }),
        ]
    }
}

fn class(storage: Storage) -> &'static str {
    match storage {
        Storage::Local => "local",
        Storage::Zonal => "zonal",
        Storage::Network => "network",
    }
}

fn claim_spec(storage: Storage) -> Value {
    json!({
        "accessModes": ["ReadWriteOnce"], "storageClassName": class(storage),
        "resources": {"requests": {"storage": "1Gi"}},
    })
}

/// A JSON merge patch (RFC 7386) applied.
fn merged(mut target: Value, patch: &Value) -> Value {
    match (&mut target, patch) {
        (_, Value::Null) => target,
        (Value::Object(fields), Value::Object(changes)) => {
            for (key, change) in changes {
                let before = fields.remove(key).unwrap_or(Value::Null);
                if !change.is_null() {
                    let after = if change.is_object() { merged(object(before), change) } else { change.clone() };
                    fields.insert(key.clone(), after);
                }
            }
            target
        }
        (_, patch) => patch.clone(),
    }
}

fn object(value: Value) -> Value {
    if value.is_object() { value } else { json!({}) }
}
