//! NodeUnschedulable (KUBERNETES.md C1).

use crate::simulator::scheduler::{Plugin, Rejection};

/// Rejection of a cordoned node.
pub const REJECTION: Rejection = Rejection::unresolvable(Plugin::NodeUnschedulable, &["node(s) were unschedulable"]);
