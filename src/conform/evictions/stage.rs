//! A world for a case, and the steps that are done in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context;
use serde_json::{Value, json};

use super::request::{self, Evict};
use super::{answer_of, hide_versions};
use crate::cluster::{Budget, BudgetId, Cluster, Labels, Millis, Name, Owner, Phase, PodId, Time};
use crate::scenario::Action;
use crate::simulator::eviction::{self, Answer};
use crate::simulator::{Choice, Chooser, Delay, First, Physics, Task, World};
use crate::trace::Event;

const NAMESPACE: &str = "ns";

/// As long as the recorder waited for something to move.
const STILL: Millis = Millis(500);

/// Takes the shortest delays, and of equal possibilities the one of this number, counted round.
#[derive(Clone, Copy)]
struct Pick(usize);

impl Chooser for Pick {
    fn pick(&mut self, _: Choice, among: usize) -> usize {
        self.0 % among.max(1)
    }

    fn between(&mut self, _: Delay, shortest: Millis, _: Millis) -> Millis {
        shortest
    }
}

#[derive(Clone)]
pub(super) struct Stage {
    world: World,
    chooser: Pick,
    /// Controllers do not run any more.
    paused: bool,
    /// What a pod is called in the recording.
    aliases: Vec<String>,
    /// Names that pods have in the model and in messages of the recording, where they differ.
    renamed: BTreeMap<String, String>,
    created: BTreeMap<String, usize>,
    /// Topmost owner of each workload at the beginning: pods are called by it.
    tops: Vec<Name>,
}

impl Stage {
    pub(super) fn new(initial: &BTreeMap<String, Vec<Value>>) -> anyhow::Result<Stage> {
        let mut objects = initial.clone();
        let mut renamed = BTreeMap::new();
        let mut nodes = BTreeSet::new();
        for (kind, list) in &mut objects {
            for object in list {
                if kind != "CustomResourceDefinition" && object.pointer("/metadata/namespace").is_none() {
                    object["metadata"]["namespace"] = NAMESPACE.into();
                }
                if kind == "Pod" {
                    nodes.extend(object.pointer("/spec/nodeName").and_then(Value::as_str).map(str::to_owned));
                    // Pods of a StatefulSet are known by their ordinal, which the recording's names do not show.
                    let of = object.pointer("/metadata/ownerReferences/0/kind").and_then(Value::as_str);
                    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
                    if of == Some("StatefulSet") {
                        let own = name.replace('/', "-");
                        object["metadata"]["name"] = own.as_str().into();
                        renamed.insert(own, name);
                    }
                }
            }
        }
        let node = |name: &String| {
            json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": "True"}],
                "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "500"}}})
        };
        objects.insert("Node".to_owned(), nodes.iter().map(node).collect());
        let mut cluster = crate::import::from_recording(&json!({ "objects": objects })).context("initial state")?;
        // A pod that is unschedulable or bound says so by its node alone: nobody schedules here.
        let ids: Vec<PodId> = cluster.pods().map(|(id, _)| id).collect();
        let mut aliases = Vec::new();
        let mut created: BTreeMap<String, usize> = BTreeMap::new();
        for id in ids {
            let name = cluster.pod(id).name;
            let alias = match renamed.get(name.as_str()) {
                Some(alias) => alias.clone(),
                None if name.contains('/') => name.to_string(),
                None => format!("{name}/0"),
            };
            if let Some((workload, _)) = alias.split_once("/new") {
                *created.entry(workload.to_owned()).or_default() += 1;
            }
            cluster.update_pod(id, |pod| pod.unschedulable = false);
            aliases.push(alias);
        }
        let tops = cluster.workloads().map(|(id, _)| cluster.workload(cluster.top(id)).key.name).collect();
        let now = cluster.catalog.input.taken_at.max(Time(1_700_000_000_000));
        let world = World::new(cluster, now, Arc::new(Physics::recorded()), &mut First);
        Ok(Stage { world, chooser: Pick(0), paused: false, aliases, renamed, created, tops })
    }

