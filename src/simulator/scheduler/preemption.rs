//! DefaultPreemption (KUBERNETES.md C.7).

use crate::cluster::{NodeId, PodId};

use super::cycle::Cycle;
use super::{Chooser, Evaluation};

/// What PostFilter decided.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PostFilter {
    /// The node nominated.
    pub nominated: Option<NodeId>,
    /// The pods to be deleted, most important first; those already terminating included.
    pub victims: Vec<PodId>,
    /// What it adds to the message.
    pub message: String,
}

/// Looks for a node where removing pods of lower priority makes room.
pub fn post_filter(_cycle: &mut Cycle<'_>, _evaluation: &Evaluation, _chooser: &mut dyn Chooser) -> PostFilter {
    PostFilter::default()
}
