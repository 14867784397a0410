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
                write!(f, "{}: ", printable(part))?;
            }
        }
        f.write_str(&printable(&in_kubernetes_terms(&self.message)))
    }
}

/// Characters of one part of a message at most: an input may hold values of any length.
const LONGEST: usize = 300;

/// A text of the input as it may be printed: not without end, and nothing that steers the terminal.
fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (at, character) in text.chars().enumerate() {
        if at == LONGEST {
            // The end says what is expected.
            let end: Vec<char> = text.chars().rev().take(LONGEST / 2).collect();
            shown.push_str(" ... ");
            end.iter().rev().for_each(|&character| push(&mut shown, character));
            break;
        }
        push(&mut shown, character);
    }
    shown
}

fn push(shown: &mut String, character: char) {
    if character.is_control() { shown.extend(character.escape_default()) } else { shown.push(character) }
}

/// What serde says, in the words of those who write manifests.
fn in_kubernetes_terms(message: &str) -> String {
    const WORDS: [(&str, &str); 9] = [
        ("invalid type: sequence", "invalid type: list"),
        ("invalid type: map", "invalid type: object"),
        ("expected a sequence", "expected a list"),
        ("expected a map of", "expected an object of"),
        ("expected a string", "expected text (in quotes)"),
        ("expected i64", "expected a whole number"),
        ("expected i32", "expected a whole number"),
        ("expected u32", "expected a whole number from 0"),
        ("expected u16", "expected a whole number from 0"),
    ];
    // The words stand at the ends; what lies between is a value of the input.
    let mut text = message.to_owned();
    for (from, to) in WORDS {
        if let Some(rest) = text.strip_prefix(from) {
            text = format!("{to}{rest}");
        } else if let Some(rest) = text.strip_suffix(from) {
            text = format!("{rest}{to}");
        }
    }
    text
}

/// All defects of an input, in the order of their places.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Errors {
    /// The defects.
    pub problems: Vec<Problem>,
}

/// How many defects are written out; the rest is counted.
const PRINTED: usize = 50;

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
