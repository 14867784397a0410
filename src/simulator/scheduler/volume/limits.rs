//! NodeVolumeLimits (KUBERNETES.md C8, H.4): how many volumes of a CSI driver a node can attach.

use smallvec::SmallVec;

use crate::cluster::{ClaimId, Cluster, Name, PersistentVolume, PodId};
use crate::simulator::scheduler::cycle::OnNode;
use crate::simulator::scheduler::{Cause, Code, Plugin, Rejection, minor};

use super::claims;

const EXCEEDED: Rejection = Rejection::unschedulable(Plugin::NodeVolumeLimits, &["node(s) exceed max volume count"]);

/// An attachable volume: its driver, and its handle or, before it is bound, its claim.
type Attachable = (Name, Handle);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Handle {
    Volume(Name),
    Claim(ClaimId),
}

/// The CSI volumes of the pod, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    volumes: SmallVec<[Attachable; 2]>,
}

pub(super) fn pre_filter(cluster: &Cluster, pod: PodId) -> Demand {
    let mut demand = Demand::default();
    attachable(cluster, pod, |volume| insert(&mut demand.volumes, volume));
    demand
}

fn insert<A: smallvec::Array<Item = Attachable>>(volumes: &mut SmallVec<A>, volume: Attachable) {
    if !volumes.contains(&volume) {
        volumes.push(volume);
    }
}

/// The CSI volumes of a pod. Claims that are not there, or not the pod's own, are passed over.
fn attachable(cluster: &Cluster, pod: PodId, mut found: impl FnMut(Attachable)) {
    for named in claims(cluster, pod) {
        let Some(id) = named.id.filter(|&id| named.is_owned_by(cluster.claim(id), cluster.pod(pod).name)) else {
            continue;
        };
        let claim = cluster.claim(id);
        match cluster.find_volume(claim.volume) {
            Some(volume) => {
                if let Some(volume) = csi(cluster.volume(volume)) {
                    found(volume);
                }
            }
            // Unbound, or bound to a volume that is not there: the class tells the driver.
            None => {
                if let Some(class) = claim.class.and_then(|class| cluster.catalog.storage_classes.get(&class)) {
                    found((class.provisioner, Handle::Claim(id)));
                }
            }
        }
    }
}

fn csi(volume: &PersistentVolume) -> Option<Attachable> {
    (!volume.driver.is_empty()).then_some((volume.driver, Handle::Volume(volume.handle)))
}

impl Demand {
    pub(super) fn filter(&self, cluster: &Cluster, on: &OnNode<'_>) -> Option<Rejection> {
        if self.volumes.is_empty() {
            return None;
        }
        let info = &cluster.node(on.node).info;
        let limit = |driver: Name| info.volume_limits.iter().find(|entry| entry.0 == driver).map(|entry| entry.1);
        if let Some(driver) = self.missing_driver(cluster, |driver| limit(driver).is_some()) {
            let text = Name::new(&format!("{driver} CSI driver is not installed on the node"));
            let (plugin, code, cause) = (Plugin::NodeVolumeLimits, Code::Unschedulable, Cause::Text(text));
            return Some(Rejection { plugin, code, cause });
        }
        if self.volumes.iter().all(|(driver, _)| limit(*driver).is_none_or(|limit| limit == i64::MAX)) {
            return None;
        }
        let mut there: SmallVec<[Attachable; 32]> = SmallVec::new();
        for other in on.pods(cluster) {
            attachable(cluster, other, |volume| insert(&mut there, volume));
        }
        for &name in cluster.attached.get(&info.name).into_iter().flatten() {
            if let Some(volume) = cluster.find_volume(name).and_then(|id| csi(cluster.volume(id))) {
                insert(&mut there, volume);
            }
        }
        let new = || self.volumes.iter().filter(|volume| !there.contains(volume));
        let exceeds = |driver: Name| {
            let old = there.iter().filter(|volume| volume.0 == driver).count();
            let added = new().filter(|volume| volume.0 == driver).count();
            limit(driver).is_some_and(|limit| (old + added) as i64 > limit)
        };
        new().any(|volume| exceeds(volume.0)).then_some(EXCEEDED)
    }

    /// A driver that asks for the pod to wait and that the node does not have (VERSIONS.md V12, from 1.37).
    fn missing_driver(&self, cluster: &Cluster, installed: impl Fn(Name) -> bool) -> Option<Name> {
        if minor(cluster) < 37 {
            return None;
        }
        let waits = |driver: Name| cluster.catalog.csi_drivers.iter().any(|entry| entry.0 == driver && entry.2);
        self.volumes.iter().map(|volume| volume.0).find(|&driver| waits(driver) && !installed(driver))
    }
}
