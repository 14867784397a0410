//! `cmsim check`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::check::{Options, check};
use crate::explore::Setup;
use crate::forecast::Verdict;
use crate::report::{self, json::CheckResult, text::Detail};

use super::input::{self, GoalArgs, IgnoreArgs, Source, Walks, quoted};
use super::output::{self, Format};
use super::{NO, OK};

/// Tell whether the upgrade, node by node, stays non-disruptive; if not, what breaks, when, why, and what to change
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kubectl get nodes,pods,namespaces,deployments,replicasets,statefulsets,daemonsets,jobs,cronjobs,\\
replicationcontrollers,poddisruptionbudgets,services,endpointslices,pv,pvc,storageclasses,priorityclasses,\\
horizontalpodautoscalers,resourcequotas,validatingwebhookconfigurations,mutatingwebhookconfigurations \\
    -A -o yaml > cluster.yaml
  cmsim check -f cluster.yaml --to v1.37.0
  ssh bastion cat cluster.yaml | cmsim check -f - --to v1.37.0
  cmsim check -f cluster.yaml --to v1.37.0 --pacing budgets -o json | jq .verdict
  kubectl cluster-info dump --all-namespaces --output-directory dump
  kubectl get statefulsets,jobs,cronjobs,poddisruptionbudgets,pv,pvc,storageclasses -A -o yaml > rest.yaml
  cmsim check -f dump -f rest.yaml --to v1.37.0

The more kinds the input has, the better: of kinds that it lacks (as `cluster-info dump` lacks StatefulSets, Jobs and
PodDisruptionBudgets) the result says what is assumed.

Exit codes: 0 non-disruptive, 1 disruptive or blocked, 2 could not run (bad input, wrong usage).")]
pub struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    goal: GoalArgs,
    #[command(flatten)]
    walks: Walks,
    #[command(flatten)]
    ignore: IgnoreArgs,
    /// Show workloads and Services that keep all they have, too
    #[arg(long)]
    all: bool,
    /// Write what happens in the worst run to this file, as JSON Lines
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Reads, walks, prints.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let ignore = args.ignore.read()?;
    let setup = input::setup(&args.source, &args.goal)?;
    // Whether the file can be written is known before the work is done.
    let trace = args.trace.as_ref().map(|file| create(file)).transpose()?;
    let options = Options { walks: args.walks.walks as usize, seed: args.walks.seed, ignore };
    let bar = output::progress(options.walks as u64, "simulating");
    let checked = check(&setup, &options, &|| bar.inc(1));
    bar.finish_and_clear();
    let worst = checked.forecast.worst_seed;
    match args.output {
        Format::Json => output::json(&CheckResult::new(&checked, &setup.cluster.catalog.input))?,
        Format::Text => {
            let replay = replay(args, worst);
            let detail = Detail { width: output::width(), all: args.all };
            output::text(&report::text::check(&checked, &setup.cluster, &replay, detail))?;
        }
    }
    if let (Some(file), Some(open)) = (&args.trace, trace) {
        write_trace(&setup, worst, open).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(if checked.verdict == Verdict::NonDisruptive { OK } else { NO })
}

/// The command line that runs the worst walk alone: the same one with its seed.
fn replay(args: &Args, seed: u64) -> String {
    let mut words = vec!["cmsim check".to_owned(), args.source.arguments()];
    let own =
        ["-f", "--filename", "--hosts", "--kubeconfig", "--context", "--walks", "--seed", "--trace", "-o", "--output"];
    let mut skip_value = false;
    for word in std::env::args_os().skip_while(|word| word != "check").skip(1) {
        if std::mem::take(&mut skip_value) {
            continue;
        }
        let text = word.to_string_lossy();
        match own.iter().find(|flag| text.starts_with(*flag)) {
            Some(flag) => skip_value = text == *flag,
            None => words.push(quoted(&word)),
        }
    }
    words.push(format!("--walks 1 --seed {seed} --trace run.jsonl"));
    words.join(" ")
}

fn create(file: &Path) -> anyhow::Result<File> {
    File::create(file).with_context(|| format!("writing {}", file.display()))
}

/// Walks the worst run again and writes what happens.
fn write_trace(setup: &Setup, seed: u64, file: File) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(file);
    let mut written = writeln!(out, "{}", crate::trace::Header::new(setup.start, Some(seed)).to_json());
    crate::explore::walk(setup, seed, &mut |record, world| {
        if written.is_ok() {
            written = writeln!(out, "{}", crate::trace::Line::new(record, setup.start, &world.cluster).to_json());
        }
    });
    written.and_then(|()| out.flush())
}
