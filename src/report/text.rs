//! The result of a check for people: the verdict first, then what to do, then the details.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};

use crate::check::Checked;
use crate::cluster::{Cluster, Millis, Name, NodeOutcome};
use crate::forecast::{Availability, Forecast, NodeForecast, Verdict, quantile};
use crate::preflight::Severity;

use super::advice;
use super::json::{loads, median_load, outcome};
use super::{bytes, cores, counted, duration};

pub(super) const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
pub(super) const RED: Style = AnsiColor::Red.on_default().bold();
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default().bold();

/// How much to show.
#[derive(Clone, Copy, Debug)]
pub struct Detail {
    /// Columns of the terminal; `None`: lines are not wrapped.
    pub width: Option<u16>,
    /// Show workloads and Services that never fall below where they started, too.
    pub all: bool,
}

/// The result of a check. `replay` is the command that shows the worst walk.
pub fn check(checked: &Checked, cluster: &Cluster, replay: &str, detail: Detail) -> String {
    let mut out = String::new();
    headline(&mut out, checked, cluster);
    advice::write(&mut out, checked, cluster);
    let forecast = &checked.forecast;
    availability(&mut out, "Workloads", &forecast.workloads, detail);
    availability(&mut out, "Services", &forecast.services, detail);
    nodes(&mut out, forecast, detail);
    placement(&mut out, forecast, detail);
    notes(&mut out, checked, cluster);
    evidence(&mut out, checked, replay);
    out
}

pub(super) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Columns below which a table is not squeezed: names cut into pieces are worse than lines that the terminal wraps.
const NARROWEST: u16 = 60;

/// A table without frame, fitted to the width.
pub fn table(head: &[&str], rows: Vec<Vec<String>>, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head.to_vec()).add_rows(rows);
    if let Some(width) = width.filter(|width| *width >= NARROWEST) {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let lines = table.to_string();
    lines.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// In some walk it stands under its floor, and was not there before.
fn falls_short(item: &Availability) -> bool {
    item.floor.is_some_and(|floor| item.lowest < floor.min(item.ready))
}

fn headline(out: &mut String, checked: &Checked, cluster: &Cluster) {
    let forecast = &checked.forecast;
    let (word, style) = match checked.verdict {
        Verdict::NonDisruptive => ("NON-DISRUPTIVE", GREEN),
        Verdict::Blocked => ("BLOCKED", RED),
        Verdict::Disruptive => ("DISRUPTIVE", RED),
    };
    let why = match checked.verdict {
        Verdict::NonDisruptive if forecast.nodes.iter().all(|node| node.order == 0) => {
            "there is nothing to do: all nodes of the run are at the target version or a newer one already".to_owned()
        }
        Verdict::NonDisruptive if forecast.workloads.iter().chain(&forecast.services).any(falls_short) => {
            "the upgrade finishes and is not what takes anything under its floor".to_owned()
        }
        Verdict::NonDisruptive => "the upgrade finishes and nothing falls under its floor".to_owned(),
        Verdict::Blocked if forecast.completes => "the upgrade must not be started as things stand".to_owned(),
        Verdict::Blocked => "the upgrade would not finish".to_owned(),
        Verdict::Disruptive if forecast.completes => "the upgrade finishes, but interrupts applications".to_owned(),
        Verdict::Disruptive => "the upgrade interrupts applications and does not finish".to_owned(),
    };
    let _ = writeln!(out, "{}  {why}", paint(style, word));
    let nodes = counted(forecast.nodes.len(), "node");
    let pods = counted(forecast.movable_pods, "pod");
    let version = cluster.api_server.map_or("unknown version".to_owned(), |version| version.to_string());
    let length = quantile(&forecast.lengths, 0.5).map_or(String::new(), |median| {
        let p95 = quantile(&forecast.lengths, 0.95).unwrap_or(median);
        let stops = if forecast.completes { "" } else { "stops after " };
        match duration(p95).as_str() {
            "0s" if !forecast.completes => ", stops at once".to_owned(),
            p95 => format!(", {stops}about {} (95 % within {p95})", duration(median)),
        }
    });
    let _ = writeln!(out, "{nodes}, {pods} to move, control plane {version}{length}");
    let requests: Vec<String> = forecast
        .services
        .iter()
        .filter(|service| service.at_risk_millis > 0)
        .map(|service| format!("{} {:.1}s", service.key, Millis(service.at_risk_millis).as_secs_f64()))
        .collect();
    if !requests.is_empty() {
        let _ = writeln!(
            out,
            "Requests at risk while floors hold (pods end before every proxy has dropped them): {}",
            some(&requests, 4)
        );
    }
    let degraded: Vec<String> = forecast
        .workloads
        .iter()
        .chain(&forecast.services)
        .filter(|item| item.degraded_before)
        .map(|item| format!("{} ({} of {})", item.key, item.ready, item.floor.unwrap_or(0)))
        .collect();
    if !degraded.is_empty() {
        let _ = writeln!(out, "Degraded before the start: {}", some(&degraded, 4));
    }
}

/// The first few, and how many more there are.
pub(super) fn some(items: &[String], most: usize) -> String {
    let shown = items.iter().take(most).map(String::as_str).collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} ... ({more} more)"),
    }
}

