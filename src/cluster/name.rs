//! Interned names. A cluster repeats the same few strings (namespaces, labels, images) on every object, so each distinct
//! string is kept once for the life of the process and a [`Name`] is one word that is free to copy.

use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::{LazyLock, RwLock};

use rustc_hash::FxBuildHasher;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

static NAMES: LazyLock<RwLock<HashSet<&'static str, FxBuildHasher>>> = LazyLock::new(RwLock::default);

/// An interned string: equal names are the same pointer, order is the order of the text.
#[derive(Clone, Copy)]
pub struct Name(&'static str);

impl Name {
    /// The empty name, which stands for "none".
    pub const EMPTY: Name = Name("");

    /// The one [`Name`] for this text.
    pub fn new(text: &str) -> Name {
        if text.is_empty() {
            return Name::EMPTY;
        }
        if let Some(known) = NAMES.read().expect("no holder of the lock can panic").get(text) {
            return Name(known);
        }
        let mut names = NAMES.write().expect("no holder of the lock can panic");
        if let Some(known) = names.get(text) {
            return Name(known);
        }
        let kept: &'static str = Box::leak(text.into());
        names.insert(kept);
        Name(kept)
    }

    /// The text.
    pub fn as_str(&self) -> &'static str {
        self.0
    }
}

impl Default for Name {
    fn default() -> Self {
        Name::EMPTY
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        // The empty text is a constant, which has no single address.
        std::ptr::eq(self.0, other.0) || (self.0.is_empty() && other.0.is_empty())
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if self == other { std::cmp::Ordering::Equal } else { self.0.cmp(other.0) }
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        self.0
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Name::new(text)
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Name::new(&text)
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Name, E> {
                Ok(Name::new(text))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}
