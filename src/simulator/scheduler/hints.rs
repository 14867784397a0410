//! Which changes of the cluster bring a rejected pod back to the queue (KUBERNETES.md C.2 column "hints", C28 to C31).

use std::sync::Arc;

use crate::cluster::{Cluster, NodeId, NodeInfo, PodId, PodSpec, Resources, SpecId, Taint, Volume};

use super::class::Class;
use super::filter::node_ports;
use super::{Plugin, Plugins, minor};

/// What a node was like before a change.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Before {
    /// What seldom changes.
    pub info: Arc<NodeInfo>,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Cordoned.
    pub unschedulable: bool,
    /// Allocatable amounts.
    pub allocatable: Resources,
    /// Allocatable pods.
    pub allocatable_pods: i64,
}

/// A change that may make room or fulfil a wish.
#[derive(Clone, Debug)]
pub enum Change {
    /// A pod of a template was bound.
    PodBound(SpecId),
    /// A bound pod of a template ended, or its object went away; or a nominated one went away.
    PodGone(SpecId),
    /// A node came.
    NodeAdded(NodeId),
    /// A node went.
    NodeGone,
    /// A node changed.
    NodeChanged(NodeId, Arc<Before>),
    /// Claims or volumes changed.
    Storage,
}

/// Whether a change brings a pod back that these plugins rejected. `class` is the pod's.
pub fn wakes(cluster: &Cluster, pod: PodId, class: &Class, rejected_by: Plugins, change: &Change) -> bool {
    if rejected_by.is_empty() {
        return true;
    }
    let hint = Hint { cluster, pod, spec: cluster.spec(pod), class, minor: minor(cluster) };
    if hint.minor <= 31
        && let Change::NodeAdded(node) | Change::NodeChanged(node, _) = change
        && !hint.would_hold(*node)
    {
        return false;
    }
    Plugin::FILTERS.iter().any(|&plugin| rejected_by.contains(plugin) && hint.concerns(plugin, change))
}

struct Hint<'a> {
    cluster: &'a Cluster,
    pod: PodId,
    spec: &'a PodSpec,
    class: &'a Class,
    minor: u16,
}

