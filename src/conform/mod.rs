//! Does the model do what a real control plane did? Recordings are replayed against the simulator's rules.

pub mod recording;
