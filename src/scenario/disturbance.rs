//! What somebody else does during a run, as scenario files and recordings write it (DRAINS.md, "Actions").

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::cluster::{
    Backup, BudgetId, Cluster, IntOrPercent, Lock, Millis, Name, NodeId, ObjectKey, Owner, Phase, PodId, PodSpec,
    Selector, ServiceId, WorkloadId,
};
use crate::simulator::{Act, Chooser, Disturbance, Trigger, World, controllers};
use crate::trace::Event;

/// One action of a scenario file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Action {
    /// `start`, `node:<name>` (just before its cordon) or `after:<name>` (just after its uncordon).
    #[serde(default)]
    pub at: Option<String>,
    /// Seconds after that.
    #[serde(default)]
    pub delay: f64,
    /// What is done.
    #[serde(rename = "do")]
    pub verb: Verb,
    /// Node to cordon or uncordon.
    #[serde(default)]
    pub node: Option<String>,
    /// Kind of the object.
    #[serde(default)]
    pub kind: Option<String>,
    /// Its namespace; `default` when left out.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// `Orphan` leaves what the object owns.
    #[serde(default)]
    pub propagation: Option<String>,
    /// Grace period of a deletion in seconds.
    #[serde(default)]
    pub grace: Option<u32>,
    /// Pods concerned.
    #[serde(default)]
    pub pods: Option<PodChoice>,
    /// Merge patch, or the object to create.
    #[serde(default)]
    pub body: Option<serde_json::Value>,
    /// How long to wait.
    #[serde(default)]
    pub seconds: Option<f64>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// `kubectl cordon`.
    Cordon,
    /// `kubectl uncordon`.
    Uncordon,
    /// DELETE of an object.
    Delete,
    /// DELETE of pods.
    DeletePods,
    /// Merge patch of an object.
    Patch,
    /// Merge patch of pods.
    PatchPods,
    /// A new object.
    Create,
    /// Kubelets report pods not ready.
    Unready,
    /// Kubelets report pods ready.
    Ready,
    /// Nothing for a while.
    Wait,
    /// The engine is killed and started again: what it had decided and not done is forgotten.
    KillEngine,
    /// The host job of a node will fail.
    FailHost,
    /// The host job of a node will never end: the node does not come back.
    HangHost,
    /// The cluster's lock is somebody else's (`name`).
    TakeLock,
    /// The backup that is being taken fails.
    FailBackup,
}

/// Pods by namespace, labels, node, name; the first `count` of them in namespace/name order.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodChoice {
    /// Namespace; any when left out.
    pub namespace: Option<String>,
    /// Labels that must all be there.
    pub labels: BTreeMap<String, String>,
    /// Node.
    pub node: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// How many; all when left out.
    pub count: Option<usize>,
}

/// An action that cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("action {verb:?}: {problem}")]
pub struct ActionError {
    verb: Verb,
    problem: String,
}

