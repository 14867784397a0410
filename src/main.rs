//! The `cmsim` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    cmsim::cli::main()
}
