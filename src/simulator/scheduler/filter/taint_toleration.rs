//! TaintToleration as a filter (KUBERNETES.md C3).

use crate::simulator::scheduler::{Plugin, Rejection};

/// Rejection of a node with a taint that the pod does not tolerate.
pub const REJECTION: Rejection =
    Rejection::unresolvable(Plugin::TaintToleration, &["node(s) had untolerated taint(s)"]);
