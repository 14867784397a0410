//! Start of a pod: admission, volumes, images, containers, probes (KUBERNETES.md E.1, E.3).

use crate::cluster::{Cluster, Container, Millis, Name, Phase, PodId, Probe, SpecId, Volume};
use crate::simulator::{Chooser, Delay, Task, World};
use crate::trace::Event;

use super::{Step, admission, attach, is_down, resolver};

/// A pod was bound to a node.
pub(in crate::simulator) fn pod_bound(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    if is_down(world, id)
        || world.kubelets.hopeless.contains(&world.cluster.pod(id).spec)
        || !resolver::sandbox_starts(&world.cluster, id)
    {
        return;
    }
    let length = match world.cluster.spec(id).timing.start {
        Some(fixed) => fixed,
        None if is_measured(world, id) => half_of_measured(world, id, Delay::Start, chooser),
        None if images_are_there(world, id) => world.length(Delay::Start, chooser),
        None => world.length(Delay::Start, chooser) + world.length(Delay::Pull, chooser),
    };
    world.at(world.now + length, Task::Kubelet(id, Step::Started));
}

/// Images of a template's containers and image volumes.
pub(super) fn images(cluster: &Cluster, spec: SpecId) -> impl Iterator<Item = Name> + '_ {
    let spec = cluster.catalog.spec(spec);
    let volumes = spec.volumes.iter().filter_map(|volume| match volume {
        Volume::Image { image } => Some(*image),
        Volume::Claim { .. }
        | Volume::Ephemeral { .. }
        | Volume::EmptyDir
        | Volume::HostPath { .. }
        | Volume::InlineDisk { .. }
        | Volume::Csi { .. }
        | Volume::Other => None,
    });
    spec.containers.iter().chain(&spec.init_containers).map(|container| container.image).chain(volumes)
}

/// Whether the node has all images: it reports them, or a pod of the run has brought them there.
fn images_are_there(world: &World, id: PodId) -> bool {
    let pod = world.cluster.pod(id);
    let Some(node) = pod.node else { return false };
    let reported = &world.cluster.node(node).info.images;
    images(&world.cluster, pod.spec).all(|image| {
        world.kubelets.pulled.contains(&(node, image))
            || reported.binary_search_by_key(&image, |(name, _)| *name).is_ok()
    })
}

/// Containers would start now.
pub(super) fn started(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    let pod = world.cluster.pod(id);
    if pod.phase != Phase::Pending || pod.deletion.is_some() || is_down(world, id) {
        return;
    }
    let Some(node) = pod.node else { return };
    if !world.physics.played_kubelets && !admission::admits(world, id, node) {
        world.cluster.update_pod(id, |pod| pod.phase = Phase::Failed);
        world.emit(Event::PodFailed(id), chooser);
        return;
    }
    if let Some(wait) = attach::wait(world, id, node, chooser) {
        world.at(world.now + wait, Task::Kubelet(id, Step::Started));
        return;
    }
    let now = world.now;
    let images: Vec<Name> = images(&world.cluster, world.cluster.pod(id).spec).collect();
    world.kubelets.pulled.extend(images.into_iter().map(|image| (node, image)));
    world.cluster.update_pod(id, |pod| {
        pod.phase = Phase::Running;
        pod.started = Some(now);
    });
    world.emit(Event::PodRunning(id), chooser);
    plan_ready(world, id, chooser);
}

/// Containers run: when does the pod become Ready, if ever?
pub(super) fn plan_ready(world: &mut World, id: PodId, chooser: &mut dyn Chooser) {
    let timing = world.cluster.spec(id).timing;
    let hopeless = world.kubelets.hopeless.contains(&world.cluster.pod(id).spec);
    if timing.never_ready || hopeless || resolver::forwards_to_itself(&world.cluster, id) {
        return;
    }
    let spec = world.cluster.spec(id);
    let sidecars = spec.init_containers.iter().filter(|container| container.sidecar);
    let probed: Vec<(Option<Probe>, Option<Probe>)> = spec
        .containers
        .iter()
        .chain(sidecars)
        .map(|Container { startup, readiness, .. }| (*startup, *readiness))
        .filter(|(startup, readiness)| startup.is_some() || readiness.is_some())
        .collect();
    let length = match timing.ready {
        Some(fixed) => fixed,
        None if is_measured(world, id) => half_of_measured(world, id, Delay::Ready, chooser),
        None if probed.is_empty() => world.length(Delay::Unprobed, chooser),
        None => {
            let works = world.length(Delay::Ready, chooser);
            let ready = probed.into_iter().map(|(startup, readiness)| ready_after(works, startup, readiness));
            ready.max().unwrap_or_default()
        }
    };
    world.at(world.now + length, Task::Kubelet(id, Step::Ready));
}

/// When a container that works after so long is seen to be ready (E.3). Until its startup probe has succeeded the readiness
/// probe is skipped; then it is tried at once.
pub(super) fn ready_after(works: Millis, startup: Option<Probe>, readiness: Option<Probe>) -> Millis {
    let started = startup.map(|probe| first_success(works, probe));
    let Some(probe) = readiness else { return started.unwrap_or_default() };
    let first = match started {
        Some(started) => started.max(first_attempt(probe)),
        None => first_success(works, probe),
    };
    first + Millis::secs(i64::from(probe.success_threshold.max(1) - 1) * period(probe))
}

fn period(probe: Probe) -> i64 {
    i64::from(probe.period_seconds.max(1))
}

/// Attempts that come before the initial delay is over are skipped; the period goes on.
fn first_attempt(probe: Probe) -> Millis {
    let delay = i64::from(probe.initial_delay_seconds.max(0));
    Millis::secs((delay + period(probe) - 1) / period(probe) * period(probe))
}

fn first_success(works: Millis, probe: Probe) -> Millis {
    let (first, period) = (first_attempt(probe), Millis::secs(period(probe)).0);
    let late = (works.0 - first.0).max(0);
    Millis(first.0 + (late + period - 1) / period * period)
}

fn is_measured(world: &World, id: PodId) -> bool {
    world.physics.measured.contains_key(&world.cluster.pod(id).spec)
}

/// Half of the time from start to Ready that the input shows for this template.
fn half_of_measured(world: &World, id: PodId, delay: Delay, chooser: &mut dyn Chooser) -> Millis {
    match world.physics.measured.get(&world.cluster.pod(id).spec) {
        Some(&(shortest, longest)) => chooser.between(delay, Millis(shortest.0 / 2), Millis(longest.0 / 2)),
        None => world.length(delay, chooser),
    }
}
