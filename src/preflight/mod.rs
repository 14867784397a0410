//! Findings before anything moves, a file each.

mod addons;
mod budget_never;
mod budget_now;
mod budget_twice;
mod budget_uncounted;
mod certificates;
mod changed_files;
mod clock;
mod cordoned;
mod daemon_alone;
mod daemon_pods;
mod disk;
mod empty_dir;
mod few_nodes;
mod gates;
mod gates_set;
mod headroom;
mod host_path;
mod ignore;
mod no_facts;
mod not_ready;
mod old_api;
mod one_node;
mod packages;
mod pinned;
mod places;
mod platform;
mod quorum;
mod quota;
mod readiness;
mod reboot;
mod resolver;
mod scope;
mod settings;
mod shutdown;
mod single;
mod strength;
mod swap;
mod taints;
#[cfg(test)]
mod tests;
mod unmanaged;
mod version_path;
mod version_skew;

use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, ObjectKey, Time};
use crate::judge::About;
use crate::upgrade::Goal;

pub use ignore::{Ignore, IgnoreError};
pub use scope::{Leaving, Scope};

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// May hurt.
    Warning,
    /// The engine would refuse to start, or the upgrade would fail.
    Error,
}

/// Something found in the cluster before anything moves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// Code of the rule (`P001`).
    pub code: &'static str,
    /// How bad.
    pub severity: Severity,
    /// The object concerned.
    pub object: ObjectKey,
    /// One sentence with the evidence.
    pub message: String,
    /// What to do, with names and numbers.
    pub fix: String,
    /// Where in the upgrade it bites: the turn of the first node that carries the object or a pod of it.
    pub step: Option<String>,
}

/// A rule that looks at a cluster before an upgrade.
pub struct Check {
    /// Its text.
    pub about: About,
    /// What it finds.
    pub run: fn(&Scope<'_>) -> Vec<Finding>,
}

/// Every rule, in the order of their codes.
pub fn all() -> &'static [Check] {
    &[
        unmanaged::CHECK,
        empty_dir::CHECK,
        budget_never::CHECK,
        budget_twice::CHECK,
        budget_uncounted::CHECK,
        budget_now::CHECK,
        daemon_pods::CHECK,
        host_path::CHECK,
        single::CHECK,
        one_node::CHECK,
        pinned::CHECK,
        few_nodes::CHECK,
        daemon_alone::CHECK,
        not_ready::CHECK,
        cordoned::CHECK,
        taints::CHECK,
        headroom::CHECK,
        shutdown::CHECK,
        readiness::CHECK,
        resolver::CHECK,
        old_api::CHECK,
        version_path::CHECK,
        version_skew::CHECK,
        packages::CHECK,
        platform::CHECK,
        disk::CHECK,
        changed_files::CHECK,
        gates_set::CHECK,
        settings::CHECK,
        clock::CHECK,
        swap::CHECK,
        reboot::CHECK,
        certificates::CHECK,
        quorum::CHECK,
        addons::CHECK,
        no_facts::CHECK,
        quota::CHECK,
    ]
}

/// What the rules find in a cluster whose upgrade begins at `now`, in the order of codes and objects.
pub fn run(goal: &Goal, cluster: &Cluster, now: Time) -> Vec<Finding> {
    let scope = Scope::new(goal, cluster, now);
    let mut findings: Vec<Finding> = all().iter().flat_map(|check| (check.run)(&scope)).collect();
    let first = scope.first_turns();
    for finding in findings.iter_mut().filter(|finding| finding.step.is_none()) {
        finding.step = first.get(&finding.object).map(|&turn| scope.step(turn));
    }
    findings.sort();
    findings
}

/// Texts of all rules, for `cmsim explain`.
pub fn abouts() -> Vec<About> {
    all().iter().map(|check| check.about).collect()
}
