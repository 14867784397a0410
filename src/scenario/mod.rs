//! What happens during a run besides the upgrade, as scenario files and recordings write it.

mod disturbance;

pub use disturbance::{Action, ActionError, PodChoice, Verb};
