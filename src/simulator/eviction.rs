//! The eviction API (KUBERNETES.md A).

use crate::cluster::PodId;

use super::{Chooser, World};

/// `deleteOptions` of an eviction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// `gracePeriodSeconds`.
    pub grace_seconds: Option<u32>,
    /// `dryRun: [All]`.
    pub dry_run: bool,
}

/// An answer of the API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// HTTP code.
    pub code: u16,
    /// `reason` of the Status, empty when it has none.
    pub reason: &'static str,
    /// `message` of the Status.
    pub message: String,
    /// `details.causes`: (reason, message).
    pub causes: Vec<(String, String)>,
    /// `details.retryAfterSeconds`, 0 when absent.
    pub retry_after_seconds: u32,
}

/// One eviction request.
pub fn evict(_world: &mut World, _pod: PodId, _options: Options, _chooser: &mut dyn Chooser) -> Answer {
    Answer { code: 404, reason: "NotFound", message: String::new(), causes: Vec::new(), retry_after_seconds: 0 }
}
