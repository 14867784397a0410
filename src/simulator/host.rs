//! What happens to a host while it is upgraded: the supervised job, the kubelet, the machine.

use crate::cluster::{
    Effect, HostJob, Marks, Millis, Name, NodeId, ObjectKey, PodId, Readiness, Routing, ServiceId, Taint, Version,
};
use crate::trace::Event;

use super::{Chooser, Delay, Down, Task, World, controllers, kubelet};

/// A step of a host's maintenance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Step {
    /// The job ends: a kubelet of the new version starts.
    JobEnds,
    /// The node reports Ready.
    Ready,
}

/// How a host stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// The kubelet does not run: nothing happens on the node.
    pub down: bool,
    /// The version that the job brings.
    pub target: Option<Version>,
    /// The job will fail (a fault).
    pub fails: bool,
    /// The machine was built anew and has not reported its version yet.
    pub fresh: bool,
    /// The job will never end (a fault).
    pub hangs: bool,
}

/// Makes sure the upgrade job of a host has been started.
pub(super) fn start(world: &mut World, node: NodeId, to: Version, chooser: &mut dyn Chooser) {
    match world.cluster.node(node).job {
        HostJob::Running { .. } | HostJob::Succeeded => return,
        HostJob::Absent | HostJob::Failed => {}
    }
    let now = world.now;
    world.cluster.update_node(node, |node| {
        node.job = HostJob::Running { since: now };
        node.marks.host_touched = Some(now);
    });
    world.hosts[node.index()].target = Some(to);
    world.emit(Event::HostStarted(node), chooser);
    match world.physics.down {
        Down::None => {}
        Down::Shutdown => {
            go_down(world, node, chooser);
            set_readiness(world, node, Readiness::NotReady, chooser);
        }
        Down::Silent => {
            go_down(world, node, chooser);
            controllers::heartbeat_lost(world, node, chooser);
        }
        Down::Delete => {
            go_down(world, node, chooser);
            world.cluster.update_node(node, |node| node.gone = true);
            world.emit(Event::NodeGone(node), chooser);
        }
    }
    if !world.hosts[node.index()].hangs {
        world.after(Delay::Host, Task::Host(node, Step::JobEnds), chooser);
    }
}

/// The machine goes away with everything that runs on it. Applications that were still ending are cut short.
fn go_down(world: &mut World, node: NodeId, chooser: &mut dyn Chooser) {
    world.hosts[node.index()].down = true;
    for pod in world.cluster.pods_of_node(node).to_vec() {
        let object = world.cluster.pod(pod);
        if let Some(deletion) = object.deletion
            && !object.is_terminal()
            && world.now - deletion.since < Millis::secs(i64::from(deletion.grace_seconds))
        {
            world.emit(Event::PodStopped { pod, cut_short: true }, chooser);
        } else if object.is_serving_strength() {
            unserved(world, pod, chooser);
        }
    }
}

/// A pod that is still in its Services goes down with its host: requests go there until the node is seen to be gone.
fn unserved(world: &mut World, pod: PodId, chooser: &mut dyn Chooser) {
    let services: Vec<ServiceId> = world.cluster.services_of_pod(pod).to_vec();
    if services.is_empty() {
        return;
    }
    let noticed = match world.physics.down {
        Down::Silent => controllers::node_monitor_grace(world),
        Down::None | Down::Shutdown | Down::Delete => world.length(Delay::NodeMonitor, chooser),
    };
    let millis = (noticed + world.length(Delay::Proxy, chooser)).0;
    for service in services {
        world.emit(Event::RequestsAtRisk { service, pod, millis }, chooser);
    }
}

/// One step.
pub(super) fn step(world: &mut World, node: NodeId, step: Step, chooser: &mut dyn Chooser) {
    match step {
        Step::JobEnds => job_ends(world, node, chooser),
        Step::Ready => {
            world.hosts[node.index()].down = false;
            controllers::heartbeat_back(world, node);
            if let (true, Some(to)) = (world.hosts[node.index()].fresh, world.hosts[node.index()].target) {
                world.hosts[node.index()].fresh = false;
                report_version(world, node, to, chooser);
            }
            set_readiness(world, node, Readiness::Ready, chooser);
            kubelet::host_is_back(world, node, chooser);
        }
    }
}

fn job_ends(world: &mut World, node: NodeId, chooser: &mut dyn Chooser) {
    let State { down, target, fails, .. } = world.hosts[node.index()];
    if fails {
        world.cluster.update_node(node, |node| node.job = HostJob::Failed);
        world.emit(Event::HostEnded(node, false), chooser);
        return;
    }
    let Some(to) = target else { return };
    if world.cluster.node(node).gone {
        register_anew(world, node, to, chooser);
        return;
    }
    world.cluster.update_node(node, |node| node.job = HostJob::Succeeded);
    let control_plane = world.cluster.node(node).is_control_plane();
    let before = (world.cluster.node(node).kubelet, world.cluster.node(node).control_plane);
    if control_plane {
        upgrade_control_plane(world, node, to, chooser);
    }
    report_version(world, node, to, chooser);
    world.emit(Event::HostEnded(node, true), chooser);
    if down {
        world.after(Delay::NodeReady, Task::Host(node, Step::Ready), chooser);
    } else {
        // kubeadm writes new manifests for another version of the control plane.
        let manifests = control_plane && before.1 != Some(to);
        kubelet::kubelet_was_exchanged(world, node, before.0, to, manifests, chooser);
    }
}

