//! Reads the recordings of whole drains (DRAINS.md): a folder a scenario, with the state before each run, what happened, and
//! a summary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::cluster::{Cluster, Millis, Name, PodId, Time, Version};
use crate::scenario::{Action, Verb};
use crate::simulator::{Delay, Disturbance, Down, Physics};
use crate::upgrade::{Accepted, Goal, OnBlocked, Pacing, Settle};

/// `scenario.yaml`, as far as a prediction needs it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Scenario {
    /// Name of the folder.
    pub name: String,
    /// Group of similar scenarios.
    pub kind: String,
    /// What was created before the snapshot.
    #[serde(default)]
    pub objects: Vec<serde_json::Value>,
    /// What was done before the snapshot.
    #[serde(default)]
    pub before: Vec<Action>,
    /// What is done during the run.
    #[serde(default)]
    pub actions: Vec<Action>,
    /// How the operator drained.
    #[serde(default)]
    pub options: Options,
}

/// `options` of a scenario. Fields that only steer the recorder are passed over.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Options {
    /// `loop` or `kubectl`.
    pub driver: Option<String>,
    /// Seconds per node.
    pub drain_timeout: Option<f64>,
    /// Pause after a 429 in seconds.
    pub retry_seconds: Option<f64>,
    /// kubectl's flags.
    pub flags: Flags,
    /// `parallel` or `serial`.
    pub evict_order: Option<String>,
    /// Node order by name.
    pub order: Vec<Name>,
    /// How many nodes.
    pub max_nodes: Option<usize>,
    /// How many at once.
    pub concurrency: Option<usize>,
    /// What happens to the host.
    pub down: DownOptions,
    /// `stop`, `uncordon`, `continue`.
    pub on_blocked: Option<OnBlocked>,
    /// Pause after the uncordon.
    pub between: Option<f64>,
    /// Kubelet version the nodes get.
    pub new_version: Option<Version>,
}

/// kubectl's flags.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flags {
    /// `--force`.
    pub force: bool,
    /// `--ignore-daemonsets`, true when left out.
    pub ignore_daemonsets: Option<bool>,
    /// `--delete-emptydir-data`, true when left out.
    pub delete_emptydir: Option<bool>,
    /// `--disable-eviction`.
    pub disable_eviction: bool,
    /// `--grace-period`.
    pub grace: Option<u32>,
    /// `--skip-wait-for-delete-timeout` in seconds.
    pub skip_wait: Option<i64>,
}

/// `options.down`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DownOptions {
    /// What happens to the host; `shutdown` when left out.
    pub mode: Option<Down>,
    /// How long it is away; 0.8 when left out.
    pub seconds: Option<f64>,
}

/// One recorded run.
#[derive(Clone, Debug)]
pub struct Run {
    /// `<scenario>/run<n>`.
    pub name: String,
    /// Its scenario.
    pub scenario: Arc<Scenario>,
    /// `run<n>.initial.json`.
    pub initial: PathBuf,
    /// `run<n>.trace.jsonl`.
    pub trace: PathBuf,
    /// `run<n>.summary.json`.
    pub summary: Summary,
}

/// What a run came to.
#[derive(Clone, Debug, Deserialize)]
pub struct Summary {
    /// `ok`, `blocked`, `completed-with-failures`.
    pub outcome: String,
    /// Things had come to rest at the end.
    #[serde(default)]
    pub final_stable: bool,
    /// Ready pods per `ns/Owner` at the beginning.
    pub initial_ready: BTreeMap<String, u32>,
    /// The lowest of them.
    pub min_ready: BTreeMap<String, u32>,
    /// The lowest ready endpoints per `ns/service`.
    #[serde(default)]
    pub min_ready_endpoints: BTreeMap<String, u32>,
    /// Pods that were left by a drain.
    #[serde(default)]
    pub blocked_pods: Vec<BlockedPod>,
    /// Where the pods were at the end.
    pub final_placement: Placement,
}

/// A pod that a drain left.
#[derive(Clone, Debug, Deserialize)]
pub struct BlockedPod {
    /// `ns/name`.
    pub pod: String,
    /// Topmost owner as `Kind/name`.
    pub owner: String,
}

/// `final_placement`.
#[derive(Clone, Debug, Deserialize)]
pub struct Placement {
    /// Pods per node without DaemonSet and mirror pods.
    pub pods_per_node: BTreeMap<String, u32>,
}

