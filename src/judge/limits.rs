//! What the plan allows: the judge is told in plain values and never looks at a goal.

use std::collections::BTreeMap;

use crate::cluster::{Millis, NodeId, ObjectKey, Version};

/// What the plan allows and asks for. The default is the strictest plan without a target: one node at a time, backup, lock and
/// routing asked for, nothing forced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How many nodes may be out at once.
    pub nodes_at_once: usize,
    /// Floors that the plan states; they replace the floor that a workload or Service would have otherwise.
    pub floors: BTreeMap<ObjectKey, u32>,
    /// No host is touched before a verified backup.
    pub backup: bool,
    /// Nothing is changed without the cluster's lock.
    pub lock: bool,
    /// The API proxy's routing is stopped around each node.
    pub routing: bool,
    /// Version that every node of `nodes` has when the run says it is done; `None`: not judged.
    pub to: Option<Version>,
    /// Nodes that the goal means.
    pub nodes: Vec<NodeId>,
    /// The run ends after so many of them.
    pub max_nodes: Option<usize>,
    /// Plain DELETE past every budget is part of the plan (`--disable-eviction`).
    pub past_budgets: bool,
    /// Grace period that the plan gives every pod (`--grace-period`); `None`: each has its own.
    pub grace_seconds: Option<u32>,
    /// Pods that nothing brings back may be evicted (`--force`).
    pub unmanaged: bool,
    /// Pods with emptyDir volumes may be evicted (`--delete-emptydir-data`).
    pub empty_dirs: bool,
    /// Hosts may be touched with pods left on them (`on_blocked: continue`).
    pub leave_pods: bool,
    /// Pods whose deletion began so long ago, their grace included, are not waited for; `None`: all are.
    pub skip_terminating: Option<Millis>,
    /// Shortest pause before a refused eviction is asked for again where the API names none.
    pub retry: Millis,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            nodes_at_once: 1,
            floors: BTreeMap::new(),
            backup: true,
            lock: true,
            routing: true,
            to: None,
            nodes: Vec::new(),
            max_nodes: None,
            past_budgets: false,
            grace_seconds: None,
            unmanaged: false,
            empty_dirs: false,
            leave_pods: false,
            skip_terminating: None,
            retry: Millis::secs(5),
        }
    }
}
