//! The command line, a file a subcommand. The only room that prints.

mod apply;
mod backup;
mod before;
mod capacity;
mod check;
mod conform;
mod dry_run;
mod explain;
mod facts;
mod hosts;
mod input;
mod live;
mod output;
mod recipe;
mod routing;
mod status;
mod test;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit code: everything is well.
pub const OK: u8 = 0;
/// Exit code: the answer is no (disruptive, blocked, a scenario failed, a recording is not matched).
pub const NO: u8 = 1;
/// Exit code: could not run (bad input, wrong usage).
pub const COULD_NOT_RUN: u8 = 2;

/// Tells before a rolling Kubernetes upgrade whether it will interrupt anything.
///
/// The cluster is read from a dump; the whole upgrade, node by node, is run many times against a model of its control plane,
/// by the same engine that performs it.
#[derive(Parser)]
#[command(name = "cmsim", version, propagate_version = true, max_term_width = 120)]
#[command(
    after_help = "Exit codes: 0 non-disruptive / all passed, 1 disruptive or blocked / something failed, 2 could not run."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Args),
    Apply(Box<apply::Args>),
    Status(status::Args),
    Capacity(capacity::Args),
    Explain(explain::Args),
    Facts(facts::Args),
    Recipe(recipe::Args),
    Conform(conform::Args),
    Test(test::Args),
}

/// Parses the command line, runs the subcommand, prints the error chain.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { COULD_NOT_RUN } else { OK };
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let result = match cli.command {
        Command::Check(args) => check::run(&args),
        Command::Apply(args) => apply::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Capacity(args) => capacity::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Facts(args) => facts::run(&args),
        Command::Recipe(args) => recipe::run(&args),
        Command::Conform(args) => conform::run(&args),
        Command::Test(args) => test::run(&args),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::error(&error);
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}
