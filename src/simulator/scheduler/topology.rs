//! Topology domains: the values that a label of the nodes takes, as dense numbers.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::cluster::{Cluster, Name, NodeId};

/// The domain number of a node without the label, or of a node that is gone.
pub const NONE: u32 = u32::MAX;

/// Position of a topology key in [`Topologies`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TopologyId(u16);

/// One topology key.
#[derive(Clone, Debug)]
pub struct Topology {
    /// The label.
    pub key: Name,
    /// Domain of each node, [`NONE`] without the label.
    pub domain: Vec<u32>,
    /// The label's value in each domain.
    pub values: Vec<Name>,
}

/// All topology keys in use. Shared between clones of the scheduler until a node changes.
#[derive(Clone, Debug, Default)]
pub struct Topologies(Vec<Arc<Topology>>);

impl Topologies {
    /// The topology of a key, found out if it is new.
    pub fn intern(&mut self, cluster: &Cluster, key: Name) -> TopologyId {
        if let Some(position) = self.0.iter().position(|topology| topology.key == key) {
            return TopologyId(position as u16);
        }
        let mut topology = Topology { key, domain: Vec::with_capacity(cluster.nodes().len()), values: Vec::new() };
        let mut known: FxHashMap<Name, u32> = FxHashMap::default();
        for (_, node) in cluster.nodes() {
            let value = if node.gone { None } else { node.info.labels.get(key) };
            let domain = value.map_or(NONE, |value| {
                *known.entry(value).or_insert_with(|| {
                    topology.values.push(value);
                    topology.values.len() as u32 - 1
                })
            });
            topology.domain.push(domain);
        }
        self.0.push(Arc::new(topology));
        TopologyId(self.0.len() as u16 - 1)
    }

    /// A topology.
    pub fn get(&self, id: TopologyId) -> &Topology {
        &self.0[usize::from(id.0)]
    }

    /// Labels of a node changed, or the node came or went.
    pub fn node_changed(&mut self, cluster: &Cluster, node: NodeId) {
        for topology in &mut self.0 {
            Arc::make_mut(topology).place(cluster, node);
        }
    }
}

impl Topology {
    /// Domain of a node.
    pub fn of(&self, node: NodeId) -> u32 {
        self.domain[node.index()]
    }

    /// Number of domains, those that lost their last node included.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    fn place(&mut self, cluster: &Cluster, node: NodeId) {
        if self.domain.len() <= node.index() {
            self.domain.resize(node.index() + 1, NONE);
        }
        let object = cluster.node(node);
        let value = if object.gone { None } else { object.info.labels.get(self.key) };
        let domain = match value {
            None => NONE,
            Some(value) => match self.likely(value, node) {
                Some(position) => position as u32,
                None => {
                    self.values.push(value);
                    self.values.len() as u32 - 1
                }
            },
        };
        self.domain[node.index()] = domain;
    }

    /// Where a value stands. Most keys have few values; a host name is new or where the node stood before.
    fn likely(&self, value: Name, node: NodeId) -> Option<usize> {
        let before = self.domain[node.index()];
        if before != NONE && self.values[before as usize] == value {
            return Some(before as usize);
        }
        self.values.iter().position(|known| *known == value)
    }
}
