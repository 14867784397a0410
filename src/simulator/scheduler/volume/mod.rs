//! What a pod's volumes demand of a node (KUBERNETES.md C7 to C10, H).

use crate::cluster::{Cluster, NodeId, PodId};

use super::cycle::OnNode;
use super::{Rejection, Scheduler};

/// What PreFilter found out about the volumes of the pod being scheduled.
#[derive(Clone, Debug, Default)]
pub struct Volumes {}

/// PreFilter of the volume plugins. `None`: the pod has no volume that matters (Skip). Called only for pods with volumes.
///
/// # Errors
/// The rejection of all nodes.
pub fn pre_filter(_scheduler: &Scheduler, _cluster: &Cluster, _pod: PodId) -> Result<Option<Volumes>, Rejection> {
    Ok(None)
}

impl Volumes {
    /// The filters of VolumeRestrictions, NodeVolumeLimits, VolumeBinding, VolumeZone, in this order.
    pub fn filter(&self, _cluster: &Cluster, _on: &OnNode<'_>) -> Option<Rejection> {
        None
    }

    /// A pod is thought to be on this node too (preemption, nominated pods).
    pub fn add_pod(&mut self, _cluster: &Cluster, _node: NodeId, _pod: PodId) {}

    /// A pod is thought to be gone from this node (preemption).
    pub fn remove_pod(&mut self, _cluster: &Cluster, _node: NodeId, _pod: PodId) {}

    /// Score of VolumeBinding (VERSIONS.md V11, from 1.37), 0 to 100. `None`: it does not score this pod.
    pub fn score(&self, _cluster: &Cluster, _nodes: &[NodeId]) -> Option<Vec<i64>> {
        None
    }

    /// Binds claims, or has them provisioned, for the node that was chosen (Reserve and PreBind).
    pub fn bind(&self, _cluster: &mut Cluster, _pod: PodId, _node: NodeId) {}
}