impl Run {
    /// The cluster before the run. Snapshots hold neither ReplicationControllers nor Namespaces: those are taken from what
    /// the scenario created, and a Namespace that it deleted beforehand is still on its way out.
    pub fn cluster(&self) -> anyhow::Result<Cluster> {
        let text = std::fs::read(&self.initial).with_context(|| format!("reading {}", self.initial.display()))?;
        let mut initial: serde_json::Value =
            serde_json::from_slice(&text).with_context(|| format!("reading {}", self.initial.display()))?;
        let mut missing: Vec<serde_json::Value> = Vec::new();
        for object in &self.scenario.objects {
            if matches!(object["kind"].as_str(), Some("ReplicationController" | "Namespace")) {
                missing.push(object.clone());
            }
        }
        for action in &self.scenario.before {
            if action.verb == Verb::Delete && action.kind.as_deref() == Some("Namespace") {
                missing.retain(|object| object["metadata"]["name"].as_str() != action.name.as_deref());
                missing.push(serde_json::json!({
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": action.name, "deletionTimestamp": "1970-01-01T00:00:00Z"},
                    "status": {"phase": "Terminating"},
                }));
            }
        }
        for object in missing {
            let kind = object["kind"].as_str().unwrap_or_default().to_owned();
            match &mut initial["objects"][&kind] {
                serde_json::Value::Array(list) => list.push(object),
                absent => *absent = serde_json::Value::Array(vec![object]),
            }
        }
        let mut cluster = crate::import::from_recording(&initial).with_context(|| self.name.clone())?;
        if self.scenario.before.iter().any(|action| action.verb == Verb::Unready) {
            stay_unready(&mut cluster);
        }
        Ok(cluster)
    }
}

/// Pods that were made not Ready beforehand stay so: they have been at it for longer than any pod takes to become Ready.
fn stay_unready(cluster: &mut Cluster) {
    let made: Vec<PodId> =
        cluster.pods().filter(|(_, pod)| pod.started.is_some() && !pod.ready).map(|(id, _)| id).collect();
    for id in made {
        cluster.update_pod(id, |pod| pod.started = Some(Time(0)));
    }
}

/// All runs below the paths, in the order of their names.
pub fn find(paths: &[PathBuf]) -> anyhow::Result<Vec<Run>> {
    let mut runs = Vec::new();
    for path in paths {
        let mut found = 0;
        for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
            let entry = entry.with_context(|| format!("reading {}", path.display()))?;
            if entry.file_name() == "scenario.yaml"
                && let Some(folder) = entry.path().parent()
            {
                let of_scenario = runs_of(folder)?;
                found += of_scenario.len();
                runs.extend(of_scenario);
            }
        }
        if found == 0 {
            bail!("no recording (scenario.yaml with run<n>.*) below {}", path.display());
        }
    }
    Ok(runs)
}

fn runs_of(folder: &Path) -> anyhow::Result<Vec<Run>> {
    let file = folder.join("scenario.yaml");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let scenario: Scenario = serde_saphyr::from_str(&text).with_context(|| format!("reading {}", file.display()))?;
    let scenario = Arc::new(scenario);
    let mut runs = Vec::new();
    for number in 1.. {
        let part = |what: &str| folder.join(format!("run{number}.{what}"));
        if !part("initial.json").exists() {
            break;
        }
        let summary = std::fs::read(part("summary.json")).with_context(|| format!("reading {}", folder.display()))?;
        runs.push(Run {
            name: format!("{}/run{number}", scenario.name),
            scenario: Arc::clone(&scenario),
            initial: part("initial.json"),
            trace: part("trace.jsonl"),
            summary: serde_json::from_slice(&summary).with_context(|| format!("reading {}", folder.display()))?,
        });
    }
    Ok(runs)
}

fn millis(seconds: f64) -> Millis {
    Millis((seconds * 1000.0) as i64)
}

impl Scenario {
    /// The scenario's options as a goal.
    pub fn goal(&self) -> Goal {
        let options = &self.options;
        let kubectl = options.driver.as_deref() == Some("kubectl");
        Goal {
            to: options.new_version.unwrap_or(Version::new(36, 2)),
            pacing: if options.evict_order.as_deref() == Some("serial") { Pacing::Serial } else { Pacing::Budgets },
            settle: Settle::None,
            order: options.order.clone(),
            max_nodes: options.max_nodes,
            nodes_at_once: options.concurrency.unwrap_or(1),
            batches: true,
            on_blocked: options.on_blocked.unwrap_or_default(),
            refuse_early: false,
            drain_timeout: millis(options.drain_timeout.unwrap_or(if kubectl { 12.0 } else { 8.0 })),
            retry: millis(options.retry_seconds.filter(|_| !kubectl).unwrap_or(if kubectl { 5.0 } else { 1.0 })),
            grace_period: options.flags.grace,
            delete_emptydir_data: options.flags.delete_emptydir.unwrap_or(true),
            force: options.flags.force,
            disable_eviction: options.flags.disable_eviction,
            ignore_daemonsets: options.flags.ignore_daemonsets.unwrap_or(true),
            skip_wait_for_delete: options.flags.skip_wait.map(Millis::secs),
            accepted_disruptions: Accepted::All,
            backup: false,
            lock: false,
            routing: false,
            pause: millis(options.between.unwrap_or(0.3)),
            ..Goal::default()
        }
    }

    /// The scaled times of the recorder.
    pub fn physics(&self) -> Physics {
        let mut physics = Physics::recorded();
        let seconds = millis(self.options.down.seconds.unwrap_or(0.8));
        physics.down = self.options.down.mode.unwrap_or(Down::Shutdown);
        physics.set(Delay::Host, seconds, seconds + Millis(100));
        physics
    }

    /// What is done during the run.
    pub fn disturbances(&self) -> anyhow::Result<Vec<Disturbance>> {
        self.actions.iter().map(|action| action.compile().with_context(|| self.name.clone())).collect()
    }
}