impl Hint<'_> {
    /// Without hints (up to 1.31) every change of a kind that a plugin watches wakes.
    fn coarse(&self) -> bool {
        self.minor <= 31
    }

    fn concerns(&self, plugin: Plugin, change: &Change) -> bool {
        match change {
            Change::PodBound(spec) => self.pod_bound(plugin, *spec),
            Change::PodGone(spec) => self.pod_gone(plugin, *spec),
            Change::NodeAdded(node) => self.node_changed(plugin, *node, None),
            Change::NodeChanged(node, before) => self.node_changed(plugin, *node, Some(before)),
            Change::NodeGone => plugin == Plugin::PodTopologySpread,
            Change::Storage => matches!(
                plugin,
                Plugin::VolumeRestrictions | Plugin::NodeVolumeLimits | Plugin::VolumeBinding | Plugin::VolumeZone
            ),
        }
    }

    fn pod_bound(&self, plugin: Plugin, other: SpecId) -> bool {
        match plugin {
            Plugin::PodTopologySpread => self.coarse() || self.spreads_over(other),
            Plugin::InterPodAffinity => self.coarse() || self.class.required_specs.contains(&other),
            Plugin::NodeUnschedulable
            | Plugin::NodeName
            | Plugin::TaintToleration
            | Plugin::NodeAffinity
            | Plugin::NodePorts
            | Plugin::NodeResourcesFit
            | Plugin::VolumeRestrictions
            | Plugin::NodeVolumeLimits
            | Plugin::VolumeBinding
            | Plugin::VolumeZone
            | Plugin::NodeResourcesBalancedAllocation
            | Plugin::ImageLocality => false,
        }
    }

    fn pod_gone(&self, plugin: Plugin, other: SpecId) -> bool {
        let gone = self.cluster.catalog.spec(other);
        let has_claims =
            || gone.volumes.iter().any(|volume| matches!(volume, Volume::Claim { .. } | Volume::Ephemeral { .. }));
        match plugin {
            Plugin::NodeResourcesFit => true,
            Plugin::NodePorts => self.coarse() || node_ports::conflict(&self.spec.host_ports, &gone.host_ports),
            Plugin::VolumeRestrictions => {
                self.coarse()
                    || has_claims()
                    || gone.volumes.iter().any(|volume| matches!(volume, Volume::InlineDisk { .. }))
            }
            Plugin::NodeVolumeLimits => self.coarse() || has_claims(),
            Plugin::PodTopologySpread => self.coarse() || self.spreads_over(other),
            Plugin::InterPodAffinity => self.coarse() || self.anti_affinity_with(other),
            Plugin::NodeUnschedulable
            | Plugin::NodeName
            | Plugin::TaintToleration
            | Plugin::NodeAffinity
            | Plugin::VolumeBinding
            | Plugin::VolumeZone
            | Plugin::NodeResourcesBalancedAllocation
            | Plugin::ImageLocality => false,
        }
    }

    /// Some hard constraint counts pods of this template.
    fn spreads_over(&self, other: SpecId) -> bool {
        let spec = self.cluster.catalog.spec(other);
        spec.namespace == self.spec.namespace
            && self.class.hard.iter().any(|constraint| constraint.matches(&spec.labels))
    }

    /// Required anti-affinity between the two: all terms up to 1.36, any from 1.37 (VERSIONS.md V15).
    fn anti_affinity_with(&self, other: SpecId) -> bool {
        let own = &self.class.anti;
        let matching = own.iter().filter(|term| term.specs.binary_search(&other).is_ok()).count();
        let foreign = self.class.foreign_anti.iter().filter(|foreign| foreign.spec == other).count();
        if self.minor >= 37 {
            return matching > 0 || foreign > 0;
        }
        let theirs = self.cluster.catalog.spec(other).anti_affinity.len();
        (!own.is_empty() && matching == own.len()) || (theirs > 0 && foreign == theirs)
    }

    /// A node came (`before` is `None`) or changed.
    fn node_changed(&self, plugin: Plugin, node: NodeId, before: Option<&Before>) -> bool {
        let object = self.cluster.node(node);
        let Some(before) = before else {
            return match plugin {
                Plugin::NodeUnschedulable => !object.unschedulable,
                Plugin::TaintToleration => self.spec.tolerates_all(&object.taints),
                Plugin::NodeAffinity => {
                    self.cluster.pod(self.pod).pinned.is_none_or(|pinned| pinned == node) && self.spec.selects(object)
                }
                Plugin::NodeResourcesFit => self.could_ever_fit(node),
                Plugin::NodeName
                | Plugin::NodePorts
                | Plugin::VolumeRestrictions
                | Plugin::NodeVolumeLimits
                | Plugin::VolumeBinding
                | Plugin::VolumeZone
                | Plugin::PodTopologySpread
                | Plugin::InterPodAffinity
                | Plugin::NodeResourcesBalancedAllocation
                | Plugin::ImageLocality => true,
            };
        };
        let uncordoned = before.unschedulable && !object.unschedulable;
        let taints = before.taints != object.taints;
        let labels = before.info.labels != object.info.labels;
        // VERSIONS.md V14: up to 1.36 a change of taints brings back also those who do not ask for taints.
        if (taints || uncordoned) && self.minor <= 36 && watches_added_nodes_only(plugin) {
            return true;
        }
        match plugin {
            Plugin::NodeUnschedulable => uncordoned,
            Plugin::TaintToleration => {
                taints
                    && (self.coarse()
                        || self.spec.tolerates_all(&object.taints) && !self.spec.tolerates_all(&before.taints))
            }
            Plugin::NodeAffinity => {
                let was = crate::cluster::Node { info: Arc::clone(&before.info), ..object.clone() };
                labels && self.spec.selects(object) && !self.spec.selects(&was)
            }
            Plugin::NodeResourcesFit => {
                let (have, had) = (&object.allocatable, &before.allocatable);
                let grew = have.milli_cpu > had.milli_cpu
                    || have.memory > had.memory
                    || have.ephemeral > had.ephemeral
                    || object.allocatable_pods > before.allocatable_pods
                    || have.scalar.iter().any(|&(name, amount)| amount > had.scalar(name));
                grew && self.could_ever_fit(node)
            }
            Plugin::PodTopologySpread => labels || (taints && self.class.hard.iter().any(|hard| hard.honor_taints)),
            Plugin::NodeVolumeLimits => before.info.volume_limits != object.info.volume_limits,
            Plugin::VolumeBinding => labels || before.info.volume_limits != object.info.volume_limits,
            Plugin::VolumeZone | Plugin::InterPodAffinity => labels,
            Plugin::NodeName
            | Plugin::NodePorts
            | Plugin::VolumeRestrictions
            | Plugin::NodeResourcesBalancedAllocation
            | Plugin::ImageLocality => false,
        }
    }

    /// Whether the pod would fit on the node if it were empty.
    fn could_ever_fit(&self, node: NodeId) -> bool {
        let (want, have) = (&self.spec.requests, &self.cluster.node(node).allocatable);
        want.milli_cpu <= have.milli_cpu
            && want.memory <= have.memory
            && want.ephemeral <= have.ephemeral
            && want.scalar.iter().all(|&(name, amount)| amount <= have.scalar(name))
    }

    /// The look at a node that changed before pods are woken, up to 1.31.
    fn would_hold(&self, node: NodeId) -> bool {
        let object = self.cluster.node(node);
        self.could_ever_fit(node) && self.spec.selects(object) && self.spec.tolerates_all(&object.taints)
    }
}

/// Plugins that ask for added nodes but not for changed taints.
fn watches_added_nodes_only(plugin: Plugin) -> bool {
    matches!(
        plugin,
        Plugin::NodeName
            | Plugin::NodeAffinity
            | Plugin::NodePorts
            | Plugin::NodeResourcesFit
            | Plugin::VolumeRestrictions
            | Plugin::VolumeBinding
            | Plugin::VolumeZone
            | Plugin::InterPodAffinity
    )
}
