//! Points in time as whole milliseconds. The pure part of cmsim never asks a clock: `now` is always handed in.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time in milliseconds. Files and flags write it as `90s`, `5m`, `1h30m`, `250ms`, or as a number of seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Millis(pub i64);

impl Millis {
    /// Whole seconds.
    pub const fn secs(seconds: i64) -> Millis {
        Millis(seconds * 1000)
    }

    /// Seconds as a number for people and JSON.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

/// The longest length of time that can be written: a hundred years.
const LONGEST: i64 = 100 * 365 * 24 * 3_600_000;

/// Why a text is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration of up to a hundred years (examples: 30s, 10m, 1h30m)")]
pub struct MillisError(pub String);

impl FromStr for Millis {
    type Err = MillisError;

    /// Whole amounts with their units, as Go and kubectl write them; without a unit seconds.
    fn from_str(text: &str) -> Result<Millis, MillisError> {
        let error = || MillisError(text.to_owned());
        if let Ok(seconds) = text.parse::<u32>() {
            let length = Millis::secs(i64::from(seconds));
            return if length.0 > LONGEST { Err(error()) } else { Ok(length) };
        }
        let (mut total, mut rest) = (0_i64, text);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
            let amount: i64 = rest[..digits].parse().map_err(|_| error())?;
            let end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
            let scale = match &rest[digits..end] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return Err(error()),
            };
            total = amount.checked_mul(scale).and_then(|part| total.checked_add(part)).ok_or_else(error)?;
            rest = &rest[end..];
        }
        // Sums with points in time stay far from any limit.
        if text.is_empty() || total > LONGEST { Err(error()) } else { Ok(Millis(total)) }
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Seconds(i64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Seconds(seconds) => seconds.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 1000 == 0 {
            serializer.collect_str(&format_args!("{}s", self.0 / 1000))
        } else {
            serializer.collect_str(&format_args!("{}ms", self.0))
        }
    }
}

impl Add for Millis {
    type Output = Millis;

    fn add(self, other: Millis) -> Millis {
        Millis(self.0 + other.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        match seconds {
            0..60 => write!(f, "{}.{}s", seconds, (self.0 % 1000) / 100),
            60..3600 => write!(f, "{}m{:02}s", seconds / 60, seconds % 60),
            _ => write!(f, "{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        }
    }
}

/// An instant: milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Add<Millis> for Time {
    type Output = Time;

    fn add(self, span: Millis) -> Time {
        Time(self.0 + span.0)
    }
}

impl Sub<Millis> for Time {
    type Output = Time;

    fn sub(self, span: Millis) -> Time {
        Time(self.0 - span.0)
    }
}

impl Sub for Time {
    type Output = Millis;

    fn sub(self, earlier: Time) -> Millis {
        Millis(self.0 - earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_as_kubectl_reads_them() {
        for (text, millis) in [("0", 0), ("30", 30_000), ("30s", 30_000), ("1h30m", 5_400_000), ("250ms", 250)] {
            assert_eq!(text.parse(), Ok(Millis(millis)), "{text}");
            assert_eq!(serde_json::from_value(text.into()).ok(), Some(Millis(millis)), "{text} in a file");
            let written = serde_json::to_value(Millis(millis)).unwrap();
            assert_eq!(serde_json::from_value(written).ok(), Some(Millis(millis)), "{text} read again");
        }
        assert_eq!(serde_json::from_value(30.into()).ok(), Some(Millis::secs(30)), "a number in a file");
        for text in ["", "m", "5x", "1.5h", "-3s", "-3", "5m3", "4000000000", "99999999999999999999h"] {
            assert!(text.parse::<Millis>().is_err(), "{text}");
        }
    }
}