impl Action {
    /// The action as something that happens in a world.
    pub fn compile(&self) -> Result<Disturbance, ActionError> {
        let error = |problem: &str| ActionError { verb: self.verb, problem: problem.to_owned() };
        let trigger = match self.at.as_deref() {
            None | Some("start") => Trigger::Start,
            Some(at) => match at.split_once(':') {
                Some(("node", node)) => Trigger::BeforeNode(node.into()),
                Some(("after", node)) => Trigger::AfterNode(node.into()),
                _ => return Err(error("`at` is start, node:<name> or after:<name>")),
            },
        };
        let object = || -> Result<ObjectKey, ActionError> {
            let kind = self.kind.as_deref().ok_or_else(|| error("`kind` is missing"))?;
            let name = self.name.as_deref().ok_or_else(|| error("`name` is missing"))?;
            let namespace = match kind {
                "Node" | "Namespace" | "PersistentVolume" => "",
                _ => self.namespace.as_deref().unwrap_or("default"),
            };
            Ok(ObjectKey::new(namespace.into(), kind, name.into()))
        };
        let pods = || self.pods.clone().ok_or_else(|| error("`pods` is missing"));
        let body = || self.body.clone().ok_or_else(|| error("`body` is missing"));
        let act: Arc<Act> = match self.verb {
            Verb::Cordon | Verb::Uncordon => {
                let node = Name::new(self.node.as_deref().ok_or_else(|| error("`node` is missing"))?);
                let schedulable = self.verb == Verb::Uncordon;
                Arc::new(move |world, chooser| {
                    if let Some(node) = world.cluster.find_node(node) {
                        world.set_schedulable(node, schedulable, chooser);
                    }
                })
            }
            Verb::Ready | Verb::Unready => {
                let (pods, ready) = (pods()?, self.verb == Verb::Ready);
                Arc::new(move |world, chooser| {
                    for pod in pods.select(&world.cluster) {
                        if world.cluster.pod(pod).phase == Phase::Running {
                            world.set_ready(pod, ready, chooser);
                        }
                    }
                })
            }
            Verb::DeletePods => {
                let (pods, grace) = (pods()?, self.grace);
                Arc::new(move |world, chooser| {
                    for pod in pods.select(&world.cluster) {
                        world.delete_pod(pod, grace, chooser);
                    }
                })
            }
            Verb::Delete => {
                let (object, grace) = (object()?, self.grace);
                let orphan = self.propagation.as_deref() == Some("Orphan");
                Arc::new(move |world, chooser| delete(world, &object, orphan, grace, chooser))
            }
            Verb::Patch => {
                let (object, change) = (object()?, Change::read(&body()?).map_err(|problem| error(&problem))?);
                Arc::new(move |world, chooser| change.apply(world, &object, chooser))
            }
            Verb::PatchPods => {
                let (pods, body) = (pods()?, body()?);
                let held =
                    body.pointer("/metadata/finalizers").map(|list| list.as_array().is_some_and(|l| !l.is_empty()));
                let held = held.ok_or_else(|| error("only `metadata.finalizers` of pods can be patched"))?;
                Arc::new(move |world, chooser| {
                    for pod in pods.select(&world.cluster) {
                        world.cluster.update_pod(pod, |pod| pod.foreign_finalizer = held);
                        world.finalizers_changed(pod, chooser);
                    }
                })
            }
            Verb::Create => {
                let body = body()?;
                Arc::new(move |world, chooser| create(world, body.clone(), chooser))
            }
            Verb::Wait => Arc::new(|_, _| {}),
            Verb::KillEngine => Arc::new(|world, chooser| world.restart_engine(chooser)),
            Verb::FailHost | Verb::HangHost => {
                let node = Name::new(self.node.as_deref().ok_or_else(|| error("`node` is missing"))?);
                let hangs = self.verb == Verb::HangHost;
                Arc::new(move |world, _| {
                    if let Some(node) = world.cluster.find_node(node) {
                        world.hosts[node.index()].fails = !hangs;
                        world.hosts[node.index()].hangs = hangs;
                    }
                })
            }
            Verb::TakeLock => {
                let holder = Name::new(self.name.as_deref().ok_or_else(|| error("`name` is missing"))?);
                Arc::new(move |world, chooser| {
                    world.cluster.run.lock = Lock::Other { holder, since: world.now };
                    world.emit(Event::Lock, chooser);
                })
            }
            Verb::FailBackup => Arc::new(|world, chooser| {
                world.cluster.run.backup = Backup::Failed;
                world.emit(Event::Backup, chooser);
            }),
        };
        let name = Name::new(&format!("{:?}", self.verb).to_lowercase());
        Ok(Disturbance { name, trigger, delay: Millis((self.delay * 1000.0) as i64), act })
    }
}

