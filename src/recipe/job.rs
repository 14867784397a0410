//! What a host is to do, step by step.

use crate::cluster::Millis;

/// A long piece of work on one host, done once under supervision of the host itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// Name that tells it from every other job of this host, of `A-Z a-z 0-9 . _ -`.
    pub id: String,
    /// Steps in their order.
    pub steps: Vec<JobStep>,
}

/// One step: scripts for `/bin/sh -eu`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobStep {
    /// Name, unique in the job, of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// Ends with 0 if the step's work is done already; then it is not run. Empty: not known.
    pub check: String,
    /// The work.
    pub run: String,
    /// Ends with 0 if the work has had its effect; asked again until then. Empty: `run` says it all.
    pub verify: String,
    /// How long `run` may take, and `verify` wait; counted in whole seconds.
    pub timeout: Millis,
    /// Was it interrupted, it must not be begun again (unless `check` says that it is done).
    pub once: bool,
}

/// Whether a text can name a job or a step: it becomes the name of a file.
pub fn is_name(text: &str) -> bool {
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    first && text.len() <= 200 && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}
