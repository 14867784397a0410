//! Arguments that several subcommands share: the input, the goal, the walks.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};

use crate::cluster::{Cluster, Millis, Name, Version};
use crate::explore::Setup;
use crate::preflight::Ignore;
use crate::upgrade::{Accepted, Goal, OnBlocked, Pacing, Settle};

use super::live::LiveArgs;
use super::output;
use crate::import::plain;

/// Where the cluster comes from.
#[derive(clap::Args)]
#[command(next_help_heading = "Input")]
pub struct Source {
    /// Dump of the cluster: YAML or JSON of `kubectl get ... -A -o yaml`, a directory or archive (`kubectl cluster-info dump`,
    /// must-gather, support bundle), gzip or not; `-` reads stdin. May be given several times. Without it the live cluster is read
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    live: LiveArgs,
    /// Facts about the hosts (resolv.conf, os-release, disks, packages, ...) by node name, as YAML
    #[arg(long, value_name = "FILE")]
    hosts: Option<PathBuf>,
}

impl Source {
    /// Reads the cluster.
    pub fn read(&self) -> anyhow::Result<Cluster> {
        let stdin = self.files.iter().filter(|file| file.as_os_str() == "-").count();
        if stdin > 1 {
            bail!("-f - is given {stdin} times, but standard input can be read only once");
        }
        if !self.files.is_empty() && self.live.are_given() {
            bail!("give either a dump (-f) or a live cluster (--kubeconfig, --context)");
        }
        let load = || {
            let loaded = crate::import::load(&self.files, &mut std::io::stdin());
            loaded.map_err(|errors| {
                anyhow!("{errors}\nrepair what is named, leave those objects out, or take the dump again (`cmsim check --help` shows how)")
            })
        };
        let mut cluster = if self.files.is_empty() {
            self.live.read()?
        } else if stdin > 0 && std::io::stdin().is_terminal() {
            output::note(
                "reading the cluster from the terminal; end with Ctrl-D, or pipe `kubectl get ... -o yaml` in",
            );
            load()?
        } else {
            output::spinning("reading the cluster", load)?
        };
        if let Some(file) = &self.hosts {
            crate::import::hosts(&mut cluster, file)?;
        }
        Ok(cluster)
    }

    /// The input's arguments as they were given.
    pub fn arguments(&self) -> String {
        let mut words: Vec<String> = self.files.iter().map(|file| format!("-f {}", quoted(file.as_os_str()))).collect();
        if self.files.is_empty() {
            words.push(self.live.arguments());
        }
        words.extend(self.hosts.iter().map(|file| format!("--hosts {}", quoted(file.as_os_str()))));
        words.retain(|word| !word.is_empty());
        words.join(" ")
    }
}

