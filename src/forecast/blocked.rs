//! Which pods hold a node back, and why.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, Name, NodeId, ObjectKey, PodId};
use crate::simulator::{First, World, eviction};
use crate::upgrade::{Describe, Outcome, Reason};

use super::placement::is_movable;
use super::watch::NodeRun;

/// Pods that the drain of a node has left, each with the eviction API's last answer or what else is known.
pub fn pods_left(world: &World, node: NodeId) -> BTreeMap<ObjectKey, String> {
    let cluster = &world.cluster;
    let left = cluster.pods_of_node(node).iter().copied();
    left.filter(|&id| is_movable(cluster, cluster.pod(id)) && !cluster.pod(id).is_terminal())
        .map(|id| (cluster.pod_key(id), why(world, id)))
        .collect()
}

fn why(world: &World, id: PodId) -> String {
    let cluster = &world.cluster;
    let pod = cluster.pod(id);
    if let Some(deletion) = pod.deletion {
        let since = (world.now - deletion.since).as_secs_f64();
        let grace = deletion.grace_seconds;
        let held = if pod.job_finalizer || pod.foreign_finalizer { ", held by a finalizer" } else { "" };
        return format!("eviction accepted, still terminating after {since:.0} s (grace period {grace} s{held})");
    }
    if let Some(refusal) = cluster.run.refusal(id) {
        return refusal.message.as_str().to_owned();
    }
    let waiting = world.engine.as_ref().map(|engine| engine.last.waiting.as_slice()).unwrap_or_default();
    let reason = waiting.iter().map(|waiting| &waiting.reason).find(|reason| pods_of(reason).contains(&id));
    match reason {
        Some(reason) => reason.describe(cluster),
        None => what_the_api_would_say(world, id),
    }
}

/// An engine that foresees a refusal does not ask; the answer is had from a dry run.
fn what_the_api_would_say(world: &World, id: PodId) -> String {
    let options = eviction::Options { dry_run: true, ..eviction::Options::default() };
    let answer = eviction::evict(&mut world.clone(), id, options, &mut First);
    match answer.causes.first() {
        Some((_, cause)) => format!("{} {cause}", answer.message),
        None if answer.message.is_empty() => "the drain was given up before its eviction was asked for".to_owned(),
        None => answer.message,
    }
}

/// The pods that a reason is about.
fn pods_of(reason: &Reason) -> Vec<PodId> {
    match reason {
        Reason::Unmanaged(_, pods)
        | Reason::DaemonSetPods(_, pods)
        | Reason::OrphanedDaemonSetPods(_, pods)
        | Reason::EmptyDir(_, pods) => pods.clone(),
        Reason::Budget { pod, .. }
        | Reason::SeveralBudgets { pod, .. }
        | Reason::EvictionError { pod, .. }
        | Reason::Terminating(pod)
        | Reason::Turn(pod)
        | Reason::Floor { pod, .. }
        | Reason::ServiceFloor { pod, .. }
        | Reason::NotAccepted { pod, .. } => vec![*pod],
        Reason::TimeSpent(inner) => pods_of(inner),
        Reason::LockUnknown
        | Reason::LockHeld { .. }
        | Reason::BackupRunning
        | Reason::BackupFailed
        | Reason::VersionPath { .. }
        | Reason::Unknown { .. }
        | Reason::NodeNotReady(_)
        | Reason::HostBusy(_)
        | Reason::HostFailed(_)
        | Reason::NodeComingUp(_)
        | Reason::NodeServiceNotReady { .. }
        | Reason::Settling { .. }
        | Reason::NodeServiceRolls(_)
        | Reason::ApiServerFresh
        | Reason::Pause
        | Reason::DrainTimeout(_) => Vec::new(),
    }
}

/// Why the engine stopped; while it has not ended: what it waits for.
fn stop_reasons(world: &World) -> Vec<&Reason> {
    let Some(engine) = &world.engine else { return Vec::new() };
    match &engine.outcome {
        Some(Outcome::Stopped(reasons)) => reasons.iter().collect(),
        Some(Outcome::Done) => Vec::new(),
        None => engine.last.waiting.iter().map(|waiting| &waiting.reason).collect(),
    }
}

/// Why the engine stopped, or what it waits for without end, in words.
pub fn reasons(world: &World) -> Vec<String> {
    stop_reasons(world).into_iter().map(|reason| reason.describe(&world.cluster)).collect()
}

/// Adds the pods that a stop is about to their nodes.
pub fn name_what_stopped(world: &World, nodes: &mut BTreeMap<Name, NodeRun>) {
    let cluster = &world.cluster;
    for reason in stop_reasons(world) {
        for pod in pods_of(reason) {
            if let Some(node) = cluster.pod(pod).node {
                let run = nodes.entry(cluster.node(node).name()).or_default();
                run.blocked.entry(cluster.pod_key(pod)).or_insert_with(|| text(cluster, reason, pod, world));
            }
        }
    }
    for &node in cluster.nodes_under_maintenance() {
        let marks = &cluster.node(node).marks;
        if marks.drain_started.is_some() && marks.host_touched.is_none() {
            let left = pods_left(world, node);
            let run = nodes.entry(cluster.node(node).name()).or_default();
            for (pod, reason) in left {
                run.blocked.entry(pod).or_insert(reason);
            }
        }
    }
}

fn text(cluster: &Cluster, reason: &Reason, pod: PodId, world: &World) -> String {
    match reason {
        Reason::Unmanaged(..) => "has no controller: nothing would bring it back".to_owned(),
        Reason::EmptyDir(..) => "has emptyDir volumes, whose data an eviction deletes".to_owned(),
        Reason::DaemonSetPods(..) => "belongs to a DaemonSet".to_owned(),
        Reason::OrphanedDaemonSetPods(..) => "belongs to a DaemonSet that does not exist".to_owned(),
        _ if cluster.run.refusal(pod).is_some() || cluster.pod(pod).deletion.is_some() => why(world, pod),
        _ => reason.describe(cluster),
    }
}
