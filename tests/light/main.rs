//! `cmsim apply` on a control plane of real components with played kubelets (`ci/light`). One cluster a case, one case at a time.
//!
//! `CMSIM_LIGHT=$(ci/light) cargo test --test light [CASE...]`

// What a case prints is for the one who reads why it failed.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod cases;
mod cluster;
#[path = "../suite/mod.rs"]
mod suite;
#[path = "../suite/terminal.rs"]
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = std::env::var_os("CMSIM_LIGHT").map(PathBuf::from);
    suite::run("light", cases::ALL, folder.as_deref(), "CMSIM_LIGHT=$(ci/light)")
}
