//! J012: nothing but DaemonSet and static pods is on a node when its host is touched.

use crate::cluster::{Detail, Millis, Owner, PodId};
use crate::trace::Event;

use super::cordons::Hand;
use super::{About, Class, Rule, Seen, Violation};

static ABOUT: About = About {
    code: "J012",
    name: "emptied-node",
    what: "When the host of a node is touched, only pods of DaemonSets, static pods and finished pods are on it, besides pods \
           that came to the cordoned node by their own will and those that the plan leaves there.",
    why: "An accepted eviction is not a pod that is gone: a host that is touched too early cuts applications off.",
    example: "The last pod of the node has 30 s of grace; its host reboots 2 s after its eviction was accepted.",
    fix: "Nothing to do in the cluster: this is an error of the engine. Please report it with the trace.",
};

/// The rule.
pub(super) struct Emptied;

impl Rule for Emptied {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        let Event::HostStarted(node) = seen.record.event else { return };
        if seen.limits.leave_pods {
            return;
        }
        let left: Vec<PodId> =
            seen.cluster.pods_of_node(node).iter().copied().filter(|&pod| must_be_gone(pod, seen)).collect();
        if let Some(&first) = left.first() {
            let message = format!("its host is touched with {} pods on it, {} among them", left.len(), {
                seen.cluster.pod_key(first)
            });
            broken.push(seen.broken(&ABOUT, Class::Engine, seen.cluster.node_key(node), Some(node), message));
        }
    }
}

fn must_be_gone(pod: PodId, seen: Seen<'_>) -> bool {
    let object = seen.cluster.pod(pod);
    if object.mirror || object.is_terminal() || object.gone {
        return false;
    }
    match object.owner {
        Owner::Node => return false,
        Owner::Workload(owner) if matches!(seen.cluster.workload(owner).detail, Detail::DaemonSet(_)) => return false,
        Owner::Workload(_) | Owner::None | Owner::Missing { .. } => {}
    }
    if let (Some(skip), Some(deletion)) = (seen.limits.skip_terminating, object.deletion)
        && seen.record.at - deletion.since > skip + Millis::secs(i64::from(deletion.grace_seconds))
    {
        return false;
    }
    // It tolerates the cordon or names its node itself: evicting it again would not keep it away (KUBERNETES.md F-T31).
    let Some(node) = object.node else { return false };
    let came_by_itself = seen.cordons.hand(node) != Hand::Nobody && object.created >= seen.cordons.since(node);
    !came_by_itself
}
