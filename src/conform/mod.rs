//! Does the model do what a real control plane did? Recordings are replayed against the simulator's rules.

pub mod drains;
pub mod evictions;
pub mod journal;
pub mod pacing;
pub mod placement;
pub mod prediction;
pub mod recording;

use std::collections::BTreeMap;
use std::fmt;

/// What a comparison with recordings came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many facts of each kind were compared.
    pub checked: BTreeMap<String, usize>,
    /// Facts that the model does not allow, or that it requires and the recording lacks.
    pub mismatches: Vec<Mismatch>,
    /// What was passed over because the model does not cover it: why, and how often.
    pub not_modelled: BTreeMap<String, usize>,
}

/// A fact on which the model and a recording differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The recording.
    pub recording: String,
    /// Where in it: a step, a revision, a pod.
    pub place: String,
    /// Kind of fact, as in [`Report::checked`].
    pub kind: String,
    /// What the model says.
    pub model: String,
    /// What was recorded.
    pub recorded: String,
}

impl Report {
    /// Counts a fact that was compared.
    pub fn count(&mut self, kind: &str) {
        count(&mut self.checked, kind);
    }

    /// Counts something that the model does not cover.
    pub fn pass_over(&mut self, why: &str) {
        count(&mut self.not_modelled, why);
    }

    /// Adds another report's facts.
    pub fn add(&mut self, other: Report) {
        for (kind, number) in other.checked {
            *self.checked.entry(kind).or_default() += number;
        }
        for (why, number) in other.not_modelled {
            *self.not_modelled.entry(why).or_default() += number;
        }
        self.mismatches.extend(other.mismatches);
    }
}

fn count(counts: &mut BTreeMap<String, usize>, key: &str) {
    match counts.get_mut(key) {
        Some(number) => *number += 1,
        None => {
            counts.insert(key.to_owned(), 1);
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { recording, place, kind, model, recorded } = self;
        write!(f, "{recording} at {place}: {kind}: the model says {model}, recorded is {recorded}")
    }
}
