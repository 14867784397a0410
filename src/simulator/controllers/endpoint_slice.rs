//! The endpoint slice controller (KUBERNETES.md D.10), summed over a Service's slices.

use crate::cluster::{Cluster, Phase, Pod, Service, ServiceId};
use crate::simulator::{Chooser, World};
use crate::trace::Event;

/// What it remembers between its syncs: the endpoints that the slices hold now, by Service.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    written: Vec<Counts>,
}

/// Endpoints of a Service by condition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    ready: u32,
    serving: u32,
    terminating: u32,
    total: u32,
}

impl Memory {
    /// The slices as they are before anything moves.
    pub(super) fn new(cluster: &Cluster) -> Memory {
        Memory { written: cluster.services().map(|(id, _)| count(cluster, id)).collect() }
    }
}

/// Looks at one Service: its slices follow its pods.
pub(super) fn sync(world: &mut World, id: ServiceId, chooser: &mut dyn Chooser) {
    let counts = count(&world.cluster, id);
    let written = &mut world.controllers.endpoint_slice.written;
    if written.len() <= id.index() {
        written.resize(id.index() + 1, Counts::default());
    }
    if std::mem::replace(&mut written[id.index()], counts) == counts {
        return;
    }
    let Counts { ready, serving, terminating, total } = counts;
    world.emit(Event::Endpoints { service: id, ready, serving, terminating, total }, chooser);
}

/// What the slices are to hold: ready, serving, terminating, all.
pub(super) fn endpoints(cluster: &Cluster, id: ServiceId) -> (u32, u32, u32, u32) {
    let Counts { ready, serving, terminating, total } = count(cluster, id);
    (ready, serving, terminating, total)
}

fn count(cluster: &Cluster, id: ServiceId) -> Counts {
    let mut counts = Counts::default();
    let service = cluster.service(id);
    for &pod in cluster.pods_of_service(id) {
        let pod = cluster.pod(pod);
        if !is_listed(cluster, service, pod) {
            continue;
        }
        let terminating = pod.deletion.is_some();
        counts.total += 1;
        counts.serving += u32::from(pod.ready);
        counts.terminating += u32::from(terminating);
        counts.ready += u32::from(service.publish_not_ready || (pod.ready && !terminating));
    }
    counts
}

/// Whether a pod has an endpoint at all: it has an address, has not ended, and its Node object exists.
fn is_listed(cluster: &Cluster, service: &Service, pod: &Pod) -> bool {
    let has_address = match pod.phase {
        Phase::Running | Phase::Unknown => true,
        Phase::Pending | Phase::Succeeded | Phase::Failed => false,
    };
    has_address && !pod.gone && pod.node.is_some_and(|node| service.publish_not_ready || !cluster.node(node).gone)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::fixture;
    use super::*;
    use crate::cluster::{Detail, Name, NodeId, PodId, ReplicaSet, Selector, Time};
    use crate::simulator::{First, Physics};

    /// A Service with two Ready pods.
    fn world(publish_not_ready: bool) -> World {
        let mut cluster = fixture::cluster(36);
        let detail = ReplicaSet { revision: 1, created: Time(0), current: true };
        let set = fixture::workload(&mut cluster, "ReplicaSet", "web", None, 2, Detail::ReplicaSet(detail));
        cluster.add_service(Service {
            namespace: "default".into(),
            name: "web".into(),
            selector: Some(Selector::from_labels([(Name::new("app"), Name::new("web"))])),
            publish_not_ready,
            kind: "ClusterIP".into(),
            headless: false,
            local_only: false,
            gone: false,
        });
        for name in ["a", "b"] {
            let node = fixture::node(&mut cluster, name);
            let pod = fixture::pod(&mut cluster, set, name);
            fixture::ready(&mut cluster, pod);
            cluster.update_pod(pod, |pod| pod.node = Some(node));
        }
        cluster.reindex();
        World::new(cluster, Time(0), Arc::new(Physics::default()), &mut First)
    }

    fn counts(world: &World) -> [u32; 4] {
        let Counts { ready, serving, terminating, total } = count(&world.cluster, ServiceId(0));
        [ready, serving, terminating, total]
    }

    #[test]
    fn a_terminating_pod_serves_until_it_has_ended() {
        let mut world = world(false);
        world.delete_pod(PodId(0), None, &mut First);
        assert_eq!(counts(&world), [1, 2, 1, 2], "D.10: Ready with a deletionTimestamp");
        world.set_ready(PodId(0), false, &mut First);
        assert_eq!(counts(&world), [1, 1, 1, 2]);
        world.cluster.update_pod(PodId(0), |pod| pod.phase = Phase::Failed);
        assert_eq!(counts(&world), [1, 1, 0, 1], "ended pods leave the slice");
    }

    #[test]
    fn unready_addresses_are_ready_where_they_are_published() {
        let mut world = world(true);
        world.delete_pod(PodId(0), None, &mut First);
        world.set_ready(PodId(1), false, &mut First);
        assert_eq!(counts(&world), [2, 1, 1, 2]);
    }

    #[test]
    fn pods_of_a_missing_node_are_left_out() {
        let mut world = world(false);
        world.cluster.update_node(NodeId(0), |node| node.gone = true);
        assert_eq!(counts(&world), [1, 1, 0, 1]);
    }

    #[test]
    fn each_change_is_told_once() {
        let mut world = world(false);
        while world.now < Time(2_000) && world.step(&mut First) {}
        let told =
            |world: &World| world.trace.iter().filter(|record| matches!(record.event, Event::Endpoints { .. })).count();
        assert_eq!(told(&world), 0, "nothing has changed");
        world.set_ready(PodId(0), false, &mut First);
        let due = world.now + crate::cluster::Millis(100);
        while world.next().is_some_and(|(next, _)| next < due) {
            world.step(&mut First);
        }
        assert_eq!(told(&world), 1);
    }
}
