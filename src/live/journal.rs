//! The journal of a run: the cluster as the watches found it, then every change that they told and every deed of the run, a line of
//! JSON each, in the words of the drain recordings (DRAINS.md). `cmsim conform journal` holds it against the model.
//!
//! It grows with what happens. Only kinds that are read anyway stand in it, and of their objects nothing that could be a secret:
//! no environment, no command lines, no annotations but those that mean something here.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};

use super::client::Answer;
use super::kinds::Kind;
use crate::cluster::{Cluster, NODE_RECORD, Name, Time, Version};
use crate::import;
use crate::upgrade::Action;

/// Format of the journals that this version writes.
const FORMAT: &str = "cmsim.dev/journal/v1";

/// A journal, shared by all that write into it. Writing is best effort: a run goes on without it.
#[derive(Clone)]
pub struct Journal(Arc<Mutex<Inner>>);

struct Inner {
    out: Box<dyn Write + Send>,
    /// Instant that times count from.
    start: Time,
    /// The highest revision that was heard of.
    revision: u64,
    /// The objects stand there, and changes are written.
    follows: bool,
    /// Nothing could be written: no more is tried.
    broken: bool,
    /// Why, until it was told.
    trouble: Option<String>,
    /// Lines since they were last taken, objects left out; `None`: nobody wants them.
    news: Option<Vec<String>>,
}

impl Journal {
    /// A journal at the end of `out`. `tells`: its lines are kept for [`Journal::news`].
    pub fn new(out: impl Write + Send + 'static, tells: bool) -> Journal {
        Journal(Arc::new(Mutex::new(Inner {
            out: Box::new(out),
            start: now(),
            revision: 0,
            follows: false,
            broken: false,
            trouble: None,
            news: tells.then(Vec::new),
        })))
    }

    /// The lines about the cluster since the last call.
    pub fn news(&self) -> Vec<String> {
        self.lock().news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Why nothing is written any more; told once.
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.take()
    }

    /// An action is about to be carried out: what follows from it may be heard of before its answer. Gives the line.
    pub fn acting(&self, cluster: &Cluster, action: Action) -> String {
        let mut inner = self.lock();
        let line = inner.line(inner.revision, "act", deed(cluster, action));
        inner.write(&line);
        line
    }

    /// How the work on a node's host stands: `host.started`, `host.ended`.
    pub fn host(&self, node: Name, ended: Option<bool>) {
        let mut inner = self.lock();
        let (word, fields) = match ended {
            None => ("host.started", json!({"node": node})),
            Some(ok) => ("host.ended", json!({"node": node, "ok": ok})),
        };
        inner.tell_now(word, fields);
    }

    /// The run is over.
    pub fn end(&self) {
        let mut inner = self.lock();
        inner.tell_now("end", json!({}));
    }

    /// The highest revision that was heard of: what is asked for now takes effect after it.
    pub(super) fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// An answer of the eviction API to a request that was made after `revision`, and given before `after` (`None`: not known).
    pub(super) fn evicted(&self, pod: (&str, &str), answer: &Answer, revision: u64, after: Option<u64>) {
        let mut fields = json!({"ns": pod.0, "pod": pod.1, "code": answer.code});
        if answer.code >= 300 {
            fields["message"] = json!(answer.message);
        }
        if !answer.causes.is_empty() {
            let causes = answer.causes.iter().map(|(reason, message)| json!({"reason": reason, "message": message}));
            fields["causes"] = causes.collect();
        }
        if let Some(after) = after {
            fields["rv_hi"] = json!(after);
        }
        let mut inner = self.lock();
        inner.tell(revision, "evict", fields);
        inner.revision = inner.revision.max(after.unwrap_or(0));
    }

