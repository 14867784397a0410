//! `cmsim facts`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::Value;

use super::hosts::{Addresses, SshArgs, addresses, ask};
use super::live::{LiveArgs, run as block_on};
use super::{NO, OK, output};

/// Ask hosts over SSH for the facts that `check --hosts` reads; nothing is changed there
#[derive(clap::Args)]
#[command(
    after_help = "The nodes are those of the dump (-f), of --nodes, of the inventory, or else of the live cluster.

Examples:
  cmsim facts --inventory inventory.yaml > hosts.yaml
  cmsim facts -f cluster.yaml --ssh-user root --ssh-jump admin@bastion > hosts.yaml
  cmsim check -f cluster.yaml --hosts hosts.yaml --to v1.37.2

Exit codes: 0 all hosts have answered, 1 some have not (the others' facts are printed), 2 could not run."
)]
pub struct Args {
    /// Dump of the cluster whose nodes are asked, as `check` reads it
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with = "nodes")]
    files: Vec<PathBuf>,
    /// Nodes to ask; an address may be left out where the inventory has it
    #[arg(long, value_name = "NAME[=ADDRESS],...", value_delimiter = ',')]
    nodes: Vec<String>,
    #[command(flatten)]
    live: LiveArgs,
    #[command(flatten)]
    ssh: SshArgs,
    /// How the facts are printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Notation,
}

/// How facts are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum Notation {
    /// The hosts file.
    #[default]
    Yaml,
    /// The same as JSON.
    Json,
}

/// Asks all hosts at once.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let access = args.ssh.access()?;
    let nodes: Addresses = if !args.nodes.is_empty() {
        let pair = |text: &String| match text.split_once('=') {
            Some((name, address)) => (name.to_owned(), Some(address.to_owned())),
            None => (text.clone(), None),
        };
        args.nodes.iter().map(pair).collect()
    } else if args.files.is_empty() && args.ssh.inventory.is_some() && !args.live.are_given() {
        access.0.hosts.keys().map(|name| (name.clone(), None)).collect()
    } else {
        let cluster = match args.files.as_slice() {
            [] => args.live.read()?,
            files => crate::import::load(files, &mut std::io::stdin())?,
        };
        addresses(&cluster)
    };
    if nodes.is_empty() {
        bail!("there is no host to ask: name some with --nodes, or in the inventory");
    }
    let (known, failed) = block_on(async { Ok(ask(&access, args.ssh.settings(), &nodes).await) })?;
    let result = known.iter().map(|(node, facts)| Ok((node.clone(), without_nulls(serde_json::to_value(facts)?))));
    let result: serde_json::Map<String, Value> = result.collect::<anyhow::Result<_>>()?;
    match args.output {
        Notation::Json => output::json(&result)?,
        Notation::Yaml => output::text(&serde_saphyr::to_string(&result).context("writing YAML")?)?,
    }
    for error in failed.values() {
        output::note(&format!("no facts: {error}"));
    }
    Ok(if failed.is_empty() { OK } else { NO })
}

/// What is not known is left out.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let known = map.into_iter().filter(|(_, value)| !value.is_null());
            known.map(|(key, value)| (key, without_nulls(value))).collect()
        }
        other => other,
    }
}
