//! Scenario files: a cluster, a goal, faults, and the verdict that is expected.

mod disturbance;

pub use disturbance::{Action, ActionError, PodChoice, Verb};