    /// All objects are known: they are written, and every change from now on.
    pub(super) fn begin<'a>(
        &self,
        server: Option<Version>,
        kinds: &[&str],
        objects: impl Iterator<Item = (&'a str, &'a Value)>,
    ) {
        let mut inner = self.lock();
        inner.start = now();
        let time = jiff::Timestamp::from_millisecond(inner.start.0).unwrap_or_default();
        let head = json!({"format": FORMAT, "time": format!("{time:.3}"), "server": server, "kinds": kinds});
        inner.tell_now("start", head);
        for (kind, object) in objects {
            let line = inner.line(revision(object), "object", json!({"object": trimmed(kind, object, true)}));
            inner.revision = inner.revision.max(revision(object));
            inner.write(&line);
        }
        inner.tell_now("begin", json!({}));
        inner.follows = true;
    }

    /// Whether changes are written.
    pub(super) fn follows(&self) -> bool {
        self.lock().follows
    }

    /// Changes may have been missed: a watch starts anew.
    pub(super) fn gap(&self, why: &str) {
        let mut inner = self.lock();
        if inner.follows {
            inner.follows = false;
            inner.tell_now("gap", json!({"why": why}));
        }
    }

    /// A watch tells a change.
    pub(super) fn changed(&self, kind: &Kind, before: Option<&Value>, after: Option<&Value>, revision: u64) {
        let mut inner = self.lock();
        inner.revision = inner.revision.max(revision);
        if !inner.follows {
            return;
        }
        for (word, fields) in changes(kind.kind, before, after) {
            inner.tell(revision, word, fields);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A line: revision, seconds since the start, kind, and the rest.
    fn line(&self, revision: u64, word: &str, fields: Value) -> String {
        let seconds = (now() - self.start).0 as f64 / 1000.0;
        let rest = fields.to_string();
        let rest = rest.strip_prefix('{').filter(|rest| *rest != "}").map_or("}".to_owned(), |rest| format!(",{rest}"));
        format!("{{\"rv\":{revision},\"t\":{seconds:.3},\"ev\":{}{rest}", json!(word))
    }

    /// Something of the run's own: it stands after all that was heard of.
    fn tell_now(&mut self, word: &str, fields: Value) {
        self.tell(self.revision, word, fields);
    }

    fn tell(&mut self, revision: u64, word: &str, fields: Value) {
        let line = self.line(revision, word, fields);
        self.write(&line);
        if let Some(news) = self.news.as_mut().filter(|_| word != "object") {
            news.push(line);
        }
    }

    /// A full disk of the operator must not stop a run in the middle of a node.
    fn write(&mut self, line: &str) {
        if self.broken {
            return;
        }
        if let Err(error) = self.out.write_all(format!("{line}\n").as_bytes()).and_then(|()| self.out.flush()) {
            (self.broken, self.trouble) = (true, Some(error.to_string()));
        }
    }
}

fn now() -> Time {
    Time(jiff::Timestamp::now().as_millisecond())
}

/// The revision of an object.
pub(super) fn revision(object: &Value) -> u64 {
    let text = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The fields of an action's line.
fn deed(cluster: &Cluster, action: Action) -> Value {
    let mut fields = json!({"what": action.word()});
    let pod = match action {
        Action::Evict { pod, .. } | Action::Delete { pod, .. } => Some(pod),
        _ => None,
    };
    if let Some(key) = pod.map(|pod| cluster.pod_key(pod)) {
        (fields["ns"], fields["pod"]) = (json!(key.namespace), json!(key.name));
    }
    if let Some(node) = action.node().or(pod.and_then(|pod| cluster.pod(pod).node)) {
        fields["node"] = json!(cluster.node(node).name());
    }
    match action {
        Action::Evict { grace_seconds: Some(seconds), .. } | Action::Delete { grace_seconds: Some(seconds), .. } => {
            fields["grace"] = json!(seconds);
        }
        Action::UpgradeHost { to: version, .. } | Action::NextHop(version) => fields["version"] = json!(version),
        Action::End { outcome, .. } => fields["outcome"] = json!(outcome),
        _ => {}
    }
    fields
}

type Lines = Vec<(&'static str, Value)>;

/// What an object's change comes to.
fn changes(kind: &str, before: Option<&Value>, after: Option<&Value>) -> Lines {
    let Some(object) = after else {
        return before.map_or_else(Vec::new, |before| vec![gone(kind, before)]);
    };
    // Another object of the same name.
    let before = before.filter(|before| at(before, "/metadata/uid") == at(object, "/metadata/uid"));
    match kind {
        "Pod" => pod(before, object),
        "Node" => {
            let mut lines = node(before, object);
            // The rest of the object last: the events before it tell what it does not bring by itself.
            let position = if before.is_none() { 0 } else { lines.len() };
            if before.is_none_or(|before| meaning(kind, before) != meaning(kind, object)) {
                lines.insert(position, ("object", json!({"object": trimmed(kind, object, false)})));
            }
            lines
        }
        _ => {
            let mut lines = Vec::new();
            if before.is_none_or(|before| meaning(kind, before) != meaning(kind, object)) {
                lines.push(("object", json!({"object": trimmed(kind, object, false)})));
            }
            match kind {
                "PodDisruptionBudget" => lines.extend(budget(before, object)),
                "Job" => lines.extend(job(before, object)),
                _ => {}
            }
            lines
        }
    }
}

fn at<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions").find(|one| at(one, "/type") == kind)
}

fn is_true(condition: Option<&Value>) -> bool {
    condition.is_some_and(|condition| at(condition, "/status") == "True")
}

/// `Kind/name` of the controller.
fn controller(object: &Value) -> Option<String> {
    let owner = list(object, "/metadata/ownerReferences").find(|one| one["controller"] == true)?;
    Some(format!("{}/{}", at(owner, "/kind"), at(owner, "/name")))
}

fn gone(kind: &str, object: &Value) -> (&'static str, Value) {
    let (ns, name) = (at(object, "/metadata/namespace"), at(object, "/metadata/name"));
    match kind {
        "Pod" => ("pod.gone", json!({"ns": ns, "pod": name, "phase": at(object, "/status/phase")})),
        "Node" => ("node.gone", json!({"node": name})),
        "PodDisruptionBudget" => ("pdb.gone", json!({"ns": ns, "pdb": name})),
        "Job" => ("job.gone", json!({"ns": ns, "job": name})),
        _ => ("gone", json!({"kind": kind, "ns": ns, "name": name})),
    }
}

/// Kinds of the controllers whose pods follow from their template.
const FROM_TEMPLATE: [&str; 5] = ["ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"];

fn pod(before: Option<&Value>, object: &Value) -> Lines {
    let mut lines = Vec::new();
    let mut event = |word: &'static str, mut fields: Value| {
        fields["ns"] = json!(at(object, "/metadata/namespace"));
        fields["pod"] = json!(at(object, "/metadata/name"));
        lines.push((word, fields));
    };
    let nothing = Value::Null;
    let was = before.unwrap_or(&nothing);
    let node = at(object, "/spec/nodeName");
    if before.is_none() {
        let controller = controller(object);
        let kind = controller.as_deref().and_then(|controller| controller.split_once('/')).map_or("", |(kind, _)| kind);
        let mut fields = json!({});
        if !FROM_TEMPLATE.contains(&kind) {
            fields["object"] = trimmed("Pod", object, false);
        }
        if let Some(controller) = controller {
            fields["controller"] = json!(controller);
        }
        let index = ["apps.kubernetes.io~1pod-index", "batch.kubernetes.io~1job-completion-index"]
            .iter()
            .filter_map(|label| object.pointer(&format!("/metadata/labels/{label}")))
            .next_back();
        if let Some(index) = index {
            fields["index"] = index.clone();
        }
        event("pod.created", fields);
    }
    if !node.is_empty() && at(was, "/spec/nodeName").is_empty() {
        event("pod.bound", json!({"node": node}));
    }
    let message = |pod: &Value| {
        let scheduled = condition(pod, "PodScheduled").filter(|one| at(one, "/status") == "False")?;
        Some((at(scheduled, "/reason").to_owned(), at(scheduled, "/message").to_owned()))
    };
    if let Some((reason, text)) = message(object)
        && message(was).is_none_or(|(_, before)| before != text)
    {
        event("pod.unschedulable", json!({"reason": reason, "message": text}));
    }
    let nominated = at(object, "/status/nominatedNodeName");
    if nominated != at(was, "/status/nominatedNodeName") {
        event("pod.nominated", json!({"node": nominated}));
    }
    let target = |pod: &Value| {
        let target = condition(pod, "DisruptionTarget").filter(|one| at(one, "/status") == "True")?;
        Some(at(target, "/reason").to_owned())
    };
    let reason = target(object);
    if let Some(reason) = reason.as_deref().filter(|&reason| target(was).as_deref() != Some(reason)) {
        event("pod.disruptionTarget", json!({"reason": reason}));
    }
    let deleting = |pod: &Value| !at(pod, "/metadata/deletionTimestamp").is_empty();
    if deleting(object) && !deleting(was) {
        let mut fields = json!({"grace": number(object, "/metadata/deletionGracePeriodSeconds"), "node": node});
        if let Some(reason) = reason {
            fields["reason"] = json!(reason);
        }
        event("pod.deleting", fields);
    }
    let phase = at(object, "/status/phase");
    if before.is_some() && phase != at(was, "/status/phase") {
        let word = match phase {
            "Running" => Some("pod.running"),
            "Succeeded" => Some("pod.succeeded"),
            "Failed" => Some("pod.failed"),
            "Pending" => Some("pod.pending"),
            _ => None,
        };
        if let Some(word) = word {
            event(word, json!({"node": node}));
        }
    }
    match (is_true(condition(was, "Ready")), is_true(condition(object, "Ready"))) {
        (false, true) => event("pod.ready", json!({"node": node})),
        (true, false) => {
            let mut fields = json!({"node": node});
            if let Some(ready) = condition(object, "Ready") {
                fields["reason"] = json!(at(ready, "/reason"));
            }
            event("pod.notready", fields);
        }
        (true, true) | (false, false) => {}
    }
    lines
}

fn taints(node: &Value) -> Vec<String> {
    let mut found: Vec<String> = list(node, "/spec/taints")
        .map(|taint| {
            let value = at(taint, "/value");
            let value = if value.is_empty() { String::new() } else { format!("={value}") };
            format!("{}{value}:{}", at(taint, "/key"), at(taint, "/effect"))
        })
        .collect();
    found.sort();
    found
}

fn node(before: Option<&Value>, object: &Value) -> Lines {
    let mut lines = Vec::new();
    let name = at(object, "/metadata/name");
    let mut event = |word: &'static str, mut fields: Value| {
        fields["node"] = json!(name);
        lines.push((word, fields));
    };
    let Some(was) = before else {
        event("node.created", json!({}));
        return lines;
    };
    let cordoned = |node: &Value| node.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
    match (cordoned(was), cordoned(object)) {
        (false, true) => event("node.cordoned", json!({})),
        (true, false) => event("node.uncordoned", json!({})),
        (true, true) | (false, false) => {}
    }
    let status = |node: &Value| condition(node, "Ready").map_or("", |ready| at(ready, "/status")).to_owned();
    let ready = status(object);
    if ready != status(was) {
        let word = if ready == "True" { "node.ready" } else { "node.notready" };
        event(
            word,
            json!({"status": ready, "reason": condition(object, "Ready").map_or("", |one| at(one, "/reason"))}),
        );
    }
    let version = at(object, "/status/nodeInfo/kubeletVersion");
    if version != at(was, "/status/nodeInfo/kubeletVersion") {
        event("node.version", json!({"version": version}));
    }
    let shown = taints(object);
    if shown != taints(was) {
        event("node.taints", json!({"taints": shown}));
    }
    lines
}

