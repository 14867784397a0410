//! What can be wrong with an input. Every defect is collected with the place where it stands.

use std::fmt;
use std::sync::Arc;

/// Where an object stands in the input.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Source {
    /// File as the user named it, `-` for standard input; empty for objects that come from no file.
    pub file: Arc<str>,
    /// Number of the document in a file of several, from 1; 0 in a file of one.
    pub document: usize,
    /// Number of the item in a List, from 1; 0 outside of Lists.
    pub item: usize,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        let mut separator = if self.file.is_empty() { "" } else { ", " };
        for (what, number) in [("document", self.document), ("item", self.item)] {
            if number > 0 {
                write!(f, "{separator}{what} {number}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

/// One defect of the input.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Problem {
    /// Where.
    pub source: Source,
    /// The object as far as it is known: `namespace/Kind/name`, `Kind`, or empty.
    pub object: String,
    /// The field, for example `spec.containers[0].image`; empty when the problem is not about one field.
    pub field: String,
    /// What is wrong and what is expected.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.source.to_string();
        for part in [&source, &self.object, &self.field] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

/// All defects of an input, in the order of their places.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Errors {
    /// The defects.
    pub problems: Vec<Problem>,
}

/// How many defects are written out; the rest is counted.
const PRINTED: usize = 20;

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("the input has a defect:")?,
            count => write!(f, "the input has {count} defects:")?,
        }
        for problem in self.problems.iter().take(PRINTED) {
            write!(f, "\n  {problem}")?;
        }
        if let Some(more) = self.problems.len().checked_sub(PRINTED).filter(|more| *more > 0) {
            write!(f, "\n  and {more} more")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}
