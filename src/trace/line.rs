//! A trace as text that outlives its run: JSON Lines, one event a line, with names in place of ids. Words are those of the
//! drain recordings (DRAINS.md) wherever they have one.

use serde::{Deserialize, Serialize};

use crate::cluster::{Backup, Cluster, Lock, Name, NodeId, NodeOutcome, ObjectKey, PodId, Readiness, Time, Version};
use crate::upgrade::Action;

use super::{Event, Record};

/// Format of the files that this version writes and reads.
const FORMAT: &str = "cmsim.dev/trace/v1";

/// The first line of a trace file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// `cmsim.dev/trace/v1`.
    pub format: Name,
    /// Instant that times count from.
    pub start: Time,
    /// Seed of the walk; absent for a real run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// An event with names. Which fields are there depends on `ev`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Line {
    /// Milliseconds since the start.
    pub t: i64,
    /// What happened.
    pub ev: Name,
    /// The pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<ObjectKey>,
    /// Which pod of that name: unique within a trace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// Workload, Service, budget or whatever else it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectKey>,
    /// A word: the action, a reason, a state.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub what: Name,
    /// Text of an answer or a condition.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub message: Name,
    /// HTTP code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Whether it went well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    /// Numbers: replicas; milliseconds at risk; grace period in seconds; ready, serving, terminating and all endpoints;
    /// healthy, desired, expected pods and allowed disruptions of a budget.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<i64>,
}

/// Why a text is no trace.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The text is empty.
    #[error("the trace is empty")]
    Empty,
    /// Another format or version of it.
    #[error("the trace has format {0:?}; this version reads {FORMAT:?}")]
    Format(String),
    /// A line that cannot be read.
    #[error("line {number} of the trace cannot be read")]
    Line {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl Header {
    /// A header for a trace of this version.
    pub fn new(start: Time, seed: Option<u64>) -> Header {
        Header { format: Name::new(FORMAT), start, seed }
    }

    /// The line as JSON, without its end.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Reads a trace file.
pub fn read(text: &str) -> Result<(Header, Vec<Line>), ReadError> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, first) = lines.next().ok_or(ReadError::Empty)?;
    let header: Header = serde_json::from_str(first).map_err(|source| ReadError::Line { number: 1, source })?;
    if header.format != FORMAT {
        return Err(ReadError::Format(header.format.to_string()));
    }
    let line = |(index, text): (usize, &str)| {
        serde_json::from_str(text).map_err(|source| ReadError::Line { number: index + 1, source })
    };
    Ok((header, lines.map(line).collect::<Result<_, _>>()?))
}

impl Line {
    /// A record with names; `cluster` is as it is after the step that the record belongs to.
    pub fn new(record: &Record, start: Time, cluster: &Cluster) -> Line {
        Line { t: (record.at - start).0, ..of_event(&record.event, cluster) }
    }

    /// The line as JSON, without its end.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn of_event(event: &Event, cluster: &Cluster) -> Line {
    match *event {
        Event::Acted(action) => of_action(action, cluster),
        Event::Evict { pod, code, message } => Line { code: Some(code), message, ..of_pod("evict", pod, cluster) },
        Event::PodCreated(pod) => {
            let owner = cluster.top_of_pod(pod).map(|top| cluster.workload(top).key);
            Line { object: owner, ..of_pod("pod.created", pod, cluster) }
        }
        Event::PodBound(pod, node) => Line { node: Some(name(node, cluster)), ..of_pod("pod.bound", pod, cluster) },
        Event::PodUnschedulable(pod, message) => Line { message, ..of_pod("pod.unschedulable", pod, cluster) },
        Event::PodNominated(pod, node) => {
            Line { node: node.map(|node| name(node, cluster)), ..of_pod("pod.nominated", pod, cluster) }
        }
        Event::PodRunning(pod) => of_pod("pod.running", pod, cluster),
        Event::PodSucceeded(pod) => of_pod("pod.succeeded", pod, cluster),
        Event::PodFailed(pod) => of_pod("pod.failed", pod, cluster),
        Event::PodReady(pod) => of_pod("pod.ready", pod, cluster),
        Event::PodNotReady(pod) => of_pod("pod.notready", pod, cluster),
        Event::PodRestarted(pod) => of_pod("pod.restarted", pod, cluster),
        Event::PodDisruptionTarget(pod, reason) => {
            Line { what: reason.as_str().into(), ..of_pod("pod.disruptionTarget", pod, cluster) }
        }
        Event::PodDeleting(pod) => {
            let grace = cluster.pod(pod).deletion.map(|deletion| i64::from(deletion.grace_seconds));
            Line { numbers: grace.into_iter().collect(), ..of_pod("pod.deleting", pod, cluster) }
        }
        Event::PodStopped { pod, cut_short } => Line { ok: Some(!cut_short), ..of_pod("pod.stopped", pod, cluster) },
        Event::PodGone(pod) => of_pod("pod.gone", pod, cluster),
        Event::RequestsAtRisk { service, pod, millis } => Line {
            object: Some(cluster.service_key(service)),
            numbers: vec![millis],
            ..of_pod("requests.atRisk", pod, cluster)
        },
        Event::NodeSchedulable(node, true) => of_node("node.uncordoned", node, cluster),
        Event::NodeSchedulable(node, false) => of_node("node.cordoned", node, cluster),
        Event::NodeReady(node, Readiness::Ready) => of_node("node.ready", node, cluster),
        Event::NodeReady(node, Readiness::NotReady) => {
            Line { what: "False".into(), ..of_node("node.notready", node, cluster) }
        }
        Event::NodeReady(node, Readiness::Unknown) => {
            Line { what: "Unknown".into(), ..of_node("node.notready", node, cluster) }
        }
        Event::NodeTaints(node) => Line { what: taints(node, cluster), ..of_node("node.taints", node, cluster) },
        Event::NodeVersion(node, version) => Line { version: Some(version), ..of_node("node.version", node, cluster) },
        Event::ControlPlaneVersion(node, version) => {
            Line { version: Some(version), ..of_node("node.controlPlaneVersion", node, cluster) }
        }
        Event::NodeCreated(node) => of_node("node.created", node, cluster),
        Event::NodeGone(node) => of_node("node.gone", node, cluster),
        Event::NodeRouted(node, true) => of_node("node.routed", node, cluster),
        Event::NodeRouted(node, false) => of_node("node.unrouted", node, cluster),
        Event::HostStarted(node) => of_node("host.started", node, cluster),
        Event::HostEnded(node, ok) => Line { ok: Some(ok), ..of_node("host.ended", node, cluster) },
        Event::NodeEnded(node, outcome) => Line { what: word(outcome), ..of_node("node.ended", node, cluster) },
        Event::BudgetStatus(budget) => {
            let status = &cluster.budget(budget).status;
            let numbers =
                [status.current_healthy, status.desired_healthy, status.expected_pods, status.disruptions_allowed];
            Line { numbers: numbers.map(i64::from).to_vec(), ..of_object("pdb.status", cluster.budget_key(budget)) }
        }
        Event::BudgetGone(budget) => of_object("pdb.gone", cluster.budget_key(budget)),
        Event::Endpoints { service, ready, serving, terminating, total } => Line {
            numbers: [ready, serving, terminating, total].map(i64::from).to_vec(),
            ..of_object("endpoints", cluster.service_key(service))
        },
        Event::Scaled(workload, replicas) => {
            Line { numbers: vec![i64::from(replicas)], ..of_object("scaled", cluster.workload(workload).key) }
        }
        Event::JobStatus(workload) => of_object("job.status", cluster.workload(workload).key),
        Event::WorkloadGone(workload) => of_object("workload.gone", cluster.workload(workload).key),
        Event::Lock => Line { what: lock(cluster.run.lock), ..bare("lock") },
        Event::Backup => Line { what: backup(cluster.run.backup), ..bare("backup") },
        Event::RunEnded { done } => Line { ok: Some(done), ..bare("run.ended") },
        Event::EngineRestarted => bare("engine.restarted"),
        Event::Disturbance(what) => Line { what, ..bare("disturbance") },
    }
}

