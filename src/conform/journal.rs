//! The journal of a real run (DRAINS.md, "Journals"): is every event one that the model allows?
//!
//! A run that is continued goes on in the same file. Each start, and each watch that had to begin anew, writes all objects once more,
//! so a journal is a row of parts. What happened between two parts nobody saw, and that is said.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::Report;
use super::drains::check_journal;
use super::drains::event::{self, Act, Line, Recorded, Request, Start};
use crate::cluster::Time;
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
    for part in parts {
        let begun: jiff::Timestamp =
            part.start.time.parse().with_context(|| format!("{name} line {}: field `time`", part.number))?;
        let begun = Time(begun.as_millisecond());
        if let Some((until, why)) = &seen_until {
            report.pass_over(&format!("nobody watched from {} to {} ({why})", when(*until), when(begun)));
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
        let cluster = import::from_live(&part.objects, &kinds, part.start.server, begun)
            .with_context(|| format!("{name}: the objects from line {} on", part.number))?;
        let grace = part.lines.iter().find_map(|line| match &line.event {
            Recorded::Act(act) => act.grace,
            _ => None,
        });
        report.add(check_journal(name.to_owned(), grace, in_order(part.lines), cluster)?);
    }
    Ok(report)
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