    /// What is left open is to be settled in another way from here on.
    pub(super) fn choose(&mut self, number: usize) {
        self.chooser = Pick(number);
    }

    /// As [`Stage::settle`], for what was at rest when it was recorded. Budgets that share pods keep their status: a change of a
    /// pod has only one of them looked at (B.6), so that what the others say may be old.
    pub(super) fn settle_at_first(&mut self) {
        let cluster = &self.world.cluster;
        let shares = |id: BudgetId| cluster.pods_of_budget(id).iter().any(|&pod| cluster.budgets_of_pod(pod).len() > 1);
        let kept: Vec<_> = cluster
            .budgets()
            .filter(|(id, budget)| shares(*id) && budget.status.observed_generation == budget.generation)
            .map(|(id, budget)| (id, budget.status.clone()))
            .collect();
        self.settle();
        for (id, status) in kept {
            self.world.cluster.update_budget_status(id, |current| *current = status);
        }
    }

    /// Lets the controllers work until nothing moves any more.
    pub(super) fn settle(&mut self) {
        let is_played = |task: &Task| {
            matches!(
                task,
                Task::SyncWorkload(_)
                    | Task::SyncBudget(_)
                    | Task::SyncService(_)
                    | Task::EmptyNamespace(_)
                    | Task::ClearDisruptionTarget(_)
            )
        };
        if !self.paused {
            loop {
                self.world.forget(|task| !is_played(task));
                match self.world.next() {
                    Some((due, _)) if due <= self.world.now + STILL => self.world.step(&mut self.chooser),
                    Some(_) | None => break,
                };
            }
        }
        self.world.now = self.world.now + STILL;
        self.name_new_pods();
    }

    /// The k-th pod that a workload has got since the beginning is its `new<k>`.
    fn name_new_pods(&mut self) {
        for index in self.aliases.len()..self.world.cluster.pods().len() {
            let pod = PodId(index as u32);
            let cluster = &self.world.cluster;
            let of = match cluster.pod(pod).owner {
                Owner::Workload(owner) => match self.tops.get(owner.index()) {
                    Some(top) => *top,
                    None => cluster.workload(cluster.top(owner)).key.name,
                },
                Owner::None | Owner::Missing { .. } | Owner::Node => cluster.pod(pod).name,
            };
            let number = self.created.entry(of.to_string()).or_default();
            self.aliases.push(format!("{of}/new{number}"));
            *number += 1;
        }
    }

    /// The name of the pod that the recording calls so.
    fn name_of(&self, alias: &str) -> Name {
        match self.aliases.iter().rposition(|known| known == alias) {
            Some(index) => self.world.cluster.pod(PodId(index as u32)).name,
            None => Name::new(alias),
        }
    }

    fn find(&self, alias: &str) -> Result<PodId, String> {
        let index = self.aliases.iter().rposition(|known| known == alias);
        let pod = index.map(|index| PodId(index as u32)).filter(|&pod| !self.world.cluster.pod(pod).gone);
        pod.ok_or_else(|| "a pod that the model does not have".to_owned())
    }

