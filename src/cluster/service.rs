//! Services and what is known of their endpoints.

use super::{Name, Selector};

/// A Service.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Service {
    /// Namespace.
    pub namespace: Name,
    /// Name.
    pub name: Name,
    /// Pods behind it; `None`: endpoints are managed by someone else.
    pub selector: Option<Selector>,
    /// `publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// `spec.type` (ClusterIP, NodePort, LoadBalancer, ExternalName).
    pub kind: Name,
    /// `clusterIP: None`.
    pub headless: bool,
    /// `externalTrafficPolicy: Local`.
    pub local_only: bool,
    /// The object is gone.
    pub gone: bool,
}
