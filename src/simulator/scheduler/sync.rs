//! How caches and queue follow the cluster. Every change is found by comparing an object with what is booked of it, so that
//! it does not matter how often or for what reason one looks.

use std::sync::Arc;

use crate::cluster::{Cluster, Name, NodeId, Phase, PodId, Time};
use crate::trace::Event;

use super::hints::{Before, Change, wakes};
use super::node_order::NodeOrder;
use super::score::image_locality::Images;
use super::{Booked, NodeState, Scheduler, minor};

impl Scheduler {
    /// A scheduler that has just been started and seen the nodes, but no pod.
    pub(super) fn started(cluster: &Cluster, order: NodeOrder) -> Scheduler {
        let mut scheduler = Scheduler { order, minor: minor(cluster), ..Scheduler::default() };
        for (id, _) in cluster.nodes() {
            scheduler.nodes.push(NodeState::default());
            scheduler.before.push(Arc::default());
            scheduler.remember(cluster, id);
        }
        scheduler.images = Images::new(cluster);
        scheduler
    }

    /// Keeps caches and queue right after a change; called after the change was made.
    pub fn observe(&mut self, cluster: &Cluster, event: &Event, now: Time) {
        match *event {
            Event::PodCreated(pod)
            | Event::PodBound(pod, _)
            | Event::PodNominated(pod, _)
            | Event::PodRunning(pod)
            | Event::PodSucceeded(pod)
            | Event::PodFailed(pod)
            | Event::PodDeleting(pod)
            | Event::PodGone(pod) => self.sync_pod(cluster, pod, now),
            Event::NodeSchedulable(node, _)
            | Event::NodeReady(node, _)
            | Event::NodeTaints(node)
            | Event::NodeCreated(node)
            | Event::NodeGone(node) => self.sync_node(cluster, node, now),
            Event::NodeVersion(node, _) => {
                self.sync_node(cluster, node, now);
                for &pod in cluster.pods_of_node(node) {
                    self.sync_pod(cluster, pod, now);
                }
            }
            Event::ControlPlaneVersion(..) => {
                if self.minor != minor(cluster) {
                    self.restart(cluster, now);
                }
            }
            Event::Acted(_)
            | Event::Evict { .. }
            | Event::PodUnschedulable(..)
            | Event::PodReady(_)
            | Event::PodNotReady(_)
            | Event::PodRestarted(_)
            | Event::PodDisruptionTarget(..)
            | Event::PodStopped { .. }
            | Event::RequestsAtRisk { .. }
            | Event::NodeRouted(..)
            | Event::HostStarted(_)
            | Event::HostEnded(..)
            | Event::NodeEnded(..)
            | Event::BudgetStatus(_)
            | Event::BudgetGone(_)
            | Event::Endpoints { .. }
            | Event::Scaled(..)
            | Event::JobStatus(_)
            | Event::WorkloadGone(_)
            | Event::Lock
            | Event::Backup
            | Event::RunEnded { .. }
            | Event::EngineRestarted
            | Event::Disturbance(_) => {}
        }
    }

    /// Claims, volumes or attachments changed.
    pub fn storage_changed(&mut self, cluster: &Cluster, now: Time) {
        self.changed(cluster, &Change::Storage, now);
    }

    /// A scheduler of another version takes over: it lists the nodes by name (C18), and every pod that waits is new to it.
    fn restart(&mut self, cluster: &Cluster, now: Time) {
        *self = Scheduler::started(cluster, NodeOrder::by_name(cluster));
        for (pod, _) in cluster.pods().filter(|(_, pod)| !pod.gone) {
            self.sync_pod(cluster, pod, now);
        }
    }