fn place(at: Option<(Millis, Option<Name>)>) -> String {
    match at {
        None => "-".to_owned(),
        Some((length, Some(node))) => format!("{} ({node})", duration(length)),
        Some((length, None)) => duration(length),
    }
}

fn availability(out: &mut String, title: &str, items: &[Availability], detail: Detail) {
    let services = title == "Services";
    let dips = |item: &&Availability| {
        detail.all || item.lowest < item.ready || item.degraded_before || item.at_risk_millis > 0
    };
    let shown: Vec<&Availability> = items.iter().filter(dips).collect();
    if items.is_empty() {
        return;
    }
    let rest = items.len() - shown.len();
    let _ = writeln!(out, "\n{}", paint(BOLD, title));
    let mut head = vec!["", "READY", "FLOOR", "LOWEST", "AT"];
    if services {
        head.extend(["EVICTIONS", "REQUESTS AT RISK"]);
    }
    let rows = shown.iter().map(|item| {
        let lowest = if falls_short(item) { format!("{} !", item.lowest) } else { item.lowest.to_string() };
        let floor = item.floor.map_or("-".to_owned(), |floor| floor.to_string());
        let mut row = vec![item.key.to_string(), item.ready.to_string(), floor, lowest, place(item.at)];
        if services {
            row.push(item.evictions.to_string());
            row.push(format!("{:.1}s", Millis(item.at_risk_millis).as_secs_f64()));
        }
        row
    });
    let rows: Vec<Vec<String>> = rows.collect();
    if !rows.is_empty() {
        out.push_str(&table(&head, rows, detail.width));
    }
    if rest > 0 {
        let _ = writeln!(out, "{}", paint(DIM, &format!(" {rest} more keep all they have (--all shows them)")));
    }
}

fn nodes(out: &mut String, forecast: &Forecast, detail: Detail) {
    let _ = writeln!(out, "\n{}", paint(BOLD, "Nodes, in the order of their turns"));
    let rows = forecast.nodes.iter().map(|node| {
        let order = if node.order == 0 { "-".to_owned() } else { node.order.to_string() };
        let took = quantile(&node.lengths, 0.5).map_or("-".to_owned(), duration);
        let p95 = quantile(&node.lengths, 0.95).map_or("-".to_owned(), duration);
        let after = median_load(node).pods;
        let moved = format!("{} -> {after}", node.before.pods);
        vec![order, node.name.to_string(), outcome(node, forecast.walks).to_owned(), took, p95, moved, unplaced(node)]
    });
    out.push_str(&table(
        &["TURN", "NODE", "OUTCOME", "MEDIAN", "P95", "PODS", "NO ROOM FOR WHILE IT IS OUT"],
        rows.collect(),
        detail.width,
    ));
}

fn unplaced(node: &NodeForecast) -> String {
    let names: Vec<String> = node.unplaced.keys().map(ToString::to_string).collect();
    if names.is_empty() { "-".to_owned() } else { some(&names, 2) }
}

