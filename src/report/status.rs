//! The state of a run, as anybody sees it who looks at the cluster: what the run has written there, and what the upgrade decides
//! from it. The decision is a pure function of the cluster, so what the engine waits for need not be asked of it.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cluster::{
    Backup, Cluster, HostJob, Lock, Name, Node, NodeId, NodeOutcome, Routing, RunRecord, Time, Version,
};
use crate::live::{Holder, Pending};
use crate::trace::{self, Event, Line};
use crate::upgrade::{Decision, Describe, Fate, Goal, Outcome, decide, fate, turns};

use super::text::{BOLD, paint, table};
use super::{counted, duration};

/// How a run stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// There was none yet.
    None,
    /// Somebody works on it.
    Running,
    /// The engine stopped it.
    Stopped,
    /// It has not ended, and nobody works on it: it was interrupted or killed.
    Unfinished,
    /// Every node of its goal is at its target.
    Done,
}

/// All that is known of a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    api_version: &'static str,
    kind: &'static str,
    /// How it stands.
    pub state: State,
    /// Its name.
    run: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Version>,
    /// Where the control plane is on its way, minor by minor.
    #[serde(skip_serializing_if = "Option::is_none")]
    hop: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    begun: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    /// Who runs it, or ran it last.
    by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<LockStatus>,
    backup: String,
    nodes: Vec<NodeStatus>,
    /// What it waits for.
    waiting: Vec<Wait>,
    /// What it does next.
    next: Vec<String>,
    /// Why it stopped, or what it said last.
    reasons: Vec<String>,
    workloads: Vec<WorkloadStatus>,
    /// Requests for serving certificates that wait for approval.
    certificates: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LockStatus {
    holder: String,
    since: String,
    /// When it ends unless it is renewed.
    expires: String,
    expired: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeStatus {
    name: Name,
    control_plane: bool,
    version: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Wait {
    code: &'static str,
    text: String,
    /// When the time for it is spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkloadStatus {
    object: String,
    ready: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    lowest_seen: Option<u32>,
    lowest_predicted: u32,
}

/// No run was ever begun in the cluster.
pub fn none() -> Status {
    Status {
        api_version: "cmsim.dev/v1",
        kind: "RunStatus",
        state: State::None,
        run: Name::EMPTY,
        to: None,
        hop: None,
        begun: None,
        ended: None,
        by: String::new(),
        lock: None,
        backup: String::new(),
        nodes: Vec::new(),
        waiting: Vec::new(),
        next: Vec::new(),
        reasons: Vec::new(),
        workloads: Vec::new(),
        certificates: Vec::new(),
    }
}

/// The state of a run from its record, its lock and the cluster with the run's marks on its nodes.
pub fn status(
    record: &RunRecord,
    holder: Option<&Holder>,
    mut cluster: Cluster,
    certificates: &[Pending],
    now: Time,
) -> Status {
    let goal = serde_json::from_value(record.goal.clone());
    let goal = goal.unwrap_or_else(|_| Goal { to: record.to.unwrap_or(Version::new(0, 0)), ..Goal::default() });
    let state = match holder {
        _ if record.done.is_some() => State::Done,
        Some(holder) if !holder.expired => State::Running,
        _ if record.stopped => State::Stopped,
        Some(_) | None => State::Unfinished,
    };
    complete(&mut cluster, record, &goal, state);
    let decision = if state == State::Done { Decision::default() } else { decide(&goal, &cluster, now) };
    let next = decision.actions.iter().map(|&action| {
        let line = Line::new(&trace::Record { at: now, event: Event::Acted(action) }, now, &cluster);
        [Some(line.what.to_string()), line.pod.map(|pod| pod.to_string()), line.node.map(|node| node.to_string())]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ")
    });
    let mut reasons = record.reasons.clone();
    if let (true, Some(Outcome::Stopped(why))) = (reasons.is_empty(), &decision.outcome) {
        reasons = why.iter().map(|reason| reason.describe(&cluster)).collect();
    }
    let wait = |waiting: &crate::upgrade::Waiting| Wait {
        code: waiting.reason.code(),
        text: waiting.reason.describe(&cluster),
        deadline: waiting.deadline.map(stamp),
    };
    let live = matches!(state, State::Running | State::Unfinished);
    Status {
        state,
        run: record.id,
        to: record.to,
        hop: record.hop,
        begun: record.begun.map(stamp),
        ended: record.done.map(stamp),
        by: record.by.clone(),
        lock: holder.map(|holder| LockStatus {
            holder: holder.identity.clone(),
            since: stamp(holder.since),
            expires: stamp(holder.ends),
            expired: holder.expired,
        }),
        backup: backup(record, &goal),
        nodes: nodes(&cluster, &goal, state, now),
        waiting: decision.waiting.iter().filter(|_| live).map(wait).collect(),
        next: next.filter(|_| live).collect(),
        reasons,
        workloads: workloads(&cluster, record),
        certificates: certificates.iter().map(|request| format!("{} of node {}", request.name, request.node)).collect(),
        ..none()
    }
}

/// What only the engine knows, as far as the cluster shows it.
fn complete(cluster: &mut Cluster, record: &RunRecord, goal: &Goal, state: State) {
    (cluster.run.hop, cluster.run.stopped) = (record.hop, record.stopped && state != State::Running);
    // One that is not running is told as if somebody gave the command again.
    cluster.run.lock = Lock::Ours;
    cluster.run.backup = match (record.backup_verified, record.backup_begun) {
        (Some(_), _) => Backup::Verified,
        (None, Some(since)) => Backup::Running { since },
        (None, None) => Backup::Absent,
    };
    for id in cluster.nodes_under_maintenance().to_vec() {
        let Some(since) = cluster.node(id).marks.host_touched else { continue };
        let done = is_at(cluster.node(id), target(goal, record.hop, cluster.node(id)));
        // The job itself stands on the host: the node tells when it has done its work.
        cluster.update_node(id, |node| node.job = if done { HostJob::Succeeded } else { HostJob::Running { since } });
    }
}

fn target(goal: &Goal, hop: Option<Version>, node: &Node) -> Version {
    hop.filter(|_| node.is_control_plane()).unwrap_or(goal.to)
}

fn is_at(node: &Node, version: Version) -> bool {
    node.kubelet == Some(version) && node.control_plane.is_none_or(|runs| runs == version)
}

fn backup(record: &RunRecord, goal: &Goal) -> String {
    match (record.backup_verified, record.backup_begun) {
        (Some(at), _) => format!("verified {}", stamp(at)),
        (None, Some(since)) => format!("being taken since {}", stamp(since)),
        (None, None) if goal.backup => "not taken yet".to_owned(),
        (None, None) => "none (--no-backup)".to_owned(),
    }
}

fn nodes(cluster: &Cluster, goal: &Goal, state: State, now: Time) -> Vec<NodeStatus> {
    let turns = turns(goal, cluster, now);
    let mut nodes: Vec<(NodeId, &Node)> = cluster.nodes().filter(|(_, node)| !node.gone).collect();
    nodes.sort_by_key(|(_, node)| (!node.is_control_plane(), node.name()));
    let describe = |(id, node): (NodeId, &Node)| {
        let (state, since) = node_state(cluster, goal, &turns, state, id, now);
        NodeStatus {
            name: node.name(),
            control_plane: node.is_control_plane(),
            version: node.kubelet.map_or("?".to_owned(), |version| version.to_string()),
            state,
            since: since.map(stamp),
        }
    };
    nodes.into_iter().map(describe).collect()
}

/// Where a node is on its way, and since when.
fn node_state(
    cluster: &Cluster,
    goal: &Goal,
    turns: &[NodeId],
    state: State,
    id: NodeId,
    now: Time,
) -> (String, Option<Time>) {
    let node = cluster.node(id);
    let marks = node.marks;
    let said = |text: &str, since| (text.to_owned(), since);
    match (marks.outcome, marks.started) {
        (Some((NodeOutcome::Done, at)), _) => return said("done", Some(at)),
        (Some((NodeOutcome::Blocked, at)), _) => return said("put back: its drain could not finish", Some(at)),
        (None, Some(started)) if goal.skip.contains(&node.name()) => {
            return said("left as it is (--skip-node)", Some(started));
        }
        (None, Some(_)) => {}
        (None, None) => {
            let turn = turns.iter().position(|turn| *turn == id);
            return match turn {
                Some(turn) if state != State::Done => (format!("waiting, number {}", turn + 1), None),
                _ if is_at(node, goal.to) => said("at its target", None),
                _ => said("left out", None),
            };
        }
    }
    if marks.uncordoned.is_some() {
        let what = if marks.host_touched.is_some() { "back in service, pods come back" } else { "being put back" };
        return said(what, marks.uncordoned);
    }
    if let Some(since) = marks.host_touched {
        let at_work = matches!(node.job, HostJob::Running { .. });
        return said(if at_work { "host at work" } else { "host done, coming back" }, Some(since));
    }
    if goal.routing && node.routing != Routing::Stopped {
        return said("routing is being stopped", marks.started);
    }
    let Some(since) = marks.drain_started else { return said("taken in hand", marks.started) };
    let left = cluster.pods_of_node(id).iter().filter(|&&pod| !matches!(fate(goal, cluster, now, pod), Fate::Stays));
    (format!("draining, {} left", counted(left.count(), "pod")), Some(since))
}

fn workloads(cluster: &Cluster, record: &RunRecord) -> Vec<WorkloadStatus> {
    let of = |(object, &lowest_predicted): (&String, &u32)| {
        let id = cluster.find_workload(&object.parse().ok()?)?;
        let (object, ready) = (object.clone(), cluster.ready_pods(id));
        Some(WorkloadStatus { lowest_seen: record.seen.get(&object).copied(), object, ready, lowest_predicted })
    };
    record.predicted.iter().filter_map(of).collect()
}

fn stamp(time: Time) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or(String::new(), |time| format!("{time:.0}"))
}

/// The state for people.
pub fn text(status: &Status, now: Time, width: Option<u16>) -> String {
    let ago = |stamp: &str| match stamp.parse::<jiff::Timestamp>() {
        Ok(time) if time.as_millisecond() <= now.0 => {
            format!("{stamp} ({} ago)", duration(now - Time(time.as_millisecond())))
        }
        Ok(time) => format!("{stamp} (in {})", duration(Time(time.as_millisecond()) - now)),
        Err(_) => stamp.to_owned(),
    };
    let mut out = String::new();
    let word = match status.state {
        State::None => return "no run has been recorded in this cluster\n".to_owned(),
        State::Running => "RUNNING",
        State::Stopped => "STOPPED  put it right and give the same command again: it goes on from here",
        State::Unfinished => "UNFINISHED  nobody works on it: it was interrupted or killed; the same command goes on",
        State::Done => "DONE",
    };
    let to = status.to.map_or(String::new(), |to| format!(" to {to}"));
    let _ = writeln!(out, "{}", paint(BOLD, word));
    let mut rows = vec![("run", format!("{}{to}", status.run)), ("by", status.by.clone())];
    rows.extend(status.begun.iter().map(|at| ("begun", ago(at))));
    rows.extend(status.ended.iter().map(|at| ("done", ago(at))));
    rows.extend(status.hop.filter(|hop| Some(*hop) != status.to).map(|hop| ("on the way", hop.to_string())));
    rows.push((
        "lock",
        match &status.lock {
            None => "free".to_owned(),
            Some(lock) if lock.expired => format!("{}, expired {}", lock.holder, ago(&lock.expires)),
            Some(lock) => format!("{} since {}, expires {}", lock.holder, ago(&lock.since), ago(&lock.expires)),
        },
    ));
    rows.push(("backup", status.backup.clone()));
    for (name, value) in rows {
        let _ = writeln!(out, "{name:<11}{value}");
    }
    let rows = status.nodes.iter().map(|node| {
        let role = if node.control_plane { "control plane" } else { "worker" };
        let since = node.since.as_deref().map_or("-".to_owned(), ago);
        vec![node.name.to_string(), role.to_owned(), node.version.clone(), node.state.clone(), since]
    });
    out.push('\n');
    out.push_str(&table(&["NODE", "ROLE", "KUBELET", "STATE", "SINCE"], rows.collect(), width));
    let waits = status.waiting.iter().map(|wait| {
        let until = wait.deadline.as_deref().map_or(String::new(), |at| format!(", at most until {}", ago(at)));
        format!("{} {}{until}", wait.code, wait.text)
    });
    let title = if status.state == State::Running { "Waits for" } else { "Would wait for" };
    section(&mut out, title, waits);
    section(&mut out, "Next", status.next.iter().cloned());
    let title = if status.state == State::Running { "Said last" } else { "Because" };
    section(&mut out, title, status.reasons.iter().cloned());
    let requests = status.certificates.iter().map(|request| {
        let name = request.split(' ').next().unwrap_or_default();
        format!("{request}: kubectl certificate approve {name}")
    });
    section(&mut out, "Serving certificates that wait for approval", requests);
    let rows: Vec<Vec<String>> = status
        .workloads
        .iter()
        .map(|one| {
            let seen = one.lowest_seen.map_or("-".to_owned(), |seen| seen.to_string());
            vec![one.object.clone(), one.ready.to_string(), seen, one.lowest_predicted.to_string()]
        })
        .collect();
    if !rows.is_empty() {
        out.push('\n');
        out.push_str(&table(&["WORKLOAD", "READY", "LOWEST SEEN", "PREDICTED"], rows, width));
    }
    out
}

fn section(out: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    let _ = writeln!(out, "\n{}", paint(BOLD, title));
    for line in lines {
        let _ = writeln!(out, " {line}");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::NODE_RECORD;

    const NOW: Time = Time(1_790_000_000_000);

    fn at(seconds_ago: i64) -> String {
        let time = jiff::Timestamp::from_millisecond(NOW.0 - seconds_ago * 1000).unwrap();
        format!("{time:.3}")
    }

    fn node(name: &str, version: &str, record: Value, more: Value) -> Value {
        let mut annotations = json!({});
        if !record.is_null() {
            annotations[NODE_RECORD] = record.to_string().into();
        }
        let mut node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "annotations": annotations},
            "spec": {"unschedulable": !record.is_null()},
            "status": {
                "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at(9000)}],
                "nodeInfo": {"kubeletVersion": version},
            },
        });
        if more["labels"].is_object() {
            node["metadata"]["labels"] = more["labels"].clone();
        }
        node
    }

    fn pod(name: &str, node: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": "shop", "uid": name, "labels": {"app": "web"}, "creationTimestamp": at(9000),
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "r", "controller": true}],
            },
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 30},
            "status": {
                "phase": "Running", "startTime": at(9000),
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at(9000)}],
                "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0}],
            },
        })
    }

    /// A control-plane node that is done, a node whose drain waits for a budget, one that waits, one that is left out.
    fn cluster() -> Cluster {
        let template = json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 30},
        });
        let selector = json!({"matchLabels": {"app": "web"}});
        let control_plane = json!({"labels": {"node-role.kubernetes.io/control-plane": ""}});
        let draining = json!({"started": at(90), "unrouting": at(90), "unrouted": true, "drainStarted": at(80)});
        let objects = [
            node("cp", "v1.37.2", json!({"started": at(600), "outcome": "done", "ended": at(120)}), control_plane),
            node("n1", "v1.36.3", draining, Value::Null),
            node("n2", "v1.36.3", Value::Null, Value::Null),
            node("n3", "v1.36.3", Value::Null, Value::Null),
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop", "uid": "d"},
                "spec": {"replicas": 2, "selector": selector, "template": template},
                "status": {"replicas": 2, "readyReplicas": 2, "availableReplicas": 2},
            }),
            json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet",
                "metadata": {
                    "name": "web-1", "namespace": "shop", "uid": "r", "labels": {"app": "web"},
                    "annotations": {"deployment.kubernetes.io/revision": "1"},
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d", "controller": true}],
                },
                "spec": {"replicas": 2, "selector": selector, "template": template},
                "status": {"replicas": 2, "readyReplicas": 2, "availableReplicas": 2},
            }),
            pod("web-1-a", "n1"),
            pod("web-1-b", "n2"),
            json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                "metadata": {"name": "web", "namespace": "shop", "generation": 1},
                "spec": {"minAvailable": 2, "selector": selector},
                "status": {
                    "observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 2, "desiredHealthy": 2, "expectedPods": 2,
                },
            }),
        ];
        let kinds = ["Node", "Pod", "Deployment", "ReplicaSet", "PodDisruptionBudget"];
        crate::import::from_live(&objects, &kinds, "v1.37.2".parse().ok(), NOW).unwrap()
    }

    fn record() -> RunRecord {
        let goal =
            Goal { to: "v1.37.2".parse().unwrap(), skip: [Name::new("n3")].into_iter().collect(), ..Goal::default() };
        serde_json::from_value(json!({
            "id": "v1.37.2-20260921", "to": "v1.37.2", "begun": at(700), "by": "ops@bastion:7:b", "goal": goal,
            "backupBegun": at(690), "backupVerified": at(650),
            "predicted": {"shop/Deployment/web": 1}, "seen": {"shop/Deployment/web": 2},
        }))
        .unwrap()
    }

    fn holder(expired: bool) -> Holder {
        let ends = Time(NOW.0 + if expired { -4000 } else { 26_000 });
        Holder { identity: "ops@bastion:7:b".to_owned(), since: Time(NOW.0 - 700_000), ends, expired }
    }

    fn shown(record: &RunRecord, holder: Option<Holder>) -> (Status, String) {
        let status = status(record, holder.as_ref(), cluster(), &[], NOW);
        let text = text(&status, NOW, None).replace("\x1b[1m", "").replace("\x1b[0m", "");
        (status, text)
    }

    #[test]
    fn a_run_is_shown_with_what_it_waits_for() {
        let (status, text) = shown(&record(), Some(holder(false)));
        assert_eq!(status.state, State::Running);
        insta::assert_snapshot!(text, @r"
        RUNNING
        run        v1.37.2-20260921 to v1.37.2
        by         ops@bastion:7:b
        begun      2026-09-21T14:01:40Z (11m40s ago)
        lock       ops@bastion:7:b since 2026-09-21T14:01:40Z (11m40s ago), expires 2026-09-21T14:13:46Z (in 26s)
        backup     verified 2026-09-21T14:02:30Z

         NODE  ROLE           KUBELET  STATE                 SINCE
         cp    control plane  v1.37.2  done                  2026-09-21T14:11:20Z (2m00s ago)
         n1    worker         v1.36.3  draining, 1 pod left  2026-09-21T14:12:00Z (1m20s ago)
         n2    worker         v1.36.3  waiting, number 1     -
         n3    worker         v1.36.3  left out              -

        Waits for
         W012 pod shop/Pod/web-1-a cannot be evicted now: The disruption budget web needs 2 healthy pods and has 2 currently, at most until 2026-09-21T14:42:00Z (in 28m40s)

         WORKLOAD             READY  LOWEST SEEN  PREDICTED
         shop/Deployment/web  2      2            1
        ");
    }

    #[test]
    fn who_holds_the_lock_and_what_was_recorded_tell_how_a_run_stands() {
        let (status, text) = shown(&record(), Some(holder(true)));
        assert!(status.state == State::Unfinished && text.contains("expired"), "{text}");
        assert!(text.starts_with("UNFINISHED") && text.contains("Would wait for"), "{text}");
        let (status, text) = shown(&record(), None);
        assert!(status.state == State::Unfinished && text.contains("lock       free"), "{text}");
        let stopped = RunRecord { stopped: true, reasons: vec!["n1 is full".to_owned()], ..record() };
        let (status, text) = shown(&stopped, None);
        assert!(status.state == State::Stopped && text.contains("Because\n n1 is full\n"), "{text}");
        assert_eq!(shown(&stopped, Some(holder(false))).0.state, State::Running, "the command was given again");
        let (status, text) = shown(&RunRecord { done: Some(NOW), ..record() }, None);
        assert!(status.state == State::Done && !text.contains("ait for"), "{text}");
        assert_eq!(super::text(&none(), NOW, None), "no run has been recorded in this cluster\n");
    }

    #[test]
    fn a_host_at_work_is_told_from_one_that_has_its_version() {
        let mut cluster = cluster();
        let n1 = cluster.find_node("n1".into()).unwrap();
        cluster.update_node(n1, |node| node.marks.host_touched = Some(NOW));
        let state = |cluster: &Cluster| {
            let status = status(&record(), Some(&holder(false)), cluster.clone(), &[], NOW);
            status.nodes.iter().find(|node| node.name == "n1").unwrap().state.clone()
        };
        assert_eq!(state(&cluster), "host at work");
        cluster.update_node(n1, |node| node.kubelet = "v1.37.2".parse().ok());
        assert_eq!(state(&cluster), "host done, coming back");
        cluster.update_node(n1, |node| node.marks.uncordoned = Some(NOW));
        assert_eq!(state(&cluster), "back in service, pods come back");
    }
}
