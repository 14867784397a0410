//! `cmsim conform`.

use std::fmt::Write as _;
use std::path::PathBuf;

use rayon::prelude::*;

use crate::conform::pacing::Compared;
use crate::conform::recording::{self, Run};
use crate::conform::{Report, drains, evictions, journal, pacing, placement, prediction};

use crate::report;

use super::output::{self, Format};
use super::{NO, OK};

/// Hold recordings of a real control plane, or the journal of a run, against the model
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cmsim conform placement fixtures/placement
  cmsim conform evictions fixtures/evictions
  cmsim conform drains fixtures/drains fixtures/drains-1.37
  cmsim conform journal ~/.local/state/cmsim/*.jsonl
  cmsim conform predictions fixtures/drains --walks 1000
  cmsim conform pacing fixtures/drains --walks 20

Exit codes: 0 nothing mismatches, 1 something does, 2 could not run.")]
pub struct Args {
    /// What is compared
    #[arg(value_enum)]
    what: What,
    /// Folders with recordings; for `journal` files that `cmsim apply` has written
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Runs that a prediction simulates; as many as `check` does by default
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
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
    /// Every event in the journal of a run of `cmsim apply` is one that the model allows at that point; what nobody watched is said
    Journal,
    /// The forecast from the state before a drain covers what happened: outcome, pods left, lowest ready counts
    Predictions,
    /// No measurement but a comparison: the forecast with `--pacing budgets` beside that with `--pacing floors`, from the state before each drain
    Pacing,
}

/// Compares and prints counts and mismatches.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let report = match args.what {
        What::Placement => output::spinning("comparing", || placement::run(&args.paths))?,
        What::Evictions => output::spinning("comparing", || evictions::check(&args.paths))?,
        What::Drains => each_run(args, drains::check)?,
        What::Journal => output::spinning("comparing", || journals(&args.paths))?,
        What::Predictions => each_run(args, |run| prediction::check(run, u64::from(args.walks)))?,
        What::Pacing => return pacings(args),
    };
    match args.output {
        Format::Json => output::json(&json(&report))?,
        Format::Text => output::text(&text(&report))?,
    }
    Ok(if report.mismatches.is_empty() { OK } else { NO })
}

fn journals(files: &[PathBuf]) -> anyhow::Result<Report> {
    let mut all = Report::default();
    for file in files {
        all.add(journal::check(file)?);
    }
    Ok(all)
}

fn each_run(args: &Args, check: impl Fn(&Run) -> anyhow::Result<Report> + Sync) -> anyhow::Result<Report> {
    let mut all = Report::default();
    of_each_run(args, check)?.into_iter().for_each(|report| all.add(report));
    Ok(all)
}

fn of_each_run<T: Send>(args: &Args, check: impl Fn(&Run) -> anyhow::Result<T> + Sync) -> anyhow::Result<Vec<T>> {
    let runs = recording::find(&args.paths)?;
    let bar = output::progress(runs.len() as u64, "comparing");
    let found = runs.par_iter().map(|run| check(run).inspect(|_| bar.inc(1))).collect();
    bar.finish_and_clear();
    found
}

/// Compares the pacings; no if `floors` lowers anything.
fn pacings(args: &Args) -> anyhow::Result<u8> {
    let all = of_each_run(args, |run| pacing::compare(run, args.walks as usize))?;
    let with = |better: bool| {
        let has = |one: &&Compared| one.differing.iter().any(|low| (low.floors > low.budgets) == better);
        all.iter().filter(has).count()
    };
    let (higher, lower) = (with(true), with(false));
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "apiVersion": crate::report::json::API_VERSION, "kind": "PacingComparison", "recordings": all.len(),
            "higher": higher, "lower": lower,
            "differing": all.iter().filter(|one| !one.differing.is_empty()).map(pacing_json).collect::<Vec<_>>(),
        }))?,
        Format::Text => {
            let rows = all.iter().flat_map(pacing_rows).collect();
            let head = ["RECORDING", "OBJECT", "LOWEST, BUDGETS", "LOWEST, FLOORS", "VERDICTS"];
            let table = report::text::table(&head, rows, output::width());
            let same = all.len() - all.iter().filter(|one| !one.differing.is_empty()).count();
            output::text(&format!(
                "{table}{} drains: the lowest ready count is higher with floors in {higher}, lower in {lower}, the same in {same}\n",
                all.len()
            ))?;
        }
    }
    Ok(if lower == 0 { OK } else { NO })
}

fn pacing_rows(one: &Compared) -> impl Iterator<Item = Vec<String>> + '_ {
    let verdicts = format!("{} -> {}", one.budgets, one.floors);
    one.differing.iter().map(move |low| {
        let counts = [low.budgets.to_string(), low.floors.to_string()];
        let [budgets, floors] = counts;
        vec![one.recording.clone(), low.object.to_string(), budgets, floors, verdicts.clone()]
    })
}

fn pacing_json(one: &Compared) -> serde_json::Value {
    let lows = one
        .differing
        .iter()
        .map(|low| serde_json::json!({"object": low.object.to_string(), "budgets": low.budgets, "floors": low.floors}));
    serde_json::json!({
        "recording": one.recording, "verdicts": {"budgets": one.budgets, "floors": one.floors},
        "lowestReady": lows.collect::<Vec<_>>(),
    })
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
