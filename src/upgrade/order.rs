//! Which node comes next: control-plane nodes first, then the order that the goal states, then by name.

use crate::cluster::{Name, Node, NodeId, NodeOutcome, Version};

use super::decide::View;
use super::{Reason, skew};

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Every node of the goal has its version or was put back, or enough nodes were taken.
    Nothing,
    /// This node.
    Take(NodeId),
    /// The control plane goes for this version.
    Hop(Version),
}

/// What comes next, `taken` being taken just now. `Err`: the target cannot be reached.
pub(super) fn next(view: View, taken: &[NodeId]) -> Result<Next, Reason> {
    let stage = skew::stage(view)?;
    let touched = view.cluster.nodes().filter(|(_, node)| was_taken(node)).count() + taken.len();
    if view.goal.max_nodes.is_some_and(|most| touched >= most) {
        return Ok(Next::Nothing);
    }
    let hopping = stage.control_plane != view.goal.to || view.cluster.run.hop.is_some();
    let behind = |node: &Node, version: Version| skew::has(node, version) != Some(true);
    let is_late = |node: &Node| {
        !node.is_control_plane() && node.kubelet.is_some_and(|kubelet| kubelet.minor < stage.oldest_allowed)
    };
    let control_plane_behind = |node: &Node| node.is_control_plane() && behind(node, stage.control_plane);
    if any(view, control_plane_behind) {
        if let Some(late) = first(view, taken, is_late) {
            return Ok(Next::Take(late));
        }
        let mut late = view.cluster.nodes().filter(|(id, node)| !node.gone && is_late(node) && !taken.contains(id));
        match late.next() {
            Some((_, node)) if in_hand(view, node) => return Ok(Next::Nothing),
            Some((_, node)) => {
                let (name, version) = (node.name(), stage.control_plane);
                let text = format!("the kubelet of node {name} is too old for {version}, and the node is not taken");
                return Err(problem(view, &text));
            }
            None => {}
        }
        let next = first(view, taken, control_plane_behind);
        let again = || any(view, |node| was_done(node) && control_plane_behind(node));
        if hopping && view.cluster.run.hop != Some(stage.control_plane) && (next.is_some() || again()) {
            return Ok(Next::Hop(stage.control_plane));
        }
        if let Some(node) = next {
            return Ok(Next::Take(node));
        }
    }
    let control_plane_in_hand = view
        .cluster
        .nodes()
        .any(|(id, node)| node.is_control_plane() && !node.gone && (in_hand(view, node) || taken.contains(&id)));
    match first(view, taken, |node| !node.is_control_plane() && behind(node, view.goal.to)) {
        Some(node) if stage.workers == view.goal.to => Ok(Next::Take(node)),
        Some(_) if control_plane_in_hand => Ok(Next::Nothing),
        Some(_) => Err(problem(view, "the control plane is older, and its nodes are not taken")),
        None if any(view, |node| was_done(node) && behind(node, view.goal.to)) => Ok(Next::Hop(stage.control_plane)),
        None => Ok(Next::Nothing),
    }
}

/// Every node that the run would take, in order, as far as it can be told now.
pub(super) fn plan(view: View) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = view
        .cluster
        .nodes()
        .filter(|(_, node)| is_candidate(view, node) && skew::has(node, view.goal.to) != Some(true))
        .map(|(id, _)| id)
        .collect();
    nodes.sort_by_key(|&id| rank(view, view.cluster.node(id)));
    nodes.truncate(view.goal.max_nodes.unwrap_or(usize::MAX));
    nodes
}

/// The first candidate in order.
fn first(view: View, taken: &[NodeId], which: impl Fn(&Node) -> bool) -> Option<NodeId> {
    view.cluster
        .nodes()
        .filter(|(id, node)| is_candidate(view, node) && which(node) && !taken.contains(id))
        .min_by_key(|(_, node)| rank(view, node))
        .map(|(id, _)| id)
}

fn any(view: View, which: impl Fn(&Node) -> bool) -> bool {
    view.cluster.nodes().any(|(_, node)| !node.gone && which(node))
}

fn rank(view: View, node: &Node) -> (bool, usize, Name) {
    let stated = view.goal.order.iter().position(|name| *name == node.name());
    (!node.is_control_plane(), stated.unwrap_or(usize::MAX), node.name())
}

fn is_candidate(view: View, node: &Node) -> bool {
    !node.gone && !was_taken(node) && is_meant(view, node)
}

/// The goal's selection takes the node in.
pub(super) fn is_meant(view: View, node: &Node) -> bool {
    let goal = view.goal;
    let name = node.name();
    (goal.only.is_empty() || goal.only.contains(&name)) && (goal.skip.is_empty() || !goal.skip.contains(&name))
}

fn was_taken(node: &Node) -> bool {
    node.marks.started.is_some() || node.marks.outcome.is_some()
}

/// Upgraded on the way to the target: there is more to do.
fn was_done(node: &Node) -> bool {
    matches!(node.marks.outcome, Some((NodeOutcome::Done, _)))
}

fn in_hand(view: View, node: &Node) -> bool {
    node.marks.started.is_some() && node.marks.outcome.is_none() && !view.goal.skip.contains(&node.name())
}

fn problem(view: View, text: &str) -> Reason {
    Reason::VersionPath { from: view.cluster.api_server, to: view.goal.to, problem: text.into() }
}