fn placement(out: &mut String, forecast: &Forecast, detail: Detail) {
    let (before, after) = loads(forecast);
    let spread = |loads: &[(Name, crate::forecast::Load)], amount: fn(&crate::forecast::Load) -> i64| {
        crate::forecast::Skew::of(&loads.iter().map(|(_, load)| amount(load)).collect::<Vec<_>>())
    };
    let row = |what: &str, amount: fn(&crate::forecast::Load) -> i64, show: fn(i64) -> String| {
        let (then, now) = (spread(&before, amount), spread(&after, amount));
        let range = |skew: crate::forecast::Skew| format!("{} .. {}", show(skew.min), show(skew.max));
        vec![what.to_owned(), range(then), range(now)]
    };
    let _ = writeln!(out, "\n{}", paint(BOLD, "Placement, least .. most on a node"));
    let rows = vec![
        row("pods", |load| load.pods, |count| count.to_string()),
        row("cpu requested", |load| load.milli_cpu, cores),
        row("memory requested", |load| load.memory, bytes),
    ];
    out.push_str(&table(&["", "BEFORE", "AFTER (MEDIAN)"], rows, detail.width));
    let total = quantile(&forecast.evictions, 0.5).unwrap_or(0);
    let per_pod = f64::from(total) / forecast.movable_pods.max(1) as f64;
    let _ = writeln!(out, " {}, {per_pod:.2} for each pod that can move", counted(total as usize, "eviction"));
    if !forecast.pending.is_empty() {
        let pending: Vec<String> = forecast.pending.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, " without a node at the end: {}", some(&pending, 4));
    }
}

fn notes(out: &mut String, checked: &Checked, cluster: &Cluster) {
    let input = &cluster.catalog.input;
    let infos = advice::alike(&checked.findings, Severity::Info);
    let mut lines: Vec<String> =
        infos.iter().map(|same| format!("{} {}: {}", same[0].code, advice::objects(same), same[0].message)).collect();
    lines.extend(input.missing.iter().map(|(kind, assumed)| format!("no {kind} in the input: {assumed}")));
    lines.extend(input.remarks.iter().cloned());
    if !input.unknown.is_empty() {
        let kinds: Vec<String> = input.unknown.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        lines.push(format!("passed over: {}", kinds.join(", ")));
    }
    lines.extend(checked.not_modelled.iter().map(|what| format!("not modelled: {what}")));
    if checked.ignored > 0 {
        lines.push(format!("{} findings ignored on request", checked.ignored));
    }
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", paint(BOLD, "Notes"));
    for line in lines {
        let _ = writeln!(out, " {line}");
    }
}

fn evidence(out: &mut String, checked: &Checked, replay: &str) {
    let forecast = &checked.forecast;
    let walks = forecast.walks;
    let _ = writeln!(out, "\n{}", paint(BOLD, "Evidence"));
    let bound = 100.0 * (1.0 - 0.05_f64.powf(1.0 / walks as f64));
    let _ = writeln!(
        out,
        " estimate from {walks} simulated runs, seeds {} to {}; what happens in more than {bound:.1} % of runs would have shown \
         (95 % certain)",
        forecast.seed,
        forecast.seed.wrapping_add(walks as u64 - 1)
    );
    let _ = writeln!(out, " worst run again: {replay}");
}

/// The word for a node's outcome in one walk.
pub fn node_outcome(outcome: Option<NodeOutcome>) -> &'static str {
    match outcome {
        Some(NodeOutcome::Done) => "upgraded",
        Some(NodeOutcome::Blocked) => "blocked",
        None => "unfinished",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_fit_terminals_that_are_not_too_narrow_for_names() {
        let name = "shop/Deployment/checkout";
        let long = "no room for it anywhere while its node is out ".repeat(3);
        let at = |width| table(&["", "READY", "WHY"], vec![vec![name.to_owned(), "1".to_owned(), long.clone()]], width);
        let widest = |text: &str| text.lines().map(|line| line.chars().count()).max();
        assert!(widest(&at(Some(80))) <= Some(80) && widest(&at(None)) > Some(80));
        for width in [0, 1, 5, 20, 59] {
            assert_eq!(at(Some(width)), at(None), "{width}");
        }
        for width in [60, 80, 120] {
            assert!(at(Some(width)).contains(name), "{}", at(Some(width)));
        }
    }
}
