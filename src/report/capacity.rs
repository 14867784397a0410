//! Where the pods end up and how much room there has to be.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cluster::{Cluster, Name, ObjectKey};
use crate::forecast::{Forecast, Load};

use super::json::{API_VERSION, Picture, loads, median_load};
use super::{bytes, cores, text};

/// `kind: CapacityResult`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CapacityResult {
    api_version: &'static str,
    kind: &'static str,
    walks: usize,
    seed: u64,
    placement: Placement,
    nodes: Vec<NodeRoom>,
    /// Every pod found a node while any one node was out, in every walk.
    holds_without_one_node: Option<bool>,
    pending: Vec<ObjectKey>,
    not_modelled: Vec<String>,
}

#[derive(Serialize)]
struct Placement {
    before: Picture,
    after: Picture,
}

/// A node's tightest moment against what it can carry.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeRoom {
    name: Name,
    peak: Amounts,
    allocatable: Amounts,
    unplaced: Vec<Unplaced>,
}

/// A workload with a pod that found no node while one was out, with the scheduler's words.
#[derive(Serialize)]
struct Unplaced {
    object: ObjectKey,
    message: Name,
}

#[derive(Serialize, Clone, Copy)]
#[serde(rename_all = "camelCase")]
struct Amounts {
    pods: i64,
    milli_cpu: i64,
    memory_bytes: i64,
}

impl Amounts {
    fn of(load: Load) -> Amounts {
        Amounts { pods: load.all_pods, milli_cpu: load.milli_cpu, memory_bytes: load.memory }
    }
}

impl CapacityResult {
    /// The capacity part of a forecast.
    pub fn new(forecast: &Forecast, cluster: &Cluster, not_modelled: Vec<String>) -> CapacityResult {
        let (before, after) = loads(forecast);
        let nodes = forecast.nodes.iter().filter_map(|node| {
            let info = cluster.node(cluster.find_node(node.name)?);
            Some(NodeRoom {
                name: node.name,
                peak: Amounts::of(node.peak),
                allocatable: Amounts {
                    pods: info.allocatable_pods,
                    milli_cpu: info.allocatable.milli_cpu,
                    memory_bytes: info.allocatable.memory,
                },
                unplaced: node.unplaced.iter().map(|(&object, &message)| Unplaced { object, message }).collect(),
            })
        });
        CapacityResult {
            api_version: API_VERSION,
            kind: "CapacityResult",
            walks: forecast.walks,
            seed: forecast.seed,
            placement: Placement { before: Picture::of(&before), after: Picture::of(&after) },
            nodes: nodes.collect(),
            holds_without_one_node: holds(forecast),
            pending: forecast.pending.iter().copied().collect(),
            not_modelled,
        }
    }
}

/// Whether everything has room while any one node is out; `None`: not known, since not every node was out.
fn holds(forecast: &Forecast) -> Option<bool> {
    if forecast.nodes.iter().any(|node| !node.unplaced.is_empty()) {
        return Some(false);
    }
    untried(forecast).next().is_none().then_some(true)
}

/// Nodes that no walk had out, where the walks did not come to the end of the run or there was nothing to do.
fn untried(forecast: &Forecast) -> impl Iterator<Item = Name> + '_ {
    let all = forecast.completes && forecast.nodes.iter().any(|node| node.done > 0);
    forecast.nodes.iter().filter(move |node| !all && node.done == 0).map(|node| node.name)
}

/// The capacity part of a forecast for people.
pub fn text(forecast: &Forecast, cluster: &Cluster, width: Option<u16>) -> String {
    let mut out = String::new();
    let _ = match holds(forecast) {
        Some(true) => writeln!(out, "The cluster holds everything while any one of the nodes of the run is out."),
        Some(false) => writeln!(out, "There is not enough room while some nodes are out:"),
        None => {
            let nodes: Vec<String> = untried(forecast).map(|node| node.to_string()).collect();
            writeln!(
                out,
                "Whether the cluster holds everything without one node is not known: in the simulated runs some were never \
                 out ({}); `cmsim check` says why.",
                nodes.join(", ")
            )
        }
    };
    for node in forecast.nodes.iter().filter(|node| !node.unplaced.is_empty()) {
        for (object, message) in &node.unplaced {
            let _ = writeln!(out, " without Node/{}: {object}: {message}", node.name);
        }
    }
    let share = |used: i64, of: i64| if of > 0 { format!(" ({}%)", used * 100 / of) } else { String::new() };
    let rows = forecast.nodes.iter().filter_map(|node| {
        let info = cluster.node(cluster.find_node(node.name)?);
        let after = median_load(node);
        Some(vec![
            node.name.to_string(),
            format!("{} -> {}", node.before.pods, after.pods),
            format!("{}{}", node.peak.all_pods, share(node.peak.all_pods, info.allocatable_pods)),
            format!("{} -> {}", cores(node.before.milli_cpu), cores(after.milli_cpu)),
            format!("{}{}", cores(node.peak.milli_cpu), share(node.peak.milli_cpu, info.allocatable.milli_cpu)),
            format!("{} -> {}", bytes(node.before.memory), bytes(after.memory)),
            format!("{}{}", bytes(node.peak.memory), share(node.peak.memory, info.allocatable.memory)),
        ])
    });
    let head = ["NODE", "PODS", "TIGHTEST", "CPU", "TIGHTEST", "MEMORY", "TIGHTEST"];
    out.push('\n');
    out.push_str(&text::table(&head, rows.collect(), width));
    let _ = writeln!(
        out,
        "\nBefore -> after is the median of {} runs; tightest is the most that was requested at any time (share of allocatable; \
         for pods, DaemonSet and static pods included).",
        forecast.walks
    );
    out
}
