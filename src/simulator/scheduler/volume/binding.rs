//! VolumeBinding (KUBERNETES.md C9, C.2.3): bound volumes must reach the node, unbound claims must find a volume there.

use smallvec::SmallVec;

use crate::cluster::{Claim, ClaimId, Cluster, Name, NodeId, PersistentVolume, PodId, StorageClass, VolumeId};
use crate::simulator::controllers::persistent_volume;
use crate::simulator::scheduler::{Plugin, Rejection};

use super::{claim_not_found, claims, unresolvable};

const UNREACHABLE: &str = "node(s) didn't match PersistentVolume's node affinity";
const NO_VOLUME: &str = "node(s) didn't find available persistent volumes to bind";
const NO_SPACE: &str = "node(s) did not have enough free storage";
const VOLUME_GONE: &str = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

const fn rejection(reasons: &'static [&'static str]) -> Rejection {
    Rejection::unresolvable(Plugin::VolumeBinding, reasons)
}

/// The claims of the pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    /// Volumes of bound claims; `None` for one that does not exist.
    bound: SmallVec<[Option<VolumeId>; 2]>,
    /// Claims that wait for a consumer, in the order of the pod's volumes.
    unbound: SmallVec<[Unbound; 2]>,
}

#[derive(Clone, Debug)]
struct Unbound {
    claim: ClaimId,
    class: Name,
    /// Volumes that may be bound to it on the right node.
    volumes: Vec<VolumeId>,
}

/// How the unbound claims of a pod would be served on a node.
#[derive(Clone, Debug, Default)]
struct Plan {
    bindings: SmallVec<[(ClaimId, VolumeId); 2]>,
    provisions: SmallVec<[ClaimId; 2]>,
}

/// Why unbound claims cannot be served on a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unserved {
    NoVolume,
    NoSpace,
}

/// `None`: the pod names no claim.
pub(super) fn pre_filter(cluster: &Cluster, pod: PodId) -> Result<Option<Demand>, Rejection> {
    let plugin = Plugin::VolumeBinding;
    let name_of_pod = cluster.pod(pod).name;
    let mut any = false;
    for named in claims(cluster, pod) {
        any = true;
        let name = named.name;
        let Some(id) = named.id else {
            return Err(if named.ephemeral {
                let text = "waiting for ephemeral volume controller to create the persistentvolumeclaim";
                unresolvable(plugin, &format!("{text} {name:?}"))
            } else {
                claim_not_found(plugin, name)
            });
        };
        let claim = cluster.claim(id);
        if claim.lost {
            let volume = claim.volume;
            let text = format!("persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}");
            return Err(unresolvable(plugin, &text));
        }
        if claim.deleting {
            return Err(unresolvable(plugin, &format!("persistentvolumeclaim {name:?} is being deleted")));
        }
        if !named.is_owned_by(claim, name_of_pod) {
            let ns = claim.namespace;
            let text = format!("PVC {ns}/{name} was not created for pod {ns}/{name_of_pod} (pod is not owner)");
            return Err(unresolvable(plugin, &text));
        }
    }
    if !any {
        return Ok(None);
    }
    let mut demand = Demand::default();
    for id in claims(cluster, pod).filter_map(|named| named.id) {
        let claim = cluster.claim(id);
        if claim.bound && !claim.volume.is_empty() {
            demand.bound.push(cluster.find_volume(claim.volume));
            continue;
        }
        let class = class(cluster, claim).filter(|class| class.waits_for_consumer && claim.volume.is_empty());
        let Some(class) = class else {
            return Err(rejection(&["pod has unbound immediate PersistentVolumeClaims"]));
        };
        let volumes = if claim.selected_node.is_empty() { candidates(cluster, claim) } else { Vec::new() };
        demand.unbound.push(Unbound { claim: id, class: class.name, volumes });
    }
    // The smallest claim chooses first.
    demand.unbound.sort_by_key(|unbound| cluster.claim(unbound.claim).bytes);
    Ok(Some(demand))
}

fn class<'a>(cluster: &'a Cluster, claim: &Claim) -> Option<&'a StorageClass> {
    cluster.catalog.storage_classes.get(&claim.class?)
}