impl PodChoice {
    /// The pods of a cluster that are meant.
    pub fn select(&self, cluster: &Cluster) -> Vec<PodId> {
        let selector = Selector::from_labels(self.labels.iter().map(|(key, value)| (Name::new(key), Name::new(value))));
        let mut chosen: Vec<PodId> = cluster
            .pods()
            .filter(|(_, pod)| {
                let spec = cluster.catalog.spec(pod.spec);
                !pod.gone
                    && self.namespace.as_deref().is_none_or(|namespace| spec.namespace == namespace)
                    && self.name.as_deref().is_none_or(|name| pod.name == name)
                    && self
                        .node
                        .as_deref()
                        .is_none_or(|node| pod.node.is_some_and(|id| cluster.node(id).name() == node))
                    && selector.matches(&spec.labels)
            })
            .map(|(id, _)| id)
            .collect();
        chosen.sort_by_key(|&id| cluster.pod_key(id));
        chosen.truncate(self.count.unwrap_or(usize::MAX));
        chosen
    }
}

/// A merge patch that the model can play.
#[derive(Clone, Debug, Default)]
struct Change {
    replicas: Option<i32>,
    template_labels: Vec<(Name, Name)>,
    min_available: Option<IntOrPercent>,
    max_unavailable: Option<IntOrPercent>,
    always_allow_unhealthy: Option<bool>,
}

impl Change {
    fn read(body: &serde_json::Value) -> Result<Change, String> {
        let mut change = Change::default();
        let spec = body.get("spec").and_then(|spec| spec.as_object()).ok_or("only `spec` can be patched")?;
        for (field, value) in spec {
            match field.as_str() {
                "replicas" => change.replicas = value.as_i64().and_then(|count| i32::try_from(count).ok()),
                "minAvailable" => change.min_available = int_or_percent(value),
                "maxUnavailable" => change.max_unavailable = int_or_percent(value),
                "unhealthyPodEvictionPolicy" => change.always_allow_unhealthy = Some(value == "AlwaysAllow"),
                "template" => {
                    let labels = value.pointer("/metadata/labels").and_then(|labels| labels.as_object());
                    let labels = labels.ok_or("of a template only `metadata.labels` can be patched")?;
                    change.template_labels = labels
                        .iter()
                        .map(|(key, value)| (Name::new(key), Name::new(value.as_str().unwrap_or_default())))
                        .collect();
                }
                other => return Err(format!("`spec.{other}` cannot be patched in a scenario")),
            }
        }
        Ok(change)
    }

    fn apply(&self, world: &mut World, object: &ObjectKey, chooser: &mut dyn Chooser) {
        if let Some(workload) = world.cluster.find_workload(object) {
            if !self.template_labels.is_empty() {
                relabel(world, workload, &self.template_labels);
            }
            match self.replicas {
                Some(replicas) => world.scale(workload, replicas, chooser),
                None => world.wake_workload(workload, chooser),
            }
        }
        let budget = world
            .cluster
            .budgets()
            .find(|(id, budget)| !budget.gone && world.cluster.budget_key(*id) == *object)
            .map(|(id, _)| id);
        if let Some(budget) = budget {
            use crate::cluster::BudgetLimit::{MaxUnavailable, MinAvailable};
            let limit = self.min_available.map(MinAvailable).or(self.max_unavailable.map(MaxUnavailable));
            world.cluster.update_budget(budget, |budget| {
                budget.limit = limit.unwrap_or(budget.limit);
                budget.always_allow_unhealthy = self.always_allow_unhealthy.unwrap_or(budget.always_allow_unhealthy);
                budget.generation += 1;
            });
            world.wake_budget(budget, chooser);
        }
    }
}

fn int_or_percent(value: &serde_json::Value) -> Option<IntOrPercent> {
    match value.as_str() {
        Some(text) => IntOrPercent::parse_percent(text),
        None => value.as_i64().and_then(|count| i32::try_from(count).ok()).map(IntOrPercent::Int),
    }
}

