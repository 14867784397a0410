//! NodeAffinity as a filter (KUBERNETES.md C4, C.2.1).

use crate::cluster::{Name, Operator, PodSpec};

use crate::simulator::scheduler::{Plugin, Rejection};

/// Rejection of a node that the selector or the required affinity does not match.
pub const REJECTION: Rejection =
    Rejection::unresolvable(Plugin::NodeAffinity, &["node(s) didn't match Pod's node affinity/selector"]);

/// PreFilter: every term names nodes, and none of them satisfies its own term.
pub const CONFLICT: Rejection = Rejection::unresolvable(Plugin::NodeAffinity, &["pod affinity terms conflict"]);

/// Names of the only nodes that a pod may go to, if every term of its required affinity names nodes.
pub fn named_nodes(spec: &PodSpec) -> Option<Vec<Name>> {
    let terms = spec.node_affinity.as_ref().filter(|terms| !terms.is_empty())?;
    let mut all: Vec<Name> = Vec::new();
    for term in terms {
        let mut sets = term.fields.iter().filter_map(|requirement| {
            if let Operator::In(names) = &requirement.operator
                && requirement.key == "metadata.name"
            {
                Some(names)
            } else {
                None
            }
        });
        let mut names = sets.next()?.clone();
        sets.for_each(|set| names.retain(|name| set.contains(name)));
        all.extend(names);
    }
    all.sort();
    all.dedup();
    Some(all)
}