/// The volume that a claim without a consumer is bound to by the volume controller: as for a pod, on no particular node.
pub fn find_volume(cluster: &Cluster, claim: ClaimId) -> Option<VolumeId> {
    best_volume(cluster, cluster.claim(claim), &candidates(cluster, cluster.claim(claim)), |_| true)
}

/// Volumes that may be bound to a claim as far as the node does not matter.
fn candidates(cluster: &Cluster, claim: &Claim) -> Vec<VolumeId> {
    let fits = |volume: &PersistentVolume| {
        !volume.gone
            && !volume.deleting
            && volume.class == claim.class.unwrap_or_default()
            && volume.bytes >= claim.bytes
            && volume.block == claim.block
            && (is_reserved_for(volume, claim)
                || volume.claim.is_none()
                    && volume.phase == "Available"
                    && claim.selector.as_ref().is_none_or(|selector| selector.matches(&volume.labels))
                    && offers(volume, claim))
    };
    cluster.volumes().filter(|(_, volume)| fits(volume)).map(|(id, _)| id).collect()
}

fn offers(volume: &PersistentVolume, claim: &Claim) -> bool {
    let (offered, wanted) = (volume.access, claim.access);
    (offered.rwo || !wanted.rwo)
        && (offered.rox || !wanted.rox)
        && (offered.rwx || !wanted.rwx)
        && (offered.rwop || !wanted.rwop)
}

fn is_reserved_for(volume: &PersistentVolume, claim: &Claim) -> bool {
    volume.claim == Some((claim.namespace, claim.name))
}

/// One reserved for the claim, or else the smallest. One reserved for the claim that the node cannot reach leaves nothing.
fn best_volume(
    cluster: &Cluster,
    claim: &Claim,
    volumes: &[VolumeId],
    usable: impl Fn(VolumeId) -> bool,
) -> Option<VolumeId> {
    if let Some(&reserved) = volumes.iter().find(|id| is_reserved_for(cluster.volume(**id), claim)) {
        return usable(reserved).then_some(reserved);
    }
    volumes.iter().copied().filter(|&id| usable(id)).min_by_key(|&id| cluster.volume(id).bytes)
}

fn reaches(cluster: &Cluster, volume: VolumeId, node: NodeId) -> bool {
    let labels = &cluster.node(node).info.labels;
    let terms = &cluster.volume(volume).node_affinity;
    // Only the node's labels are looked at, so a requirement on its name is tested against an empty one.
    terms.as_ref().is_none_or(|terms| terms.iter().any(|term| term.matches(labels, Name::EMPTY)))
}

impl Demand {
    pub(super) fn filter(&self, cluster: &Cluster, node: NodeId) -> Option<Rejection> {
        let bound = self.bound.iter().find_map(|volume| match volume {
            None => Some(VOLUME_GONE),
            Some(volume) => (!reaches(cluster, *volume, node)).then_some(UNREACHABLE),
        });
        let unbound = if self.unbound.is_empty() { None } else { self.plan(cluster, node).err() };
        match (bound, unbound) {
            (None, None) => None,
            (None, Some(Unserved::NoVolume)) => Some(rejection(&[NO_VOLUME])),
            (None, Some(Unserved::NoSpace)) => Some(rejection(&[NO_SPACE])),
            (Some(VOLUME_GONE), None) => Some(rejection(&[VOLUME_GONE])),
            (Some(VOLUME_GONE), Some(Unserved::NoVolume)) => Some(rejection(&[NO_VOLUME, VOLUME_GONE])),
            (Some(VOLUME_GONE), Some(Unserved::NoSpace)) => Some(rejection(&[NO_SPACE, VOLUME_GONE])),
            (Some(_), None) => Some(rejection(&[UNREACHABLE])),
            (Some(_), Some(Unserved::NoVolume)) => Some(rejection(&[UNREACHABLE, NO_VOLUME])),
            (Some(_), Some(Unserved::NoSpace)) => Some(rejection(&[UNREACHABLE, NO_SPACE])),
        }
    }

