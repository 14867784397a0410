//! What a run shows and writes down while it goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::json;

use crate::check::Checked;
use crate::cluster::{Cluster, HostJob, Name, Node, NodeOutcome, RunRecord, Time};
use crate::engine::{End, Listener, Trouble};
use crate::live::{Journal, Seen};
use crate::trace::{Event, Line, Record};
use crate::upgrade::{Action, Decision, Describe, Goal, Outcome, Reason};

use super::output::{self, Format, note};

/// Ctrl-C and TERM: the first ends the run after the action in hand, the second at once.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on.
    pub fn listen() -> Interrupt {
        let asked = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&asked);
        tokio::spawn(async move {
            let Ok(mut term) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else {
                return;
            };
            loop {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    _ = term.recv() => {}
                }
                if flag.swap(true, Ordering::SeqCst) {
                    std::process::exit(130);
                }
                note("interrupted: the action in hand is finished first; once more to end at once");
            }
        });
        Interrupt(asked)
    }

    /// One that nobody presses but a test.
    #[cfg(test)]
    pub fn quiet() -> Interrupt {
        Interrupt(Arc::new(AtomicBool::new(false)))
    }

    /// As if it were pressed.
    #[cfg(test)]
    pub fn press(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Waits until it is pressed.
    pub async fn asked(&self) {
        while !self.is_asked() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The listener of a run.
pub struct Watch {
    /// Ends the run between two actions.
    pub interrupt: Option<Interrupt>,
    journal: Journal,
    /// Line of the action in hand.
    deed: String,
    /// Hosts that are at work, as the journal has it.
    at_work: Vec<Name>,
    format: Format,
    bar: ProgressBar,
    last: Option<Cluster>,
    said: Vec<String>,
    predicted: BTreeMap<String, u32>,
    seen: Seen,
    /// Nodes that are left out.
    skipped: BTreeSet<Name>,
    /// Stop when a workload falls under its prediction.
    pauses: bool,
    why: Vec<String>,
}

impl Watch {
    /// A listener of a run.
    pub fn new(record: &RunRecord, journal: Journal, format: Format, goal: &Goal, pauses: bool) -> Watch {
        Watch {
            interrupt: None,
            journal,
            deed: String::new(),
            at_work: Vec::new(),
            format,
            bar: output::spinner("starting"),
            last: None,
            said: Vec::new(),
            predicted: record.predicted.clone(),
            seen: Seen::new(record.seen.clone().into()),
            skipped: goal.skip.clone(),
            pauses,
            why: Vec::new(),
        }
    }

    /// Lowest number of ready pods seen, by workload, for whoever records it while the run goes on.
    pub fn seen(&self) -> Seen {
        Arc::clone(&self.seen)
    }

    /// The same, as it is now.
    pub fn lowest(&self) -> BTreeMap<String, u32> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What shows that the run goes on.
    pub fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Nodes that the run had taken in hand and that are left out by now.
    pub fn left(&self) -> Vec<Name> {
        let in_hand = |node: &&Node| node.marks.started.is_some() && node.marks.outcome.is_none() && !node.gone;
        let nodes = self.last.iter().flat_map(|cluster| cluster.nodes()).map(|(_, node)| node).filter(in_hand);
        nodes.map(Node::name).filter(|name| self.skipped.contains(name)).collect()
    }

    /// Nodes whose host failed or did not come back: why the run stopped.
    pub fn lost(&self, ended: &Result<End, Trouble>) -> Vec<Name> {
        let (Ok(End::Outcome(Outcome::Stopped(why))), Some(cluster)) = (ended, &self.last) else { return Vec::new() };
        let mut lost: Vec<Name> = why.iter().filter_map(Reason::lost_node).map(|id| cluster.node(id).name()).collect();
        lost.sort();
        lost.dedup();
        lost
    }

    /// Prints what the journal has got since the last time.
    fn pass_on(&mut self) {
        for line in self.journal.news() {
            let _ = output::line(&line);
        }
        if let Some(trouble) = self.journal.trouble() {
            self.bar.suspend(|| note(&format!("the journal ends here, the run goes on without it: {trouble}")));
        }
    }

    /// Writes down which hosts begin and end their work.
    fn watch_hosts(&mut self, cluster: &Cluster) {
        for (_, node) in cluster.nodes() {
            let (name, known) = (node.name(), self.at_work.contains(&node.name()));
            match node.job {
                HostJob::Running { .. } if !known => {
                    self.at_work.push(name);
                    self.journal.host(name, None);
                }
                HostJob::Succeeded | HostJob::Failed if known => {
                    self.at_work.retain(|other| *other != name);
                    self.journal.host(name, Some(node.job == HostJob::Succeeded));
                }
                _ => {}
            }
        }
    }

    fn say(&mut self, text: &str) {
        if self.format == Format::Text {
            self.bar.suspend(|| note(text));
        }
    }

    /// Looks for workloads that are worse off than the forecast said.
    fn count(&mut self, cluster: &Cluster) {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, workload) in cluster.workloads() {
            if workload.owner.is_some() || cluster.top(id) != id {
                continue;
            }
            let (key, ready) = (workload.key.to_string(), cluster.ready_pods(id));
            let Some(&lowest) = self.predicted.get(&key) else { continue };
            let seen = all.entry(key.clone()).or_insert(ready);
            let before = *seen;
            *seen = before.min(ready);
            if ready < lowest && ready < before && self.pauses {
                self.why.push(format!(
                    "{key} has {ready} ready pods, the forecast said at least {lowest} (--no-pause goes on)"
                ));
            }
        }
    }

    /// Why a run ended, in words.
    pub fn reasons(&self, ended: &Result<End, Trouble>, failed: &[String]) -> Vec<String> {
        let mut reasons = self.why.clone();
        match ended {
            Ok(End::Outcome(Outcome::Stopped(why))) => {
                if let Some(cluster) = &self.last {
                    reasons.extend(why.iter().map(|reason| reason.describe(cluster)));
                }
                reasons.extend_from_slice(failed);
            }
            Ok(End::Interrupted) if reasons.is_empty() => reasons.push("on request".to_owned()),
            Ok(End::Interrupted | End::Outcome(Outcome::Done)) => {}
            Err(trouble) => reasons.push(trouble.to_string()),
        }
        reasons
    }

    /// How it ended for each node and workload.
    pub fn recap(&mut self, before: &Cluster, checked: &Checked, format: Format) -> anyhow::Result<()> {
        self.journal.end();
        self.pass_on();
        self.bar.finish_and_clear();
        let now = self.last.as_ref().unwrap_or(before);
        let planned = |name| checked.forecast.nodes.iter().any(|node| node.name == name && node.order > 0);
        let mut nodes: Vec<(String, &str, String)> = Vec::new();
        for (_, node) in now.nodes().filter(|(_, node)| !node.gone) {
            let was = before.find_node(node.name()).and_then(|id| before.node(id).kubelet);
            let state = match node.marks.outcome {
                Some((NodeOutcome::Done, _)) => "changed",
                Some((NodeOutcome::Blocked, _)) => "failed",
                None if self.skipped.contains(&node.name()) => "skipped",
                None if node.marks.started.is_some() => "unfinished",
                None if planned(node.name()) => "not reached",
                None => "ok",
            };
            let version =
                |version: Option<crate::cluster::Version>| version.map_or("?".to_owned(), |one| one.to_string());
            nodes.push((node.name().to_string(), state, format!("{} -> {}", version(was), version(node.kubelet))));
        }
        let seen = self.lowest();
        let workloads = seen.iter().map(|(key, seen)| (key, seen, self.predicted.get(key).copied().unwrap_or(0)));
        match format {
            Format::Json => output::line(&serde_json::to_string(&json!({
                "apiVersion": "cmsim.dev/v1", "kind": "ApplyResult",
                "nodes": nodes.iter().map(|(name, state, versions)| json!({"name": name, "state": state, "versions": versions})).collect::<Vec<_>>(),
                "workloads": workloads.map(|(key, seen, predicted)| json!({"object": key, "lowestSeen": seen, "lowestPredicted": predicted})).collect::<Vec<_>>(),
                "reasons": self.why,
            }))?),
            Format::Text => {
                let rows =
                    nodes.into_iter().map(|(name, state, versions)| vec![name, state.to_owned(), versions]).collect();
                let mut text = crate::report::text::table(&["NODE", "STATE", "KUBELET"], rows, output::width());
                let rows = workloads
                    .map(|(key, seen, predicted)| vec![key.clone(), seen.to_string(), predicted.to_string()])
                    .collect();
                text.push('\n');
                text.push_str(&crate::report::text::table(
                    &["WORKLOAD", "LOWEST READY SEEN", "PREDICTED"],
                    rows,
                    output::width(),
                ));
                output::text(&text)
            }
        }
    }
}

impl Listener for Watch {
    fn decided(&mut self, cluster: &Cluster, decision: &Decision, now: Time) -> bool {
        self.watch_hosts(cluster);
        self.pass_on();
        self.count(cluster);
        let waits: Vec<String> = decision.waiting.iter().map(|waiting| waiting.reason.describe(cluster)).collect();
        if waits != self.said {
            for wait in waits.iter().filter(|wait| !self.said.contains(wait)).cloned().collect::<Vec<_>>() {
                self.say(&format!("{} waiting: {wait}", clock(now)));
            }
            self.said = waits;
            self.bar.set_message(self.said.first().cloned().unwrap_or_default());
        }
        self.last = Some(cluster.clone());
        self.why.is_empty() && !self.interrupt.as_ref().is_some_and(Interrupt::is_asked)
    }

    fn acting(&mut self, cluster: &Cluster, action: Action, _: Time) -> bool {
        if self.interrupt.as_ref().is_some_and(Interrupt::is_asked) {
            return false;
        }
        self.deed = self.journal.acting(cluster, action);
        true
    }

    fn acted(&mut self, cluster: &Cluster, action: Action, now: Time) {
        self.pass_on();
        if self.format == Format::Json {
            let _ = output::line(&self.deed);
        }
        let line = Line::new(&Record { at: now, event: Event::Acted(action) }, now, cluster);
        let object =
            line.pod.map(|pod| format!(" {pod}")).or(line.node.map(|node| format!(" {node}"))).unwrap_or_default();
        let version = line.version.map_or(String::new(), |version| format!(" {version}"));
        self.say(&format!("{} {}{object}{version}", clock(now), line.what));
    }

    fn trouble(&mut self, trouble: &Trouble, now: Time) {
        let text = format!("{} waiting: {trouble}", clock(now));
        if self.said.last() != Some(&text[9..].to_owned()) {
            self.say(&text);
            self.said = vec![text[9..].to_owned()];
        }
    }
}

/// Opens a journal to append to it; a line that was cut off is left behind.
pub fn open_journal(path: &Path) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// Time of day, for people.
fn clock(now: Time) -> String {
    let time = jiff::Timestamp::from_millisecond(now.0).unwrap_or_default();
    jiff::tz::TimeZone::try_system()
        .unwrap_or(jiff::tz::TimeZone::UTC)
        .to_datetime(time)
        .strftime("%H:%M:%S")
        .to_string()
}
