//! NodePorts (KUBERNETES.md C5).

use crate::cluster::HostPort;

use crate::simulator::scheduler::{Plugin, Rejection};

/// Rejection of a node where a port is taken.
pub const REJECTION: Rejection =
    Rejection::unschedulable(Plugin::NodePorts, &["node(s) didn't have free ports for the requested pod ports"]);

/// Whether some wanted port is taken.
pub fn conflict(wanted: &[HostPort], used: &[HostPort]) -> bool {
    wanted.iter().any(|want| used.iter().any(|have| same_port(want, have)))
}

/// Two ports exclude each other: same number and protocol, and the same address or one for all addresses.
fn same_port(one: &HostPort, other: &HostPort) -> bool {
    let any = |port: &HostPort| port.ip.is_empty() || port.ip == "0.0.0.0";
    one.port == other.port && protocol(one) == protocol(other) && (any(one) || any(other) || one.ip == other.ip)
}

fn protocol(port: &HostPort) -> &str {
    if port.protocol.is_empty() { "TCP" } else { port.protocol.as_str() }
}
