//! The health of nodes and of what was moved: before a node is taken, when its host is done, and before the next one.

use crate::cluster::{Cluster, Detail, Millis, Name, NodeId, Owner, Readiness, Standing, Time, WorkloadId};

use super::decide::{Step, View, allow};
use super::{OnBlocked, Reason, Settle, Waiting, drain, floors, skew};

/// Taints that the node lifecycle controller takes away when a node is well again (KUBERNETES.md D.7).
const UNWELL: [&str; 3] =
    ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/network-unavailable"];

/// How long after an API server is back those that watch it have come back to it, too: client-go's reflectors back off up to 30 s,
/// drawn out by up to as much again (tools/cache/reflector.go).
const RECONNECTED: Millis = Millis::secs(60);

/// Whether a node can be taken in hand now; `None`: yes.
pub(super) fn may_be_taken(view: View, node: NodeId) -> Option<Step> {
    let state = view.cluster.node(node);
    if state.kubelet.is_none() {
        let reason = Reason::Unknown { node: Some(node), fact: "kubelet version".into() };
        return Some(Step::Wait(vec![Waiting { reason, until: None, deadline: None }]));
    }
    if state.ready != Readiness::Ready {
        return Some(match not_ready(view, node, state.ready_since) {
            Step::Fail(reasons) => Step::Blocked(reasons),
            step @ (Step::Act(_) | Step::Wait(_) | Step::Blocked(_)) => step,
        });
    }
    if let Some((id, since)) = fallen(view) {
        return Some(not_ready(view, id, since));
    }
    if let Some(step) = proxies_follow(view) {
        return Some(step);
    }
    if view.goal.refuse_early && view.goal.on_blocked != OnBlocked::Continue {
        let refusals = drain::refusals(view, node, view.now);
        if !refusals.is_empty() {
            return Some(Step::Blocked(refusals));
        }
    }
    None
}

/// The gate: every proxy hears of endpoints that change, or requests would go on to pods that are evicted. The upgrade of the
/// control plane disturbs that: kubeadm rolls kube-proxy out (KUBERNETES.md G.5), and while no API server answers, those that watch
/// it back off.
fn proxies_follow(view: View) -> Option<Step> {
    // What was so before the first node was touched is how the operator keeps the cluster.
    let ended = view.cluster.run.last_ended.filter(|_| view.goal.settle != Settle::None)?;
    if let Some(workload) = rolling(view) {
        return Some(allow(view, Reason::NodeServiceRolls(workload), ended + view.goal.settle_timeout));
    }
    let oldest = view.cluster.nodes().filter(|(_, node)| !node.gone).filter_map(|(_, node)| node.api_since).min();
    let until = oldest.map(|since| since + RECONNECTED).filter(|&until| view.now < until)?;
    Some(Step::Wait(vec![Waiting { reason: Reason::ApiServerFresh, until: Some(until), deadline: None }]))
}

/// A network, proxy or storage DaemonSet whose rollout is under way on nodes that work.
fn rolling(view: View) -> Option<WorkloadId> {
    let cluster = view.cluster;
    let rolls = |&id: &WorkloadId| {
        let mut revisions: Vec<Option<Name>> = Vec::new();
        for &pod in cluster.pods_of_workload(id) {
            let object = cluster.pod(pod);
            let Some(node) = object.node.or(object.pinned).map(|node| cluster.node(node)) else { continue };
            let in_hand = node.marks.started.is_some() && node.marks.outcome.is_none();
            if object.gone || node.gone || node.ready != Readiness::Ready || in_hand {
                continue;
            }
            let ours = cluster.run.started.is_some_and(|started| object.created >= started);
            if object.deletion.is_some() || (ours && !object.is_serving_strength()) {
                return true;
            }
            revisions.push(cluster.spec(pod).labels.get(Name::new("controller-revision-hash")));
        }
        revisions.iter().any(|revision| *revision != revisions[0])
    };
    let services = cluster.workloads().filter(|(_, workload)| {
        !workload.deleted && workload.as_daemon_set().is_some_and(|set| set.node_service && !set.on_delete)
    });
    services.map(|(id, _)| id).find(rolls)
}

fn not_ready(view: View, node: NodeId, since: Time) -> Step {
    allow(view, Reason::NodeNotReady(node), since + view.goal.host_timeout)
}

