//! J017: versions never differ by more than Kubernetes supports.

use std::collections::BTreeMap;

use crate::cluster::{Cluster, NodeId, Version};
use crate::trace::Event;

use super::{About, Class, Rule, Seen, Violation};

static ABOUT: About = About {
    code: "J017",
    name: "version-skew",
    what: "No kubelet is newer than its API server nor more than three minor versions older, API servers differ by at most \
           one minor version, and the control plane passes through every minor version and never goes back.",
    why: "Outside the supported skew components may refuse each other or misread objects.",
    example: "Workers get v1.37 while the API server runs v1.36.",
    fix: "Nothing to do in the cluster: this is an error of the engine. Please report it with the trace.",
};

/// The most minor versions that a kubelet may be behind its API server (version skew policy since 1.28).
const OLDEST_KUBELET: u16 = 3;

/// The rule.
pub(super) struct Skew {
    /// Last version of the control plane's components on each node that was seen.
    control_plane: BTreeMap<NodeId, Version>,
    /// Kubelets that were reported.
    reported: BTreeMap<NodeId, u16>,
}

impl Rule for Skew {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        match seen.record.event {
            Event::NodeVersion(node, kubelet) => kubelet_changed(node, kubelet, seen, broken),
            Event::ControlPlaneVersion(node, version) => self.control_plane_changed(node, version, seen, broken),
            _ => {}
        }
    }
}

fn kubelet_changed(node: NodeId, kubelet: Version, seen: Seen<'_>, broken: &mut Vec<Violation>) {
    // A control-plane node's kubelet talks to the API server beside it.
    let Some(api_server) = seen.cluster.node(node).control_plane.or(seen.cluster.api_server) else { return };
    if (kubelet.major, kubelet.minor) > (api_server.major, api_server.minor) {
        let message = format!("its kubelet {kubelet} is newer than the API server {api_server}");
        broken.push(seen.broken(&ABOUT, Class::Engine, seen.cluster.node_key(node), Some(node), message));
    }
}

impl Skew {
    pub(super) fn new(initial: &Cluster) -> Skew {
        let versions = initial.nodes().filter_map(|(id, node)| Some((id, node.control_plane?)));
        Skew { control_plane: versions.collect(), reported: BTreeMap::new() }
    }

    fn control_plane_changed(
        &mut self,
        changed: NodeId,
        version: Version,
        seen: Seen<'_>,
        broken: &mut Vec<Violation>,
    ) {
        let key = seen.cluster.node_key(changed);
        let mut push = |message| broken.push(seen.broken(&ABOUT, Class::Engine, key, Some(changed), message));
        if let Some(before) = self.control_plane.insert(changed, version) {
            if version < before {
                push(format!("its control plane goes back from {before} to {version}"));
            } else if version.minor > before.minor + 1 {
                push(format!("its control plane goes from {before} to {version} and skips a minor version"));
            }
        }
        let alive = self.control_plane.iter().filter(|(id, _)| !seen.cluster.node(**id).gone);
        if let Some(oldest) = alive.map(|(_, version)| *version).min()
            && version.minor > oldest.minor + 1
        {
            push(format!("API servers {oldest} and {version} run side by side"));
        }
        for (id, node) in seen.cluster.nodes() {
            let Some(kubelet) = node.kubelet.filter(|_| !node.gone && id != changed) else { continue };
            let behind = version.minor.saturating_sub(kubelet.minor);
            if behind > OLDEST_KUBELET && self.reported.insert(id, version.minor) != Some(version.minor) {
                let message =
                    format!("its kubelet {kubelet} is {behind} minor versions older than the API server {version}");
                broken.push(seen.broken(&ABOUT, Class::Engine, seen.cluster.node_key(id), Some(changed), message));
            }
        }
    }
}
