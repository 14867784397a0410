//! What the engine needs of a cluster, live or played.

use std::future::Future;

use crate::cluster::{Cluster, Time};
use crate::upgrade::Action;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// What the action was decided from is not so any more: look again.
    #[error("the cluster has changed meanwhile: {0}")]
    Stale(String),
    /// The API server or a host cannot be reached, or is overloaded: wait, and look again.
    #[error("{0}")]
    Unreachable(String),
    /// Nothing is wrong: what was asked for takes its time. Look again soon.
    #[error("{0}")]
    NotYet(String),
    /// The lock is somebody else's now.
    #[error("the upgrade lock was lost: {0}")]
    LockLost(String),
    /// It was refused, and will be again.
    #[error("{0}")]
    Refused(String),
}

/// Access to a cluster: what is known of it, and the means to act on it.
pub trait Port {
    /// The present time of this machine.
    fn now(&self) -> Time;

    /// What is known now, with all that the run has written.
    ///
    /// # Errors
    ///
    /// [`Trouble::Unreachable`] as long as it is not known.
    fn observe(&mut self) -> impl Future<Output = Result<Cluster, Trouble>>;

    /// Carries an action out that was decided from this state of the cluster. Doing it twice is doing it once.
    ///
    /// # Errors
    ///
    /// [`Trouble::Stale`] where the action's precondition does not hold any more.
    fn carry_out(&mut self, cluster: &Cluster, action: Action) -> impl Future<Output = Result<(), Trouble>>;

    /// Waits until something has changed, at most until then.
    fn changed(&mut self, until: Time) -> impl Future<Output = ()>;
}
