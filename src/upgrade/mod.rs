//! The core: the upgrade as a pure function of what is known.

//!
//! [`decide`] is the whole of it: the gates in order, one file a subject below them.

mod action;
mod decide;
mod drain;
#[cfg(test)]
mod fixture;
mod floors;
mod goal;
mod health;
mod order;
mod reason;
mod skew;
#[cfg(test)]
mod tests;

pub use action::Action;
pub use decide::decide;
pub use drain::{Fate, Ground};
pub use goal::{Accepted, Goal, OnBlocked, Pacing, Settle};
pub use reason::{Describe, Reason, Waiting};
pub use skew::KUBELET_MAY_LAG;

use crate::cluster::{Cluster, NodeId, PodId, Time};

use decide::View;

/// What the engine does next.
#[must_use]
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Decision {
    /// To be carried out, in this order; at the end of a run too (giving the lock back), before the outcome holds.
    pub actions: Vec<Action>,
    /// What is waited for, with evidence.
    pub waiting: Vec<Waiting>,
    /// Set when the run is over.
    pub outcome: Option<Outcome>,
}

/// How a run ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Every node of the goal is at its target and back in service, or was put back (`on_blocked`).
    Done,
    /// The engine stops and says why.
    Stopped(Vec<Reason>),
}

/// A planner: the function that `check` verifies and `apply` runs. Wrong planners are handed to the simulator as the same type.
pub type Planner = fn(&Goal, &Cluster, Time) -> Decision;

/// Every node that the run would take, in the order of their turns, as far as it can be told now.
pub fn turns(goal: &Goal, cluster: &Cluster, now: Time) -> Vec<NodeId> {
    order::plan(View { goal, cluster, now })
}

/// Why the engine would stop at once: the target cannot be reached from the versions that run.
pub fn version_problem(goal: &Goal, cluster: &Cluster, now: Time) -> Option<Reason> {
    order::next(View { goal, cluster, now }, &[]).err()
}

/// What the drain of its node would make of a pod if it began now.
pub fn fate(goal: &Goal, cluster: &Cluster, now: Time, pod: PodId) -> Fate {
    drain::fate(View { goal, cluster, now }, pod, now)
}
