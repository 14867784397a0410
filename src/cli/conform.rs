//! `cmsim conform`.

use std::fmt::Write as _;
use std::path::PathBuf;

use rayon::prelude::*;

use crate::conform::recording::{self, Run};
use crate::conform::{Report, drains, evictions, placement, prediction};

use super::output::{self, Format};
use super::{NO, OK};

/// Hold recordings of a real control plane against the model
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cmsim conform placement fixtures/placement
  cmsim conform evictions fixtures/evictions
  cmsim conform drains fixtures/drains fixtures/drains-1.37
  cmsim conform predictions fixtures/drains --walks 30

Exit codes: 0 nothing mismatches, 1 something does, 2 could not run.")]
pub struct Args {
    /// What is compared
    #[arg(value_enum)]
    what: What,
    /// Folders with recordings
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Runs that a prediction simulates
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    walks: u32,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Feasible nodes, rejections, scores, messages and victims of recorded scheduling decisions
    Placement,
    /// Answers of the eviction API and status of budgets in recorded cases
    Evictions,
    /// Every recorded event of a drain is one that the model allows at that point, and nothing that it requires is missing
    Drains,
    /// The forecast from the state before a drain covers what happened: outcome, pods left, lowest ready counts
    Predictions,
}

/// Compares and prints counts and mismatches.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let report = match args.what {
        What::Placement => placement::run(&args.paths)?,
        What::Evictions => evictions::check(&args.paths)?,
        What::Drains => each_run(args, drains::check)?,
        What::Predictions => each_run(args, |run| prediction::check(run, u64::from(args.walks)))?,
    };
    match args.output {
        Format::Json => output::json(&json(&report))?,
        Format::Text => output::text(&text(&report))?,
    }
    Ok(if report.mismatches.is_empty() { OK } else { NO })
}

fn each_run(args: &Args, check: impl Fn(&Run) -> anyhow::Result<Report> + Sync) -> anyhow::Result<Report> {
    let runs = recording::find(&args.paths)?;
    let bar = output::progress(runs.len() as u64, "comparing");
    let reports: anyhow::Result<Vec<Report>> = runs.par_iter().map(|run| check(run).inspect(|_| bar.inc(1))).collect();
    bar.finish_and_clear();
    let mut all = Report::default();
    reports?.into_iter().for_each(|report| all.add(report));
    Ok(all)
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    for mismatch in &report.mismatches {
        let _ = writeln!(out, "{mismatch}");
    }
    let facts: usize = report.checked.values().sum();
    let wrong = report.mismatches.len();
    let _ = writeln!(out, "{facts} facts compared, {wrong} mismatched");
    for (kind, count) in &report.checked {
        let _ = writeln!(out, " {count:>7} {kind}");
    }
    for (why, count) in &report.not_modelled {
        let _ = writeln!(out, " not modelled ({count}): {why}");
    }
    out
}

fn json(report: &Report) -> serde_json::Value {
    let mismatches = report.mismatches.iter().map(|mismatch| {
        serde_json::json!({
            "recording": mismatch.recording, "place": mismatch.place, "kind": mismatch.kind,
            "model": mismatch.model, "recorded": mismatch.recorded,
        })
    });
    serde_json::json!({
        "apiVersion": crate::report::json::API_VERSION, "kind": "ConformResult",
        "checked": report.checked, "mismatches": mismatches.collect::<Vec<_>>(), "notModelled": report.not_modelled,
    })
}
