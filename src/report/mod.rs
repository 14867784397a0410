//! Pure functions from results to text and JSON. Text carries ANSI styles; whoever prints decides whether they stay.

pub mod capacity;
pub mod json;
pub mod text;

use crate::cluster::Millis;

/// A duration as people say it: `45s`, `4m10s`, `1h20m`.
pub fn duration(length: Millis) -> String {
    let seconds = (length.0 + 500) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// Bytes in the binary unit that keeps the number short: `512Mi`, `7.8Gi`.
pub fn bytes(amount: i64) -> String {
    let units = ["", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let mut value = amount as f64;
    let mut unit = 0;
    while value.abs() >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value.fract() != 0.0 && value.abs() < 100.0);
    format!("{value:.digits$}{}", units[unit])
}

/// Thousandths of a core as Kubernetes writes them: `250m`, `2`.
pub fn cores(milli: i64) -> String {
    if milli % 1000 == 0 { format!("{}", milli / 1000) } else { format!("{milli}m") }
}
