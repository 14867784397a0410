//! Kubernetes versions (`v1.36.2`), compared by number; pre-release and build parts are kept for display only.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A version of a Kubernetes component.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Major number, 1 in all of the field.
    pub major: u16,
    /// Minor number: what the skew policy speaks of.
    pub minor: u16,
    /// Patch number.
    pub patch: u16,
}

/// Why a text is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a Kubernetes version (example: v1.37.0)")]
pub struct VersionError(pub String);

impl Version {
    /// `v1.<minor>.<patch>`.
    pub const fn new(minor: u16, patch: u16) -> Version {
        Version { major: 1, minor, patch }
    }
}

impl FromStr for Version {
    type Err = VersionError;

    /// Accepts `v1.36.2`, `1.36.2`, `1.36`, and the decorations of distributions (`v1.36.2+k3s1`, `v1.37.0-rc.1`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || VersionError(text.to_owned());
        let bare = text.strip_prefix('v').unwrap_or(text);
        let core = bare.split(['-', '+']).next().unwrap_or(bare);
        let mut parts = core.split('.').map(|part| part.parse::<u16>().map_err(|_| error()));
        let major = parts.next().ok_or_else(error)??;
        let minor = parts.next().ok_or_else(error)??;
        let patch = parts.next().transpose()?.unwrap_or(0);
        if parts.next().is_some() { Err(error()) } else { Ok(Version { major, minor, patch }) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("v{}.{}.{}", self.major, self.minor, self.patch))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
