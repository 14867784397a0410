//! TaintToleration as a filter (KUBERNETES.md C3).

use crate::cluster::{Effect, PodSpec, Taint};

use crate::simulator::scheduler::{Plugin, Rejection};

/// Rejection of a node with a taint that the pod does not tolerate.
pub const REJECTION: Rejection =
    Rejection::unresolvable(Plugin::TaintToleration, &["node(s) had untolerated taint(s)"]);

/// Whether a pod tolerates every taint that keeps pods away.
pub fn tolerates(spec: &PodSpec, taints: &[Taint]) -> bool {
    taints
        .iter()
        .filter(|taint| matches!(taint.effect, Effect::NoSchedule | Effect::NoExecute))
        .all(|taint| spec.tolerations.iter().any(|toleration| toleration.tolerates(taint)))
}
