//! VolumeZone (KUBERNETES.md C10): zone and region labels of volumes.

use smallvec::SmallVec;

use crate::cluster::{Cluster, Name, NodeId, PodId};
use crate::simulator::scheduler::{Plugin, Rejection};

use super::{claim_not_found, claims, unresolvable};

const CONFLICT: Rejection = Rejection::unresolvable(Plugin::VolumeZone, &["node(s) had no available volume zone"]);

/// Labels that name a topology, each with the one that took its place.
const LABELS: [(&str, &str); 4] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "topology.kubernetes.io/region"),
];

/// A label that the node must have with one of the values; the second key stands in for the first.
type Topology = (Name, Name, SmallVec<[Name; 1]>);

/// Labels that the node must have.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    topologies: SmallVec<[Topology; 1]>,
}

pub(super) fn pre_filter(cluster: &Cluster, pod: PodId) -> Result<Option<Demand>, Rejection> {
    let plugin = Plugin::VolumeZone;
    let mut demand = Demand::default();
    for named in claims(cluster, pod).filter(|named| !named.ephemeral) {
        let claim = cluster.claim(named.id.ok_or_else(|| claim_not_found(plugin, named.name))?);
        if claim.volume.is_empty() {
            let Some(class) = claim.class.filter(|class| !class.is_empty()) else {
                return Err(unresolvable(plugin, "PersistentVolumeClaim had no pv name and storageClass name"));
            };
            match cluster.catalog.storage_classes.get(&class) {
                None => return Err(unresolvable(plugin, &format!("storageclass.storage.k8s.io {class:?} not found"))),
                Some(class) if class.waits_for_consumer => continue,
                Some(_) => return Err(unresolvable(plugin, "PersistentVolume had no name")),
            }
        }
        let Some(volume) = cluster.find_volume(claim.volume) else {
            return Err(unresolvable(plugin, &format!("persistentvolume {:?} not found", claim.volume)));
        };
        let labels = &cluster.volume(volume).labels;
        for (key, successor) in LABELS.map(|(key, successor)| (Name::new(key), Name::new(successor))) {
            if let Some(zones) = labels.get(key).and_then(zones) {
                demand.topologies.push((key, successor, zones));
            }
        }
    }
    Ok((!demand.topologies.is_empty()).then_some(demand))
}

/// `a__b` means a or b; with an empty part the label says nothing.
fn zones(label: Name) -> Option<SmallVec<[Name; 1]>> {
    let zones: Option<SmallVec<[Name; 1]>> =
        label.split("__").map(str::trim).map(|zone| (!zone.is_empty()).then(|| Name::new(zone))).collect();
    zones
}

impl Demand {
    pub(super) fn filter(&self, cluster: &Cluster, node: NodeId) -> Option<Rejection> {
        if self.topologies.is_empty() {
            return None;
        }
        let labels = &cluster.node(node).info.labels;
        if LABELS.iter().all(|(key, _)| labels.get(Name::new(key)).is_none()) {
            return None;
        }
        let agrees = |(key, successor, zones): &(Name, Name, SmallVec<[Name; 1]>)| {
            labels.get(*key).or_else(|| labels.get(*successor)).is_some_and(|zone| zones.contains(&zone))
        };
        (!self.topologies.iter().all(agrees)).then_some(CONFLICT)
    }
}