    fn plan(&self, cluster: &Cluster, node: NodeId) -> Result<Plan, Unserved> {
        let name = cluster.node(node).name();
        let mut plan = Plan::default();
        let selected = |unbound: &&Unbound| !cluster.claim(unbound.claim).selected_node.is_empty();
        for unbound in self.unbound.iter().filter(selected) {
            if cluster.claim(unbound.claim).selected_node != name {
                return Err(Unserved::NoVolume);
            }
            plan.provisions.push(unbound.claim);
        }
        for Unbound { claim, volumes, .. } in self.unbound.iter().filter(|unbound| !selected(unbound)) {
            let usable = |volume: VolumeId| {
                plan.bindings.iter().all(|binding| binding.1 != volume) && reaches(cluster, volume, node)
            };
            match best_volume(cluster, cluster.claim(*claim), volumes, usable) {
                Some(volume) => plan.bindings.push((*claim, volume)),
                None => plan.provisions.push(*claim),
            }
        }
        for &claim in &plan.provisions {
            self.can_provision(cluster, claim, node)?;
        }
        Ok(plan)
    }

    fn can_provision(&self, cluster: &Cluster, claim: ClaimId, node: NodeId) -> Result<(), Unserved> {
        let claim = cluster.claim(claim);
        let labels = &cluster.node(node).info.labels;
        let class = class(cluster, claim).ok_or(Unserved::NoVolume)?;
        let allowed = &class.allowed_topologies;
        if !persistent_volume::is_dynamic(class)
            || !(allowed.is_empty() || allowed.iter().any(|term| term.matches(labels, Name::EMPTY)))
        {
            return Err(Unserved::NoVolume);
        }
        let tracked = cluster.catalog.csi_drivers.iter().any(|driver| driver.0 == class.provisioner && driver.1);
        if tracked && !capacities(cluster, class.name, node).any(|limit| limit >= claim.bytes) {
            return Err(Unserved::NoSpace);
        }
        Ok(())
    }

    /// Free space counts for the node with the most of it (VERSIONS.md V11).
    pub(super) fn score(&self, cluster: &Cluster, node: NodeId) -> i64 {
        let Ok(plan) = self.plan(cluster, node) else { return 0 };
        // Per class: (class, bytes asked for, bytes there are).
        let mut classes: SmallVec<[(Name, i64, i64); 2]> = SmallVec::new();
        let mut add = |class: Name, asked: i64, there: i64| match classes.iter_mut().find(|entry| entry.0 == class) {
            Some(entry) => (entry.1, entry.2) = (entry.1 + asked, entry.2 + there),
            None => classes.push((class, asked, there)),
        };
        let class =
            |claim: ClaimId| self.unbound.iter().find(|unbound| unbound.claim == claim).map(|found| found.class);
        for &(claim, volume) in &plan.bindings {
            add(class(claim).unwrap_or_default(), cluster.claim(claim).bytes, cluster.volume(volume).bytes);
        }
        if plan.bindings.is_empty() {
            for &claim in &plan.provisions {
                let class = class(claim).unwrap_or_default();
                let bytes = cluster.claim(claim).bytes;
                if let Some(capacity) = capacities(cluster, class, node).find(|&limit| limit >= bytes) {
                    add(class, bytes, capacity);
                }
            }
        }
        if classes.is_empty() {
            return 0;
        }
        let score = |&(_, asked, there): &(Name, i64, i64)| match asked {
            _ if asked > there || there == 0 => 0,
            _ => 100 - asked.saturating_mul(100) / there,
        };
        let sum: i64 = classes.iter().map(score).sum();
        let number = classes.len() as i64;
        (sum + number / 2) / number
    }

    /// Writes what was planned for a node: claims bound, or provisioned there.
    pub(super) fn bind(&self, cluster: &mut Cluster, node: NodeId) {
        let Ok(plan) = self.plan(cluster, node) else { return };
        for (claim, volume) in plan.bindings {
            persistent_volume::bind(cluster, claim, volume);
        }
        for claim in plan.provisions {
            persistent_volume::provision(cluster, claim, Some(node));
        }
    }
}

/// What CSIStorageCapacity objects promise for a class on a node; the size of one volume where it is told.
fn capacities(cluster: &Cluster, class: Name, node: NodeId) -> impl Iterator<Item = i64> + '_ {
    let labels = &cluster.node(node).info.labels;
    let of_class = cluster.catalog.storage_capacities.iter().filter(move |capacity| capacity.class == class);
    let reachable = of_class.filter(|capacity| capacity.topology.as_ref().is_some_and(|nodes| nodes.matches(labels)));
    reachable.filter_map(|capacity| capacity.maximum.or(capacity.capacity))
}
