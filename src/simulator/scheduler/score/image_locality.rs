//! ImageLocality (KUBERNETES.md C.3.3).

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::cluster::{Cluster, Name, NodeId, PodSpec, Volume};

use super::HIGHEST;
use crate::simulator::scheduler::cycle::Cycle;
use crate::simulator::scheduler::minor;

const MEBIBYTE: i64 = 1024 * 1024;
const LOWEST_SUM: i64 = 23 * MEBIBYTE;
const HIGHEST_SUM_PER_CONTAINER: i64 = 1000 * MEBIBYTE;

/// Which nodes hold which images.
#[derive(Clone, Debug, Default)]
pub struct Images {
    /// Image -> (bytes as the first node has it, nodes in the order of their ids).
    by_name: Arc<FxHashMap<Name, (i64, Vec<NodeId>)>>,
    nodes: usize,
}

impl Images {
    /// What stands on the nodes of a cluster.
    pub fn new(cluster: &Cluster) -> Images {
        let mut by_name: FxHashMap<Name, (i64, Vec<NodeId>)> = FxHashMap::default();
        let mut nodes = 0;
        for (id, node) in cluster.nodes().filter(|(_, node)| !node.gone) {
            nodes += 1;
            for &(name, bytes) in &node.info.images {
                let holders = &mut by_name.entry(name).or_insert((bytes, Vec::new())).1;
                if holders.last() != Some(&id) {
                    holders.push(id);
                }
            }
        }
        Images { by_name: Arc::new(by_name), nodes }
    }
}

/// Images that count for a pod, and the number that the highest sum depends on (VERSIONS.md V13; those of volumes from 1.36 on).
fn images(spec: &PodSpec, minor: u16) -> (impl Iterator<Item = Name>, i64) {
    let of_volume = |volume: &Volume| if let Volume::Image { image } = volume { Some(*image) } else { None };
    let containers = spec.init_containers.iter().chain(&spec.containers);
    let volumes = spec.volumes.iter().filter_map(of_volume).filter(move |_| minor >= 36);
    let mut count = containers.clone().count();
    if minor >= 37 {
        count += volumes.clone().count();
    }
    (containers.map(|container| container.image).chain(volumes), count as i64)
}

/// The more bytes of the pod's images are there already, the better. `None`: no node has any of them.
pub fn score(cycle: &Cycle<'_>, nodes: &[NodeId]) -> Option<Vec<i64>> {
    let held = &cycle.scheduler.images;
    let (images, count) = images(cycle.spec, minor(cycle.cluster));
    let mut sums: Vec<i64> = Vec::new();
    for (bytes, holders) in images.filter_map(|image| held.by_name.get(&image)) {
        // Rarer images weigh less, lest the pods of an image all go to the one node that has it.
        let scaled = (*bytes as f64 * (holders.len() as f64 / held.nodes as f64)) as i64;
        if sums.is_empty() {
            sums = vec![0; cycle.view.facts.len()];
        }
        holders.iter().for_each(|node| sums[node.index()] += scaled);
    }
    if sums.is_empty() {
        return None;
    }
    let highest = HIGHEST_SUM_PER_CONTAINER * count;
    let score = |sum: i64| HIGHEST * (sum.clamp(LOWEST_SUM, highest) - LOWEST_SUM) / (highest - LOWEST_SUM);
    Some(nodes.iter().map(|node| score(sums[node.index()])).collect())
}