/// The template gets other labels: a rollout begins.
fn relabel(world: &mut World, workload: WorkloadId, labels: &[(Name, Name)]) {
    let Some(previous) = world.cluster.workload(workload).template else { return };
    let mut spec: PodSpec = world.cluster.catalog.spec(previous).clone();
    for &(key, value) in labels {
        spec.labels = spec.labels.with(key, value);
    }
    controllers::change_template(world, workload, spec);
}

fn delete(world: &mut World, object: &ObjectKey, orphan: bool, grace: Option<u32>, chooser: &mut dyn Chooser) {
    if object.kind == "Namespace" {
        controllers::namespace::delete(world, object.name);
    } else if object.kind == "Pod" {
        let pod = world.cluster.pods().find(|(id, pod)| !pod.gone && world.cluster.pod_key(*id) == *object);
        if let Some(pod) = pod.map(|(id, _)| id) {
            world.delete_pod(pod, grace, chooser);
        }
    } else if object.kind == "Node" {
        if let Some(node) = world.cluster.find_node(object.name) {
            world.cluster.update_node(node, |node| node.gone = true);
            world.emit(Event::NodeGone(node), chooser);
        }
    } else if object.kind == "PodDisruptionBudget" {
        let budget = world
            .cluster
            .budgets()
            .find(|(id, budget)| !budget.gone && world.cluster.budget_key(*id) == *object)
            .map(|(id, _)| id);
        if let Some(budget) = budget {
            world.cluster.update_budget(budget, |budget| budget.gone = true);
            world.emit(Event::BudgetGone(budget), chooser);
        }
    } else if let Some(workload) = world.cluster.find_workload(object) {
        delete_workload(world, workload, orphan, chooser);
    }
}

/// The object goes at once; what it owns is left without an owner, or collected (KUBERNETES.md D7).
fn delete_workload(world: &mut World, workload: WorkloadId, orphan: bool, chooser: &mut dyn Chooser) {
    let owned = world.cluster.owned_workloads(workload).to_vec();
    world.cluster.update_workload(workload, |workload| workload.deleted = true);
    world.emit(Event::WorkloadGone(workload), chooser);
    for pod in world.cluster.pods_of_workload(workload).to_vec() {
        if orphan {
            world.cluster.update_pod(pod, |pod| {
                pod.owner = Owner::None;
                pod.job_finalizer = false;
            });
            world.finalizers_changed(pod, chooser);
        } else {
            world.delete_pod(pod, None, chooser);
        }
    }
    for child in owned {
        if orphan {
            world.cluster.update_workload(child, |child| child.owner = None);
        } else {
            delete_workload(world, child, false, chooser);
        }
    }
    if orphan {
        controllers::adopt_orphans(&mut world.cluster);
    }
}

fn create(world: &mut World, mut body: serde_json::Value, chooser: &mut dyn Chooser) {
    // The API server numbers what it stores.
    if let Some(metadata) = body.get_mut("metadata").and_then(|metadata| metadata.as_object_mut()) {
        metadata.insert("generation".to_owned(), 1.into());
    }
    let (pods, nodes) = (world.cluster.pods().len(), world.cluster.nodes().len());
    if crate::import::create(&mut world.cluster, body).is_err() {
        return;
    }
    controllers::adopt_orphans(&mut world.cluster);
    let (created, workloads) = (world.cluster.pods().len(), world.cluster.workloads().len());
    let (budgets, services) = (world.cluster.budgets().len(), world.cluster.services().len());
    let all_nodes = world.cluster.nodes().len();
    for index in nodes..all_nodes {
        world.hosts.push(Default::default());
        world.emit(Event::NodeCreated(NodeId(index as u32)), chooser);
    }
    for index in 0..budgets {
        world.wake_budget(BudgetId(index as u32), chooser);
    }
    for index in 0..services {
        world.wake_service(ServiceId(index as u32), chooser);
    }
    for index in pods..created {
        world.emit(Event::PodCreated(PodId(index as u32)), chooser);
    }
    for index in 0..workloads {
        world.wake_workload(WorkloadId(index as u32), chooser);
    }
}
