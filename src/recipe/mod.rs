//! Recipes: what is done on a host to upgrade it, as data.

mod job;

pub use job::{Job, JobStep, is_name};
