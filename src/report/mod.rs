//! Pure functions from results to text and JSON. Text carries ANSI styles; whoever prints decides whether they stay.

mod advice;
pub mod capacity;
pub mod json;
pub mod status;
pub mod text;

use crate::cluster::Millis;

pub use crate::cluster::quantity::{bytes, cores};

/// A duration as people say it: `45s`, `4m10s`, `1h20m`.
pub fn duration(length: Millis) -> String {
    let seconds = (length.0 + 500) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// A number of things: `1 pod`, `2 pods`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
