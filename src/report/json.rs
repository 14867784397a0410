//! Results for scripts: the documented JSON schema (`docs/check-result.md`). Fields are added, never renamed, within one
//! `apiVersion`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::check::Checked;
use crate::cluster::{Millis, Name, ObjectKey};
use crate::forecast::{Availability, Forecast, Load, NodeForecast, Skew, Verdict, quantile};
use crate::preflight::{Finding, Severity};

/// Version of the schemas in this file.
pub const API_VERSION: &str = "cmsim.dev/v1";

/// `kind: CheckResult`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult<'a> {
    api_version: &'static str,
    kind: &'static str,
    verdict: Verdict,
    completes: bool,
    degraded_before: Vec<ObjectKey>,
    evidence: Evidence,
    findings: Vec<FindingEntry<'a>>,
    findings_ignored: usize,
    broken: Vec<BrokenEntry<'a>>,
    workloads: Vec<WorkloadEntry>,
    services: Vec<ServiceEntry>,
    nodes: Vec<NodeEntry<'a>>,
    stopped_because: &'a [String],
    pending: Vec<ObjectKey>,
    seconds: Spread,
    placement: Placement,
    evictions: Evictions,
    input: Input,
    not_modelled: &'a [String],
}

#[derive(Serialize)]
struct Evidence {
    kind: &'static str,
    walks: usize,
    states: usize,
    seed: u64,
    #[serde(rename = "worstSeed")]
    worst_seed: u64,
}

#[derive(Serialize)]
struct FindingEntry<'a> {
    code: &'static str,
    severity: Severity,
    object: ObjectKey,
    message: &'a str,
    step: Option<&'a str>,
    fix: &'a str,
}

#[derive(Serialize)]
struct BrokenEntry<'a> {
    code: &'static str,
    object: ObjectKey,
    message: &'a str,
    walks: usize,
    seed: u64,
    at: At,
}

#[derive(Serialize)]
struct At {
    node: Option<Name>,
    seconds: f64,
}

