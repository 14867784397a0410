//! VolumeRestrictions (KUBERNETES.md C7): claims for one pod only, and disks that a pod names itself.

use smallvec::SmallVec;

use crate::cluster::{ClaimId, Cluster, Name, PodId, Volume};
use crate::simulator::scheduler::cycle::OnNode;
use crate::simulator::scheduler::{Plugin, Rejection};

use super::{claim_not_found, claims};

const DISK: Rejection = Rejection::unschedulable(Plugin::VolumeRestrictions, &["node(s) had no available disk"]);
const IN_USE: Rejection = Rejection::unschedulable(
    Plugin::VolumeRestrictions,
    &[
        "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod",
    ],
);

/// What the plugin knows of the pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    /// Its ReadWriteOncePod claims.
    exclusive: SmallVec<[ClaimId; 1]>,
    /// How many uses of them by other pods there are.
    conflicts: i32,
    /// Its inline disks.
    disks: SmallVec<[(Name, bool); 0]>,
}

pub(super) fn pre_filter(cluster: &Cluster, pod: PodId) -> Result<Option<Demand>, Rejection> {
    let mut demand = Demand { disks: disks(cluster, pod).collect(), ..Demand::default() };
    for named in claims(cluster, pod).filter(|named| !named.ephemeral) {
        let id = named.id.ok_or_else(|| claim_not_found(Plugin::VolumeRestrictions, named.name))?;
        if cluster.claim(id).access.rwop && !demand.exclusive.contains(&id) {
            demand.exclusive.push(id);
            demand.conflicts += i32::from(is_in_use(cluster, id));
        }
    }
    Ok((demand.conflicts > 0 || !demand.disks.is_empty()).then_some(demand))
}

/// Whether a bound pod that has not ended uses the claim.
fn is_in_use(cluster: &Cluster, id: ClaimId) -> bool {
    let mut bound = cluster.pods().filter(|(_, pod)| !pod.gone && pod.node.is_some() && !pod.is_terminal());
    bound.any(|(other, _)| claims(cluster, other).any(|named| !named.ephemeral && named.id == Some(id)))
}

fn disks(cluster: &Cluster, pod: PodId) -> impl Iterator<Item = (Name, bool)> + '_ {
    cluster.spec(pod).volumes.iter().filter_map(|volume| match volume {
        Volume::InlineDisk { disk, read_only } => Some((*disk, *read_only)),
        Volume::Claim { .. }
        | Volume::Ephemeral { .. }
        | Volume::EmptyDir
        | Volume::HostPath { .. }
        | Volume::Csi { .. }
        | Volume::Image { .. }
        | Volume::Other => None,
    })
}

impl Demand {
    pub(super) fn filter(&self, cluster: &Cluster, on: &OnNode<'_>) -> Option<Rejection> {
        if !self.disks.is_empty() {
            let taken =
                |(disk, read_only)| self.disks.iter().any(|&(wanted, shared)| wanted == disk && !(read_only && shared));
            if on.pods(cluster).any(|other| disks(cluster, other).any(taken)) {
                return Some(DISK);
            }
        }
        (self.conflicts > 0).then_some(IN_USE)
    }

    pub(super) fn add_pod(&mut self, cluster: &Cluster, pod: PodId) {
        self.conflicts += self.uses(cluster, pod);
    }

    pub(super) fn remove_pod(&mut self, cluster: &Cluster, pod: PodId) {
        self.conflicts -= self.uses(cluster, pod);
    }

    fn uses(&self, cluster: &Cluster, pod: PodId) -> i32 {
        if self.exclusive.is_empty() {
            return 0;
        }
        let used = claims(cluster, pod).filter(|named| !named.ephemeral);
        used.filter(|named| named.id.is_some_and(|id| self.exclusive.contains(&id))).count() as i32
    }
}
