//! Small clusters, written as Kubernetes objects and read as any dump is.

use cmsim::cluster::Cluster;
use cmsim::import::from_objects;
use serde_json::{Value, json};

/// A cluster in the making.
#[derive(Clone, Default)]
pub struct Sketch {
    objects: Vec<Value>,
    nodes: Vec<String>,
}

/// Something that runs.
#[derive(Clone, Debug)]
pub struct App {
    pub name: String,
    pub kind: Kind,
    /// Node of each pod, by number; of a DaemonSet all nodes instead.
    pub on: Vec<usize>,
    /// How many of the pods are not ready, the last ones.
    pub unready: usize,
    pub milli_cpu: i64,
    pub grace_seconds: i64,
    pub empty_dir: bool,
    /// No two pods on one node.
    pub apart: bool,
    pub budget: Option<Budget>,
    pub service: bool,
    /// Fixed times in seconds, as scenario files have them.
    pub times: Vec<(&'static str, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
    /// The proxy of every node.
    KubeProxy,
    /// With this backoffLimit.
    Job(i32),
    Bare,
}

#[derive(Clone, Debug)]
pub enum Budget {
    Min(i32),
    MaxUnavailable(i32),
    MaxPercent(i32),
}

impl App {
    pub fn new(name: &str, kind: Kind, on: &[usize]) -> App {
        App {
            name: name.to_owned(),
            kind,
            on: on.to_vec(),
            unready: 0,
            milli_cpu: 100,
            grace_seconds: 30,
            empty_dir: false,
            apart: false,
            budget: None,
            service: false,
            times: Vec::new(),
        }
    }

    fn labels(&self) -> Value {
        json!({"app": self.name})
    }

    fn spec(&self) -> Value {
        let mut spec = json!({
            "containers": [{
                "name": "main", "image": "registry.example/app:1", "resources": {"requests": {"cpu": format!("{}m", self.milli_cpu)}},
            }],
            "terminationGracePeriodSeconds": self.grace_seconds,
            "restartPolicy": if matches!(self.kind, Kind::Job(_)) { "Never" } else { "Always" },
        });
        if self.empty_dir {
            spec["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
        }
        if self.apart {
            spec["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": self.labels()}},
            ]}});
        }
        if self.kind == Kind::KubeProxy {
            spec["hostNetwork"] = json!(true);
            spec["tolerations"] = json!([{"operator": "Exists"}]);
        }
        spec
    }

    fn template(&self, extra: &[(&str, &str)]) -> Value {
        let mut labels = self.labels();
        for (key, value) in extra {
            labels[*key] = json!(value);
        }
        let annotations: serde_json::Map<String, Value> =
            self.times.iter().map(|(key, value)| (format!("sim/{key}"), json!(value))).collect();
        json!({"metadata": {"labels": labels, "annotations": annotations}, "spec": self.spec()})
    }
}

impl Sketch {
    /// So many workers `w1`, `w2`, ... of 4 CPUs, all at v1.36.2, below a managed control plane of v1.37.1.
    pub fn of_workers(count: usize) -> Sketch {
        let mut sketch = Sketch::default();
        sketch.objects.push(json!({"serverVersion": {"gitVersion": "v1.37.1"}}));
        for number in 1..=count {
            sketch.node(&format!("w{number}"), false, "v1.36.2");
        }
        sketch
    }

    /// The same with control-plane nodes `c1`, `c2`, ... before the workers.
    pub fn with_control_plane(masters: usize, workers: usize) -> Sketch {
        let mut sketch = Sketch::default();
        for number in 1..=masters {
            sketch.node(&format!("c{number}"), true, "v1.36.2");
        }
        for number in 1..=workers {
            sketch.node(&format!("w{number}"), false, "v1.36.2");
        }
        sketch
    }

