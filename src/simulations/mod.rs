//! Scenario files: a cluster, a goal, faults, and what is expected (`simulations/README.md` documents the format).

mod build;
mod expect;
mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::check::{Checked, Options, check};
use crate::cluster::{Cluster, HostFacts, Millis, Name, Time, Version};
use crate::explore::Setup;
use crate::import::{self, Importer, Source};
use crate::preflight::Ignore;
use crate::scenario::Action;
use crate::simulator::{Delay, Down, First, Physics, World};
use crate::upgrade::{Goal, decide};

pub use expect::Expect;

/// 6 January 2026, a Tuesday, 12:00 UTC: when every scenario begins that does not say otherwise.
const START: Time = Time(1_767_700_800_000);

/// How long a cluster runs by itself before the upgrade begins, so that controllers have written their statuses.
const SETTLE: Millis = Millis::secs(5);

/// A scenario file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// What the scenario is about and why its verdict must be what it is.
    pub story: String,
    /// Where it comes from.
    #[serde(default)]
    pub sources: Vec<String>,
    /// The cluster.
    pub cluster: ClusterForm,
    /// Fields of the goal; `to` is the control plane's version when left out.
    #[serde(default)]
    pub goal: Value,
    /// How long things take and what happens to hosts.
    #[serde(default)]
    pub timing: Timing,
    /// What somebody else does, and what goes wrong.
    #[serde(default)]
    pub faults: Vec<Action>,
    /// Findings about the cluster as it stands that do not count, since what happens in the scenario changes that: `CODE` or
    /// `CODE=object`.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// How many walks.
    #[serde(default = "default_walks")]
    pub walks: usize,
    /// Seed of the first.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// What must come out.
    pub expect: Expect,
}

fn default_walks() -> usize {
    25
}

fn default_seed() -> u64 {
    1
}

/// `cluster:` of a scenario file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterForm {
    /// Dump to start from, relative to the scenario file.
    pub from: Option<PathBuf>,
    /// Version of the control plane; v1.37.0 when left out.
    pub version: Option<Version>,
    /// Workers.
    pub nodes: build::Nodes,
    /// Workloads in short form.
    pub workloads: Vec<workload::Form>,
    /// Kubernetes objects as they are.
    pub objects: Vec<Value>,
    /// Facts about hosts by node.
    pub hosts: BTreeMap<Name, HostFacts>,
    /// How long the cluster runs by itself before the upgrade begins.
    pub settle: Option<Millis>,
}

/// `timing:` of a scenario file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// What happens to a host during its upgrade.
    pub down: Option<Down>,
    /// Shortest and longest by name of the delay (`host`, `start`, `ready`, `stop`, ...).
    #[serde(flatten)]
    pub delays: BTreeMap<Delay, (Millis, Millis)>,
}

/// A scenario with its name.
#[derive(Clone, Debug)]
pub struct Case {
    /// File without folder and ending.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// What it says.
    pub scenario: Scenario,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Tested {
    /// Everything that is not as expected, a line each; empty: passed.
    pub mismatches: Vec<String>,
    /// What the check said.
    pub checked: Checked,
}

/// Every scenario below the paths, by name.
///
/// # Errors
///
/// A file that cannot be read, or a path without any scenario.
pub fn find(paths: &[PathBuf]) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for path in paths {
        let before = cases.len();
        for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
            let entry = entry.with_context(|| format!("reading {}", path.display()))?;
            let file = entry.path();
            if file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") && file.is_file() {
                cases.push(read(file)?);
            }
        }
        if cases.len() == before {
            bail!("no scenario (*.yaml) below {}", path.display());
        }
    }
    Ok(cases)
}

fn read(file: &Path) -> anyhow::Result<Case> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    Case::parse(&name, file.to_owned(), &text)
}

impl Case {
    /// Reads a scenario; paths in it are relative to the file.
    ///
    /// # Errors
    ///
    /// The text is not a scenario.
    pub fn parse(name: &str, file: PathBuf, text: &str) -> anyhow::Result<Case> {
        let scenario =
            serde_saphyr::from_str(text).map_err(|error| anyhow!("{}: {}", file.display(), import::plain(&error)))?;
        Ok(Case { name: name.to_owned(), file, scenario })
    }

    /// Walks the scenario and compares.
    ///
    /// # Errors
    ///
    /// A scenario that cannot be played.
    pub fn test(&self) -> anyhow::Result<Tested> {
        let setup = self.setup().with_context(|| self.file.display().to_string())?;
        let mut ignore = Ignore::default();
        for entry in &self.scenario.ignore {
            ignore.add(entry).with_context(|| self.file.display().to_string())?;
        }
        let options = Options { walks: self.scenario.walks, seed: self.scenario.seed, ignore };
        let checked = check(&setup, &options, &|| ());
        let mismatches = self.scenario.expect.compare(&checked);
        Ok(Tested { mismatches, checked })
    }

    /// What all walks of the scenario have in common.
    ///
    /// # Errors
    ///
    /// A scenario that cannot be played.
    pub fn setup(&self) -> anyhow::Result<Setup> {
        let scenario = &self.scenario;
        let mut cluster = self.cluster()?;
        Arc::make_mut(&mut cluster.catalog).hosts.extend(scenario.cluster.hosts.clone());
        let physics = Arc::new(scenario.timing.physics().with_history_of(&cluster));
        let (cluster, start) = settle(cluster, scenario.cluster.settle.unwrap_or(SETTLE), &physics);
        let goal = self.goal(&cluster)?;
        let disturbances: Result<Vec<_>, _> = scenario.faults.iter().map(Action::compile).collect();
        Ok(Setup {
            cluster,
            start,
            goal: Arc::new(goal),
            planner: decide,
            physics,
            disturbances: Arc::new(disturbances?),
        })
    }

    fn cluster(&self) -> anyhow::Result<Cluster> {
        let form = &self.scenario.cluster;
        if let Some(dump) = &form.from {
            let file = self.file.parent().unwrap_or(Path::new("")).join(dump);
            return Ok(import::load(&[file], &mut std::io::empty())?);
        }
        let mut importer = Importer::of_manifests();
        for (index, object) in build::objects(form)?.iter().chain(&form.objects).enumerate() {
            importer.add(object, Source { item: index + 1, ..Source::default() });
        }
        Ok(importer.finish()?)
    }

    fn goal(&self, cluster: &Cluster) -> anyhow::Result<Goal> {
        let mut goal: Goal = match &self.scenario.goal {
            Value::Null => Goal::default(),
            fields => Goal::deserialize(fields).context("goal")?,
        };
        if goal.to == Version::new(0, 0) {
            goal.to = cluster.api_server.context("goal: `to` is missing")?;
        }
        Ok(goal)
    }
}

impl Timing {
    fn physics(&self) -> Physics {
        let mut physics = Physics::default();
        physics.down = self.down.unwrap_or_default();
        for (&delay, &(shortest, longest)) in &self.delays {
            physics.set(delay, shortest, longest);
        }
        physics
    }
}

/// Lets a cluster run by itself.
fn settle(cluster: Cluster, length: Millis, physics: &Arc<Physics>) -> (Cluster, Time) {
    let begin = cluster.catalog.input.taken_at.max(START);
    let mut world = World::new(cluster, begin, Arc::clone(physics), &mut First);
    while world.next().is_some_and(|(due, _)| due <= begin + length) {
        world.step(&mut First);
    }
    (world.cluster, begin + length)
}

#[cfg(test)]
mod tests;
