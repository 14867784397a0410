//! The journal of a real run (DRAINS.md, "Journals"): is every event one that the model allows?
//!
//! A run that is continued goes on in the same file. Each start, and each time that watches broke or had to begin anew, writes all
//! objects once more, so a journal is a row of parts. What happened between two parts nobody saw, and that is said.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::Report;
use super::drains::check_journal;
use super::drains::event::{self, Act, Line, Recorded, Request, Start};
use crate::cluster::{Cluster, Name, Time};
use crate::import;

/// What every part begins with.
const FORMAT: &str = "cmsim.dev/journal/v1";

/// How long after a request the API server may still carry it out, if its answer is not known, in seconds.
const STILL_CARRIED_OUT: f64 = 15.0;

/// How long after an answer the change that it tells of may be seen, if the answer's revision is not known, in seconds.
const SEEN_LATE: f64 = 3.0;

/// A stretch of a journal in which somebody watched.
struct Part {
    start: Start,
    /// Number of its first line.
    number: usize,
    objects: Vec<Value>,
    /// All objects stand there.
    begun: bool,
    lines: Vec<Line>,
}

/// Compares a journal with the model.
///
/// # Errors
///
/// The file cannot be read, is no journal, or has a defective line that is not the last one before a start.
pub fn check(file: &Path) -> anyhow::Result<Report> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    of_text(&file.display().to_string(), &String::from_utf8_lossy(&bytes))
}

fn of_text(name: &str, text: &str) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let parts = parts(name, text, &mut report)?;
    let mut seen_until: Option<(Time, String)> = None;
    let mut before = Before::default();
    for mut part in parts {
        let begun: jiff::Timestamp =
            part.start.time.parse().with_context(|| format!("{name} line {}: field `time`", part.number))?;
        let begun = Time(begun.as_millisecond());
        if let Some((until, why)) = &seen_until {
            report.pass_over(&format!("nobody watched from {} to {} ({why})", when(*until), when(begun)));
        }
        let gap = part.lines.iter().position(|line| matches!(line.event, Recorded::Gap { .. }));
        let unseen = gap.map(|gap| part.lines.split_off(gap + 1)).unwrap_or_default();
        for line in &unseen {
            if matches!(line.event, Recorded::Act(_) | Recorded::HostStarted(_) | Recorded::HostEnded(_)) {
                report.pass_over("what the run did while nobody watched");
            }
        }
        let last = part.lines.iter().map(|line| line.t).fold(0.0, f64::max);
        let why = part.lines.iter().rev().find_map(|line| match &line.event {
            Recorded::Gap { why } => Some(why.clone()),
            Recorded::End {} => Some("the run had ended".to_owned()),
            _ => None,
        });
        seen_until = Some((
            Time(begun.0 + (last * 1000.0) as i64),
            why.unwrap_or_else(|| "the run was ended from outside".to_owned()),
        ));
        if !part.begun {
            report.pass_over("a start that ended before all objects were written");
            continue;
        }
        let kinds: Vec<&str> = part.start.kinds.iter().map(String::as_str).collect();
        // What the run connected to may have been upgraded since; the cluster is as old as its oldest API server.
        let server = part.objects.iter().filter_map(import::api_server_version).min().or(part.start.server);
        let cluster = import::from_live(&part.objects, &kinds, server, begun)
            .with_context(|| format!("{name}: the objects from line {} on", part.number))?;
        let lines = before.carried_into(part.lines, &cluster);
        before.note(&lines, unseen);
        let grace = lines.iter().find_map(|line| match &line.event {
            Recorded::Act(act) => act.grace,
            _ => None,
        });
        report.add(check_journal(name.to_owned(), grace, in_order(lines), cluster)?);
    }
    Ok(report)
}

/// What the parts so far leave under way.
#[derive(Default)]
struct Before {
    /// The last work on each node's host.
    upgrades: BTreeMap<String, Line>,
    /// What the run did after the last part, while nobody watched.
    unseen: Vec<Line>,
}

