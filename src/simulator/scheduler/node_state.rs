//! What the scheduler knows of one node: the sums over its pods, kept up to date pod by pod.

use crate::cluster::{HostPort, PodId, PodSpec, Resources};

/// Sums over the pods of a node (upstream's `NodeInfo`). Pods that have ended are not in it, terminating ones are (C.2.2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeState {
    /// `status.allocatable` without pods.
    pub allocatable: Resources,
    /// `status.allocatable.pods`.
    pub allocatable_pods: i64,
    /// What its pods ask for.
    pub requested: Resources,
    /// CPU (milli) and memory (bytes) with defaults for containers that ask for nothing (C.3.1).
    pub nonzero: (i64, i64),
    /// Number of pods.
    pub pods: i64,
    /// Host ports in use, one entry a pod's port.
    pub ports: Vec<HostPort>,
    /// Pods that hope to come here (C.6), in the order they were nominated.
    pub nominated: Vec<PodId>,
}

impl NodeState {
    /// Takes a pod in. `twice`: its overhead is booked twice (VERSIONS.md V24).
    pub fn add(&mut self, spec: &PodSpec, twice: bool) {
        self.requested.add(&spec.requests);
        if twice {
            self.requested.add(&spec.overhead);
        }
        self.nonzero.0 += spec.nonzero_requests.0;
        self.nonzero.1 += spec.nonzero_requests.1;
        self.pods += 1;
        self.ports.extend_from_slice(&spec.host_ports);
    }

    /// Takes a pod out; the counterpart of [`NodeState::add`].
    pub fn remove(&mut self, spec: &PodSpec, twice: bool) {
        self.requested.subtract(&spec.requests);
        if twice {
            self.requested.subtract(&spec.overhead);
        }
        self.nonzero.0 -= spec.nonzero_requests.0;
        self.nonzero.1 -= spec.nonzero_requests.1;
        self.pods -= 1;
        for port in &spec.host_ports {
            if let Some(position) = self.ports.iter().position(|used| used == port) {
                self.ports.swap_remove(position);
            }
        }
    }
}
