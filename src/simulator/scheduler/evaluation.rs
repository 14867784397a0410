//! What one scheduling attempt found out, in the scheduler's own words.

use std::collections::BTreeMap;

use crate::cluster::{Name, NodeId, PodId, PodSpec};

/// A plugin of the default profile that may reject or score (KUBERNETES.md C.1), in the order of the profile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Plugin {
    /// C1.
    NodeUnschedulable,
    /// C2.
    NodeName,
    /// C3, C.3.4.
    TaintToleration,
    /// C4, C.3.5.
    NodeAffinity,
    /// C5.
    NodePorts,
    /// C6, C.3.1.
    NodeResourcesFit,
    /// C7.
    VolumeRestrictions,
    /// C8.
    NodeVolumeLimits,
    /// C9.
    VolumeBinding,
    /// C10.
    VolumeZone,
    /// C11, C.3.6.
    PodTopologySpread,
    /// C12, C.3.7.
    InterPodAffinity,
    /// C.3.2.
    NodeResourcesBalancedAllocation,
    /// C.3.3.
    ImageLocality,
}

impl Plugin {
    /// The plugins that filter, in the order of the profile.
    pub const FILTERS: [Plugin; 12] = [
        Plugin::NodeUnschedulable,
        Plugin::NodeName,
        Plugin::TaintToleration,
        Plugin::NodeAffinity,
        Plugin::NodePorts,
        Plugin::NodeResourcesFit,
        Plugin::VolumeRestrictions,
        Plugin::NodeVolumeLimits,
        Plugin::VolumeBinding,
        Plugin::VolumeZone,
        Plugin::PodTopologySpread,
        Plugin::InterPodAffinity,
    ];

    /// Upstream's name.
    pub fn name(self) -> &'static str {
        match self {
            Plugin::NodeUnschedulable => "NodeUnschedulable",
            Plugin::NodeName => "NodeName",
            Plugin::TaintToleration => "TaintToleration",
            Plugin::NodeAffinity => "NodeAffinity",
            Plugin::NodePorts => "NodePorts",
            Plugin::NodeResourcesFit => "NodeResourcesFit",
            Plugin::VolumeRestrictions => "VolumeRestrictions",
            Plugin::NodeVolumeLimits => "NodeVolumeLimits",
            Plugin::VolumeBinding => "VolumeBinding",
            Plugin::VolumeZone => "VolumeZone",
            Plugin::PodTopologySpread => "PodTopologySpread",
            Plugin::InterPodAffinity => "InterPodAffinity",
            Plugin::NodeResourcesBalancedAllocation => "NodeResourcesBalancedAllocation",
            Plugin::ImageLocality => "ImageLocality",
        }
    }
}

/// A set of plugins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Plugins(u16);

impl Plugins {
    /// Adds a plugin.
    pub fn insert(&mut self, plugin: Plugin) {
        self.0 |= 1 << plugin as u16;
    }

    /// Whether a plugin is in the set.
    pub fn contains(self, plugin: Plugin) -> bool {
        self.0 & (1 << plugin as u16) != 0
    }

    /// No plugin.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Whether the room that preemption makes could change a rejection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Code {
    /// It could (`Unschedulable`).
    Unschedulable,
    /// It could not (`UnschedulableAndUnresolvable`).
    Unresolvable,
}

/// The first rejection of a node, or of all nodes in PreFilter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// Who rejected.
    pub plugin: Plugin,
    /// Whether preemption may help.
    pub code: Code,
    /// Why; rendered only when asked.
    pub cause: Cause,
}

/// Why a plugin rejected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Reasons with a fixed wording.
    Fixed(&'static [&'static str]),
    /// A reason that names an object.
    Text(Name),
    /// What a node has too little of (C.2.2).
    Resources(Shortage),
}

/// What a node has too little of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shortage {
    /// "Too many pods".
    pub pods: bool,
    /// CPU.
    pub cpu: bool,
    /// Memory.
    pub memory: bool,
    /// Ephemeral storage.
    pub ephemeral: bool,
    /// Extended resources: bit i stands for entry i of the pod's `requests.scalar` (a pod asks for fewer than 64).
    pub scalars: u64,
}

impl Rejection {
    /// A rejection that preemption may change.
    pub const fn unschedulable(plugin: Plugin, reasons: &'static [&'static str]) -> Rejection {
        Rejection { plugin, code: Code::Unschedulable, cause: Cause::Fixed(reasons) }
    }

    /// A rejection that preemption cannot change.
    pub const fn unresolvable(plugin: Plugin, reasons: &'static [&'static str]) -> Rejection {
        Rejection { plugin, code: Code::Unresolvable, cause: Cause::Fixed(reasons) }
    }

    /// The reasons in upstream's words; `spec` is the rejected pod's.
    pub fn reasons(&self, spec: &PodSpec) -> Vec<String> {
        match self.cause {
            Cause::Fixed(reasons) => reasons.iter().map(|reason| (*reason).to_owned()).collect(),
            Cause::Text(text) => vec![text.to_string()],
            Cause::Resources(shortage) => {
                let fixed = [
                    (shortage.pods, "Too many pods"),
                    (shortage.cpu, "Insufficient cpu"),
                    (shortage.memory, "Insufficient memory"),
                    (shortage.ephemeral, "Insufficient ephemeral-storage"),
                ];
                let fixed = fixed.iter().filter(|entry| entry.0).map(|entry| entry.1.to_owned());
                let scalars = spec.requests.scalar.iter().enumerate();
                let scalars = scalars.filter(|(index, _)| *index < 64 && shortage.scalars >> index & 1 == 1);
                fixed.chain(scalars.map(|(_, (name, _))| format!("Insufficient {name}"))).collect()
            }
        }
    }
}