fn budget(before: Option<&Value>, object: &Value) -> Option<(&'static str, Value)> {
    let same = before.is_some_and(|before| before.get("status") == object.get("status"));
    if same || number(object, "/status/observedGeneration") == 0 {
        return None;
    }
    let mut fields = json!({"ns": at(object, "/metadata/namespace"), "pdb": at(object, "/metadata/name")});
    for field in ["currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed", "observedGeneration"] {
        fields[field] = json!(number(object, &format!("/status/{field}")));
    }
    if let Some(pods) =
        object.pointer("/status/disruptedPods").and_then(Value::as_object).filter(|pods| !pods.is_empty())
    {
        let mut names: Vec<&String> = pods.keys().collect();
        names.sort();
        fields["disruptedPods"] = json!(names);
    }
    if let Some(allowed) = condition(object, "DisruptionAllowed") {
        let mut words = vec![at(allowed, "/status"), at(allowed, "/reason")];
        words.extend(Some(at(allowed, "/message")).filter(|message| !message.is_empty()));
        fields["condition"] = json!(words);
    }
    Some(("pdb.status", fields))
}

fn job(before: Option<&Value>, object: &Value) -> Option<(&'static str, Value)> {
    let show = |job: &Value| {
        let mut shown: BTreeMap<&str, Value> = BTreeMap::new();
        for field in ["active", "ready", "succeeded", "failed", "terminating"] {
            let count = number(job, &format!("/status/{field}"));
            if count != 0 {
                shown.insert(field, json!(count));
            }
        }
        let conditions = list(job, "/status/conditions").filter(|one| at(one, "/status") == "True");
        let words: Vec<String> = conditions.map(|one| format!("{}:{}", at(one, "/type"), at(one, "/reason"))).collect();
        if !words.is_empty() {
            shown.insert("conditions", json!(words));
        }
        shown
    };
    let shown = show(object);
    if before.is_some_and(|before| show(before) == shown) {
        return None;
    }
    let mut fields = json!(shown);
    fields["ns"] = json!(at(object, "/metadata/namespace"));
    fields["job"] = json!(at(object, "/metadata/name"));
    if let Some(owner) = controller(object) {
        fields["owner"] = json!(owner);
    }
    Some(("job.status", fields))
}

