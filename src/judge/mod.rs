//! The judge: rules over transitions and whole traces, a file each. Shares no code with `upgrade`: it sees the trace and the
//! cluster, never a decision.

use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, NodeId, ObjectKey, Time};
use crate::trace::Record;

/// What a broken rule means for the verdict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The run does not finish, or refuses to start.
    Blocked,
    /// An application is interrupted.
    Disruptive,
    /// The engine did what it must never do.
    Engine,
}

/// A rule that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Code of the rule (`J001`).
    pub code: &'static str,
    /// What it means for the verdict.
    pub class: Class,
    /// The object that suffers.
    pub object: ObjectKey,
    /// When.
    pub at: Time,
    /// On which node's turn, if on one's.
    pub node: Option<NodeId>,
    /// One sentence with numbers.
    pub message: String,
}

/// A rule's text for `cmsim explain`.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Stable code.
    pub code: &'static str,
    /// Short name.
    pub name: &'static str,
    /// What it checks.
    pub what: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// An example.
    pub example: &'static str,
    /// What to do.
    pub fix: &'static str,
}

/// A rule that watches a run.
pub trait Rule {
    /// Its text.
    fn about(&self) -> About;
    /// Something happened; `cluster` is as it is after it.
    fn observe(&mut self, record: &Record, cluster: &Cluster, broken: &mut Vec<Violation>);
    /// The run is over and the world has come to rest.
    fn finish(&mut self, now: Time, cluster: &Cluster, broken: &mut Vec<Violation>);
}
