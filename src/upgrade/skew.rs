//! Which version a node gets now: the control plane minor by minor (KUBERNETES.md G.3), and no kubelet newer than the API
//! server nor more than three minors older.

use crate::cluster::{Cluster, Name, Node, NodeId, Version};

use super::decide::View;
use super::{Reason, order};

/// A kubelet may be so many minors older than the API server, and none newer.
pub const KUBELET_MAY_LAG: u16 = 3;

/// Where the versions stand and what comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stage {
    /// What the control plane gets now.
    pub control_plane: Version,
    /// What workers get now.
    pub workers: Version,
    /// Workers older than this minor must get their version before the control plane may go on.
    pub oldest_allowed: u16,
}

/// The version that a node in hand gets.
pub(super) fn target(view: View, node: NodeId) -> Version {
    let to = view.goal.to;
    if view.cluster.node(node).is_control_plane() {
        return view.cluster.run.hop.unwrap_or(to);
    }
    workers(to, oldest_api_server(view.cluster))
}

/// What can be done next, or why the target cannot be reached.
pub(super) fn stage(view: View) -> Result<Stage, Reason> {
    let to = view.goal.to;
    let running = oldest_api_server(view.cluster);
    let problem = |text: String| Reason::VersionPath { from: running, to, problem: Name::new(&text) };
    for (_, node) in standing(view.cluster) {
        if let Some(kubelet) = node.kubelet
            && (kubelet.major, kubelet.minor) > (to.major, to.minor)
        {
            return Err(problem(format!("the kubelet of node {} already runs {kubelet}", node.name())));
        }
    }
    let Some(running) = running else {
        return Ok(Stage { control_plane: to, workers: to, oldest_allowed: 0 });
    };
    if running.major != to.major {
        return Err(problem("another major version".to_owned()));
    }
    if to.minor + KUBELET_MAY_LAG < running.minor {
        return Err(problem("kubelets would be too old for the control plane".to_owned()));
    }
    if to.minor < running.minor {
        let takes_control_plane =
            standing(view.cluster).any(|(_, node)| node.is_control_plane() && order::is_meant(view, node));
        if takes_control_plane {
            return Err(problem("a rolling upgrade does not go back to an older minor".to_owned()));
        }
        return Ok(Stage { control_plane: to, workers: to, oldest_allowed: 0 });
    }
    let minor = to.minor.min(running.minor + 1);
    let control_plane = if minor == to.minor { to } else { view.goal.way_point(minor) };
    Ok(Stage {
        control_plane,
        workers: workers(to, Some(running)),
        oldest_allowed: minor.saturating_sub(KUBELET_MAY_LAG),
    })
}

/// Workers never get a newer minor than the API server has.
fn workers(to: Version, running: Option<Version>) -> Version {
    match running {
        Some(running) if running.minor < to.minor => running,
        Some(_) | None => to,
    }
}

/// Version of the oldest API server. Where control-plane nodes do not show one, their kubelet's stands for it; where there are
/// no control-plane nodes, the version that the API itself reports.
fn oldest_api_server(cluster: &Cluster) -> Option<Version> {
    standing(cluster)
        .filter(|(_, node)| node.is_control_plane())
        .filter_map(|(_, node)| node.control_plane.or(node.kubelet))
        .min()
        .or(cluster.api_server)
}

fn standing(cluster: &Cluster) -> impl Iterator<Item = (NodeId, &Node)> {
    cluster.nodes().filter(|(_, node)| !node.gone)
}

/// Whether a node runs the version that it gets now.
pub(super) fn is_upgraded(view: View, node: NodeId, state: &Node) -> bool {
    has(state, view.goal.to) == Some(true) || has(state, target(view, node)) == Some(true)
}

/// Whether a node runs this version or a later one. `None`: its kubelet's version is not known.
pub(super) fn has(node: &Node, version: Version) -> Option<bool> {
    let kubelet = node.kubelet?;
    Some(kubelet >= version && node.control_plane.is_none_or(|control_plane| control_plane >= version))
}
