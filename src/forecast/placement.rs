//! Where pods are and how full their nodes are.

use serde::Serialize;

use crate::cluster::{Cluster, Name, NodeId, Owner, Pod, PodId};

/// What the pods of a node book on it. DaemonSet and mirror pods count for cpu and memory, not for `pods`, since no
/// upgrade moves them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Pods that an upgrade can move.
    pub pods: i64,
    /// All pods, for the node's limit.
    pub all_pods: i64,
    /// Requested thousandths of a core.
    pub milli_cpu: i64,
    /// Requested bytes of memory.
    pub memory: i64,
}

impl Load {
    /// What a pod adds to its node; nothing once it is terminal or gone.
    pub fn of(cluster: &Cluster, id: PodId) -> Load {
        let pod = cluster.pod(id);
        if pod.gone || pod.is_terminal() {
            return Load::default();
        }
        let requests = &cluster.spec(id).requests;
        Load {
            pods: i64::from(is_movable(cluster, pod)),
            all_pods: 1,
            milli_cpu: requests.milli_cpu,
            memory: requests.memory,
        }
    }

    /// All that stands on a node now.
    pub fn of_node(cluster: &Cluster, node: NodeId) -> Load {
        let mut load = Load::default();
        for &pod in cluster.pods_of_node(node) {
            load.add(Load::of(cluster, pod), 1);
        }
        load
    }

    /// Adds another load so many times.
    pub fn add(&mut self, other: Load, times: i64) {
        self.pods += times * other.pods;
        self.all_pods += times * other.all_pods;
        self.milli_cpu += times * other.milli_cpu;
        self.memory += times * other.memory;
    }

    /// The larger of each amount.
    pub fn raise_to(&mut self, other: Load) {
        self.pods = self.pods.max(other.pods);
        self.all_pods = self.all_pods.max(other.all_pods);
        self.milli_cpu = self.milli_cpu.max(other.milli_cpu);
        self.memory = self.memory.max(other.memory);
    }
}

/// Whether an upgrade moves the pod: it is neither a DaemonSet's nor a mirror pod.
pub fn is_movable(cluster: &Cluster, pod: &Pod) -> bool {
    match pod.owner {
        Owner::Node => false,
        Owner::Workload(owner) => cluster.workload(owner).as_daemon_set().is_none(),
        Owner::Missing { kind, .. } => !pod.mirror && kind != "DaemonSet",
        Owner::None => !pod.mirror,
    }
}

/// How unevenly something is spread over the nodes.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Skew {
    /// Most on one node.
    pub max: i64,
    /// Least on one node.
    pub min: i64,
    /// Population standard deviation over the nodes.
    pub standard_deviation: f64,
}

impl Skew {
    /// The skew of one amount per node.
    pub fn of(amounts: &[i64]) -> Skew {
        let (Some(&max), Some(&min)) = (amounts.iter().max(), amounts.iter().min()) else { return Skew::default() };
        let count = amounts.len() as f64;
        let mean = amounts.iter().sum::<i64>() as f64 / count;
        let variance = amounts.iter().map(|&amount| (amount as f64 - mean).powi(2)).sum::<f64>() / count;
        Skew { max, min, standard_deviation: (variance.sqrt() * 1000.0).round() / 1000.0 }
    }
}

/// Loads of all nodes that are there, by name in the order of their ids.
pub fn loads(cluster: &Cluster) -> Vec<(Name, Load)> {
    cluster.nodes().filter(|(_, node)| !node.gone).map(|(id, node)| (node.name(), Load::of_node(cluster, id))).collect()
}
