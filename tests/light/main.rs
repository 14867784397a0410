//! `cmsim apply` on a control plane of real components with played kubelets (`ci/light`). One cluster a case, one case at a time.
//!
//! `CMSIM_LIGHT=$(ci/light) cargo test --test light [CASE...]`

// What a case prints is for the one who reads why it failed.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod cases;
mod cluster;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let Some(folder) = std::env::var_os("CMSIM_LIGHT").map(PathBuf::from) else {
        eprintln!(
            "\nlight suite: SKIPPED, all {} cases. To run it: CMSIM_LIGHT=$(ci/light) cargo test --test light\n",
            cases::ALL.len()
        );
        return ExitCode::SUCCESS;
    };
    let mut failed = Vec::new();
    let chosen =
        cases::ALL.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| name.contains(word)));
    for (name, case) in chosen {
        let start = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(|| case(&folder))).is_ok();
        let word = if passed { "ok" } else { "FAILED" };
        println!("light {name} ... {word} ({:.1} s)", start.elapsed().as_secs_f64());
        if !passed {
            failed.push(*name);
        }
    }
    println!("light suite: {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
