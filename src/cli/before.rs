//! What `apply` makes sure of before anything moves: facts about the hosts, and what only people know.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::ValueEnum;

use crate::cluster::{Attested, Cluster, Name, Time, Version};
use crate::upgrade::{Goal, turns};

use super::hosts::{SshArgs, addresses, ask};
use super::input::IgnoreArgs;
use super::live::now;
use super::output::{confirm, note};

/// What is looked at and confirmed before anything moves.
#[derive(clap::Args)]
#[command(next_help_heading = "Before anything moves")]
pub struct BeforeArgs {
    /// Facts about the hosts by node name, as YAML, instead of those that the hosts tell over SSH
    #[arg(long, value_name = "FILE", conflicts_with = "no_facts")]
    hosts: Option<PathBuf>,
    /// Do not ask the hosts for facts: resolv.conf, disks, packages, swap, clocks and certificates are not judged
    #[arg(long)]
    no_facts: bool,
    #[command(flatten)]
    pub ignore: IgnoreArgs,
    /// Confirm what only you can know; asked at the terminal otherwise
    #[arg(long, value_enum, value_name = "NAME,...", value_delimiter = ',')]
    attest: Vec<Attestation>,
    /// Take Secrets into the backup of the cluster's objects, too
    #[arg(long)]
    pub backup_secrets: bool,
}

impl BeforeArgs {
    /// Puts facts about the hosts into the cluster: those of the file, or else those that the hosts tell, where work is done on them
    /// over SSH.
    ///
    /// # Errors
    ///
    /// A host of the run that does not answer. One that the run leaves alone is only named.
    pub async fn facts(&self, ssh: Option<&SshArgs>, goal: &Goal, cluster: &mut Cluster) -> anyhow::Result<()> {
        if let Some(file) = &self.hosts {
            return Ok(crate::import::hosts(cluster, file)?);
        }
        let Some(ssh) = ssh.filter(|_| !self.no_facts) else { return Ok(()) };
        let (known, failed) = ask(&ssh.access()?, ssh.settings(), &addresses(cluster)).await;
        let needed: Vec<Name> = turns(goal, cluster, now()).into_iter().map(|id| cluster.node(id).name()).collect();
        let (of_run, others): (Vec<_>, Vec<_>) = failed.iter().partition(|(node, _)| needed.contains(&Name::new(node)));
        if !of_run.is_empty() {
            let why: Vec<String> = of_run.iter().map(|(_, error)| format!("\n  {error}")).collect();
            bail!(
                "hosts of this run do not tell their facts; nothing was changed. Put it right, leave the node out (--skip-node), give \
                 the facts (--hosts), or go without (--no-facts):{}",
                why.concat()
            );
        }
        for (_, error) in others {
            note(&format!("no facts: {error}"));
        }
        let known = known.into_iter().map(|(node, facts)| (Name::new(&node), facts));
        Arc::make_mut(&mut cluster.catalog).hosts.extend(known);
        Ok(())
    }

    /// What the operator confirms by flag or at the terminal, besides what stands already; `None`: not all of it.
    ///
    /// # Errors
    ///
    /// There is nobody to ask.
    pub fn attest(
        &self,
        standing: &[Attested],
        by: &str,
        to: Version,
        at: Time,
    ) -> anyhow::Result<Option<Vec<Attested>>> {
        let mut all = standing.to_vec();
        let known = |all: &[Attested], one: Attestation| all.iter().any(|known| known.what == one.name());
        let open: Vec<Attestation> =
            Attestation::ALL.into_iter().filter(|one| !known(standing, *one) && !self.attest.contains(one)).collect();
        if !open.is_empty() && !std::io::stdin().is_terminal() {
            let list: Vec<String> =
                open.iter().map(|one| format!("\n  --attest {:<16} {}", one.name(), one.text(to))).collect();
            bail!("only you can know this; confirm each by name:{}", list.concat());
        }
        for one in Attestation::ALL {
            if known(&all, one) {
                continue;
            }
            if open.contains(&one) && !confirm(&format!("{}: {}?", one.name(), one.text(to))) {
                note(&format!("refused: {} is not confirmed; nothing was changed", one.name()));
                return Ok(None);
            }
            all.push(Attested { what: one.name().to_owned(), by: by.to_owned(), at: Some(at) });
        }
        Ok(Some(all))
    }
}

/// What neither the cluster nor a host shows (M1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Attestation {
    /// The release notes of the versions on the way were read, and what they announce was seen to
    ReleaseNotes,
    /// Network, ingress and storage, which are not upgraded here, support the target
    AddOns,
    /// The applications end their work in order when they are asked to (TERM)
    GracefulStop,
    /// Nobody else changes cluster or hosts while the run goes on
    NoOtherWork,
}

impl Attestation {
    const ALL: [Attestation; 4] =
        [Attestation::ReleaseNotes, Attestation::AddOns, Attestation::GracefulStop, Attestation::NoOtherWork];

    fn name(self) -> &'static str {
        match self {
            Attestation::ReleaseNotes => "release-notes",
            Attestation::AddOns => "add-ons",
            Attestation::GracefulStop => "graceful-stop",
            Attestation::NoOtherWork => "no-other-work",
        }
    }

    /// What is confirmed, with the fact of MISSION.md behind it.
    fn text(self, to: Version) -> String {
        match self {
            // M8, M6
            Attestation::ReleaseNotes => {
                format!("the release notes up to {to} were read, and what they announce was seen to")
            }
            // M20
            Attestation::AddOns => {
                format!("network, ingress and storage, which are not upgraded here, support {to}")
            }
            // M4
            Attestation::GracefulStop => {
                "the applications end their work in order when they are asked to (TERM)".to_owned()
            }
            // M11
            Attestation::NoOtherWork => "nobody else changes cluster or hosts while the run goes on".to_owned(),
        }
    }
}
