//! Where a pod may stand: what its template and volumes allow for good, and which nodes take pods now.

use crate::cluster::{Cluster, HostFacts, NodeId, PersistentVolume, PodId, PodSpec, Readiness, Volume};

use super::Scope;

impl Scope<'_> {
    /// Nodes that selector, affinity, `nodeName` and volumes of a pod allow, whatever is on them and whether or not they take
    /// pods now.
    pub(super) fn allowed(&self, pod: PodId) -> Vec<NodeId> {
        let spec = self.cluster.spec(pod);
        let allowed = |&(id, _): &(NodeId, _)| {
            is_selected(self.cluster, spec, id)
                && volumes(self.cluster, pod).all(|volume| reaches(self.cluster, volume, id))
        };
        self.nodes().filter(allowed).map(|(id, _)| id).collect()
    }

    /// Whether a node would take a pod of this template now: it is Ready, not cordoned, and its taints are tolerated.
    pub(super) fn takes_pods(&self, spec: &PodSpec, node: NodeId) -> bool {
        let node = self.cluster.node(node);
        let schedulable = !node.unschedulable || spec.tolerates_cordon();
        node.ready == Readiness::Ready && schedulable && spec.tolerates_all(&node.taints)
    }

    /// Nodes that are there.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (NodeId, &crate::cluster::Node)> {
        self.cluster.nodes().filter(|(_, node)| !node.gone)
    }

    /// Nodes that the run takes and whose hosts something is known about.
    pub(super) fn taken_hosts(&self) -> impl Iterator<Item = (NodeId, &HostFacts)> {
        self.hosts().filter(|(id, _)| self.takes(*id))
    }

    /// Nodes that are there and whose hosts something is known about.
    pub(super) fn hosts(&self) -> impl Iterator<Item = (NodeId, &HostFacts)> {
        self.nodes().filter_map(|(id, node)| Some((id, self.cluster.catalog.hosts.get(&node.name())?)))
    }
}

/// `nodeName`, `nodeSelector` and required affinity allow the node.
pub(super) fn is_selected(cluster: &Cluster, spec: &PodSpec, node: NodeId) -> bool {
    let node = cluster.node(node);
    (spec.node_name.is_empty() || spec.node_name == node.name()) && spec.selects(node)
}

/// Bound volumes of a pod's claims.
pub(super) fn volumes(cluster: &Cluster, pod: PodId) -> impl Iterator<Item = &PersistentVolume> + '_ {
    let spec = cluster.spec(pod);
    let claims = spec.volumes.iter().filter_map(move |volume| match volume {
        Volume::Claim { name, .. } => Some(*name),
        Volume::Ephemeral { name, .. } => Some(format!("{}-{name}", cluster.pod(pod).name).as_str().into()),
        Volume::EmptyDir
        | Volume::HostPath { .. }
        | Volume::InlineDisk { .. }
        | Volume::Csi { .. }
        | Volume::Image { .. }
        | Volume::Other => None,
    });
    let bound = claims.filter_map(|name| cluster.find_claim(spec.namespace, name));
    bound.filter_map(|claim| cluster.find_volume(cluster.claim(claim).volume)).map(|volume| cluster.volume(volume))
}

/// The volume can be used on the node.
pub(super) fn reaches(cluster: &Cluster, volume: &PersistentVolume, node: NodeId) -> bool {
    let info = &cluster.node(node).info;
    volume.node_affinity.as_ref().is_none_or(|terms| terms.iter().any(|term| term.matches(&info.labels, info.name)))
}