fn report_version(world: &mut World, node: NodeId, version: Version, chooser: &mut dyn Chooser) {
    world.cluster.update_node(node, |node| node.kubelet = Some(version));
    world.emit(Event::NodeVersion(node, version), chooser);
}

/// The control-plane components of the node run the new version; the cluster is as old as its oldest API server.
fn upgrade_control_plane(world: &mut World, node: NodeId, to: Version, chooser: &mut dyn Chooser) {
    let (now, before) = (world.now, world.cluster.api_server);
    world.cluster.update_node(node, |node| (node.control_plane, node.api_since) = (Some(to), Some(now)));
    world.emit(Event::ControlPlaneVersion(node, to), chooser);
    let oldest = world
        .cluster
        .nodes()
        .filter(|(_, node)| node.is_control_plane() && !node.gone)
        .filter_map(|(_, node)| node.control_plane)
        .min();
    if oldest.is_some() {
        world.cluster.api_server = oldest;
    }
    if let Some(before) = before.filter(|&before| before != to && oldest == Some(to)) {
        upgrade_addons(world, before, to, chooser);
    }
}

/// What kubeadm rolls out once every API server has the new version (KUBERNETES.md G.5): kube-proxy with every version, CoreDNS
/// with every minor.
fn upgrade_addons(world: &mut World, before: Version, to: Version, chooser: &mut dyn Chooser) {
    let namespace = Name::new("kube-system");
    let (proxy, dns) = (
        ObjectKey::new(namespace, "DaemonSet", "kube-proxy".into()),
        ObjectKey::new(namespace, "Deployment", "coredns".into()),
    );
    let old_tag = format!(":{before}");
    let found = world.cluster.find_workload(&proxy).and_then(|id| Some((id, world.cluster.workload(id).template?)));
    let Some((proxy, template)) = found else { return };
    let mut spec = world.cluster.catalog.spec(template).clone();
    // Another tool's kube-proxy is none of kubeadm's business.
    let Some(image) = spec.containers.first().and_then(|one| one.image.strip_suffix(&old_tag).map(str::to_owned))
    else {
        return;
    };
    let image = Name::new(&format!("{image}:{to}"));
    if let Some(container) = spec.containers.first_mut() {
        container.image = image;
    }
    controllers::change_template(world, proxy, spec);
    world.wake_workload(proxy, chooser);
    if let Some(dns) = world.cluster.find_workload(&dns).filter(|_| before.minor != to.minor)
        && let Some(template) = world.cluster.workload(dns).template
    {
        let mut spec = world.cluster.catalog.spec(template).clone();
        if let Some(container) = spec.containers.first_mut() {
            container.image = Name::new(&format!("{}+{to}", container.image));
        }
        controllers::change_template(world, dns, spec);
        world.wake_workload(dns, chooser);
    }
}

/// A new Node object takes the place of the deleted one, as a fresh machine registers: not Ready yet, and tainted so (D20).
/// Pods that were bound to the name are the new machine's.
fn register_anew(world: &mut World, old: NodeId, version: Version, chooser: &mut dyn Chooser) {
    let mut node = world.cluster.node(old).clone();
    node.gone = false;
    node.unschedulable = false;
    node.taints =
        vec![Taint { key: Name::new("node.kubernetes.io/not-ready"), value: Name::EMPTY, effect: Effect::NoSchedule }];
    node.ready = Readiness::NotReady;
    node.ready_since = world.now;
    node.job = HostJob::Absent;
    node.routing = Routing::Routed;
    node.marks = Marks::default();
    let new = world.cluster.add_node(node);
    world.hosts.push(State { down: true, fresh: true, target: Some(version), ..State::default() });
    for pod in world.cluster.pods_of_node(old).to_vec() {
        world.cluster.update_pod(pod, |pod| {
            pod.node = Some(new);
            pod.pinned = pod.pinned.map(|_| new);
        });
    }
    world.emit(Event::NodeCreated(new), chooser);
    world.after(Delay::NodeReady, Task::Host(new, Step::Ready), chooser);
}

/// Sets condition Ready of a node.
pub(super) fn set_readiness(world: &mut World, node: NodeId, ready: Readiness, chooser: &mut dyn Chooser) {
    if world.cluster.node(node).ready == ready {
        return;
    }
    let now = world.now;
    world.cluster.update_node(node, |node| {
        node.ready = ready;
        node.ready_since = now;
    });
    world.emit(Event::NodeReady(node, ready), chooser);
}

#[cfg(test)]
mod tests;