    /// Does a step. `Err`: what of it is not modelled.
    pub(super) fn perform(&mut self, op: &Value, response: Option<&Value>) -> Result<Vec<Answer>, String> {
        let text = |field: &str| op.get(field).and_then(Value::as_str).unwrap_or_default();
        let list = |field: &str| -> Vec<String> {
            let values = op.get(field).and_then(Value::as_array).into_iter().flatten();
            values.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        match text("op") {
            "evict" => {
                let request = Evict::deserialize(op)?;
                return Ok(vec![self.evict(&request)?]);
            }
            "evict-parallel" => return self.evict_all(&list("pods"), response),
            "set" => {
                let pod = self.find(text("pod"))?;
                self.set(pod, text("state"))?;
            }
            "finish" => {
                let pod = self.find(text("pod"))?;
                self.world.delete_pod(pod, Some(0), &mut self.chooser);
            }
            "label" => {
                for alias in list("pods") {
                    let pod = self.find(&alias)?;
                    let labels = relabelled(&self.world.cluster.spec(pod).labels, op.get("labels"));
                    self.world.relabel(pod, labels, &mut self.chooser);
                }
            }
            "delete" => {
                let name = if text("kind") == "Pod" { self.name_of(text("name")) } else { Name::new(text("name")) };
                let mut action = json!({"do": "delete", "kind": text("kind"), "namespace": NAMESPACE, "name": name});
                for field in ["propagation", "grace"] {
                    if let Some(value) = op.get(field) {
                        action[field] = value.clone();
                    }
                }
                self.act(action)?;
            }
            "patch" => self.act(json!({"do": "patch", "kind": text("kind"), "namespace": NAMESPACE,
                "name": text("name"), "body": op.get("body")}))?,
            "create" => {
                let mut object = op.get("object").cloned().unwrap_or_default();
                let answer = request::create(&object);
                if answer.code == 201 {
                    object["metadata"]["namespace"] = NAMESPACE.into();
                    self.act(json!({"do": "create", "body": object}))?;
                }
                return Ok(vec![answer]);
            }
            "delete-namespace" => self.act(json!({"do": "delete", "kind": "Namespace", "name": NAMESPACE}))?,
            "wait" => {
                let seconds = op.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
                let end = self.world.now + Millis((seconds * 1000.0) as i64);
                while self.world.now < end {
                    self.settle();
                }
            }
            "pause" => self.paused = true,
            "mark-disrupted" => {
                let pods = list("pods").into_iter().map(|alias| self.name_of(&alias));
                let names = pods.chain(list("names").iter().map(|name| Name::new(name))).collect();
                self.mark_disrupted(text("pdb"), names)?;
            }
            other => return Err(format!("step {other}")),
        }
        let code = if response.is_some() { 200 } else { 0 };
        Ok(vec![Answer { code, ..Answer::default() }])
    }

    fn act(&mut self, action: Value) -> Result<(), String> {
        let action: Action = serde_json::from_value(action).map_err(|error| error.to_string())?;
        let disturbance = action.compile().map_err(|error| error.to_string())?;
        (disturbance.act)(&mut self.world, &mut self.chooser);
        Ok(())
    }

    fn evict(&mut self, evict: &Evict) -> Result<Answer, String> {
        let name = self.name_of(&evict.pod);
        let request = evict.read(&name, NAMESPACE)?;
        let namespaces = &self.world.cluster.catalog.namespaces;
        let terminating = namespaces.get(&Name::new(NAMESPACE)).is_some_and(|namespace| namespace.terminating);
        let refused = request.malformed.or(request.refused.filter(|_| !terminating));
        if let Some(answer) = refused {
            return Ok(answer);
        }
        let answer = eviction::evict_named(&mut self.world, NAMESPACE.into(), name, request.options, &mut self.chooser);
        Ok(match request.invalid_deletion {
            Some(invalid) if answer.code == 201 || answer.code == 409 => invalid,
            Some(_) | None => answer,
        })
    }

    /// Which of several simultaneous evictions win is a race: those that won in the recording come first here.
    fn evict_all(&mut self, pods: &[String], response: Option<&Value>) -> Result<Vec<Answer>, String> {
        let won = |index: usize| {
            response.and_then(|list| list.get(index)).and_then(|one| one.get("code")).and_then(Value::as_u64)
                == Some(201)
        };
        let mut order: Vec<usize> = (0..pods.len()).collect();
        order.sort_by_key(|&index| !won(index));
        let mut answers = vec![Answer::default(); pods.len()];
        for index in order {
            let request = Evict::deserialize(&json!({"op": "evict", "pod": pods[index]}))?;
            // A request that met a write conflict looks again after a pause (A.6), when the controller may have counted anew.
            let mut later = self.clone();
            later.settle();
            answers[index] = self.evict(&request)?;
            let recorded = response.and_then(|list| list.get(index)).map(answer_of);
            if answers[index].code == 429 && recorded.is_some_and(|recorded| recorded != self.written(&answers[index]))
            {
                answers[index] = later.evict(&request)?;
            }
        }
        Ok(answers)
    }

    /// Gives a pod the state that a letter stands for.
    fn set(&mut self, pod: PodId, letter: &str) -> Result<(), String> {
        let (phase, ready, bound) = match letter {
            "R" => (Phase::Running, true, true),
            "N" | "U" | "C" => (Phase::Running, false, true),
            "P" => (Phase::Pending, false, false),
            "B" => (Phase::Pending, false, true),
            "p" => (Phase::Pending, true, true),
            "S" => (Phase::Succeeded, false, true),
            "F" => (Phase::Failed, false, true),
            other => return Err(format!("state {other}")),
        };
        let (now, node) = (self.world.now, self.world.cluster.nodes().next().map(|(id, _)| id));
        self.world.cluster.update_pod(pod, |pod| {
            pod.phase = phase;
            pod.node = pod.node.or(node.filter(|_| bound));
            if pod.ready != ready {
                pod.ready_since = now;
            }
            pod.ready = ready;
        });
        let event = match phase {
            Phase::Succeeded => Event::PodSucceeded(pod),
            Phase::Failed => Event::PodFailed(pod),
            Phase::Pending | Phase::Running | Phase::Unknown if ready => Event::PodReady(pod),
            Phase::Pending | Phase::Running | Phase::Unknown => Event::PodNotReady(pod),
        };
        self.world.emit(event, &mut self.chooser);
        Ok(())
    }

    fn mark_disrupted(&mut self, budget: &str, names: Vec<Name>) -> Result<(), String> {
        let is_meant = |it: &Budget| !it.gone && (budget.is_empty() || it.name == budget);
        let found = self.world.cluster.budgets().find(|(_, it)| is_meant(it)).map(|(id, _)| id);
        let budget: BudgetId = found.ok_or("a budget that the model does not have")?;
        let now = self.world.now;
        self.world.cluster.update_budget_status(budget, |status| {
            status.disrupted.extend(names.into_iter().map(|name| (name, now)));
            status.disrupted.sort_unstable();
            status.disrupted.dedup_by_key(|entry| entry.0);
        });
        self.world.wake_budget(budget, &mut self.chooser);
        Ok(())
    }

    /// An answer as one line, in the words of the recording.
    pub(super) fn written(&self, answer: &Answer) -> String {
        let causes: Vec<Value> =
            answer.causes.iter().map(|(reason, message)| json!({"reason": reason, "message": message})).collect();
        let header =
            if answer.retry_after_seconds > 0 { answer.retry_after_seconds.to_string() } else { String::new() };
        let line = answer_of(&json!({"code": answer.code, "retry_after_header": header, "body": {
            "reason": answer.reason, "message": answer.message,
            "details": {"causes": causes, "retryAfterSeconds": answer.retry_after_seconds}}}));
        self.in_recorded_names(&line)
    }

    fn in_recorded_names(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (own, recorded) in &self.renamed {
            text = text.replace(&format!("\"{own}"), &format!("\"{recorded}"));
        }
        hide_versions(&text)
    }

    /// All budgets by name, each as one line.
    pub(super) fn budgets(&self) -> BTreeMap<String, String> {
        let budgets = self.world.cluster.budgets().filter(|(_, budget)| !budget.gone);
        let line = |budget: &Budget| {
            let status = &budget.status;
            let names = status
                .disrupted
                .iter()
                .map(|entry| self.renamed.get(entry.0.as_str()).map_or(entry.0.as_str(), String::as_str));
            let condition = status.condition.map(|(allowed, reason, message)| {
                json!([{"type": "DisruptionAllowed", "status": if allowed { "True" } else { "False" },
                    "reason": reason, "message": self.in_recorded_names(&message),
                    "observedGeneration": status.observed_generation}])
            });
            recorded_budget(&json!({"currentHealthy": status.current_healthy, "desiredHealthy": status.desired_healthy,
                "expectedPods": status.expected_pods, "disruptionsAllowed": status.disruptions_allowed,
                "observedGeneration": status.observed_generation, "generation": budget.generation,
                "disruptedPods": names.collect::<Vec<_>>(), "conditions": condition}))
        };
        budgets.map(|(_, budget)| (budget.name.to_string(), line(budget))).collect()
    }

    /// All pods by alias, each as one line.
    pub(super) fn pods(&self) -> BTreeMap<String, String> {
        let cluster: &Cluster = &self.world.cluster;
        let pods = cluster.pods().zip(&self.aliases).filter(|((_, pod), _)| !pod.gone);
        let value = |alias: &String, id: PodId| {
            let pod = cluster.pod(id);
            recorded_pod(&json!({"pod": alias, "phase": format!("{:?}", pod.phase),
                "ready": if pod.ready { "True" } else { "False" }, "terminating": pod.deletion.is_some(),
                "grace": pod.deletion.map(|deletion| deletion.grace_seconds),
                "disruptionTarget": pod.disruption_target.map(|target| target.0.as_str())}))
        };
        pods.map(|((id, _), alias)| value(alias, id)).collect()
    }
}

impl Evict {
    fn deserialize(op: &Value) -> Result<Evict, String> {
        serde_json::from_value(op.clone()).map_err(|error| format!("eviction request: {error}"))
    }
}

fn relabelled(labels: &Labels, change: Option<&Value>) -> Labels {
    let change = change.and_then(Value::as_object);
    let mut pairs: BTreeMap<Name, Name> = labels.iter().collect();
    for (key, value) in change.into_iter().flatten() {
        match value.as_str() {
            Some(value) => pairs.insert(Name::new(key), Name::new(value)),
            None => pairs.remove(&Name::new(key)),
        };
    }
    pairs.into_iter().collect()
}

/// A budget's state as one line.
pub(super) fn recorded_budget(budget: &Value) -> String {
    let number = |field: &str| budget.get(field).and_then(Value::as_i64).unwrap_or(0);
    let text = |pointer: &str| budget.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let disrupted = budget.get("disruptedPods").and_then(Value::as_array).into_iter().flatten();
    let disrupted: Vec<&str> = disrupted.filter_map(Value::as_str).collect();
    let since = budget.pointer("/conditions/0/observedGeneration").and_then(Value::as_i64).unwrap_or(0);
    format!(
        "allowed {} healthy {} desired {} expected {} observed {} of {} disrupted {disrupted:?} {} {} {:?} observed {since}",
        number("disruptionsAllowed"),
        number("currentHealthy"),
        number("desiredHealthy"),
        number("expectedPods"),
        number("observedGeneration"),
        number("generation"),
        text("/conditions/0/status"),
        text("/conditions/0/reason"),
        text("/conditions/0/message"),
    )
}

/// A pod's state: alias and one line. Ready Unknown and no condition at all are both not Ready.
pub(super) fn recorded_pod(pod: &Value) -> (String, String) {
    let text = |field: &str| pod.get(field).and_then(Value::as_str).unwrap_or_default();
    let ready = text("ready") == "True";
    let terminating = pod.get("terminating").and_then(Value::as_bool).unwrap_or(false);
    let grace = pod.get("grace").and_then(Value::as_i64);
    let line = format!(
        "{} {} ready {ready} terminating {terminating} grace {grace:?} {:?}",
        text("pod"),
        text("phase"),
        text("disruptionTarget")
    );
    (text("pod").to_owned(), line)
}
