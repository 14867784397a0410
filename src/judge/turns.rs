//! Which hosts are away for their upgrade, and since when they are back.

use crate::cluster::{Cluster, Detail, NodeId, Owner, Readiness, Time, WorkloadId};
use crate::trace::{Event, Record};

/// How every host stands.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    nodes: Vec<Turn>,
}

#[derive(Clone, Debug, Default)]
struct Turn {
    touched: bool,
    ended_well: bool,
    back: Option<Time>,
    /// DaemonSets of network, proxy and storage with a ready pod here when the host was touched.
    services: Vec<WorkloadId>,
}

impl Turns {
    pub(super) fn new(initial: &Cluster) -> Turns {
        let mut turns = Turns { nodes: vec![Turn::default(); initial.nodes().len()] };
        for &node in initial.nodes_under_maintenance() {
            if initial.node(node).marks.host_touched.is_some() {
                turns.touch(node, initial);
            }
        }
        turns
    }

    pub(super) fn observe(&mut self, record: &Record, cluster: &Cluster) {
        match record.event {
            Event::HostStarted(node) => self.touch(node, cluster),
            Event::HostEnded(node, well) => {
                self.turn(node).ended_well = well;
                self.look(node, cluster, record.at);
            }
            Event::NodeReady(node, Readiness::Ready) => self.look(node, cluster, record.at),
            Event::PodReady(pod) => {
                if let Some(node) = cluster.pod(pod).node {
                    self.look(node, cluster, record.at);
                }
            }
            _ => {}
        }
    }

    /// The host was touched and is not in working order again: Ready at its new version, with its node services Ready (M20).
    /// The instant at which it comes back still belongs to its absence.
    pub(super) fn is_away(&self, node: NodeId, at: Time) -> bool {
        self.nodes.get(node.index()).is_some_and(|turn| turn.touched && turn.back.is_none_or(|back| at <= back))
    }

    /// The host was never touched, or has been in working order since.
    pub(super) fn is_back(&self, node: NodeId, cluster: &Cluster) -> bool {
        self.nodes
            .get(node.index())
            .is_none_or(|turn| !turn.touched || turn.back.is_some() || turn.is_in_order(node, cluster))
    }

    /// The host was never touched, or its job has ended well and the node is Ready, whatever its node services do.
    pub(super) fn is_up(&self, node: NodeId, cluster: &Cluster) -> bool {
        self.nodes
            .get(node.index())
            .is_none_or(|turn| !turn.touched || turn.back.is_some() || turn.is_up(node, cluster))
    }

    fn touch(&mut self, node: NodeId, cluster: &Cluster) {
        let services = node_services(node, cluster);
        *self.turn(node) = Turn { touched: true, ended_well: false, back: None, services };
    }

    fn look(&mut self, node: NodeId, cluster: &Cluster, at: Time) {
        let turn = self.turn(node);
        if turn.touched && turn.back.is_none() && turn.is_in_order(node, cluster) {
            turn.back = Some(at);
        }
    }

    fn turn(&mut self, node: NodeId) -> &mut Turn {
        if self.nodes.len() <= node.index() {
            self.nodes.resize(node.index() + 1, Turn::default());
        }
        &mut self.nodes[node.index()]
    }
}

impl Turn {
    fn is_up(&self, node: NodeId, cluster: &Cluster) -> bool {
        self.ended_well && cluster.node(node).ready == Readiness::Ready
    }

    fn is_in_order(&self, node: NodeId, cluster: &Cluster) -> bool {
        if !self.is_up(node, cluster) {
            return false;
        }
        let now = node_services(node, cluster);
        self.services.iter().all(|service| now.contains(service) || cluster.workload(*service).deleted)
    }
}

/// Node services with a ready pod on a node.
fn node_services(node: NodeId, cluster: &Cluster) -> Vec<WorkloadId> {
    let ready = cluster.pods_of_node(node).iter().map(|&pod| cluster.pod(pod)).filter(|pod| pod.is_serving_strength());
    let owners = ready.filter_map(|pod| match pod.owner {
        Owner::Workload(owner) => Some(owner),
        Owner::None | Owner::Missing { .. } | Owner::Node => None,
    });
    owners
        .filter(|&owner| matches!(&cluster.workload(owner).detail, Detail::DaemonSet(set) if set.node_service))
        .collect()
}
