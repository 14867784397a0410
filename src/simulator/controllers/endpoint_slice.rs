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
