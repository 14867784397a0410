//! `cmsim capacity`.

use crate::check::{Options, check};
use crate::preflight::Ignore;
use crate::report::capacity::{CapacityResult, text};

use super::OK;
use super::input::{self, GoalArgs, Source, Walks};
use super::output::{self, Format};

/// Show where the pods end up after the drains, the tightest moment of every node, and whether N-1 nodes hold everything
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cmsim capacity -f cluster.yaml --to v1.37.0
  cmsim capacity -f cluster.yaml --to v1.37.0 -o json | jq .holdsWithoutOneNode
  cmsim capacity -f cluster.yaml --to v1.37.0 --nodes worker-1,worker-2 --nodes-at-once 2

Exit codes: 0 the answer is printed, whatever it is, 2 could not run (bad input, wrong usage).")]
pub struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    goal: GoalArgs,
    #[command(flatten)]
    walks: Walks,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Reads, walks, prints.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let setup = input::setup(&args.source, &args.goal)?;
    let options = Options { walks: args.walks.walks as usize, seed: args.walks.seed, ignore: Ignore::default() };
    let bar = output::progress(options.walks as u64, "simulating");
    let checked = check(&setup, &options, &|| bar.inc(1));
    bar.finish_and_clear();
    match args.output {
        Format::Json => {
            output::json(&CapacityResult::new(&checked.forecast, &setup.cluster, checked.not_modelled))?;
        }
        Format::Text => output::text(&text(&checked.forecast, &setup.cluster, output::width()))?,
    }
    Ok(OK)
}