/// What of an object, beside what has events of its own, the model takes note of.
fn meaning(kind: &str, object: &Value) -> Value {
    let mut value = trimmed(kind, object, false);
    let of_deployment = controller(object).is_some_and(|owner| owner.starts_with("Deployment/"));
    let Some(map) = value.as_object_mut() else { return value };
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["resourceVersion", "generation", "finalizers"] {
            metadata.remove(field);
        }
    }
    let kept: &[&str] = match kind {
        "Node" => &["allocatable", "capacity", "images", "addresses", "volumesAttached"],
        "StatefulSet" => &["currentRevision", "updateRevision"],
        "Namespace" | "PersistentVolume" | "PersistentVolumeClaim" => &["phase"],
        _ => &[],
    };
    if let Some(status) = map.get_mut("status").and_then(Value::as_object_mut) {
        status.retain(|field, _| kept.contains(&field.as_str()));
    }
    if let Some(spec) = map.get_mut("spec").and_then(Value::as_object_mut) {
        let told: &[&str] = match kind {
            "Node" => &["unschedulable", "taints"],
            // The Deployment's controller moves it within what the rules allow.
            "ReplicaSet" if of_deployment => &["replicas"],
            _ => &[],
        };
        spec.retain(|field, _| !told.contains(&field.as_str()));
    }
    value
}