    fn node(&mut self, name: &str, control_plane: bool, version: &str) {
        let mut labels = json!({"kubernetes.io/hostname": name});
        let mut spec = json!({});
        if control_plane {
            labels["node-role.kubernetes.io/control-plane"] = json!("");
            spec["taints"] = json!([{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]);
        }
        self.objects.push(json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": spec,
            "status": {
                "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                "nodeInfo": {"kubeletVersion": version},
            },
        }));
        self.nodes.push(name.to_owned());
        if control_plane {
            self.static_pod("kube-apiserver", name, version);
        }
    }

    fn static_pod(&mut self, component: &str, node: &str, version: &str) {
        let mut pod = running_pod("kube-system", &format!("{component}-{node}"), node, true);
        pod["metadata"]["labels"] = json!({"component": component, "tier": "control-plane"});
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        pod["metadata"]["ownerReferences"] = json!([owner("v1", "Node", node)]);
        pod["spec"]["containers"] =
            json!([{"name": component, "image": format!("registry.k8s.io/{component}:{version}")}]);
        pod["spec"]["priorityClassName"] = json!("system-node-critical");
        self.objects.push(pod);
    }

    /// The operator has cordoned this node.
    pub fn cordoned(mut self, name: &str) -> Sketch {
        let node =
            self.objects.iter_mut().find(|object| object["kind"] == "Node" && object["metadata"]["name"] == name);
        node.expect("the node is there")["spec"]["unschedulable"] = json!(true);
        self
    }

    pub fn app(mut self, app: App) -> Sketch {
        match app.kind {
            Kind::Deployment => self.deployment(&app),
            Kind::StatefulSet => self.stateful_set(&app),
            Kind::DaemonSet | Kind::KubeProxy => self.daemon_set(&app),
            Kind::Job(backoff_limit) => self.job(&app, backoff_limit),
            Kind::Bare => {
                for place in 0..app.on.len() {
                    self.pod(&app, place, &format!("{}-{place}", app.name), None, &[]);
                }
            }
        }
        if let Some(budget) = &app.budget {
            let limit = match budget {
                Budget::Min(count) => json!({"minAvailable": count}),
                Budget::MaxUnavailable(count) => json!({"maxUnavailable": count}),
                Budget::MaxPercent(percent) => json!({"maxUnavailable": format!("{percent}%")}),
            };
            let mut object = json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": self.meta(&app.name),
                "spec": limit, "status": budget_status(budget, app.on.len(), app.unready),
            });
            object["metadata"]["generation"] = json!(1);
            object["spec"]["selector"] = json!({"matchLabels": app.labels()});
            self.objects.push(object);
        }
        if app.service {
            self.objects.push(json!({
                "apiVersion": "v1", "kind": "Service", "metadata": self.meta(&app.name),
                "spec": {"selector": app.labels(), "type": "ClusterIP", "clusterIP": "10.0.0.1"},
            }));
        }
        self
    }

    pub fn build(&self) -> Cluster {
        from_objects(self.objects.iter().cloned()).expect("the sketch is made of valid objects")
    }

    fn meta(&self, name: &str) -> Value {
        json!({"name": name, "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"})
    }

    fn deployment(&mut self, app: &App) {
        let (replicas, selector) = (app.on.len(), json!({"matchLabels": app.labels()}));
        let mut deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": self.meta(&app.name),
            "spec": {"replicas": replicas, "selector": selector, "template": app.template(&[])},
        });
        deployment["metadata"]["annotations"] = json!({"deployment.kubernetes.io/revision": "1"});
        self.objects.push(deployment);
        let hash = ("pod-template-hash", "abc");
        let set = format!("{}-abc", app.name);
        let mut meta = self.meta(&set);
        meta["ownerReferences"] = json!([owner("apps/v1", "Deployment", &app.name)]);
        meta["annotations"] = json!({"deployment.kubernetes.io/revision": "1"});
        meta["labels"] = json!({"app": app.name, "pod-template-hash": "abc"});
        self.objects.push(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta,
            "spec": {
                "replicas": replicas, "template": app.template(&[hash]),
                "selector": {"matchLabels": {"app": app.name, "pod-template-hash": "abc"}},
            },
        }));
        for place in 0..replicas {
            let name = format!("{set}-{place}");
            self.pod(app, place, &name, Some(owner("apps/v1", "ReplicaSet", &set)), &[hash]);
        }
    }

    fn stateful_set(&mut self, app: &App) {
        let revision = format!("{}-1", app.name);
        self.objects.push(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": self.meta(&app.name),
            "spec": {
                "replicas": app.on.len(), "serviceName": app.name, "selector": {"matchLabels": app.labels()},
                "template": app.template(&[]),
            },
            "status": {"currentRevision": revision, "updateRevision": revision, "currentReplicas": app.on.len()},
        }));
        for place in 0..app.on.len() {
            let name = format!("{}-{place}", app.name);
            let index = place.to_string();
            let labels = [
                ("apps.kubernetes.io/pod-index", index.as_str()),
                ("controller-revision-hash", revision.as_str()),
                ("statefulset.kubernetes.io/pod-name", name.as_str()),
            ];
            self.pod(app, place, &name, Some(owner("apps/v1", "StatefulSet", &app.name)), &labels);
        }
    }

    fn daemon_set(&mut self, app: &App) {
        self.objects.push(json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": self.meta(&app.name),
            "spec": {"selector": {"matchLabels": app.labels()}, "template": app.template(&[])},
        }));
        for place in 0..self.nodes.len() {
            let node = self.nodes[place].clone();
            if node.starts_with('c') && app.kind == Kind::DaemonSet {
                continue;
            }
            let name = format!("{}-{node}", app.name);
            let mut pod = running_pod("shop", &name, &node, true);
            dress(&mut pod, app, Some(owner("apps/v1", "DaemonSet", &app.name)), &[]);
            pod["spec"]["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}],
            }}});
            self.objects.push(pod);
        }
    }

    fn job(&mut self, app: &App, backoff_limit: i32) {
        let count = app.on.len();
        self.objects.push(json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": self.meta(&app.name),
            "spec": {
                "parallelism": count, "completions": count, "backoffLimit": backoff_limit,
                "selector": {"matchLabels": app.labels()}, "template": app.template(&[]),
            },
            "status": {"active": count},
        }));
        for place in 0..count {
            let name = format!("{}-{place}", app.name);
            self.pod(app, place, &name, Some(owner("batch/v1", "Job", &app.name)), &[]);
            let pod = self.objects.last_mut().expect("just added");
            pod["metadata"]["finalizers"] = json!(["batch.kubernetes.io/job-tracking"]);
        }
    }

    fn pod(&mut self, app: &App, place: usize, name: &str, owner: Option<Value>, labels: &[(&str, &str)]) {
        let node = self.nodes[app.on[place]].clone();
        let ready = place + app.unready < app.on.len();
        let mut pod = running_pod("shop", name, &node, ready);
        dress(&mut pod, app, owner, labels);
        self.objects.push(pod);
    }
}

