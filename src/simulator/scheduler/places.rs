//! Where the pods of each template are: all that spreading and inter-pod affinity count.

use crate::cluster::{NodeId, SpecId};

/// Pods of one template on one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// All of them.
    pub all: u32,
    /// Those that are not terminating.
    pub live: u32,
}

/// For each template the nodes with pods of it, in the order of their ids.
#[derive(Clone, Debug, Default)]
pub struct Places(Vec<Vec<Place>>);

impl Places {
    /// Nodes with pods of a template.
    pub fn of(&self, spec: SpecId) -> &[Place] {
        self.0.get(spec.index()).map_or(&[], Vec::as_slice)
    }

    /// A pod came to a node.
    pub fn add(&mut self, spec: SpecId, node: NodeId, live: bool) {
        if self.0.len() <= spec.index() {
            self.0.resize_with(spec.index() + 1, Vec::new);
        }
        let places = &mut self.0[spec.index()];
        match places.binary_search_by_key(&node, |place| place.node) {
            Ok(position) => {
                places[position].all += 1;
                places[position].live += u32::from(live);
            }
            Err(position) => places.insert(position, Place { node, all: 1, live: u32::from(live) }),
        }
    }

    /// A pod left a node.
    pub fn remove(&mut self, spec: SpecId, node: NodeId, live: bool) {
        let Some(places) = self.0.get_mut(spec.index()) else { return };
        let Ok(position) = places.binary_search_by_key(&node, |place| place.node) else { return };
        places[position].all -= 1;
        places[position].live -= u32::from(live);
        if places[position].all == 0 {
            places.remove(position);
        }
    }
}