/// A node that nobody touches and that stopped being Ready since the run began. One that was not Ready before is how the
/// operator keeps the cluster, and of one that is left out he has said so.
fn fallen(view: View) -> Option<(NodeId, Time)> {
    let began = view.cluster.run.started?;
    view.cluster
        .nodes()
        .find(|(_, node)| {
            let in_hand = node.marks.started.is_some() && node.marks.outcome.is_none();
            let skipped = view.goal.skip.contains(&node.name());
            !node.gone && !in_hand && !skipped && node.ready != Readiness::Ready && node.ready_since > began
        })
        .map(|(id, node)| (id, node.ready_since))
}

/// The gate: the node is Ready at its new version, and the pods that carry its network, proxy and storage are Ready (M20).
pub(super) fn back(view: View, node: NodeId) -> Option<Step> {
    let marks = view.cluster.node(node).marks;
    let touched = marks.host_touched.unwrap_or(view.now);
    missing(view, node).map(|reason| allow(view, reason, touched + view.goal.host_timeout))
}

fn missing(view: View, node: NodeId) -> Option<Reason> {
    let cluster = view.cluster;
    let old = cluster.node(node);
    // A host that is built anew registers as a new Node object of the same name.
    let id = if old.gone { cluster.find_node(old.name()) } else { Some(node) };
    let Some(id) = id else { return Some(Reason::HostBusy(node)) };
    let state = cluster.node(id);
    let unwell = state.taints.iter().any(|taint| UNWELL.contains(&taint.key.as_str()));
    if state.ready != Readiness::Ready || unwell || !skew::is_upgraded(view, node, state) {
        return Some(Reason::NodeComingUp(node));
    }
    let stood = cluster.run.standing_on(node).iter().map(|entry| entry.workload);
    let stands = cluster.pods_of_node(id).iter().filter_map(|&pod| match cluster.pod(pod).owner {
        Owner::Workload(workload) => Some(workload),
        Owner::None | Owner::Missing { .. } | Owner::Node => None,
    });
    stood
        .chain(stands)
        .filter(|&workload| !cluster.workload(workload).deleted)
        .filter(|&workload| cluster.workload(workload).as_daemon_set().is_some_and(|set| set.node_service))
        .find(|&workload| {
            !cluster.pods_of_node(id).iter().any(|&pod| {
                cluster.pod(pod).owner == Owner::Workload(workload) && cluster.pod(pod).is_serving_strength()
            })
        })
        .map(|workload| Reason::NodeServiceNotReady { node, workload })
}

/// The gate: workloads that had pods on the node have as many ready pods as they had when its drain began, or as many as
/// they should have by now.
pub(super) fn settled(view: View, node: NodeId) -> Option<Step> {
    if view.goal.settle == Settle::None {
        return None;
    }
    let state = view.cluster.node(node);
    let since = state.marks.uncordoned.unwrap_or(state.ready_since);
    let deadline = since + view.goal.settle_timeout;
    let weak = view.cluster.run.standing_on(node).iter().filter_map(|entry| weakness(view.cluster, entry));
    let waiting: Vec<Waiting> = weak.map(|reason| Waiting { reason, until: None, deadline: Some(deadline) }).collect();
    if waiting.is_empty() {
        None
    } else if view.now < deadline {
        Some(Step::Wait(waiting))
    } else {
        let spent = |waiting: Waiting| Reason::TimeSpent(Box::new(waiting.reason));
        Some(Step::Fail(waiting.into_iter().map(spent).collect()))
    }
}

fn weakness(cluster: &Cluster, entry: &Standing) -> Option<Reason> {
    let &Standing { node, workload, ready: before } = entry;
    let object = cluster.workload(workload);
    let serves = match &object.detail {
        Detail::Deployment(_)
        | Detail::ReplicaSet(_)
        | Detail::StatefulSet(_)
        | Detail::ReplicationController
        | Detail::Other => !object.deleted,
        Detail::DaemonSet(_) | Detail::Job(_) | Detail::CronJob(_) => false,
    };
    let wanted = floors::wanted(object).map_or(before, |wanted| wanted.min(before));
    let ready = cluster.ready_pods(workload);
    (serves && ready < wanted).then_some(Reason::Settling { node, workload, ready, wanted })
}