fn dress(pod: &mut Value, app: &App, owner: Option<Value>, labels: &[(&str, &str)]) {
    let template = app.template(labels);
    pod["metadata"]["labels"] = template["metadata"]["labels"].clone();
    pod["metadata"]["annotations"] = template["metadata"]["annotations"].clone();
    if let Some(owner) = owner {
        pod["metadata"]["ownerReferences"] = json!([owner]);
    }
    let node = pod["spec"]["nodeName"].clone();
    pod["spec"] = template["spec"].clone();
    pod["spec"]["nodeName"] = node;
    // What the admission plugin adds to a pod, and not to its template.
    let mut tolerations = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    if tolerations.is_empty() {
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            tolerations
                .push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
    if matches!(app.kind, Kind::DaemonSet | Kind::KubeProxy) {
        for key in ["not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"] {
            let effect = if matches!(key, "not-ready" | "unreachable") { "NoExecute" } else { "NoSchedule" };
            let key = format!("node.kubernetes.io/{key}");
            tolerations.retain(|toleration| toleration["key"] != *key);
            tolerations.push(json!({"key": key, "operator": "Exists", "effect": effect}));
        }
    }
    pod["spec"]["tolerations"] = json!(tolerations);
}

fn running_pod(namespace: &str, name: &str, node: &str, ready: bool) -> Value {
    let ready = if ready { "True" } else { "False" };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"nodeName": node, "containers": []},
        "status": {
            "phase": "Running", "startTime": "2026-01-01T00:00:10Z",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"},
                {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:20Z"},
            ],
        },
    })
}

fn owner(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": format!("{kind}-{name}"), "controller": true})
}

fn budget_status(budget: &Budget, expected: usize, unready: usize) -> Value {
    let expected = expected as i32;
    let healthy = expected - unready as i32;
    let desired = match budget {
        Budget::Min(count) => *count,
        Budget::MaxUnavailable(count) => (expected - count).max(0),
        Budget::MaxPercent(percent) => (expected - (expected * percent + 99) / 100).max(0),
    };
    json!({
        "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected,
        "disruptionsAllowed": (healthy - desired).max(0), "observedGeneration": 1,
    })
}
