//! NodeUnschedulable (KUBERNETES.md C1).

use crate::cluster::{Effect, Name, PodSpec, Taint};

use crate::simulator::scheduler::{Plugin, Rejection};

/// Rejection of a cordoned node.
pub const REJECTION: Rejection = Rejection::unresolvable(Plugin::NodeUnschedulable, &["node(s) were unschedulable"]);

/// Whether a pod may go to a cordoned node: it tolerates the taint that stands for the cordon.
pub fn tolerates(spec: &PodSpec) -> bool {
    let taint =
        Taint { key: Name::new("node.kubernetes.io/unschedulable"), value: Name::EMPTY, effect: Effect::NoSchedule };
    spec.tolerations.iter().any(|toleration| toleration.tolerates(&taint))
}
