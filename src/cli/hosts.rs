//! How hosts are reached, in ssh's words; shared by the subcommands that speak to hosts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use crate::cluster::Millis;
use crate::live::ssh::{Ask, Inventory, Jump, Overrides, Settings};
use crate::recipe::{Defect, Recipe, built_in};

use super::input::{duration, meant};

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
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    ssh_timeout: Millis,
}

impl SshArgs {
    /// The inventory, with what the flags say and the operator's own name.
    pub fn access(&self) -> anyhow::Result<(Inventory, Overrides, String)> {
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
