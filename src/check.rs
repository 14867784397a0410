//! The main job: findings before anything moves and a forecast of the whole run, put together into one verdict.

use crate::cluster::{Cluster, Node, Version};
use crate::explore::Setup;
use crate::forecast::{self, Forecast, Verdict};
use crate::judge::Limits;
use crate::preflight::{self, Finding, Ignore, Severity};
use crate::upgrade::{Goal, OnBlocked};

/// How thoroughly to look, and what to leave out.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of walks, at least 1.
    pub walks: usize,
    /// Seed of the first walk; walk k has seed + k.
    pub seed: u64,
    /// Findings that the operator does not want to see.
    pub ignore: Ignore,
}

/// What `check` found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Worst of all walks and findings.
    pub verdict: Verdict,
    /// Findings, the worst first.
    pub findings: Vec<Finding>,
    /// How many findings were left out on request.
    pub ignored: usize,
    /// What the walks say.
    pub forecast: Forecast,
    /// What the model does not cover on this cluster.
    pub not_modelled: Vec<String>,
}

/// Looks at a cluster and walks through its upgrade. `done` is told after each walk.
pub fn check(setup: &Setup, options: &Options, done: &(dyn Fn() + Sync)) -> Checked {
    let found = preflight::run(&setup.goal, &setup.cluster, setup.start);
    let all = found.len();
    let mut findings: Vec<Finding> = found.into_iter().filter(|finding| !options.ignore.covers(finding)).collect();
    let ignored = all - findings.len();
    let forecast = forecast::forecast(setup, &limits(&setup.goal, &setup.cluster), options.seed, options.walks, done);
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.code, finding.object));
    let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
    let verdict = if refused { forecast.verdict.max(Verdict::Blocked) } else { forecast.verdict };
    let not_modelled = not_modelled(&setup.cluster, setup.goal.to);
    Checked { verdict, findings, ignored, forecast, not_modelled }
}

/// What the judge must know of a goal on a cluster.
pub fn limits(goal: &Goal, cluster: &Cluster) -> Limits {
    let meant = |node: &Node| {
        !node.gone && (goal.only.is_empty() || goal.only.contains(&node.name())) && !goal.skip.contains(&node.name())
    };
    Limits {
        nodes_at_once: goal.nodes_at_once,
        floors: goal.floors.iter().filter_map(|(object, floor)| Some((object.parse().ok()?, *floor))).collect(),
        backup: goal.backup,
        lock: goal.lock,
        routing: goal.routing,
        to: Some(goal.to),
        nodes: cluster.nodes().filter(|(_, node)| meant(node)).map(|(id, _)| id).collect(),
        max_nodes: goal.max_nodes,
        past_budgets: goal.disable_eviction,
        grace_seconds: goal.grace_period,
        unmanaged: goal.force,
        empty_dirs: goal.delete_emptydir_data,
        leave_pods: goal.on_blocked == OnBlocked::Continue,
        skip_terminating: goal.skip_wait_for_delete,
        retry: goal.retry,
    }
}

/// What the input uses and the model does not cover, and what the model leaves out altogether where it could matter here.
fn not_modelled(cluster: &Cluster, to: Version) -> Vec<String> {
    let mut all: Vec<String> =
        cluster.catalog.input.not_modelled.iter().map(|(object, what)| format!("{object}: {what}")).collect();
    all.sort();
    all.dedup();
    if cluster.nodes().any(|(_, node)| !node.info.images.is_empty()) {
        all.push("scheduler: images that are pulled during the run do not count for ImageLocality".to_owned());
    }
    let foreign = |version: &Version| !(36..=37).contains(&version.minor);
    let versions = [("control plane", cluster.api_server), ("target", Some(to))];
    for (what, version) in versions.into_iter().filter_map(|(what, version)| Some((what, version.filter(foreign)?))) {
        all.push(format!(
            "{what} {version}: the model was compared with recordings of v1.36 and v1.37 only; other versions follow the \
             documented differences"
        ));
    }
    all
}
