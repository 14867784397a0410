//! What a scenario expects, and how it is compared with what came out.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use serde::Deserialize;

use crate::check::Checked;
use crate::cluster::{Millis, Name};
use crate::forecast::{Availability, Broken, Verdict};

/// `expect:` of a scenario file. What is left out is not asked, but the verdict always is.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// Worst verdict of all walks and findings.
    verdict: Verdict,
    /// Every walk upgrades every node of the goal.
    #[serde(default)]
    completes: Option<bool>,
    /// Rules that are broken.
    #[serde(default)]
    broken: Vec<BrokenRule>,
    /// Rules that must not be broken.
    #[serde(default)]
    unbroken: Vec<BrokenRule>,
    /// Lowest ready pods (endpoints, of a Service) over all walks, by object.
    #[serde(default)]
    lowest: BTreeMap<String, Range<u32>>,
    /// Pods that a drain leaves in some walk, and a part of the reason. `*` at the end stands for any ending.
    #[serde(default)]
    blocked: BTreeMap<String, String>,
    /// Codes of findings, or `CODE=object`.
    #[serde(default)]
    findings: Vec<String>,
    /// Codes of findings that must not be there, or `CODE=object`.
    #[serde(default)]
    no_findings: Vec<String>,
    /// Duration of the run, in every walk.
    #[serde(default)]
    duration: Option<Range<Millis>>,
    /// Accepted evictions, in every walk.
    #[serde(default)]
    evictions: Option<Range<u32>>,
    /// Pods that have no node at the end of some walk. `*` at the end stands for any ending.
    #[serde(default)]
    pending: Vec<String>,
    /// Parts of what the engine says when it stops or waits without end.
    #[serde(default)]
    reasons: Vec<String>,
    /// In how many walks each node is upgraded, by name.
    #[serde(default)]
    done: BTreeMap<Name, Range<usize>>,
    /// Parts of what the result says not to be modelled.
    #[serde(default)]
    not_modelled: Vec<String>,
}

/// A rule by code or name, of an object.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BrokenRule {
    /// Code or name.
    rule: String,
    /// Object; any when left out.
    #[serde(default)]
    object: Option<String>,
    /// Node whose turn it is in the first walk that breaks it.
    #[serde(default)]
    node: Option<Name>,
    /// In how many walks.
    #[serde(default)]
    walks: Option<Range<usize>>,
    /// Part of what is said.
    #[serde(default)]
    says: Option<String>,
}

/// A value, or bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Range<T> {
    Exactly(T),
    #[serde(rename_all = "camelCase")]
    Within {
        #[serde(default = "none")]
        at_least: Option<T>,
        #[serde(default = "none")]
        at_most: Option<T>,
    },
}

fn none<T>() -> Option<T> {
    None
}

impl<T: Copy + Ord> Range<T> {
    fn holds(&self, value: T) -> bool {
        match *self {
            Range::Exactly(wanted) => value == wanted,
            Range::Within { at_least, at_most } => {
                at_least.is_none_or(|least| value >= least) && at_most.is_none_or(|most| value <= most)
            }
        }
    }
}

impl<T: Display> Display for Range<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Range::Exactly(wanted) => write!(f, "{wanted}"),
            Range::Within { at_least: Some(least), at_most: Some(most) } => write!(f, "{least} to {most}"),
            Range::Within { at_least: Some(least), at_most: None } => write!(f, "at least {least}"),
            Range::Within { at_least: None, at_most: Some(most) } => write!(f, "at most {most}"),
            Range::Within { at_least: None, at_most: None } => f.write_str("anything"),
        }
    }
}

impl Display for BrokenRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rule)?;
        self.object.iter().try_for_each(|object| write!(f, " of {object}"))?;
        self.node.iter().try_for_each(|node| write!(f, " on the turn of {node}"))?;
        self.walks.iter().try_for_each(|walks| write!(f, " in {walks} walks"))?;
        self.says.iter().try_for_each(|says| write!(f, " saying {says:?}"))
    }
}

impl BrokenRule {
    fn matches(&self, broken: &Broken) -> bool {
        let violation = &broken.violation;
        let abouts = crate::judge::abouts();
        let named = abouts.iter().any(|about| about.code == violation.code && about.name == self.rule);
        (named || self.rule == violation.code)
            && self.object.as_ref().is_none_or(|object| pattern(object, &violation.object.to_string()))
            && self.node.is_none_or(|node| broken.node == Some(node))
            && self.walks.as_ref().is_none_or(|walks| walks.holds(broken.walks))
            && self.says.as_ref().is_none_or(|says| violation.message.contains(says))
    }
}

/// `*` at the end of a pattern stands for any ending.
fn pattern(wanted: &str, found: &str) -> bool {
    wanted.strip_suffix('*').map_or(found == wanted, |start| found.starts_with(start))
}

