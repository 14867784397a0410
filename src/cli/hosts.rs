//! How hosts are reached, in ssh's words; shared by the subcommands that speak to hosts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use crate::cluster::{Cluster, Millis};
use crate::live::facts::{Asked, facts_of_all};
use crate::live::ssh::{Ask, Hosts, Inventory, Jump, Overrides, Settings};
use crate::recipe::{Defect, Recipe, built_in};

use super::input::meant;
use super::live::now;
use super::output;

/// Access to hosts.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Hosts")]
pub struct SshArgs {
    /// How each host is reached, as YAML (docs/inventory.md); flags win over it
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// User that logs in
    #[arg(long, value_name = "USER")]
    ssh_user: Option<String>,
    /// Private key file; else the agent's keys and those of ~/.ssh
    #[arg(long, value_name = "FILE")]
    ssh_key: Option<PathBuf>,
    /// Port
    #[arg(long, value_name = "PORT")]
    ssh_port: Option<u16>,
    /// Jump hosts on the way, or none
    #[arg(long, value_name = "[USER@]HOST[:PORT],...")]
    ssh_jump: Option<Jump>,
    /// Files of accepted host keys, instead of ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
    #[arg(long, value_name = "FILE,...", value_delimiter = ',')]
    ssh_known_hosts: Vec<PathBuf>,
    /// How long a host may take to answer
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    ssh_timeout: Millis,
}

/// How hosts are reached: inventory, flags, and the operator's own name.
pub type HostAccess = (Inventory, Overrides, String);

impl SshArgs {
    /// The inventory, with what the flags say and the operator's own name.
    pub fn access(&self) -> anyhow::Result<HostAccess> {
        let inventory = match &self.inventory {
            Some(file) => Inventory::read(file, &home())?,
            None => Inventory::default(),
        };
        let flags = Overrides {
            user: self.ssh_user.clone(),
            port: self.ssh_port,
            key: self.ssh_key.clone(),
            jump: self.ssh_jump.clone(),
        };
        let own_name =
            std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "root".to_owned());
        Ok((inventory, flags, own_name))
    }

    /// What holds for all hosts.
    pub fn settings(&self) -> Settings {
        let agent = std::env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()).map(PathBuf::from);
        let ask: Ask =
            Arc::new(|file: &Path| rpassword::prompt_password(format!("Passphrase of {}: ", file.display())));
        let mut settings = Settings::of_user(&home(), agent, ask);
        if !self.ssh_known_hosts.is_empty() {
            settings.known_hosts.clone_from(&self.ssh_known_hosts);
        }
        settings.connect_timeout = Duration::from_millis(self.ssh_timeout.0.try_into().unwrap_or_default());
        settings
    }
}

/// Nodes by name, with their addresses where those are known.
pub type Addresses = BTreeMap<String, Option<String>>;

/// The nodes of a cluster.
pub fn addresses(cluster: &Cluster) -> Addresses {
    let address = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let nodes = cluster.nodes().filter(|(_, node)| !node.gone);
    nodes.map(|(_, node)| (node.name().to_string(), address(node.info.address.as_str()))).collect()
}

/// Asks hosts for their facts, all at once, with progress.
pub async fn ask((inventory, flags, own_name): &HostAccess, settings: Settings, nodes: &Addresses) -> Asked {
    let (mut targets, mut failed) = (BTreeMap::new(), BTreeMap::new());
    for (node, address) in nodes {
        match inventory.target(node, address.as_deref(), flags, own_name) {
            Ok(target) => drop(targets.insert(node.clone(), target)),
            Err(error) => drop(failed.insert(node.clone(), error)),
        }
    }
    let bar = output::progress(targets.len() as u64, "asking hosts");
    let (known, unknown) = facts_of_all(&Hosts::new(targets, settings), || now().0, || bar.inc(1)).await;
    bar.finish_and_clear();
    failed.extend(unknown);
    (known, failed)
}

fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_else(|| PathBuf::from("/"))
}

/// The recipe of a name that comes with the program, or of a file.
pub fn recipe(name: &str) -> anyhow::Result<Recipe> {
    let place = |place: &str, defects: &[Defect]| {
        let lines: Vec<String> = defects.iter().map(|defect| format!("{place}: {defect}")).collect();
        anyhow!("{}", lines.join("\n"))
    };
    if let Some(recipe) = Recipe::built_in(name) {
        return recipe.map_err(|defects| place(name, &defects));
    }
    let file = Path::new(name);
    if !file.exists() && !name.contains(['/', '.']) {
        let hint = meant(name, built_in().map(|(known, _)| known));
        bail!(
            "no recipe is called {name:?}{hint}, and there is no such file; `cmsim recipe list` names those that there are"
        );
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {name}"))?;
    Recipe::parse(&text).map_err(|defects| place(name, &defects))
}

/// The operator's values for a recipe's variables, `NAME=VALUE` each.
pub fn recipe_values(given: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let pairs = given.iter().map(|text| {
        let pair = text.split_once('=').with_context(|| format!("--recipe-var {text:?} is not NAME=VALUE"))?;
        Ok((pair.0.to_owned(), pair.1.to_owned()))
    });
    pairs.collect()
}
