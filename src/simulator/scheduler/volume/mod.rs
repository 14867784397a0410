//! What a pod's volumes demand of a node (KUBERNETES.md C7 to C10, H).

mod binding;
mod limits;
mod restrictions;
mod zone;

use crate::cluster::{Claim, ClaimId, Cluster, Name, NodeId, PodId, Volume};

use super::cycle::OnNode;
use super::{Cause, Code, Plugin, Rejection, Scheduler, minor};

pub use binding::find_volume;

/// What PreFilter found out about the volumes of the pod being scheduled.
#[derive(Clone, Debug, Default)]
pub struct Volumes {
    restrictions: restrictions::Demand,
    limits: limits::Demand,
    binding: Option<binding::Demand>,
    zone: zone::Demand,
}

/// PreFilter of the volume plugins. `None`: the pod has no volume that matters (Skip). Called only for pods with volumes.
///
/// # Errors
/// The rejection of all nodes.
pub fn pre_filter(_scheduler: &Scheduler, cluster: &Cluster, pod: PodId) -> Result<Option<Volumes>, Rejection> {
    let restrictions = restrictions::pre_filter(cluster, pod)?;
    let limits = limits::pre_filter(cluster, pod);
    let binding = binding::pre_filter(cluster, pod)?;
    let zone = zone::pre_filter(cluster, pod)?;
    if restrictions.is_none() && binding.is_none() && zone.is_none() {
        return Ok(None);
    }
    Ok(Some(Volumes {
        restrictions: restrictions.unwrap_or_default(),
        limits,
        binding,
        zone: zone.unwrap_or_default(),
    }))
}

impl Volumes {
    /// The filters of VolumeRestrictions, NodeVolumeLimits, VolumeBinding, VolumeZone, in this order.
    pub fn filter(&self, cluster: &Cluster, on: &OnNode<'_>) -> Option<Rejection> {
        self.restrictions
            .filter(cluster, on)
            .or_else(|| self.limits.filter(cluster, on))
            .or_else(|| self.binding.as_ref().and_then(|binding| binding.filter(cluster, on.node)))
            .or_else(|| self.zone.filter(cluster, on.node))
    }

    /// A pod is thought to be on this node too (preemption, nominated pods).
    pub fn add_pod(&mut self, cluster: &Cluster, _node: NodeId, pod: PodId) {
        self.restrictions.add_pod(cluster, pod);
    }

    /// A pod is thought to be gone from this node (preemption).
    pub fn remove_pod(&mut self, cluster: &Cluster, _node: NodeId, pod: PodId) {
        self.restrictions.remove_pod(cluster, pod);
    }

    /// Score of VolumeBinding (VERSIONS.md V11, from 1.37), 0 to 100. `None`: it does not score this pod.
    pub fn score(&self, cluster: &Cluster, nodes: &[NodeId]) -> Option<Vec<i64>> {
        let binding = self.binding.as_ref()?;
        if minor(cluster) < 37 {
            return None;
        }
        Some(nodes.iter().map(|&node| binding.score(cluster, node)).collect())
    }

    /// Binds claims, or has them provisioned, for the node that was chosen (Reserve and PreBind).
    pub fn bind(&self, cluster: &mut Cluster, _pod: PodId, node: NodeId) {
        if let Some(binding) = &self.binding {
            binding.bind(cluster, node);
        }
    }
}

/// A claim that a pod names.
#[derive(Clone, Copy)]
pub struct Named {
    /// Name of the claim.
    pub name: Name,
    /// Made for a generic ephemeral volume.
    pub ephemeral: bool,
    /// The claim, if it is there.
    pub id: Option<ClaimId>,
}

impl Named {
    /// The claim of a generic ephemeral volume must have been made for this pod.
    pub fn is_owned_by(self, claim: &Claim, pod: Name) -> bool {
        !self.ephemeral || claim.owner.is_some_and(|(kind, name)| kind == "Pod" && name == pod)
    }
}

/// Name of the claim that a generic ephemeral volume stands for.
pub fn ephemeral_claim(pod: Name, volume: Name) -> Name {
    Name::new(&format!("{pod}-{volume}"))
}

/// The claims that a pod names, in the order of its volumes.
pub fn claims(cluster: &Cluster, pod: PodId) -> impl Iterator<Item = Named> + '_ {
    let namespace = cluster.spec(pod).namespace;
    let pod_name = cluster.pod(pod).name;
    cluster.spec(pod).volumes.iter().filter_map(move |volume| {
        let (name, ephemeral) = match volume {
            Volume::Claim { name, .. } => (*name, false),
            Volume::Ephemeral { name, .. } => (ephemeral_claim(pod_name, *name), true),
            Volume::EmptyDir
            | Volume::HostPath { .. }
            | Volume::InlineDisk { .. }
            | Volume::Csi { .. }
            | Volume::Image { .. }
            | Volume::Other => return None,
        };
        Some(Named { name, ephemeral, id: cluster.find_claim(namespace, name) })
    })
}

/// A rejection that names an object; preemption cannot change it.
fn unresolvable(plugin: Plugin, text: &str) -> Rejection {
    Rejection { plugin, code: Code::Unresolvable, cause: Cause::Text(Name::new(text)) }
}

fn claim_not_found(plugin: Plugin, name: Name) -> Rejection {
    unresolvable(plugin, &format!("persistentvolumeclaim {name:?} not found"))
}
