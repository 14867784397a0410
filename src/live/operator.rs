//! The person at the terminal, as far as a run needs one.

use futures::future::BoxFuture;

/// What came of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// It is done.
    Done,
    /// It will not be done.
    No,
    /// The operator ends the run.
    Interrupted,
    /// Nobody is there any more.
    Gone,
}

/// Whoever watches the run.
pub trait Operator: Send + Sync {
    /// Says something that he should know.
    fn tell(&self, text: &str);
    /// Asks him to do something, and waits until he says that it is done.
    fn ask<'a>(&'a self, request: &'a str) -> BoxFuture<'a, Reply>;
}