impl Expect {
    /// Everything that is not as expected.
    pub(super) fn compare(&self, checked: &Checked) -> Vec<String> {
        let forecast = &checked.forecast;
        let mut wrong = Vec::new();
        if checked.verdict != self.verdict {
            wrong.push(format!("verdict is {}, expected {}", checked.verdict, self.verdict));
        }
        if let Some(completes) = self.completes
            && completes != forecast.completes
        {
            wrong.push(format!("completes is {}, expected {completes}", forecast.completes));
        }
        for rule in &self.broken {
            if !forecast.broken.iter().any(|broken| rule.matches(broken)) {
                wrong.push(format!("not broken: {rule}"));
            }
        }
        for rule in &self.unbroken {
            for broken in forecast.broken.iter().filter(|broken| rule.matches(broken)) {
                wrong.push(format!("broken, but must not be: {}", described(broken)));
            }
        }
        self.compare_counts(checked, &mut wrong);
        self.compare_pods(checked, &mut wrong);
        self.compare_words(checked, &mut wrong);
        if !wrong.is_empty() {
            wrong.extend(evidence(checked));
        }
        wrong
    }

    fn compare_counts(&self, checked: &Checked, wrong: &mut Vec<String>) {
        let forecast = &checked.forecast;
        for (object, range) in &self.lowest {
            let all = forecast.workloads.iter().chain(&forecast.services);
            let found = all.into_iter().find(|item: &&Availability| item.key.to_string() == *object);
            match found {
                None => wrong.push(format!("{object} is no workload or Service of the forecast")),
                Some(item) if !range.holds(item.lowest) => {
                    wrong.push(format!("{object} falls to {} ready, expected {range}", item.lowest));
                }
                Some(_) => {}
            }
        }
        for length in [forecast.lengths.first(), forecast.lengths.last()].into_iter().flatten() {
            if self.duration.as_ref().is_some_and(|range| !range.holds(*length)) {
                wrong.push(format!("a run takes {length}, which is not as expected"));
            }
        }
        for count in [forecast.evictions.first(), forecast.evictions.last()].into_iter().flatten() {
            if let Some(range) = self.evictions.as_ref().filter(|range| !range.holds(*count)) {
                wrong.push(format!("{count} evictions, expected {range}"));
            }
        }
        for (node, range) in &self.done {
            let done = forecast.nodes.iter().find(|found| found.name == *node).map_or(0, |found| found.done);
            if !range.holds(done) {
                wrong.push(format!("node {node} is upgraded in {done} walks, expected {range}"));
            }
        }
    }

    fn compare_pods(&self, checked: &Checked, wrong: &mut Vec<String>) {
        let forecast = &checked.forecast;
        let blocked = || forecast.nodes.iter().flat_map(|node| &node.blocked_pods);
        for (pod, reason) in &self.blocked {
            if !blocked().any(|(found, said)| pattern(pod, &found.to_string()) && said.contains(reason)) {
                wrong.push(format!("not blocked with {reason:?}: {pod}"));
            }
        }
        for pod in &self.pending {
            if !forecast.pending.iter().any(|found| pattern(pod, &found.to_string())) {
                wrong.push(format!("not pending at the end: {pod}"));
            }
        }
    }

    fn compare_words(&self, checked: &Checked, wrong: &mut Vec<String>) {
        let found = |wanted: &str| {
            let (code, object) = wanted.split_once('=').unwrap_or((wanted, "*"));
            checked.findings.iter().any(|finding| finding.code == code && pattern(object, &finding.object.to_string()))
        };
        wrong.extend(self.findings.iter().filter(|wanted| !found(wanted)).map(|wanted| format!("no finding {wanted}")));
        let unwanted = self.no_findings.iter().filter(|unwanted| found(unwanted));
        wrong.extend(unwanted.map(|unwanted| format!("finding {unwanted} must not be there")));
        for part in &self.reasons {
            if !checked.forecast.reasons.iter().any(|reason| reason.contains(part)) {
                wrong.push(format!("the engine does not say {part:?}"));
            }
        }
        for part in &self.not_modelled {
            if !checked.not_modelled.iter().any(|said| said.contains(part)) {
                wrong.push(format!("{part:?} is not said not to be modelled"));
            }
        }
    }
}

fn described(broken: &Broken) -> String {
    let violation = &broken.violation;
    format!("{} of {} in {} walks: {}", violation.code, violation.object, broken.walks, violation.message)
}

/// What helps to see why a scenario failed.
fn evidence(checked: &Checked) -> Vec<String> {
    let forecast = &checked.forecast;
    let mut lines: Vec<String> =
        forecast.broken.iter().map(|broken| format!("  broken: {}", described(broken))).collect();
    for node in &forecast.nodes {
        lines.extend(
            node.blocked_pods.iter().map(|(pod, reason)| format!("  blocked on {}: {pod}: {reason}", node.name)),
        );
    }
    lines.extend(forecast.reasons.iter().map(|reason| format!("  engine: {reason}")));
    lines.extend(checked.findings.iter().map(|finding| {
        format!("  finding {} {:?} {}: {}", finding.code, finding.severity, finding.object, finding.message)
    }));
    lines.push(format!("  worst walk: seed {}", forecast.worst_seed));
    lines
}