fn of_action(action: Action, cluster: &Cluster) -> Line {
    let act = Line { what: action.word().into(), node: action.node().map(|node| name(node, cluster)), ..bare("act") };
    match action {
        Action::Evict { pod, grace_seconds } | Action::Delete { pod, grace_seconds } => Line {
            what: act.what,
            numbers: grace_seconds.map(i64::from).into_iter().collect(),
            ..of_pod("act", pod, cluster)
        },
        Action::UpgradeHost { to: version, .. } | Action::NextHop(version) => Line { version: Some(version), ..act },
        Action::End { outcome, .. } => Line { message: word(outcome), ..act },
        Action::TakeLock
        | Action::BackUp
        | Action::Begin(_)
        | Action::StopRouting(_)
        | Action::Cordon(_)
        | Action::BeginDrain(_)
        | Action::ForceOn(_)
        | Action::Uncordon(_)
        | Action::ResumeRouting(_)
        | Action::Halt
        | Action::ReleaseLock => act,
    }
}

fn bare(ev: &str) -> Line {
    Line { ev: ev.into(), ..Line::default() }
}

/// A pod's line names the node that it is on.
fn of_pod(ev: &str, pod: PodId, cluster: &Cluster) -> Line {
    Line {
        pod: Some(cluster.pod_key(pod)),
        uid: Some(pod.0),
        node: cluster.pod(pod).node.map(|node| name(node, cluster)),
        ..bare(ev)
    }
}

fn of_node(ev: &str, node: NodeId, cluster: &Cluster) -> Line {
    Line { node: Some(name(node, cluster)), ..bare(ev) }
}

fn of_object(ev: &str, object: ObjectKey) -> Line {
    Line { object: Some(object), ..bare(ev) }
}

fn name(node: NodeId, cluster: &Cluster) -> Name {
    cluster.node(node).name()
}

fn word(outcome: NodeOutcome) -> Name {
    match outcome {
        NodeOutcome::Done => "done".into(),
        NodeOutcome::Blocked => "blocked".into(),
    }
}

fn lock(lock: Lock) -> Name {
    match lock {
        Lock::Unknown => "unknown".into(),
        Lock::Free => "free".into(),
        Lock::Ours => "ours".into(),
        Lock::Other { holder, .. } => holder,
    }
}

fn backup(backup: Backup) -> Name {
    match backup {
        Backup::Absent => "absent".into(),
        Backup::Running { .. } => "running".into(),
        Backup::Verified => "verified".into(),
        Backup::Failed => "failed".into(),
    }
}

fn taints(node: NodeId, cluster: &Cluster) -> Name {
    let taints = cluster.node(node).taints.iter().map(|taint| {
        let value = if taint.value.is_empty() { String::new() } else { format!("={}", taint.value) };
        format!("{}{value}:{:?}", taint.key, taint.effect)
    });
    Name::new(&taints.collect::<Vec<_>>().join(","))
}