/// The object without anything that could be a secret, and without what nobody reads. `record`: with what a run has written on it.
fn trimmed(kind: &str, object: &Value, record: bool) -> Value {
    let mut value = object.clone();
    trim(&mut value);
    if !record
        && kind == "Node"
        && let Some(annotations) = value.pointer_mut("/metadata/annotations")
    {
        annotations.as_object_mut().map(|annotations| annotations.remove(NODE_RECORD));
    }
    value
}

fn trim(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|field, value| is_kept(field, value));
            if let Some(Value::Object(annotations)) = map.get_mut("annotations") {
                *annotations = std::mem::take(annotations)
                    .into_iter()
                    .filter(|(name, _)| import::reads_annotation(name))
                    .collect::<Map<String, Value>>();
            }
            map.values_mut().for_each(trim);
        }
        Value::Array(all) => all.iter_mut().for_each(trim),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Labels may be called anything, so lists are told from texts.
fn is_kept(field: &str, value: &Value) -> bool {
    match field {
        "env" | "envFrom" | "command" | "args" | "httpHeaders" | "managedFields" => !value.is_array(),
        "openAPIV3Schema" | "volumeAttributes" => !value.is_object(),
        "caBundle" => false,
        _ => true,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::live::kinds::KINDS;

    /// What was written, for those who look.
    #[derive(Clone, Default)]
    pub(in crate::live) struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        /// Each line's event.
        pub(in crate::live) fn events(&self) -> Vec<String> {
            self.lines().iter().map(|line| line["ev"].as_str().unwrap().to_owned()).collect()
        }

        pub(in crate::live) fn lines(&self) -> Vec<Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A disk with room for so many bytes.
    struct FullSoon(usize);

    impl Write for FullSoon {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn kind(name: &str) -> &'static Kind {
        KINDS.iter().find(|kind| kind.kind == name).unwrap()
    }

    fn words(kind: &str, before: &Value, after: &Value) -> Vec<&'static str> {
        changes(kind, Some(before), Some(after)).into_iter().map(|(word, _)| word).collect()
    }

    #[test]
    fn nothing_secret_is_written() {
        let pod = json!({
            "kind": "Pod",
            "metadata": {
                "name": "a", "labels": {"env": "prod", "command": "run", "args": "x"},
                "annotations": {"token": "s3cret", "kubernetes.io/config.mirror": "m",
                    "kubectl.kubernetes.io/last-applied-configuration": "s3cret"},
                "managedFields": [{"manager": "s3cret"}],
            },
            "spec": {
                "nodeSelector": {"env": "prod"},
                "containers": [{
                    "name": "c", "image": "i", "env": [{"name": "A", "value": "s3cret"}], "args": ["s3cret"], "command": ["s3cret"],
                    "envFrom": [{"secretRef": {"name": "s3cret"}}], "resources": {"requests": {"cpu": "1"}},
                    "readinessProbe": {"httpGet": {"path": "/", "httpHeaders": [{"name": "A", "value": "s3cret"}]}},
                    "lifecycle": {"preStop": {"exec": {"command": ["sleep", "s3cret"]}}},
                }],
            },
        });
        let written = trimmed("Pod", &pod, true);
        assert!(!written.to_string().contains("s3cret"), "{written}");
        assert_eq!(written["metadata"]["labels"], pod["metadata"]["labels"]);
        assert_eq!(written["spec"]["nodeSelector"], pod["spec"]["nodeSelector"]);
        assert_eq!(written["metadata"]["annotations"], json!({"kubernetes.io/config.mirror": "m"}));
        assert_eq!(written["spec"]["containers"][0]["resources"]["requests"]["cpu"], "1");
    }

    #[test]
    fn only_what_happens_is_written() {
        let node = |beat: &str, record: Value| {
            json!({
                "kind": "Node", "metadata": {"name": "n", "uid": "u", "resourceVersion": beat, "annotations": {NODE_RECORD: record}},
                "spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": beat}]},
            })
        };
        let page = Page::default();
        let journal = Journal::new(page.clone(), false);
        journal.begin(None, &["Node"], [("Node", &node("1", Value::Null))].into_iter());
        assert_eq!(page.events(), ["start", "object", "begin"]);
        for beat in 2..100 {
            let (before, after) = (node(&(beat - 1).to_string(), json!("a")), node(&beat.to_string(), json!(beat)));
            journal.changed(kind("Node"), Some(&before), Some(&after), beat);
        }
        assert_eq!(page.events().len(), 3, "heartbeats and the run's own record tell nothing");
        assert_eq!(journal.revision(), 99);
    }

    #[test]
    fn a_change_of_an_object_is_told_once_and_as_what_it_is() {
        let node = |more: Value| {
            let mut node = json!({"kind": "Node", "metadata": {"name": "n", "uid": "u"}, "spec": {}, "status": {}});
            for (pointer, value) in more.as_object().unwrap() {
                node[pointer.split_once('.').unwrap().0][pointer.split_once('.').unwrap().1] = value.clone();
            }
            node
        };
        let plain = node(json!({}));
        assert_eq!(words("Node", &plain, &node(json!({"spec.unschedulable": true}))), ["node.cordoned"]);
        assert_eq!(words("Node", &node(json!({"spec.unschedulable": true})), &plain), ["node.uncordoned"]);
        let taints = json!([{"key": "a", "effect": "NoSchedule"}]);
        assert_eq!(words("Node", &plain, &node(json!({"spec.taints": taints}))), ["node.taints"]);
        assert_eq!(words("Node", &plain, &node(json!({"metadata.labels": {"zone": "b"}}))), ["object"]);
        let set = |replicas: i64, owner: &str| {
            json!({
                "kind": "ReplicaSet", "metadata": {"name": "s", "uid": "u", "ownerReferences":
                    [{"kind": owner, "name": "d", "controller": true}]},
                "spec": {"replicas": replicas}, "status": {"replicas": replicas},
            })
        };
        assert!(
            words("ReplicaSet", &set(1, "Deployment"), &set(2, "Deployment")).is_empty(),
            "the Deployment's own affair"
        );
        assert_eq!(words("ReplicaSet", &set(1, "Other"), &set(2, "Other")), ["object"]);
        let other = json!({"kind": "Pod", "metadata": {"name": "p", "uid": "2"}, "spec": {}});
        let pod = json!({"kind": "Pod", "metadata": {"name": "p", "uid": "1"}, "spec": {"nodeName": "n"}});
        assert_eq!(words("Pod", &pod, &other), ["pod.created"], "another pod of that name");
    }

    #[test]
    fn a_full_disk_is_told_once_and_nothing_fails() {
        let journal = Journal::new(FullSoon(300), true);
        for _ in 0..100 {
            journal.host(Name::new("n1"), None);
        }
        assert!(journal.trouble().is_some_and(|trouble| trouble.contains("no storage space")));
        assert_eq!(journal.trouble(), None);
        journal.end();
        assert_eq!(journal.trouble(), None);
        assert_eq!(journal.news().len(), 101, "the lines are printed all the same");
    }
}
