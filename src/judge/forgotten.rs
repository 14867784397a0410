//! J021: a run that is done has upgraded every node of its goal.

use crate::cluster::{NodeId, NodeOutcome};

use super::{About, Class, Rest, Rule, Seen, Violation};

static ABOUT: About = About {
    code: "J021",
    name: "forgotten-node",
    what: "When the run says that it is done, every node that the plan means has the target version, besides those whose \
           drain was given up and those beyond the plan's number of nodes.",
    why: "A node that keeps its old version falls out of the supported skew one upgrade later.",
    example: "The run is done, and n7 still has v1.36.",
    fix: "Nothing to do in the cluster: this is an error of the engine. Please report it with the trace.",
};

/// The rule.
pub(super) struct Forgotten;

impl Rule for Forgotten {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, _: Seen<'_>, _: &mut Vec<Violation>) {}

    fn finish(&mut self, rest: Rest<'_>, broken: &mut Vec<Violation>) {
        let Some(to) = rest.limits.to.filter(|_| rest.done) else { return };
        let meant = &rest.limits.nodes;
        let behind: Vec<NodeId> = meant
            .iter()
            .copied()
            .filter(|&id| {
                let node = rest.cluster.node(id);
                let given_up = matches!(node.marks.outcome, Some((NodeOutcome::Blocked, _)));
                let old = node.kubelet.is_some_and(|kubelet| kubelet < to)
                    || node.control_plane.is_some_and(|version| version < to);
                !node.gone && !given_up && old
            })
            .collect();
        let allowed = meant.len() - rest.limits.max_nodes.unwrap_or(meant.len()).min(meant.len());
        for &id in behind.iter().skip(allowed) {
            broken.push(Violation {
                code: ABOUT.code,
                class: Class::Engine,
                object: rest.cluster.node_key(id),
                at: rest.now,
                node: None,
                message: format!("the run is done, but this node is not at {to}"),
            });
        }
    }
}
