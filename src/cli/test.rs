//! `cmsim test`.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::report::json::API_VERSION;
use crate::simulations::{self, Case, Tested};

use super::output::{self, Format};
use super::{NO, OK};

/// Run scenario files and compare what comes out with what each expects
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cmsim test simulations/
  cmsim test simulations/s05-*.yaml
  cmsim test simulations/ -o json | jq '.scenarios[] | select(.passed | not)'

Exit codes: 0 all passed, 1 some failed, 2 could not run (a file that cannot be read).")]
pub struct Args {
    /// Scenario files, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Runs every scenario and prints a line each as soon as it is known.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let cases = simulations::find(&args.paths)?;
    let mut failed = 0;
    let mut scenarios = Vec::new();
    for case in &cases {
        let tested = case.test()?;
        failed += usize::from(!tested.mismatches.is_empty());
        match args.output {
            Format::Json => scenarios.push(json(case, &tested)),
            Format::Text => output::text(&text(case, &tested))?,
        }
    }
    match args.output {
        Format::Json => output::json(&serde_json::json!({
            "apiVersion": API_VERSION, "kind": "TestResult", "scenarios": scenarios, "failed": failed,
        }))?,
        Format::Text => output::text(&format!("{} scenarios, {failed} failed\n", cases.len()))?,
    }
    Ok(if failed == 0 { OK } else { NO })
}

fn text(case: &Case, tested: &Tested) -> String {
    let word = if tested.mismatches.is_empty() { "ok    " } else { "FAILED" };
    let verdict = tested.checked.verdict;
    let mut line = format!("{word}  {}  ({verdict}, {} walks)\n", case.name, case.scenario.walks);
    for mismatch in &tested.mismatches {
        let _ = writeln!(line, "        {mismatch}");
    }
    line
}

fn json(case: &Case, tested: &Tested) -> serde_json::Value {
    serde_json::json!({
        "name": case.name, "passed": tested.mismatches.is_empty(), "verdict": tested.checked.verdict,
        "walks": case.scenario.walks, "mismatches": tested.mismatches,
    })
}
