//! Trace inclusion: the recorded steps of the operator are fed to a world, and every recorded event of the cluster must be one
//! that the model enables at that point, at the present state or at one that the component's watch may still show. Real races
//! stay races: the model must allow what was recorded, it need not pick it. At the end nothing that the model requires is
//! missing.
//!
//! A journal of a real run is replayed in the same way. What clients of the API want is taken there as it is written (objects, cordons)
//! and counted as not modelled; what comes of it, everything about pods and budgets, has to be what the model allows.
//!
//! Names of pods and ReplicaSets, which nobody can predict, are taken from the recording; nothing else is.

mod end;
pub(super) mod event;
mod evictions;
mod nodes;
mod pods;
mod real;
mod replay;
mod rollout;
mod scheduling;

use super::Report;
use super::recording::Run;

/// Compares one run with the model.
pub fn check(run: &Run) -> anyhow::Result<Report> {
    let lines = event::read(&run.trace)?;
    replay::Replay::new(run.name.clone(), &run.scenario, Some(&run.summary), lines, run.cluster()?).play()
}

/// Compares a part of a journal with the model: lines in the order of their revisions, and the cluster before them. `grace`: the
/// grace period that the run asks for, in seconds.
pub(super) fn check_journal(
    name: String,
    grace: Option<u32>,
    lines: Vec<event::Line>,
    cluster: crate::cluster::Cluster,
) -> anyhow::Result<Report> {
    let mut nothing = super::recording::Scenario::default();
    nothing.options.flags.grace = grace;
    replay::Replay::new(name, &nothing, None, lines, cluster).play()
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;
    use crate::conform::recording;

    fn all(folder: &str) -> Report {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder);
        let runs = recording::find(&[path]).unwrap_or_else(|error| panic!("{error:#}"));
        let only = std::env::var("CMSIM_ONLY").unwrap_or_default();
        let runs: Vec<Run> = runs.into_iter().filter(|run| run.name.starts_with(&only)).collect();
        let reports: Vec<Report> =
            runs.par_iter().map(|run| check(run).unwrap_or_else(|error| panic!("{error:#}"))).collect();
        let mut all = Report::default();
        reports.into_iter().for_each(|report| all.add(report));
        all
    }

    fn assert_included(folder: &str) {
        let report = all(folder);
        let mut text = String::new();
        for mismatch in &report.mismatches {
            text.push_str(&format!("{mismatch}\n"));
        }
        assert!(report.mismatches.is_empty(), "{text}{:#?}\n{:#?}", report.checked, report.not_modelled);
    }

    #[test]
    fn drains_of_1_36_are_included() {
        assert_included("drains");
    }

    #[test]
    fn drains_of_1_37_are_included() {
        assert_included("drains-1.37");
    }
}
