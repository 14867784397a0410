//! The world: a cluster as it really is, and what its components do next. [`World::events`] lists what may happen,
//! [`World::apply`] makes one of it happen; whoever drives the world decides which, and answers its open questions through
//! the [`Chooser`].
//!
//! Every change of the cluster is told to the trace ([`World::emit`]); the trace is also the watch that wakes the other
//! components, each after its own delay, so their reactions interleave as in a real control plane.
//!
//! **Invariant:** no clock, no chance of its own, no iteration over hash maps below this module.

mod chooser;
pub mod controllers;
pub mod disruption;
mod engine;
pub mod eviction;
mod host;
mod kubelet;
mod physics;
pub mod scheduler;
mod world;

pub use chooser::{Choice, Chooser, Delay, First};
pub use engine::{Act, Disturbance, Engine, Trigger};
pub use kubelet::Step as KubeletStep;
pub use physics::{Down, Physics};
pub use world::{NewPod, Task, World};
