//! The scheduler's node list: zones taken in turn (KUBERNETES.md C17, C18).

use crate::cluster::{Cluster, Name, NodeId};

/// Nodes by zone, as upstream's node tree keeps them.
#[derive(Clone, Debug, Default)]
pub struct NodeOrder {
    /// Zones in the order they appeared; in each the nodes in the order they were added.
    zones: Vec<((Name, Name), Vec<NodeId>)>,
    list: Vec<NodeId>,
}

/// Region and zone of a node, both empty without labels.
fn zone_of(cluster: &Cluster, node: NodeId) -> (Name, Name) {
    let labels = &cluster.node(node).info.labels;
    let value =
        |key: &str, old: &str| labels.get(Name::new(key)).or_else(|| labels.get(Name::new(old))).unwrap_or(Name::EMPTY);
    (
        value("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"),
        value("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
    )
}

impl NodeOrder {
    /// The list of all nodes of a cluster that are not gone.
    pub fn new(cluster: &Cluster) -> NodeOrder {
        let mut order = NodeOrder::default();
        for (id, _) in cluster.nodes().filter(|(_, node)| !node.gone) {
            order.insert(cluster, id);
        }
        order.rebuild();
        order
    }

    /// The list of a scheduler that has just been started: it gets the nodes by name (C18).
    pub fn by_name(cluster: &Cluster) -> NodeOrder {
        let mut nodes: Vec<NodeId> = cluster.nodes().filter(|(_, node)| !node.gone).map(|(id, _)| id).collect();
        nodes.sort_by_key(|&id| cluster.node(id).name());
        let mut order = NodeOrder::default();
        nodes.into_iter().for_each(|id| order.insert(cluster, id));
        order.rebuild();
        order
    }

    /// The list.
    pub fn list(&self) -> &[NodeId] {
        &self.list
    }

    /// A node came, went, or its zone changed.
    pub fn node_changed(&mut self, cluster: &Cluster, node: NodeId) {
        let is = if cluster.node(node).gone { None } else { Some(zone_of(cluster, node)) };
        let was = self.zones.iter().position(|(_, nodes)| nodes.contains(&node));
        if was.map(|position| self.zones[position].0) == is {
            return;
        }
        if let Some(position) = was {
            self.zones[position].1.retain(|other| *other != node);
            if self.zones[position].1.is_empty() {
                self.zones.remove(position);
            }
        }
        if is.is_some() {
            self.insert(cluster, node);
        }
        self.rebuild();
    }

    fn insert(&mut self, cluster: &Cluster, node: NodeId) {
        let zone = zone_of(cluster, node);
        match self.zones.iter_mut().find(|entry| entry.0 == zone) {
            Some((_, nodes)) => nodes.push(node),
            None => self.zones.push((zone, vec![node])),
        }
    }

    fn rebuild(&mut self) {
        self.list.clear();
        let longest = self.zones.iter().map(|(_, nodes)| nodes.len()).max().unwrap_or(0);
        for index in 0..longest {
            self.list.extend(self.zones.iter().filter_map(|(_, nodes)| nodes.get(index)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::NodeOrder;
    use crate::cluster::{Cluster, Labels, Name, NodeId, NodeInfo};
    use crate::simulator::controllers::fixture;

    fn list(zones: &[(&str, &str)]) -> (Cluster, Vec<NodeId>) {
        let mut cluster = fixture::cluster(36);
        for (index, (region, zone)) in zones.iter().enumerate() {
            let node = fixture::node(&mut cluster, &format!("n{index}"));
            let pairs = [("topology.kubernetes.io/region", region), ("topology.kubernetes.io/zone", zone)];
            let labels: Labels = pairs
                .into_iter()
                .filter(|pair| !pair.1.is_empty())
                .map(|(key, value)| (Name::new(key), Name::new(value)))
                .collect();
            cluster.update_node(node, |node| {
                node.info = Arc::new(NodeInfo { labels, ..NodeInfo::clone(&node.info) });
            });
        }
        let order = NodeOrder::new(&cluster).list().to_vec();
        (cluster, order)
    }

    #[test]
    fn zones_take_turns() {
        // C-T50u.
        let (_, order) = list(&[
            ("", ""),
            ("r1", ""),
            ("", "z2"),
            ("r1", "z2"),
            ("r1", "z2"),
            ("r1", "z3"),
            ("r2", "z2"),
            ("r2", "z2"),
            ("r2", "z2"),
        ]);
        assert_eq!(order, [0, 1, 2, 3, 5, 6, 4, 7, 8].map(NodeId));
    }

    #[test]
    fn a_node_that_comes_back_is_the_last_of_its_zone() {
        // C18.
        let (mut cluster, _) = list(&[("r", "a"), ("r", "a"), ("r", "b")]);
        let mut order = NodeOrder::new(&cluster);
        assert_eq!(order.list(), [0, 2, 1].map(NodeId));
        cluster.update_node(NodeId(0), |node| node.gone = true);
        order.node_changed(&cluster, NodeId(0));
        let again = crate::cluster::Node { gone: false, ..cluster.node(NodeId(0)).clone() };
        let again = cluster.add_node(again);
        order.node_changed(&cluster, again);
        assert_eq!(order.list(), [NodeId(1), NodeId(2), again]);
    }
}
