//! `cmsim test`.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::simulations;

use super::{NO, OK, output};

/// Run scenario files and compare what comes out with what each expects
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cmsim test simulations/
  cmsim test simulations/s05-*.yaml

Exit codes: 0 all passed, 1 some failed, 2 could not run (a file that cannot be read).")]
pub struct Args {
    /// Scenario files, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// Runs every scenario and prints a line each.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let cases = simulations::find(&args.paths)?;
    let mut failed = 0;
    for case in &cases {
        let tested = case.test()?;
        let passed = tested.mismatches.is_empty();
        failed += usize::from(!passed);
        let mut line = String::new();
        let word = if passed { "ok    " } else { "FAILED" };
        let verdict = tested.checked.verdict;
        let _ = writeln!(line, "{word}  {}  ({verdict}, {} walks)", case.name, case.scenario.walks);
        tested.mismatches.iter().for_each(|mismatch| {
            let _ = writeln!(line, "        {mismatch}");
        });
        output::text(&line)?;
    }
    output::text(&format!("{} scenarios, {failed} failed\n", cases.len()))?;
    Ok(if failed == 0 { OK } else { NO })
}
