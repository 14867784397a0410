//! How the suites on real components run their cases: one after the other, each with its time, the failed ones named at the end.

// What a case prints is for the one who reads why it failed.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// A case and its name.
pub type Case<Ground> = (&'static str, fn(&Ground));

/// Runs the cases whose names contain a word of the command line, or all. Without ground to run on they are skipped, loudly;
/// `how` is the command that lays it.
pub fn run<Ground: ?Sized>(suite: &str, cases: &[Case<Ground>], ground: Option<&Ground>, how: &str) -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let Some(ground) = ground else {
        eprintln!("\n{suite} suite: SKIPPED, all {} cases. To run it: {how} cargo test --test {suite}\n", cases.len());
        return ExitCode::SUCCESS;
    };
    let mut failed = Vec::new();
    let chosen = cases.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| name.contains(word)));
    for (name, case) in chosen {
        let start = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(|| case(ground))).is_ok();
        let word = if passed { "ok" } else { "FAILED" };
        println!("{suite} {name} ... {word} ({:.1} s)", start.elapsed().as_secs_f64());
        if !passed {
            failed.push(*name);
        }
    }
    println!("{suite} suite: {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
