//! Zones: how fast nodes may get their NoExecute taint, and when nobody does (KUBERNETES.md D16, D18, D19).

use std::collections::BTreeMap;

use crate::cluster::{Cluster, Effect, Millis, Name, Node, NodeId, Readiness, Time};
use crate::simulator::{Chooser, Task, World};

use super::{pass_soon, replace_taints, taint_of, wanted_no_execute};

/// `--node-eviction-rate` 0.1/s: time between two taints of a zone.
const NORMAL: Millis = Millis::secs(10);
/// `--secondary-node-eviction-rate` 0.01/s.
const SECONDARY: Millis = Millis::secs(100);
/// `--large-cluster-size-threshold`.
const LARGE: usize = 50;
/// `--unhealthy-zone-threshold` in hundredths.
const UNHEALTHY_PERCENT: usize = 55;

/// The zones of the cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Zones {
    by_name: BTreeMap<(Name, Name), Zone>,
    /// Every zone is fully disrupted: the control plane takes itself for the one that is cut off.
    all_disrupted: bool,
}

/// One zone.
#[derive(Clone, Debug)]
struct Zone {
    /// Time between two taints; `None`: nobody is tainted.
    interval: Option<Millis>,
    /// When the next one is allowed.
    next: Time,
    /// When the queue is looked at next, if that is planned.
    planned: Option<Time>,
    /// Nodes that wait for their taint, in the order they were added.
    waiting: Vec<NodeId>,
}

impl Default for Zone {
    fn default() -> Self {
        Zone { interval: Some(NORMAL), next: Time(i64::MIN), planned: None, waiting: Vec::new() }
    }
}

impl Zones {
    /// A node waits for its NoExecute taint.
    pub(super) fn enqueue(&mut self, cluster: &Cluster, id: NodeId) {
        let zone = self.by_name.entry(zone_of(cluster.node(id))).or_default();
        if !zone.waiting.contains(&id) {
            zone.waiting.push(id);
        }
    }

    /// A node is Ready again or gone: it waits no longer.
    pub(super) fn cancel(&mut self, id: NodeId) {
        self.by_name.values_mut().for_each(|zone| zone.waiting.retain(|&waiting| waiting != id));
    }
}

/// Region and zone, which together name a failure domain.
fn zone_of(node: &Node) -> (Name, Name) {
    let label = |key: &str| node.info.labels.get(Name::new(key)).unwrap_or_default();
    (label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone"))
}

/// How a zone stands (D18).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disruption {
    Normal,
    Partial,
    Full,
}

/// Looks at the state of every zone and sets how fast its nodes may be tainted.
pub(super) fn assess(world: &mut World, chooser: &mut dyn Chooser) {
    let mut counts: BTreeMap<(Name, Name), (usize, usize)> = BTreeMap::new();
    for (_, node) in world.cluster.nodes().filter(|(_, node)| !node.gone && !node.info.excluded_from_zone_state) {
        let count = counts.entry(zone_of(node)).or_default();
        match node.ready {
            Readiness::Ready => count.0 += 1,
            Readiness::NotReady | Readiness::Unknown => count.1 += 1,
        }
    }
    let states: BTreeMap<_, _> =
        counts.into_iter().map(|(name, (up, down))| (name, (state(up, down), up + down))).collect();
    let all_disrupted = !states.is_empty() && states.values().all(|(state, _)| *state == Disruption::Full);
    let was = std::mem::replace(&mut world.controllers.node_lifecycle.zones.all_disrupted, all_disrupted);
    if all_disrupted {
        if !was {
            untaint_everybody(world, chooser);
        }
        return;
    }
    let now = world.now;
    for (name, (state, size)) in states {
        let zone = world.controllers.node_lifecycle.zones.by_name.entry(name).or_default();
        let interval = match state {
            Disruption::Normal | Disruption::Full => Some(NORMAL),
            Disruption::Partial if size > LARGE => Some(SECONDARY),
            Disruption::Partial => None,
        };
        if zone.interval.is_none() && interval.is_some() {
            // A limiter that stood still is exchanged for one that is empty.
            zone.next = zone.next.max(now + interval.unwrap_or_default());
        }
        zone.interval = interval;
    }
    if was {
        // After a recovery every node that is still not Ready is looked at anew.
        let down: Vec<NodeId> = world
            .cluster
            .nodes()
            .filter(|(_, node)| !node.gone && node.ready != Readiness::Ready)
            .map(|(id, _)| id)
            .collect();
        down.into_iter().for_each(|id| pass_soon(world, id, chooser));
    }
    taint_due(world, chooser);
}

fn state(up: usize, down: usize) -> Disruption {
    if up == 0 && down > 0 {
        Disruption::Full
    } else if down > 2 && down * 100 >= UNHEALTHY_PERCENT * (up + down) {
        Disruption::Partial
    } else {
        Disruption::Normal
    }
}

/// All zones are down: taints are taken back and nobody is evicted.
fn untaint_everybody(world: &mut World, chooser: &mut dyn Chooser) {
    for zone in world.controllers.node_lifecycle.zones.by_name.values_mut() {
        zone.waiting.clear();
        zone.interval = None;
    }
    let nodes: Vec<NodeId> = world.cluster.nodes().filter(|(_, node)| !node.gone).map(|(id, _)| id).collect();
    nodes.into_iter().for_each(|id| replace_taints(world, id, Effect::NoExecute, &[], chooser));
}

/// Taints the nodes whose turn it is and plans the next turn.
pub(super) fn taint_due(world: &mut World, chooser: &mut dyn Chooser) {
    let names: Vec<(Name, Name)> = world.controllers.node_lifecycle.zones.by_name.keys().copied().collect();
    for name in names {
        while let Some(id) = take_due(world, name) {
            let node = world.cluster.node(id);
            if let Some(key) = wanted_no_execute(node.ready).filter(|_| !node.gone) {
                replace_taints(world, id, Effect::NoExecute, &[taint_of(key, Effect::NoExecute)], chooser);
            }
        }
    }
}

/// The next node of a zone if it may be tainted now; otherwise its turn is planned.
fn take_due(world: &mut World, name: (Name, Name)) -> Option<NodeId> {
    let now = world.now;
    let zone = world.controllers.node_lifecycle.zones.by_name.get_mut(&name)?;
    let interval = zone.interval?;
    let &first = zone.waiting.first()?;
    if zone.next > now {
        let due = zone.next;
        if zone.planned.is_none_or(|planned| planned <= now || planned > due) {
            zone.planned = Some(due);
            world.at(due, Task::SyncNode(first));
        }
        return None;
    }
    zone.waiting.remove(0);
    zone.next = now + interval;
    Some(first)
}