    /// Takes in how a pod stands.
    pub(super) fn sync_pod(&mut self, cluster: &Cluster, id: PodId, now: Time) {
        let pod = cluster.pod(id);
        let spec = cluster.catalog.spec(pod.spec);
        let there = !pod.gone && !pod.is_terminal();
        let is = pod.node.filter(|_| there).map(|node| Booked {
            node,
            spec: pod.spec,
            live: pod.deletion.is_none(),
            twice: !spec.overhead.is_zero()
                && pod.phase == Phase::Running
                && self.minor >= 37
                && cluster.node(node).kubelet.is_some_and(|version| version.minor >= 36),
        });
        if self.booked.len() <= id.index() {
            self.booked.resize(id.index() + 1, None);
        }
        let was = std::mem::replace(&mut self.booked[id.index()], is);
        if was != is {
            if let Some(was) = was {
                self.nodes[was.node.index()].remove(cluster.catalog.spec(was.spec), was.twice);
                self.places.remove(was.spec, was.node, was.live);
            }
            if let Some(is) = is {
                self.nodes[is.node.index()].add(spec, is.twice);
                self.places.add(is.spec, is.node, is.live);
            }
        }
        let ours = spec.scheduler_name.is_empty() || spec.scheduler_name == "default-scheduler";
        let waits = there && pod.node.is_none() && pod.deletion.is_none() && ours;
        match (self.queue.contains(id), waits) {
            (false, true) => self.queue.insert(id, spec.priority, spec.gated, now),
            (true, false) => self.queue.remove(id),
            (true, true) | (false, false) => {}
        }
        let lost_hope = self.nominate(id, pod.nominated.filter(|_| there && pod.node.is_none()));
        if was.is_none() && is.is_some() {
            self.changed(cluster, &Change::PodBound(pod.spec), now);
        } else if is.is_none() && (was.is_some() || (lost_hope && !there)) {
            self.changed(cluster, &Change::PodGone(pod.spec), now);
        } else if was != is {
            // It wakes nobody, but whoever waits long enough is tried again (C31).
            self.queue.cluster_changed();
        }
    }

    /// Keeps the lists of nominated pods; `true`: a nomination ended.
    fn nominate(&mut self, pod: PodId, node: Option<NodeId>) -> bool {
        let found = self.nominations.binary_search_by_key(&pod, |entry| entry.0);
        let was = found.ok().map(|position| self.nominations[position].1);
        if was == node {
            return false;
        }
        if let Ok(position) = found {
            let (_, node) = self.nominations.remove(position);
            self.nodes[node.index()].nominated.retain(|other| *other != pod);
        }
        if let Some(node) = node {
            let position = self.nominations.partition_point(|entry| entry.0 < pod);
            self.nominations.insert(position, (pod, node));
            self.nodes[node.index()].nominated.push(pod);
        }
        was.is_some()
    }

    /// Takes in how a node stands.
    pub(super) fn sync_node(&mut self, cluster: &Cluster, id: NodeId, now: Time) {
        let new = self.nodes.len() <= id.index();
        if new {
            self.nodes.resize_with(id.index() + 1, NodeState::default);
            self.before.resize_with(id.index() + 1, Arc::default);
        }
        let node = cluster.node(id);
        let was_there = self.before[id.index()].info.name != Name::EMPTY;
        let before = Arc::clone(&self.before[id.index()]);
        self.remember(cluster, id);
        let after = &self.before[id.index()];
        if *before == **after {
            return;
        }
        self.changes.push(id);
        if before.info.labels != after.info.labels || was_there == node.gone {
            self.topologies.node_changed(cluster, id);
            self.order.node_changed(cluster, id);
        }
        if before.info.images != after.info.images || was_there == node.gone {
            self.images = Images::new(cluster);
        }
        let change = match (was_there, !node.gone) {
            (false, true) => Change::NodeAdded(id),
            (true, true) => Change::NodeChanged(id, before),
            (true, false) => Change::NodeGone,
            (false, false) => return,
        };
        self.changed(cluster, &change, now);
    }

    /// Notes what a node is like; a node that is gone is like nothing.
    fn remember(&mut self, cluster: &Cluster, id: NodeId) {
        let node = cluster.node(id);
        let state = &mut self.nodes[id.index()];
        state.allocatable.clone_from(&node.allocatable);
        state.allocatable_pods = node.allocatable_pods;
        self.before[id.index()] = if node.gone {
            Arc::default()
        } else {
            Arc::new(Before {
                info: Arc::clone(&node.info),
                taints: node.taints.clone(),
                unschedulable: node.unschedulable,
                allocatable: node.allocatable.clone(),
                allocatable_pods: node.allocatable_pods,
            })
        };
    }

    /// Something changed: brings back the pods that it may help.
    fn changed(&mut self, cluster: &Cluster, change: &Change, now: Time) {
        self.queue.cluster_changed();
        let waiting: Vec<_> = self.queue.unschedulable().collect();
        for (pod, rejected_by) in waiting {
            let class = self.prepare(cluster, pod);
            if wakes(cluster, pod, &class, rejected_by, change) {
                self.queue.wake(pod, now);
            }
        }
    }
}
