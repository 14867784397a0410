//! What the operator wants: the target version and how carefully to get there. Flag names are kubectl's where kubectl has one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::cluster::{Millis, Name, Version};

/// The goal of a run. Part of the plan file; unknown fields are refused there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Goal {
    /// Target version of the control plane and the kubelets.
    pub to: Version,
    /// Versions of the minors on the way, where the target is several minors ahead; a minor that is not named gets patch 0.
    pub via: Vec<Version>,
    /// How evictions of one node follow each other.
    pub pacing: Pacing,
    /// What must hold before the next node is taken.
    pub settle: Settle,
    /// Nodes in this order first, all others after them by name. Control-plane nodes come before workers in any case.
    pub order: Vec<Name>,
    /// Only these nodes; empty means all.
    pub only: BTreeSet<Name>,
    /// Never these nodes.
    pub skip: BTreeSet<Name>,
    /// Stop after so many nodes; `None` means all.
    pub max_nodes: Option<usize>,
    /// How many nodes may be out at once.
    pub nodes_at_once: usize,
    /// With more than one node at once: the next batch starts when the last node of the former is done (recordings do so),
    /// rather than as soon as one place is free.
    pub batches: bool,
    /// What happens with a node whose drain cannot finish.
    pub on_blocked: OnBlocked,
    /// Refuse before anything is changed when a node of the plan has pods that may not be evicted (M14). False: when it is
    /// the node's turn, as `kubectl drain` does.
    pub refuse_early: bool,
    /// How long the drain of a node may take; 0 means for ever, as with kubectl's `--timeout`.
    pub drain_timeout: Millis,
    /// Pause after an eviction that was refused with 429 without `Retry-After` (kubectl: 5 s).
    pub retry: Millis,
    /// `--grace-period`: overrides the pods' own; `None` keeps them.
    pub grace_period: Option<u32>,
    /// `--delete-emptydir-data`: evict pods with emptyDir volumes.
    pub delete_emptydir_data: bool,
    /// `--force`: evict pods that no controller brings back.
    pub force: bool,
    /// `--disable-eviction`: plain DELETE, past every budget.
    pub disable_eviction: bool,
    /// `--ignore-daemonsets`: leave pods of DaemonSets running. False refuses every node that has some.
    pub ignore_daemonsets: bool,
    /// `--skip-wait-for-delete-timeout`: do not wait for pods whose deletionTimestamp is older. `None`: wait for all.
    pub skip_wait_for_delete: Option<Millis>,
    /// Workloads whose interruption is accepted where waiting cannot help.
    pub accepted_disruptions: Accepted,
    /// Floors that the plan states: `namespace/Kind/name` -> least number of ready pods (or endpoints, for a Service).
    pub floors: BTreeMap<String, u32>,
    /// Take and verify a backup before the first host is touched.
    pub backup: bool,
    /// Hold the cluster's upgrade lock.
    pub lock: bool,
    /// Stop and resume the API proxy's routing around each node.
    pub routing: bool,
    /// How long a host may take for its upgrade until the node is Ready again.
    pub host_timeout: Millis,
    /// How long displaced workloads may take to come back to strength.
    pub settle_timeout: Millis,
    /// Pause between two nodes.
    pub pause: Millis,
}

impl Goal {
    /// The versions that a control plane gets before the target.
    pub fn way(&self, from: Version) -> Vec<Version> {
        (from.minor + 1..self.to.minor).map(|minor| self.way_point(minor)).collect()
    }

    /// The version of a minor on the way to the target.
    pub fn way_point(&self, minor: u16) -> Version {
        let named = self.via.iter().copied().find(|via| via.minor == minor);
        named.unwrap_or(Version { major: self.to.major, minor, patch: 0 })
    }
}

impl Default for Goal {
    fn default() -> Self {
        Goal {
            to: Version::new(0, 0),
            via: Vec::new(),
            pacing: Pacing::Floors,
            settle: Settle::Displaced,
            order: Vec::new(),
            only: BTreeSet::new(),
            skip: BTreeSet::new(),
            max_nodes: None,
            nodes_at_once: 1,
            batches: false,
            on_blocked: OnBlocked::Stop,
            refuse_early: true,
            drain_timeout: Millis::secs(30 * 60),
            retry: Millis::secs(5),
            grace_period: None,
            delete_emptydir_data: false,
            force: false,
            disable_eviction: false,
            ignore_daemonsets: true,
            skip_wait_for_delete: None,
            accepted_disruptions: Accepted::All,
            floors: BTreeMap::new(),
            backup: true,
            lock: true,
            routing: true,
            host_timeout: Millis::secs(30 * 60),
            settle_timeout: Millis::secs(30 * 60),
            pause: Millis(0),
        }
    }
}

/// How evictions of one node follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Pacing {
    /// An eviction that would take a workload or Service under its floor is held back as long as waiting can help.
    #[default]
    Floors,
    /// As `kubectl drain`: all pods of a node at once, only budgets hold back.
    Budgets,
    /// The next pod when the former is gone.
    Serial,
}

/// What must hold before the next node is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Settle {
    /// Displaced workloads are back at strength.
    #[default]
    Displaced,
    /// Nothing.
    None,
}

/// What happens with a node whose drain cannot finish.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnBlocked {
    /// The run stops; a node that has not been touched yet is made schedulable and routed again.
    #[default]
    Stop,
    /// The node is put back and the run goes on with the next one.
    Uncordon,
    /// The host is upgraded although pods are left on it.
    Continue,
}

/// Workloads whose interruption is accepted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accepted {
    /// Any: `check` wants to see the whole sequence.
    All,
    /// Those named, as `namespace/Kind/name`.
    Named(BTreeSet<String>),
}
