//! J011: the run evicts only what it may.

use crate::cluster::{Detail, Owner, PodId, Volume};
use crate::trace::Event;
use crate::upgrade::Action;

use super::{About, Class, Rule, Seen, Violation};

static ABOUT: About = About {
    code: "J011",
    name: "victims",
    what: "The run evicts only pods on a node that it has taken in hand and that has been cordoned; no DaemonSet pods, no \
           mirror pods; pods that nothing brings back and pods with emptyDir volumes only if the plan says so.",
    why: "A DaemonSet pod comes back to its node at once, a pod without a controller never does, emptyDir data is lost, and \
          a node that is not cordoned fills up again.",
    example: "A pod without a controller is evicted although the plan does not force it.",
    fix: "Nothing to do in the cluster: this is an error of the engine. Please report it with the trace.",
};

/// The rule.
pub(super) struct Victims;

impl Rule for Victims {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        let Event::Acted(Action::Evict { pod, .. } | Action::Delete { pod, .. }) = seen.record.event else { return };
        if let Some(problem) = problem(pod, seen) {
            let key = seen.cluster.pod_key(pod);
            let node = seen.cluster.pod(pod).node;
            broken.push(seen.broken(&ABOUT, Class::Engine, key, node, problem.to_owned()));
        }
    }
}

fn problem(pod: PodId, seen: Seen<'_>) -> Option<&'static str> {
    let cluster = seen.cluster;
    let object = cluster.pod(pod);
    if object.mirror || object.owner == Owner::Node {
        return Some("a mirror pod cannot be evicted");
    }
    let Some(node) = object.node else { return Some("it stands on no node") };
    if cluster.node(node).marks.started.is_none() {
        return Some("the run has not taken its node in hand");
    }
    if !seen.cordons.was_cordoned_in_this_turn(node) {
        return Some("its node is not cordoned");
    }
    // Finished pods are always taken (KUBERNETES.md F.3).
    if object.is_terminal() {
        return None;
    }
    match object.owner {
        Owner::Workload(owner)
            if matches!(cluster.workload(owner).detail, Detail::DaemonSet(_)) && !cluster.workload(owner).deleted =>
        {
            return Some("a DaemonSet brings it back to the same node");
        }
        Owner::None if !seen.limits.unmanaged => return Some("nothing brings it back, and the plan does not force it"),
        Owner::Workload(_) | Owner::None | Owner::Missing { .. } | Owner::Node => {}
    }
    let has_empty_dir = cluster.spec(pod).volumes.contains(&Volume::EmptyDir);
    (has_empty_dir && !seen.limits.empty_dirs).then_some("its emptyDir data is lost, and the plan does not accept that")
}
