//! What happened between two looks at a real cluster, as far as it can be seen: the journal of a run.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, ObjectKey, Pod, PodId, Time};

use super::{Event, Line, Record};

/// Lines for all that is different; `start` is the instant that times count from. A pod is another one if it was created at
/// another time.
pub fn between(before: &Cluster, after: &Cluster, start: Time, now: Time) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut tell = |event: Event, cluster: &Cluster| lines.push(Line::new(&Record { at: now, event }, start, cluster));
    let (old, new) = (pods(before), pods(after));
    for (key, &id) in &old {
        let there = new.get(key).is_some_and(|&other| same(before.pod(id), after.pod(other)));
        if !there {
            tell(Event::PodGone(id), before);
        }
    }
    for (key, &id) in &new {
        let pod = after.pod(id);
        let known = old.get(key).map(|&other| before.pod(other)).filter(|known| same(known, pod));
        let blank = Pod { node: None, ready: false, deletion: None, ..pod.clone() };
        let was = known.unwrap_or(&blank);
        if known.is_none() {
            tell(Event::PodCreated(id), after);
        }
        if let (None, Some(node)) = (was.node, pod.node) {
            tell(Event::PodBound(id, node), after);
        }
        match (was.ready, pod.ready) {
            (false, true) => tell(Event::PodReady(id), after),
            (true, false) => tell(Event::PodNotReady(id), after),
            (true, true) | (false, false) => {}
        }
        if was.deletion.is_none() && pod.deletion.is_some() {
            tell(Event::PodDeleting(id), after);
        }
    }
    for (id, node) in after.nodes() {
        let Some(was) = before.find_node(node.name()).map(|id| before.node(id)) else {
            tell(Event::NodeCreated(id), after);
            continue;
        };
        if was.unschedulable != node.unschedulable {
            tell(Event::NodeSchedulable(id, !node.unschedulable), after);
        }
        if was.ready != node.ready {
            tell(Event::NodeReady(id, node.ready), after);
        }
        if let Some(version) = node.kubelet.filter(|_| was.kubelet != node.kubelet) {
            tell(Event::NodeVersion(id, version), after);
        }
        if let Some(version) = node.control_plane.filter(|_| was.control_plane != node.control_plane) {
            tell(Event::ControlPlaneVersion(id, version), after);
        }
    }
    lines
}

fn pods(cluster: &Cluster) -> BTreeMap<ObjectKey, PodId> {
    cluster.pods().filter(|(_, pod)| !pod.gone).map(|(id, _)| (cluster.pod_key(id), id)).collect()
}

fn same(one: &Pod, other: &Pod) -> bool {
    one.created == other.created
}
