//! cmsim tells before a rolling Kubernetes upgrade whether it will interrupt anything.
//!
//! Data takes one way through the crate:
//!
//! ```text
//!  kubectl dump ─┐                         ┌─> preflight ──> findings ──────────────┐
//!  live cluster ─┼─> import ─> cluster ────┤                                        ├─> report (text, JSON)
//!  host facts  ──┘                         └─> simulator ──explore──> trace ──> judge, forecast ─┘
//!                                                ^      │
//!                                                └ upgrade::decide(goal, cluster, now) <── the same ──> engine <──> live
//! ```

pub mod check;
pub mod cli;
pub mod cluster;
pub mod conform;
pub mod engine;
pub mod explore;
pub mod forecast;
pub mod import;
pub mod judge;
pub mod live;
pub mod preflight;
pub mod recipe;
pub mod report;
pub mod scenario;
pub mod simulations;
pub mod simulator;
pub mod trace;
pub mod upgrade;