/// What PreFilter said about all nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PreFilter {
    /// It rejected the pod everywhere.
    Rejected(Rejection),
    /// It left only these nodes, in the order of the scheduler's list (C.2.1: `metadata.name` affinity).
    Narrowed {
        /// The nodes left.
        nodes: Vec<NodeId>,
    },
}

/// Which part of the node list an attempt looked at (C15, C19).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sampling {
    /// Index in the node list where filtering began.
    pub start: usize,
    /// After so many feasible nodes it stopped.
    pub to_find: usize,
    /// Length of the node list.
    pub of: usize,
}

/// The full detail of one attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evaluation {
    /// The pod.
    pub pod: PodId,
    /// What PreFilter said, if it rejected or narrowed.
    pub prefilter: Option<PreFilter>,
    /// Only the pod's nominated node was looked at, and it fits (C.6).
    pub nominated_only: bool,
    /// Nodes that passed, in the order found.
    pub feasible: Vec<NodeId>,
    /// Nodes that did not, in the order found, each with the first rejection. Nodes that a PreFilter narrowing left out are
    /// not listed.
    pub rejected: Vec<(NodeId, Rejection)>,
    /// Per plugin that scored: normalised score times weight of each feasible node, in the order of `feasible`. Empty when
    /// fewer than two nodes are feasible (C20).
    pub scores: Vec<(Plugin, Vec<i64>)>,
    /// Sums of the scores, in the order of `feasible`; empty as `scores`.
    pub totals: Vec<i64>,
    /// Positions in `feasible` of the best nodes; the likeliest choice of the real scheduler first (C21).
    pub best: Vec<usize>,
    /// What was looked at.
    pub sampling: Sampling,
    /// Number of nodes in the cluster.
    pub all_nodes: usize,
}

impl Evaluation {
    /// The rejection of a node that was looked at, the PreFilter rejection of all nodes included.
    pub fn rejection(&self, node: NodeId) -> Option<&Rejection> {
        match &self.prefilter {
            Some(PreFilter::Rejected(rejection)) => Some(rejection),
            Some(PreFilter::Narrowed { .. }) | None => {
                self.rejected.iter().find(|entry| entry.0 == node).map(|entry| &entry.1)
            }
        }
    }

    /// Every plugin that rejected something: whose wake events bring the pod back (C28).
    pub fn rejecting_plugins(&self) -> Plugins {
        let mut plugins = Plugins::default();
        match &self.prefilter {
            Some(PreFilter::Rejected(rejection)) => plugins.insert(rejection.plugin),
            Some(PreFilter::Narrowed { .. }) => plugins.insert(Plugin::NodeAffinity),
            None => {}
        }
        self.rejected.iter().for_each(|(_, rejection)| plugins.insert(rejection.plugin));
        plugins
    }

    /// The FitError text (C34) without what preemption adds; `spec` is the pod's.
    pub fn message(&self, spec: &PodSpec) -> String {
        let mut text = format!("0/{} nodes are available:", self.all_nodes);
        if let Some(PreFilter::Rejected(rejection)) = &self.prefilter {
            text.push_str(&format!(" {}.", rejection.reasons(spec).join(", ")));
            return text;
        }
        let mut counts: Vec<(Cause, usize)> = Vec::new();
        for (_, rejection) in &self.rejected {
            match counts.iter_mut().find(|entry| entry.0 == rejection.cause) {
                Some(entry) => entry.1 += 1,
                None => counts.push((rejection.cause, 1)),
            }
        }
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        for (cause, count) in counts {
            let rejection = Rejection { plugin: Plugin::NodeName, code: Code::Unschedulable, cause };
            for reason in rejection.reasons(spec) {
                *reasons.entry(reason).or_default() += count;
            }
        }
        let absent = self.all_nodes - self.rejected.len();
        if absent > 0 && self.prefilter.is_some() {
            *reasons.entry("node(s) didn't satisfy plugin(s) [NodeAffinity]".to_owned()).or_default() += absent;
        }
        let mut reasons: Vec<String> = reasons.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.sort();
        if !reasons.is_empty() {
            text.push_str(&format!(" {}.", reasons.join(", ")));
        }
        text
    }
}