/// A word as a shell reads it.
pub fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+%".contains(c);
    let bare = !text.is_empty() && text.chars().all(plain);
    if bare { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// What the operator wants. Flags override the plan file.
#[derive(clap::Args)]
#[command(next_help_heading = "Goal")]
pub struct GoalArgs {
    /// Target version of the control plane and the kubelets, for example v1.37.0
    #[arg(long, short = 't', visible_alias = "target-version", value_name = "VERSION")]
    to: Option<Version>,
    /// Goal as YAML (the fields of `goal:` in scenario files); flags override it
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// How evictions of one node follow each other
    #[arg(long, value_enum)]
    pacing: Option<Pacing>,
    /// What must hold before the next node is taken
    #[arg(long, value_enum)]
    settle: Option<Settle>,
    /// What happens with a node whose drain cannot finish
    #[arg(long, value_enum)]
    on_blocked: Option<OnBlocked>,
    /// Nodes in this order first, all others after them by name
    #[arg(long, value_name = "NODE,...", value_delimiter = ',')]
    order: Vec<String>,
    /// Only these nodes
    #[arg(long, value_name = "NODE,...", value_delimiter = ',')]
    nodes: Vec<String>,
    /// Never these nodes
    #[arg(long, value_name = "NODE,...", value_delimiter = ',')]
    skip_node: Vec<String>,
    /// How many nodes may be out at once
    #[arg(long, value_name = "COUNT")]
    nodes_at_once: Option<usize>,
    /// How long the drain of a node may take (30s, 10m, 1h)
    #[arg(long, visible_alias = "timeout", value_name = "DURATION")]
    drain_timeout: Option<Millis>,
    /// Seconds that pods get to end, instead of their own terminationGracePeriodSeconds; -1 keeps their own
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    grace_period: Option<i64>,
    /// Go on although pods have emptyDir volumes, whose data is deleted with the pod
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    delete_emptydir_data: Option<bool>,
    /// Go on although pods have no controller that brings them back
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    force: Option<bool>,
    /// Delete pods instead of evicting them, past every PodDisruptionBudget
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    disable_eviction: Option<bool>,
    /// Leave pods of DaemonSets on their nodes (the default); false refuses every node that has some
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    ignore_daemonsets: Option<bool>,
    /// Do not wait for pods whose deletion began longer ago than this
    #[arg(long, value_name = "DURATION")]
    skip_wait_for_delete_timeout: Option<Millis>,
    /// Least number of ready pods (endpoints, for a Service) that an object must keep, as namespace/Kind/name=COUNT
    #[arg(long = "floor", value_name = "OBJECT=COUNT")]
    floors: Vec<String>,
    /// Accept an interruption of only these workloads where waiting cannot help (namespace/Kind/name); any when left out
    #[arg(long = "accept-disruption", value_name = "OBJECT")]
    accepted: Vec<String>,
}

impl GoalArgs {
    /// The goal for a cluster: plan file, then flags. Names that are not there are errors.
    pub fn goal(&self, cluster: &Cluster) -> anyhow::Result<Goal> {
        let mut goal = match &self.plan {
            Some(file) => {
                let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
                serde_saphyr::from_str(&text).map_err(|error| anyhow!("{}: {}", file.display(), plain(&error)))?
            }
            None => Goal::default(),
        };
        self.override_plan(&mut goal)?;
        if goal.to == Version::new(0, 0) {
            bail!("no target version: give --to v1.37.0 (or `to:` in the plan file)");
        }
        if goal.to.major != 1 {
            bail!("there is no Kubernetes {}: versions are v1.<minor>.<patch>, for example v1.37.0", goal.to);
        }
        known_nodes(&goal, cluster)?;
        known_objects(&goal, cluster)?;
        Ok(goal)
    }

    fn override_plan(&self, goal: &mut Goal) -> anyhow::Result<()> {
        let names = |list: &[String]| list.iter().map(|name| Name::new(name.trim())).collect::<Vec<_>>();
        let GoalArgs { to, plan: _, pacing, settle, on_blocked, order, nodes, skip_node, .. } = self;
        replace(&mut goal.to, *to);
        replace(&mut goal.pacing, *pacing);
        replace(&mut goal.settle, *settle);
        replace(&mut goal.on_blocked, *on_blocked);
        replace(&mut goal.order, Some(names(order)).filter(|list| !list.is_empty()));
        replace(&mut goal.only, Some(names(nodes).into_iter().collect()).filter(|set: &BTreeSet<_>| !set.is_empty()));
        goal.skip.extend(names(skip_node));
        replace(&mut goal.nodes_at_once, self.nodes_at_once);
        replace(&mut goal.drain_timeout, self.drain_timeout);
        replace(&mut goal.delete_emptydir_data, self.delete_emptydir_data);
        replace(&mut goal.force, self.force);
        replace(&mut goal.disable_eviction, self.disable_eviction);
        replace(&mut goal.ignore_daemonsets, self.ignore_daemonsets);
        if self.skip_wait_for_delete_timeout.is_some() {
            goal.skip_wait_for_delete = self.skip_wait_for_delete_timeout;
        }
        match self.grace_period {
            None => {}
            Some(seconds) if seconds < 0 => goal.grace_period = None,
            Some(seconds) => goal.grace_period = Some(u32::try_from(seconds).context("--grace-period is too long")?),
        }
        goal.floors.extend(self.floors.iter().map(|text| floor(text)).collect::<anyhow::Result<BTreeMap<_, _>>>()?);
        if !self.accepted.is_empty() {
            goal.accepted_disruptions = Accepted::Named(self.accepted.iter().cloned().collect());
        }
        if goal.nodes_at_once == 0 {
            bail!("--nodes-at-once (nodesAtOnce) must be at least 1");
        }
        Ok(())
    }
}

fn replace<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn floor(text: &str) -> anyhow::Result<(String, u32)> {
    let parts = text.rsplit_once('=').and_then(|(object, count)| Some((object.to_owned(), count.parse().ok()?)));
    parts.with_context(|| format!("--floor {text:?} is not namespace/Kind/name=COUNT"))
}

fn known_nodes(goal: &Goal, cluster: &Cluster) -> anyhow::Result<()> {
    let names = || cluster.nodes().map(|(_, node)| node.name());
    for &name in goal.order.iter().chain(&goal.only).chain(&goal.skip) {
        if cluster.find_node(name).is_none() {
            let hint = meant(&name, names().map(|one| one.as_str()));
            bail!("node {:?} is not in the input{hint}; nodes are: {}", name.as_str(), list(cluster));
        }
    }
    let mut ordered = BTreeSet::new();
    if let Some(twice) = goal.order.iter().find(|&&name| !ordered.insert(name)) {
        bail!("node {:?} stands twice in the order", twice.as_str());
    }
    let chosen = |name: &Name| (goal.only.is_empty() || goal.only.contains(name)) && !goal.skip.contains(name);
    if let Some(outside) = goal.order.iter().find(|name| !chosen(name)) {
        bail!("node {:?} stands in the order, but --nodes / --skip-node leave it out", outside.as_str());
    }
    if !names().any(|name| chosen(&name)) {
        bail!("--nodes and --skip-node leave no node to upgrade");
    }
    Ok(())
}

/// A hint if one of the known words is so close to this one that it was probably meant.
pub fn meant<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let word = word.to_lowercase();
    // A letter in three may be wrong.
    let most = (word.chars().count() / 3).max(1);
    let near = known.map(|one| (distance(&word, &one.to_lowercase()), one)).filter(|(far, _)| *far <= most).min();
    near.map_or(String::new(), |(_, one)| format!("; did you mean {one:?}?"))
}

