//! What to do, each thing once: what the findings before the run say is not said again by what the runs show.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anstyle::Style;

use crate::check::Checked;
use crate::cluster::{Cluster, ObjectKey};
use crate::forecast::{Broken, Forecast, NodeForecast};
use crate::judge;
use crate::preflight::{Finding, Severity};

use super::text::{BOLD, RED, YELLOW, paint, some};
use super::{counted, duration};

/// Most warnings that are shown.
const WARNINGS: usize = 15;
/// Most objects of one kind of finding, and most pods of a node, that are named.
const NAMED: usize = 5;

/// Findings that say why a rule breaks for the same object, and what to do about it.
const EXPLAINS: [(&str, &str); 2] = [("P001", "J003"), ("P009", "J001")];

/// The section, if there is anything to do.
pub(super) fn write(out: &mut String, checked: &Checked, cluster: &Cluster) {
    let forecast = &checked.forecast;
    let errors = alike(&checked.findings, Severity::Error);
    let mut warnings = alike(&checked.findings, Severity::Warning);
    let mut list = List::default();
    for same in &errors {
        list.finding(RED, same);
    }
    let workloads: BTreeMap<ObjectKey, ObjectKey> = cluster
        .pods()
        .filter_map(|(id, _)| Some((cluster.pod_key(id), cluster.workload(cluster.top_of_pod(id)?).key)))
        .collect();
    let is_said =
        |pod: &ObjectKey, reason: &str| errors.iter().flatten().any(|one| says(one, pod, reason, workloads.get(pod)));
    let is_held = forecast.nodes.iter().any(|node| !node.blocked_pods.is_empty());
    for node in &forecast.nodes {
        list.blocked(node, forecast, is_said);
    }
    let mut reasons = if is_held { Vec::new() } else { forecast.reasons.iter().take(3).cloned().collect() };
    for broken in forecast.broken.iter().filter(|broken| !follows_from_pods(broken, forecast)) {
        let why = warnings.iter().position(|same| same.len() == 1 && explains(same[0], broken));
        let lines = match why.map(|index| warnings.remove(index)) {
            Some(same) => vec![format!("{}: {}", same[0].code, same[0].message), format!("-> {}", same[0].fix)],
            None if broken.violation.code == judge::END && !reasons.is_empty() => std::mem::take(&mut reasons),
            None => about(broken),
        };
        list.item(RED, broken.violation.code, &title(broken, forecast), &lines);
    }
    for reason in &reasons {
        list.item(RED, "stopped", reason, &[]);
    }
    for same in warnings.iter().take(WARNINGS) {
        list.finding(YELLOW, same);
    }
    if list.count == 0 {
        return;
    }
    let _ = write!(out, "\n{}\n{}", paint(BOLD, "What to do"), list.text);
    if let Some(more) = warnings.len().checked_sub(WARNINGS).filter(|more| *more > 0) {
        let _ = writeln!(out, "     ... ({}; -o json lists them all)", counted(more, "more warning"));
    }
}

/// Findings of a severity, those together that differ only in their object.
pub(super) fn alike(findings: &[Finding], severity: Severity) -> Vec<Vec<&Finding>> {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    let mut places = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.severity == severity) {
        let place = *places.entry((finding.code, &finding.message, &finding.fix)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    groups
}

/// The objects of findings that are alike.
pub(super) fn objects(same: &[&Finding]) -> String {
    some(&same.iter().map(|finding| finding.object.to_string()).collect::<Vec<_>>(), NAMED)
}

/// A numbered list.
#[derive(Default)]
struct List {
    text: String,
    count: usize,
}

impl List {
    fn item(&mut self, style: Style, code: &str, title: &str, lines: &[String]) {
        self.count += 1;
        let _ = writeln!(self.text, "{:>3}. {} {title}", self.count, paint(style, code));
        for line in lines {
            let _ = writeln!(self.text, "     {line}");
        }
    }

    fn finding(&mut self, style: Style, same: &[&Finding]) {
        let first = same[0];
        let step = same.iter().find_map(|one| one.step.as_ref()).map(|step| format!("bites at: {step}"));
        let lines: Vec<String> = step.into_iter().chain([format!("-> {}", first.fix)]).collect();
        self.item(style, first.code, &format!("{}: {}", objects(same), first.message), &lines);
    }

    /// A node whose drain does not end, with the pods of which that is not said yet.
    fn blocked(&mut self, node: &NodeForecast, forecast: &Forecast, is_said: impl Fn(&ObjectKey, &str) -> bool) {
        let left = node.blocked_pods.iter().filter(|(pod, reason)| !is_said(pod, reason));
        let mut lines: Vec<String> = left.map(|(pod, reason)| format!("{pod}: {reason}")).collect();
        if lines.is_empty() {
            return;
        }
        let more = lines.len().saturating_sub(NAMED);
        lines.truncate(NAMED);
        if more > 0 {
            lines.push(format!("... ({more} more)"));
        }
        let title = format!("Node/{} cannot be drained ({} of {} runs)", node.name, node.blocked, forecast.walks);
        self.item(RED, "blocked", &title, &lines);
    }
}

/// Whether a finding says why a pod cannot leave: it is about the pod, about its workload, or about the budget that refuses it.
fn says(finding: &Finding, pod: &ObjectKey, reason: &str, workload: Option<&ObjectKey>) -> bool {
    let object = &finding.object;
    if object.kind == "PodDisruptionBudget" {
        return object.namespace == pod.namespace && reason.contains(&format!("disruption budget {} ", object.name));
    }
    object == pod || workload == Some(object)
}

/// Whether a rule only says that the run does not end, where pods that block a node say why: of that node, or in as many runs.
fn follows_from_pods(broken: &Broken, forecast: &Forecast) -> bool {
    let violation = &broken.violation;
    violation.code == judge::END
        && forecast.nodes.iter().any(|node| {
            let of_node = violation.object.kind != "Node" || violation.object.name == node.name;
            of_node && !node.blocked_pods.is_empty() && node.blocked >= broken.walks
        })
}

fn explains(finding: &Finding, broken: &Broken) -> bool {
    finding.object == broken.violation.object && EXPLAINS.contains(&(finding.code, broken.violation.code))
}

fn title(broken: &Broken, forecast: &Forecast) -> String {
    let violation = &broken.violation;
    let turn = broken.node.map(|node| format!(" on the turn of Node/{node}")).unwrap_or_default();
    let since = duration(violation.at - forecast.start);
    let (object, message, walks) = (&violation.object, &violation.message, forecast.walks);
    format!("{object}: {message} ({since} after the start{turn}; {} of {walks} runs)", broken.walks)
}

fn about(broken: &Broken) -> Vec<String> {
    let about = judge::abouts().into_iter().find(|about| about.code == broken.violation.code);
    about.map(|about| format!("-> {}", about.fix)).into_iter().collect()
}