impl At {
    fn new((length, node): (Millis, Option<Name>)) -> At {
        At { node, seconds: length.as_secs_f64() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkloadEntry {
    namespace: Name,
    kind: Name,
    name: Name,
    desired: u32,
    ready: u32,
    floor: Option<u32>,
    lowest_ready: u32,
    at: Option<At>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceEntry {
    namespace: Name,
    name: Name,
    ready_endpoints: u32,
    floor: Option<u32>,
    lowest_ready_endpoints: u32,
    at: Option<At>,
    requests_at_risk_seconds: f64,
    evictions: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeEntry<'a> {
    name: Name,
    order: usize,
    outcome: &'static str,
    blocked_pods: Vec<BlockedPod<'a>>,
    seconds: Spread,
}

#[derive(Serialize)]
struct BlockedPod<'a> {
    pod: ObjectKey,
    reason: &'a str,
}

/// Median and 95th percentile of a duration in seconds; `null` without values.
#[derive(Serialize)]
struct Spread {
    median: Option<f64>,
    p95: Option<f64>,
}

impl Spread {
    fn of(sorted: &[Millis]) -> Spread {
        let at = |share| quantile(sorted, share).map(Millis::as_secs_f64);
        Spread { median: at(0.5), p95: at(0.95) }
    }
}

#[derive(Serialize)]
struct Placement {
    before: Picture,
    after: Picture,
}

/// Load of every node and how unevenly it is spread; `after` gives the median over the walks.
#[derive(Serialize)]
pub struct Picture {
    nodes: BTreeMap<Name, LoadEntry>,
    skew: SkewEntry,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoadEntry {
    pods: i64,
    milli_cpu: i64,
    memory_bytes: i64,
}

impl LoadEntry {
    fn of(load: Load) -> LoadEntry {
        LoadEntry { pods: load.pods, milli_cpu: load.milli_cpu, memory_bytes: load.memory }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SkewEntry {
    pods: Skew,
    milli_cpu: Skew,
    memory_bytes: Skew,
}

impl Picture {
    /// The picture of some loads.
    pub fn of(loads: &[(Name, Load)]) -> Picture {
        let skew = |amount: fn(&Load) -> i64| Skew::of(&loads.iter().map(|(_, load)| amount(load)).collect::<Vec<_>>());
        Picture {
            nodes: loads.iter().map(|(name, load)| (*name, LoadEntry::of(*load))).collect(),
            skew: SkewEntry {
                pods: skew(|load| load.pods),
                milli_cpu: skew(|load| load.milli_cpu),
                memory_bytes: skew(|load| load.memory),
            },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Evictions {
    total: u32,
    per_pod: f64,
}

#[derive(Serialize)]
struct Input {
    missing: Vec<String>,
    remarks: Vec<String>,
    unknown: BTreeMap<Name, usize>,
}

/// What is on each node.
type Loads = Vec<(Name, Load)>;

/// Loads before, and the median of the loads after.
pub fn loads(forecast: &Forecast) -> (Loads, Loads) {
    let before = forecast.nodes.iter().map(|node| (node.name, node.before)).collect();
    let after = forecast.nodes.iter().map(|node| (node.name, median_load(node))).collect();
    (before, after)
}

/// Median of each amount over the walks.
pub fn median_load(node: &NodeForecast) -> Load {
    let median = |amount: fn(&Load) -> i64| {
        let mut amounts: Vec<i64> = node.after.iter().map(amount).collect();
        amounts.sort_unstable();
        quantile(&amounts, 0.5).unwrap_or(0)
    };
    Load {
        pods: median(|load| load.pods),
        all_pods: median(|load| load.all_pods),
        milli_cpu: median(|load| load.milli_cpu),
        memory: median(|load| load.memory),
    }
}

/// What became of a node, in a word.
pub fn outcome(node: &NodeForecast, walks: usize) -> &'static str {
    match (node.order, node.blocked, node.done) {
        (_, blocked, _) if blocked > 0 => "blocked",
        (0, ..) => "not-reached",
        (_, _, done) if done == walks => "upgraded",
        _ => "unfinished",
    }
}

impl<'a> CheckResult<'a> {
    /// The result of a check.
    pub fn new(checked: &'a Checked, input: &crate::cluster::Input) -> CheckResult<'a> {
        let forecast = &checked.forecast;
        let (before, after) = loads(forecast);
        let total = quantile(&forecast.evictions, 0.5).unwrap_or(0);
        let all = forecast.workloads.iter().chain(&forecast.services);
        CheckResult {
            api_version: API_VERSION,
            kind: "CheckResult",
            verdict: checked.verdict,
            completes: forecast.completes,
            degraded_before: all.filter(|item| item.degraded_before).map(|item| item.key).collect(),
            evidence: Evidence {
                kind: "estimate",
                walks: forecast.walks,
                states: 0,
                seed: forecast.seed,
                worst_seed: forecast.worst_seed,
            },
            findings: checked.findings.iter().map(finding).collect(),
            findings_ignored: checked.ignored,
            broken: forecast.broken.iter().map(|broken| self::broken(broken, forecast)).collect(),
            workloads: forecast.workloads.iter().map(workload).collect(),
            services: forecast.services.iter().map(service).collect(),
            nodes: forecast.nodes.iter().map(|node| self::node(node, forecast.walks)).collect(),
            stopped_because: &forecast.reasons,
            pending: forecast.pending.iter().copied().collect(),
            seconds: Spread::of(&forecast.lengths),
            placement: Placement { before: Picture::of(&before), after: Picture::of(&after) },
            evictions: Evictions { total, per_pod: rounded(f64::from(total) / forecast.movable_pods.max(1) as f64) },
            input: Input {
                missing: input
                    .missing
                    .iter()
                    .map(|(kind, assumed)| format!("no {kind} in the input: {assumed}"))
                    .collect(),
                remarks: input.remarks.clone(),
                unknown: input.unknown.clone(),
            },
            not_modelled: &checked.not_modelled,
        }
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn finding(finding: &Finding) -> FindingEntry<'_> {
    FindingEntry {
        code: finding.code,
        severity: finding.severity,
        object: finding.object,
        message: &finding.message,
        step: finding.step.as_deref(),
        fix: &finding.fix,
    }
}

fn broken<'a>(broken: &'a crate::forecast::Broken, forecast: &Forecast) -> BrokenEntry<'a> {
    let violation = &broken.violation;
    BrokenEntry {
        code: violation.code,
        object: violation.object,
        message: &violation.message,
        walks: broken.walks,
        seed: broken.seed,
        at: At::new((violation.at - forecast.start, broken.node)),
    }
}

fn workload(item: &Availability) -> WorkloadEntry {
    WorkloadEntry {
        namespace: item.key.namespace,
        kind: item.key.kind,
        name: item.key.name,
        desired: item.desired,
        ready: item.ready,
        floor: item.floor,
        lowest_ready: item.lowest,
        at: item.at.map(At::new),
    }
}

fn service(item: &Availability) -> ServiceEntry {
    ServiceEntry {
        namespace: item.key.namespace,
        name: item.key.name,
        ready_endpoints: item.ready,
        floor: item.floor,
        lowest_ready_endpoints: item.lowest,
        at: item.at.map(At::new),
        requests_at_risk_seconds: Millis(item.at_risk_millis).as_secs_f64(),
        evictions: item.evictions,
    }
}

fn node(node: &NodeForecast, walks: usize) -> NodeEntry<'_> {
    let pods = node.blocked_pods.iter();
    NodeEntry {
        name: node.name,
        order: node.order,
        outcome: outcome(node, walks),
        blocked_pods: pods.map(|(pod, reason)| BlockedPod { pod: *pod, reason }).collect(),
        seconds: Spread::of(&node.lengths),
    }
}