impl Before {
    /// Takes note of a part, and of what the run did after it.
    fn note(&mut self, lines: &[Line], unseen: Vec<Line>) {
        for line in lines.iter().chain(&unseen) {
            match &line.event {
                Recorded::Act(Act { what, node: Some(node), .. }) if what == "upgrade-host" => {
                    self.upgrades.insert(node.clone(), line.clone());
                }
                Recorded::Act(Act { what, node: Some(node), .. }) if what == "begin" => {
                    self.upgrades.remove(node);
                }
                _ => {}
            }
        }
        // Whatever a run was at when it ended has its answer.
        let ended = unseen.iter().any(|line| matches!(line.event, Recorded::End {}));
        self.unseen = if ended { Vec::new() } else { unseen };
    }

    /// The lines of the next part, with the deeds before it whose effects it may tell.
    fn carried_into(&mut self, lines: Vec<Line>, cluster: &Cluster) -> Vec<Line> {
        let at_work = |node: &str| {
            let marks = cluster.find_node(Name::new(node)).map(|id| &cluster.node(id).marks);
            marks.is_some_and(|marks| marks.started.is_some() && marks.uncordoned.is_none() && marks.outcome.is_none())
        };
        let work = self.upgrades.iter().filter(|(node, _)| at_work(node)).map(|(_, line)| line.clone());
        let others = std::mem::take(&mut self.unseen).into_iter();
        let others = others.filter(|line| matches!(&line.event, Recorded::Act(act) if act.what != "upgrade-host"));
        let mut all: Vec<Line> = work.chain(others).map(|line| Line { rv: 0, t: 0.0, earlier: true, ..line }).collect();
        // An answer to what was asked before the part: what it rests on was not seen.
        for line in lines {
            let asked = |pod: &Line, ns: &str, name: &str| matches!(&pod.event, Recorded::Act(act) if act.what == "evict" && act.ns == ns && act.pod == name);
            if let Recorded::Evict(answer) = &line.event
                && all.iter().rev().find(|act| asked(act, &answer.ns, &answer.pod)).is_some_and(|act| act.earlier)
            {
                continue;
            }
            all.push(line);
        }
        all
    }
}

fn when(time: Time) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or(String::new(), |time| format!("{time:.0}"))
}

fn parts(name: &str, text: &str, report: &mut Report) -> anyhow::Result<Vec<Part>> {
    let lines: Vec<(usize, &str)> =
        text.lines().enumerate().map(|(index, line)| (index + 1, line)).filter(|(_, line)| !line.is_empty()).collect();
    let is_start = |line: &str| matches!(event::line(0, line), Ok(Line { event: Recorded::Start(_), .. }));
    let no_journal = format!("{name} is no journal of `cmsim apply` (its first line does not say {FORMAT:?})");
    ensure!(lines.first().is_some_and(|(_, line)| is_start(line)), "{no_journal}");
    let mut parts: Vec<Part> = Vec::new();
    for (index, &(number, text)) in lines.iter().enumerate() {
        let line = match event::line(number, text) {
            Ok(line) => line,
            // Whoever wrote it was killed, or the disk was full.
            Err(_) if lines.get(index + 1).is_none_or(|(_, next)| is_start(next)) => {
                report.pass_over("lines that were cut off");
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("{name} line {number} cannot be read")),
        };
        match (line.event, parts.last_mut()) {
            (Recorded::Start(start), _) => {
                ensure!(
                    start.format == FORMAT,
                    "{name} line {number}: format {:?}; this version reads {FORMAT:?}",
                    start.format
                );
                parts.push(Part { start, number, objects: Vec::new(), begun: false, lines: Vec::new() });
            }
            (Recorded::Object { object }, Some(part)) if !part.begun => part.objects.push(object),
            (Recorded::Begin {}, Some(part)) => part.begun = true,
            (event, Some(part)) => part.lines.push(Line { event, ..line }),
            (_, None) => bail!("{no_journal}"),
        }
    }
    Ok(parts)
}

