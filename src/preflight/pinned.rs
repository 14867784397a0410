//! P011: pods that only one node may have (M10).

use crate::cluster::{Cluster, NodeId, PodId, WorkloadId};
use crate::judge::About;

use super::places::{is_selected, reaches, volumes};
use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P011",
    name: "pod pinned to one node",
    what: "Pods that nodeSelector, required affinity, nodeName or a volume tie to the one node they are on.",
    why: "While that node is out they have no place to go (M10): the successor stays Pending until the node is back, and a budget \
          that needs it blocks the drain.",
    example: "db-0 uses a local volume on n2: it is away for the whole turn of n2.",
    fix: "Let a second node match (label it, widen the affinity), replace the local volume, or accept the gap in the plan.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    scope.moved().filter_map(|(workload, places)| found(scope, workload, places)).collect()
}

fn found(scope: &Scope, workload: WorkloadId, places: &[(NodeId, Vec<PodId>)]) -> Option<Finding> {
    let mut pinned: Vec<(NodeId, Vec<PodId>)> = Vec::new();
    for (node, pods) in places {
        let here = pods.iter().copied().filter(|&pod| scope.allowed(pod) == [*node]);
        let here: Vec<PodId> = here.collect();
        if !here.is_empty() {
            pinned.push((*node, here));
        }
    }
    let first = pinned.first()?.1[0];
    let hurt = pinned.iter().find(|(_, pods)| scope.cannot_spare(workload, pods));
    let (node, pods) = hurt.or(pinned.first())?;
    let count: usize = pinned.iter().map(|(_, pods)| pods.len()).sum();
    let nodes = listed(pinned.iter().map(|(node, _)| scope.node_name(*node)));
    let ties = ties(scope, first).join(", ");
    let mut message = format!("{count} pod(s) can only be on {nodes} ({ties})");
    let strength = scope.strength(workload);
    if let (Some(_), Some(strength)) = (hurt, strength) {
        let left = strength.ready.saturating_sub(pods.len() as u32);
        message += &format!(
            ": {left} of {} ready while {} is out, and {} must stay",
            strength.ready,
            scope.node_name(*node),
            strength.floor
        );
    } else {
        message += "; without a place while that node is out";
    }
    let severity = if hurt.is_some() { Severity::Warning } else { Severity::Info };
    let mut finding = ABOUT.finding(severity, scope.key(workload), message, fix(scope, first));
    finding.step = scope.turns.iter().position(|turn| turn == node).map(|turn| scope.step(turn));
    Some(finding)
}

/// What ties a pod to its node: each rule that alone allows one node only; else all that exclude some.
fn ties(scope: &Scope, pod: PodId) -> Vec<String> {
    let all: Vec<(String, usize)> = rules(scope, pod);
    let alone: Vec<String> = all.iter().filter(|rule| rule.1 <= 1).map(|rule| rule.0.clone()).collect();
    if alone.is_empty() { all.into_iter().map(|rule| rule.0).collect() } else { alone }
}

/// Each rule with the number of nodes that it alone allows, where it does not allow all.
fn rules(scope: &Scope, pod: PodId) -> Vec<(String, usize)> {
    let cluster = scope.cluster;
    let spec = cluster.spec(pod);
    let count = |rule: &dyn Fn(NodeId) -> bool| scope.nodes().filter(|(id, _)| rule(*id)).count();
    let mut rules = Vec::new();
    if !spec.node_name.is_empty() {
        rules.push((format!("nodeName {}", spec.node_name), 1));
    }
    if !spec.node_selector.is_empty() {
        let pairs: Vec<String> = spec.node_selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let holds = |id: NodeId| {
            let labels = &cluster.node(id).info.labels;
            spec.node_selector.iter().all(|&(key, value)| labels.get(key) == Some(value))
        };
        rules.push((format!("nodeSelector {}", pairs.join(",")), count(&holds)));
    }
    if let Some(terms) = &spec.node_affinity {
        let holds = |id: NodeId| {
            let info = &cluster.node(id).info;
            terms.iter().any(|term| term.matches(&info.labels, info.name))
        };
        rules.push(("required node affinity".to_owned(), count(&holds)));
    }
    for volume in volumes(cluster, pod) {
        let kind = if volume.local { "local volume" } else { "volume" };
        let claim = volume.claim.map(|(_, name)| format!(" of claim {name}")).unwrap_or_default();
        rules.push((format!("{kind} {}{claim}", volume.name), count(&|id| reaches(cluster, volume, id))));
    }
    let nodes = scope.nodes().count();
    rules.retain(|rule| rule.1 < nodes);
    rules
}

fn fix(scope: &Scope, pod: PodId) -> String {
    let cluster = scope.cluster;
    let local = volumes(cluster, pod).find(|volume| volume.local);
    if let Some(volume) = local {
        return format!(
            "replace the local volume {} by one that other nodes can use, or accept the gap in the plan",
            volume.name
        );
    }
    if !cluster.spec(pod).node_name.is_empty() {
        return "remove nodeName from the template, so that the scheduler places the pod".to_owned();
    }
    if scope.nodes().count() < 2 {
        return "add a node".to_owned();
    }
    let volume_only = |id: NodeId| volumes(cluster, pod).all(|volume| reaches(cluster, volume, id));
    if scope.nodes().filter(|(id, _)| volume_only(*id)).count() <= 1 {
        return "add a second node to the zone of the volume".to_owned();
    }
    match label_for(scope, pod) {
        Some((node, label)) => format!("kubectl label node {node} {label}, or widen the selector"),
        None => "widen the selector or affinity so that a second node matches".to_owned(),
    }
}

/// A node that takes pods and lacks only a label of the nodeSelector, and that label.
fn label_for(scope: &Scope, pod: PodId) -> Option<(crate::cluster::Name, String)> {
    let cluster: &Cluster = scope.cluster;
    let spec = cluster.spec(pod);
    let fits = |id: NodeId| {
        let mut other = spec.clone();
        other.node_selector.clear();
        is_selected(cluster, &other, id) && scope.takes_pods(spec, id)
    };
    let lacking = |id: NodeId| {
        let labels = &cluster.node(id).info.labels;
        let missing = spec.node_selector.iter().filter(move |(key, value)| labels.get(*key) != Some(*value));
        missing.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
    };
    let built_in = spec.node_selector.iter().any(|(key, _)| key.as_str().contains("kubernetes.io/"));
    if built_in {
        return None;
    }
    let (id, node) = scope.nodes().find(|(id, _)| fits(*id) && !lacking(*id).is_empty())?;
    Some((node.name(), lacking(id).join(" ")))
}
