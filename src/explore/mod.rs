//! Ways through the world: seeded walks in virtual time.

mod walk;

pub use walk::{Dice, End, Setup, Walk, walk};