/// The lines as they took effect: in the order of their revisions, with evictions that have no answer as such.
fn in_order(mut lines: Vec<Line>) -> Vec<Line> {
    for index in 0..lines.len() {
        let Recorded::Act(Act { what, ns, pod, .. }) = &lines[index].event else { continue };
        if what != "evict" {
            continue;
        }
        let answer = lines[index + 1..].iter().find_map(|line| match &line.event {
            Recorded::Evict(answer) if answer.ns == *ns && answer.pod == *pod => Some(true),
            Recorded::Act(next) if next.what == "evict" && next.ns == *ns && next.pod == *pod => Some(false),
            _ => None,
        });
        if answer != Some(true) {
            lines[index].event = Recorded::Evict(Request::unanswered(ns, pod));
        }
    }
    let seen: Vec<(f64, u64)> = lines.iter().map(|line| (line.t, line.rv)).collect();
    for line in &mut lines {
        let t = line.t;
        if let Recorded::Evict(request) = &mut line.event
            && request.rv_hi == u64::MAX
        {
            let until = t + if request.is_open() { STILL_CARRIED_OUT } else { SEEN_LATE };
            request.rv_hi = seen.iter().filter(|entry| entry.0 <= until).map(|entry| entry.1).max().unwrap_or(u64::MAX);
        }
    }
    lines.sort_by_key(|line| (line.rv, line.event.is_own()));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A run of `cmsim apply` on a real control plane with played kubelets (`tests/light`), interrupted on its first node and continued.
    const CONTINUED: &str = include_str!("../../fixtures/journals/continued.jsonl");

    /// A kubeadm upgrade from 1.36.3 to 1.37.2 of a control-plane node, whose API server was away twice, and three workers; the run
    /// was stopped in between and continued. Parts in which next to nothing happened are left out.
    const KUBEADM: &str = include_str!("../../fixtures/journals/kubeadm.jsonl");

    /// A run during which somebody changed a Deployment's template and then its replicas, faster than its controller looked.
    const RESIZED: &str = include_str!("../../fixtures/journals/resized.jsonl");

    fn held(text: &str) -> Report {
        of_text("journal", text).unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn mismatches(report: &Report) -> Vec<String> {
        report.mismatches.iter().map(ToString::to_string).collect()
    }

    /// The journal with lines put in after the one that begins so.
    fn forged(after: &str, lines: &[Value]) -> String {
        put_in(CONTINUED, after, lines)
    }

    fn put_in(journal: &str, after: &str, lines: &[Value]) -> String {
        let at = journal.find(after).unwrap_or_else(|| panic!("no line begins with {after}"));
        let end = at + journal[at..].find('\n').unwrap() + 1;
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        format!("{}{lines}{}", &journal[..end], &journal[end..])
    }

    /// The only kind of fact that is told to be wrong, in the line where it is.
    #[track_caller]
    fn assert_wrong(text: &str, kind: &str, line: &str) {
        let report = held(text);
        let found = report.mismatches.iter().find(|one| one.kind == kind);
        let found = found.unwrap_or_else(|| panic!("no {kind} among {:#?}", mismatches(&report)));
        let number = text.lines().position(|text| text.contains(line)).unwrap() + 1;
        assert!(found.place.starts_with(&format!("line {number} (2026-")), "line {number}: {found}");
    }

    #[test]
    fn a_real_run_and_its_continuation_are_what_the_model_allows() {
        let report = held(CONTINUED);
        assert_eq!(mismatches(&report), Vec::<String>::new());
        assert_eq!(report.checked["eviction answers"], 11);
        assert_eq!(report.checked["pod.created"], 10);
        assert_eq!(report.checked["node.version"], 2);
        let gaps: Vec<&String> = report.not_modelled.keys().filter(|why| why.starts_with("nobody watched")).collect();
        assert_eq!(gaps.len(), 1, "{:?}", report.not_modelled);
    }

    #[test]
    fn a_deployment_that_is_changed_twice_at_once_is_followed() {
        assert_eq!(mismatches(&held(RESIZED)), Vec::<String>::new());
        // The old ReplicaSet has its share of the new replicas then and wants no further pod.
        let last = r#"{"rv":406,"#;
        let further = json!({"rv": 407, "t": 1.054, "ev": "pod.created", "controller": "ReplicaSet/web-68fb8fffb7", "ns": "shop", "pod": "web-68fb8fffb7-zzzzz"});
        assert_wrong(&put_in(RESIZED, last, &[further]), "pod.created", "zzzzz");
    }

    #[test]
    fn a_pod_on_a_cordoned_node_is_wrong() {
        let bound = r#""ev":"pod.bound","node":"n2","ns":"shop","pod":"db-2"}"#;
        assert!(CONTINUED.contains(bound));
        let there = bound.replace("n2", "n1");
        assert_wrong(&CONTINUED.replace(bound, &there), "pod.bound", &there);
    }

    #[test]
    fn an_eviction_past_a_budget_is_wrong() {
        let text = forged(
            r#"{"rv":382,"#,
            &[
                json!({"rv": 382, "t": 0.215, "ev": "evict", "code": 201, "ns": "shop", "pod": "web-68fb8fffb7-vzpnp", "rv_hi": 384}),
            ],
        );
        assert_wrong(&text, "eviction answers", r#""rv_hi":384,"t":0.215"#);
    }

    #[test]
    fn a_refusal_that_a_budget_does_not_give_is_wrong() {
        let text = forged(
            r#"{"rv":386,"#,
            &[
                json!({"rv": 386, "t": 0.36, "ev": "evict", "code": 429, "ns": "shop", "pod": "web-68fb8fffb7-vzpnp", "rv_hi": 386,
                "message": "Cannot evict pod as it would violate the pod's disruption budget."}),
            ],
        );
        assert_wrong(&text, "eviction answers", r#""code":429"#);
    }

    #[test]
    fn a_pod_that_is_ready_before_it_runs_is_wrong() {
        let text = forged(
            r#"{"rv":393,"#,
            &[json!({"rv": 393, "t": 0.436, "ev": "pod.ready", "ns": "shop", "pod": "db-2", "node": "n2"})],
        );
        assert_wrong(&text, "pod.ready", r#""ev":"pod.ready","node":"n2","ns":"shop","pod":"db-2","rv":393"#);
    }

    #[test]
    fn a_pod_too_many_is_wrong() {
        let text = forged(
            r#"{"rv":428,"#,
            &[
                json!({"rv": 429, "t": 1.3, "ev": "pod.created", "ns": "shop", "pod": "web-more", "controller": "ReplicaSet/web-68fb8fffb7"}),
            ],
        );
        assert_wrong(&text, "pod.created", "web-more");
    }

    #[test]
    fn a_deletion_that_nobody_asks_for_is_wrong() {
        let text = forged(
            r#"{"rv":428,"#,
            &[json!({"rv": 429, "t": 1.3, "ev": "pod.deleting", "ns": "shop", "pod": "db-0", "grace": 3})],
        );
        assert_wrong(&text, "pod.deleting", r#""rv":429"#);
    }

    #[test]
    fn a_version_that_the_run_did_not_bring_is_wrong() {
        let other = CONTINUED.replace(
            r#""ev":"node.version","node":"n1","version":"v1.36.3""#,
            r#""ev":"node.version","node":"n1","version":"v1.36.2""#,
        );
        assert_wrong(&other, "node.version", r#""version":"v1.36.2""#);
        let lines = CONTINUED.lines().filter(|line| !line.contains("upgrade-host"));
        let report = held(&lines.map(|line| format!("{line}\n")).collect::<String>());
        assert!(report.mismatches.iter().any(|one| one.kind == "node.version"), "{:#?}", mismatches(&report));
    }

    #[test]
    fn lines_that_were_cut_off_are_said_and_no_others_are_let_pass() {
        let ends: Vec<usize> = CONTINUED.match_indices('\n').map(|(at, _)| at + 1).collect();
        let torn = |text: &str| {
            let report = held(text);
            assert_eq!(mismatches(&report), Vec::<String>::new());
            report.not_modelled.contains_key("lines that were cut off")
        };
        assert!(torn(&CONTINUED[..CONTINUED.len() - 20]));
        // Killed while it began: the part tells nothing yet.
        let third = ends[2];
        assert!(torn(&format!("{}{}\n{CONTINUED}", &CONTINUED[..third], &CONTINUED[third..third + 20])));
        let middle = ends[ends.len() / 2];
        let error = of_text("j", &format!("{}{{\"rv\":1\n{}", &CONTINUED[..middle], &CONTINUED[middle..])).unwrap_err();
        assert_eq!(error.to_string(), format!("j line {} cannot be read", ends.len() / 2 + 2));
    }

    /// Wherever a run is killed, what it has written is a journal.
    #[test]
    fn a_journal_that_ends_anywhere_is_one() {
        for at in (0..CONTINUED.len()).step_by(997).skip(1) {
            let first = CONTINUED.find('\n').unwrap();
            if at > first && CONTINUED.is_char_boundary(at) {
                assert_eq!(mismatches(&held(&CONTINUED[..at])), Vec::<String>::new(), "cut at {at}");
            }
        }
    }

    #[test]
    fn an_eviction_whose_answer_was_not_written_is_not_modelled() {
        let answer =
            CONTINUED.lines().position(|line| line.contains(r#""ev":"evict""#) && line.contains("db-0")).unwrap();
        let lines =
            CONTINUED.lines().enumerate().filter(|(index, _)| *index != answer).map(|(_, line)| format!("{line}\n"));
        let report = held(&lines.collect::<String>());
        assert_eq!(mismatches(&report), Vec::<String>::new());
        assert_eq!(report.not_modelled["evictions whose answer is not known"], 1);
    }

    #[test]
    fn what_is_no_journal_is_told() {
        let error = |text: &str| of_text("x.jsonl", text).unwrap_err().to_string();
        let trace = error("{\"format\":\"cmsim.dev/trace/v1\",\"start\":0}\n");
        assert!(trace.starts_with("x.jsonl is no journal of `cmsim apply`"), "{trace}");
        assert!(error("").starts_with("x.jsonl is no journal"));
        let later = CONTINUED.replace("cmsim.dev/journal/v1", "cmsim.dev/journal/v9");
        assert_eq!(
            error(&later),
            "x.jsonl line 1: format \"cmsim.dev/journal/v9\"; this version reads \"cmsim.dev/journal/v1\""
        );
    }

    /// A control-plane node whose host is upgraded: the API server's static pod is exchanged, the kubelet falls silent and comes back.
    fn control_plane(acts: &[Value]) -> Report {
        let api_server = |version: &str, uid: &str| {
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": "kube-apiserver-cp1", "namespace": "kube-system", "uid": uid,
                    "labels": {"component": "kube-apiserver", "tier": "control-plane"},
                    "annotations": {"kubernetes.io/config.mirror": uid},
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "cp1", "uid": "n", "controller": true}],
                },
                "spec": {
                    "nodeName": "cp1", "hostNetwork": true,
                    "containers": [{"name": "kube-apiserver", "image": format!("registry.k8s.io/kube-apiserver:{version}")}],
                },
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            })
        };
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "cp1", "uid": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
            "spec": {"unschedulable": true, "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]},
            "status": {
                "nodeInfo": {"kubeletVersion": "v1.36.3"}, "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        let pod = "kube-apiserver-cp1";
        let mut lines = vec![
            json!({"rv": 1, "t": 0, "ev": "start", "format": FORMAT, "time": "2026-11-26T07:49:16Z", "server": "v1.36.3",
                "kinds": ["Node", "Pod"]}),
            json!({"rv": 1, "t": 0, "ev": "object", "object": node}),
            json!({"rv": 1, "t": 0, "ev": "object", "object": api_server("v1.36.3", "a")}),
            json!({"rv": 1, "t": 0, "ev": "begin"}),
        ];
        lines.extend(acts.iter().cloned());
        lines.extend([
            json!({"rv": 3, "t": 9, "ev": "pod.gone", "ns": "kube-system", "pod": pod}),
            json!({"rv": 4, "t": 9.1, "ev": "pod.created", "ns": "kube-system", "pod": pod, "controller": "Node/cp1",
                "object": api_server("v1.37.2", "b")}),
            json!({"rv": 4, "t": 9.1, "ev": "pod.bound", "ns": "kube-system", "pod": pod, "node": "cp1"}),
            json!({"rv": 4, "t": 9.1, "ev": "pod.ready", "ns": "kube-system", "pod": pod}),
            json!({"rv": 5, "t": 70, "ev": "node.notready", "node": "cp1", "status": "Unknown"}),
            json!({"rv": 6, "t": 70.1, "ev": "pod.notready", "ns": "kube-system", "pod": pod}),
            json!({"rv": 7, "t": 80, "ev": "node.ready", "node": "cp1"}),
            json!({"rv": 7, "t": 80, "ev": "node.version", "node": "cp1", "version": "v1.37.2"}),
            json!({"rv": 8, "t": 80.2, "ev": "pod.ready", "ns": "kube-system", "pod": pod}),
            json!({"rv": 8, "t": 81, "ev": "host.ended", "node": "cp1", "ok": true}),
            json!({"rv": 8, "t": 81, "ev": "act", "what": "uncordon", "node": "cp1"}),
            json!({"rv": 9, "t": 81.1, "ev": "node.uncordoned", "node": "cp1"}),
            json!({"rv": 10, "t": 81.2, "ev": "node.taints", "node": "cp1", "taints": []}),
        ]);
        held(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
    }

    #[test]
    fn work_on_a_control_plane_host_is_understood() {
        let act = |version: &str| json!({"rv": 1, "t": 1, "ev": "act", "what": "upgrade-host", "node": "cp1", "version": version});
        let report = control_plane(&[act("v1.37.2")]);
        assert_eq!(mismatches(&report), Vec::<String>::new());
        assert_eq!(report.checked["version of an API server"], 1);
        assert_eq!(report.not_modelled, std::collections::BTreeMap::new());

        let kinds = |report: &Report| report.mismatches.iter().map(|one| one.kind.clone()).collect::<Vec<_>>();
        let other = control_plane(&[act("v1.36.4")]);
        assert_eq!(kinds(&other), ["version of an API server", "node.version"], "{:#?}", mismatches(&other));

        let nobody = control_plane(&[]);
        assert_eq!(kinds(&nobody), ["version of an API server", "node.version", "host.ended"]);
        assert_eq!(nobody.not_modelled["nodes that fail by themselves"], 1);
    }

    #[test]
    fn a_watch_that_began_anew_is_a_gap() {
        let first: Vec<&str> = CONTINUED.lines().take_while(|line| !line.contains(r#""ev":"end""#)).collect();
        let second = &CONTINUED[CONTINUED.rfind(r#"{"rv":0,"t":0.000,"ev":"start""#).unwrap()..];
        let gap = r#"{"rv":349,"t":0.331,"ev":"gap","why":"the watch of pods starts anew"}"#;
        let report = held(&format!("{}\n{gap}\n{second}", first.join("\n")));
        assert_eq!(mismatches(&report), Vec::<String>::new());
        assert!(report.not_modelled.keys().any(|why| why.ends_with("(the watch of pods starts anew)")), "{report:?}");
    }

    #[test]
    fn an_upgrade_with_kubeadm_is_what_the_model_allows() {
        let report = held(KUBEADM);
        assert_eq!(mismatches(&report), Vec::<String>::new());
        let checked = |kind: &str| report.checked.get(kind).copied().unwrap_or(0);
        assert_eq!(checked("eviction answers"), 15);
        assert_eq!(checked("node.version"), 4);
        assert_eq!(checked("job.status"), 10, "Jobs that kubeadm creates");
        assert_eq!(checked("acts of the run"), 62);
        let others: Vec<&String> = report.not_modelled.keys().filter(|why| !why.starts_with("objects taken")).collect();
        let gaps = others.iter().filter(|why| why.starts_with("nobody watched from")).count();
        assert_eq!((gaps, others.len()), (3, 6), "{others:#?}");
        assert_eq!(report.not_modelled["pods that end by themselves"], 2, "of those Jobs");
        assert!(!report.not_modelled.keys().any(|why| why.starts_with("static pods")), "{others:#?}");
    }

    #[test]
    fn a_daemon_set_that_is_rolled_too_fast_is_wrong() {
        let too_soon = json!({"rv": 2269, "t": 8.6, "ev": "pod.deleting", "grace": 30, "node": "cmsim-lab-worker2",
            "ns": "kube-system", "pod": "kube-proxy-sc46p"});
        let text = put_in(KUBEADM, r#"{"rv":2268,"#, &[too_soon]);
        assert_wrong(&text, "pod.deleting", r#""pod":"kube-proxy-sc46p","rv":2269"#);
        // Nothing is rolled if the template stays.
        let stays = |line: &&str| !(line.starts_with(r#"{"rv":2261,"#) && line.contains(r#""kind":"DaemonSet""#));
        let text: String = KUBEADM.lines().filter(stays).map(|line| format!("{line}\n")).collect();
        assert!(text.len() < KUBEADM.len());
        assert_wrong(&text, "pod.deleting", r#""ev":"pod.deleting","grace":30,"node":"cmsim-lab-control-plane""#);
    }

    /// A run that evicts a pod and upgrades its host while nobody watches; the rest of the lines are of the part after that.
    fn while_nobody_watched(lines: &[Value]) -> Report {
        let node = |record: &str, cordoned: bool| {
            json!({"rv": 1, "t": 0, "ev": "object", "object": {
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": "n1", "uid": "n", "annotations": {"cmsim.dev/run": record}},
                "spec": {"unschedulable": cordoned},
                "status": {
                    "nodeInfo": {"kubeletVersion": "v1.36.3"}, "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            }})
        };
        let pod = |name: &str| {
            json!({"rv": 1, "t": 0, "ev": "object", "object": {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "uid": name},
                "spec": {"nodeName": "n1", "containers": [{"name": "c"}]},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            }})
        };
        let start = |time: &str| json!({"rv": 1, "t": 0, "ev": "start", "format": FORMAT, "time": time, "server": "v1.36.3", "kinds": ["Node", "Pod"]});
        let begin = json!({"rv": 9, "t": 0, "ev": "begin"});
        let mut all = vec![
            start("2026-11-26T07:49:16Z"),
            node("{}", false),
            pod("a"),
            pod("b"),
            begin.clone(),
            json!({"rv": 9, "t": 1, "ev": "act", "what": "begin", "node": "n1"}),
            json!({"rv": 9, "t": 2, "ev": "gap", "why": "the watch of pods: gone"}),
            json!({"rv": 9, "t": 4, "ev": "act", "what": "cordon", "node": "n1"}),
            json!({"rv": 9, "t": 5, "ev": "act", "what": "upgrade-host", "node": "n1", "version": "v1.37.2"}),
            json!({"rv": 9, "t": 5.5, "ev": "host.started", "node": "n1"}),
            json!({"rv": 9, "t": 6, "ev": "act", "what": "evict", "node": "n1", "ns": "shop", "pod": "a"}),
            start("2026-11-26T07:49:26Z"),
            node(r#"{"started": "2026-11-26T07:49:17Z"}"#, true),
            pod("a"),
            pod("b"),
            begin,
        ];
        all.extend_from_slice(lines);
        held(&all.iter().map(|line| format!("{line}\n")).collect::<String>())
    }

    #[test]
    fn what_the_run_does_while_nobody_watches_may_show_later() {
        let deleting = |pod: &str| {
            let reason = "EvictionByEvictionAPI";
            [
                json!({"rv": 10, "t": 0.1, "ev": "pod.disruptionTarget", "ns": "shop", "pod": pod, "reason": reason}),
                json!({"rv": 11, "t": 0.1, "ev": "pod.deleting", "ns": "shop", "pod": pod, "grace": 30, "reason": reason}),
            ]
        };
        let version = |version: &str| json!({"rv": 20, "t": 3, "ev": "node.version", "node": "n1", "version": version});
        // The answer of the model to a request of which nobody knows what it saw is worth nothing.
        let answer = json!({"rv": 9, "t": 0.2, "ev": "evict", "ns": "shop", "pod": "a", "code": 201, "rv_hi": 12});
        let mut lines = deleting("a").to_vec();
        lines.extend([answer, version("v1.37.2")]);
        let report = while_nobody_watched(&lines);
        assert_eq!(mismatches(&report), Vec::<String>::new());
        assert_eq!(report.not_modelled["what the run did while nobody watched"], 4);
        assert_eq!(report.not_modelled["evictions whose answer is not known"], 1);
        assert_eq!(report.checked["acts of the run"], 1);
        let span = "nobody watched from 2026-11-26T07:49:18Z to 2026-11-26T07:49:26Z (the watch of pods: gone)";
        assert!(report.not_modelled.contains_key(span), "{:?}", report.not_modelled);

        let kinds = |report: &Report| report.mismatches.iter().map(|one| one.kind.clone()).collect::<Vec<_>>();
        assert_eq!(kinds(&while_nobody_watched(&deleting("b"))), ["pod.disruptionTarget", "pod.deleting"]);
        assert_eq!(kinds(&while_nobody_watched(&[version("v1.37.1")])), ["node.version"]);
    }
}