/// How many characters have to be put in, left out or replaced to make one text of the other (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, from) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, &to) in right.iter().enumerate() {
            let above = row[column + 1];
            row[column + 1] = (diagonal + usize::from(from != to)).min(above + 1).min(row[column] + 1);
            diagonal = above;
        }
    }
    row[right.len()]
}

fn list(cluster: &Cluster) -> String {
    let mut names: Vec<&str> = cluster.nodes().map(|(_, node)| node.name().as_str()).collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(12);
    names.truncate(12);
    let shown = names.join(", ");
    if more > 0 { format!("{shown} ... ({more} more)") } else { shown }
}

fn known_objects(goal: &Goal, cluster: &Cluster) -> anyhow::Result<()> {
    let mut known: BTreeSet<String> = cluster.workloads().map(|(_, workload)| workload.key.to_string()).collect();
    known.extend(cluster.services().map(|(id, _)| cluster.service_key(id).to_string()));
    let accepted = match &goal.accepted_disruptions {
        Accepted::All => None,
        Accepted::Named(names) => Some(names),
    };
    for object in goal.floors.keys().chain(accepted.into_iter().flatten()) {
        if !known.contains(object) {
            let hint = meant(object, known.iter().map(String::as_str));
            bail!(
                "{object:?} (a floor or accepted disruption) is no workload or Service of the input{hint}; objects are \
                 written namespace/Kind/name"
            );
        }
    }
    Ok(())
}

/// Findings that are left out.
#[derive(clap::Args)]
pub struct IgnoreArgs {
    /// Leave a finding out: CODE, or CODE=object (namespace/Kind/name, or Kind/name)
    #[arg(long = "ignore", value_name = "CODE[=OBJECT]")]
    ignore: Vec<String>,
    /// File of findings to leave out
    #[arg(long, value_name = "FILE")]
    ignore_file: Option<PathBuf>,
}

impl IgnoreArgs {
    /// What is left out.
    pub fn read(&self) -> anyhow::Result<Ignore> {
        let mut ignore = Ignore::default();
        for text in &self.ignore {
            ignore.add(text).with_context(|| format!("--ignore {text}"))?;
        }
        if let Some(file) = &self.ignore_file {
            let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            ignore.add_file(&text).with_context(|| format!("in {}", file.display()))?;
        }
        Ok(ignore)
    }
}

/// How many walks, from which seed.
#[derive(clap::Args)]
#[command(next_help_heading = "Simulation")]
pub struct Walks {
    /// How many runs are simulated
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub walks: u32,
    /// Seed of the first run; the others follow it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// What all runs have in common, from the arguments.
pub fn setup(source: &Source, goal: &GoalArgs) -> anyhow::Result<Setup> {
    let cluster = source.read()?;
    // Nodes that only pods name are in the cluster, too, but nothing is known of them.
    if cluster.catalog.input.kinds.get(&Name::new("Node")).is_none_or(|&count| count == 0) {
        bail!(
            "the input holds no Node: there is nothing to upgrade; include nodes in `kubectl get nodes,pods,... -A -o yaml`"
        );
    }
    let goal = goal.goal(&cluster)?;
    Ok(Setup::new(cluster, goal, crate::upgrade::decide))
}
