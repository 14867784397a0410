//! YAML texts: documents, and Lists as kubectl prints them, whose items are read side by side.

use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;
use serde_json::Value;

use super::json::implied;
use super::{Importer, Problem, Source, canonical};

/// How deep objects may be nested, as for JSON.
const DEEPEST: usize = 128;

/// One or more YAML documents.
pub(super) fn read_yaml(importer: &mut Importer, text: &str, file: &Arc<str>) {
    let documents = documents(text);
    let several = documents.len() > 1;
    for (index, document) in documents.into_iter().enumerate() {
        let number = if several { index + 1 } else { 0 };
        let source = Source { file: Arc::clone(file), document: number, item: 0 };
        if blank(document) {
            continue;
        }
        if read_canonical_list(importer, text, document, &source, false) {
            continue;
        }
        match serde_saphyr::from_str_with_options::<Value>(document, options()) {
            Ok(Value::Null) => {}
            Ok(value) => importer.add(&value, source),
            // Of a List each item is read, so that those that cannot be are all named.
            Err(_) if read_canonical_list(importer, text, document, &source, true) => {}
            Err(error) => importer.problems.push(no_yaml(text, document, source, &error)),
        }
    }
}

/// The problem of a part of a file that is no YAML, with the line of the file.
fn no_yaml(text: &str, part: &str, source: Source, error: &impl fmt::Display) -> Problem {
    let said = plain(error);
    let before = part.as_ptr() as usize - text.as_ptr() as usize;
    let above = text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count();
    let message = said.strip_prefix("line ").and_then(|rest| rest.split_once(' ')).and_then(|(line, rest)| {
        let line: usize = line.parse().ok()?;
        Some(format!("line {} {rest}", line + above))
    });
    let (object, field) = (String::new(), String::new());
    Problem { source, object, field, message: message.unwrap_or(said) }
}

/// Only comments and empty lines.
fn blank(document: &str) -> bool {
    document.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "...")
}

/// The documents of a text, split at lines that begin with `---`.
fn documents(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        let marker = line.trim_end();
        if marker == "---" || marker.starts_with("--- ") {
            documents.push(&text[start..at]);
            // What stands behind the marker belongs to the document.
            start = at + 3;
        }
        at += line.len();
    }
    documents.push(&text[start..]);
    if documents.len() > 1 && blank(documents[0]) {
        documents.remove(0);
    }
    documents
}

/// A List as kubectl prints it: keys and the dashes of its items at the beginning of lines. Its items are texts of their own, which
/// are read side by side. `false`: it is not laid out so, or an item cannot be read by itself (it refers to an anchor of
/// another one); then nothing was added, unless the defects are asked for: then each item that cannot be read is one.
fn read_canonical_list(importer: &mut Importer, file: &str, document: &str, source: &Source, defects: bool) -> bool {
    let Some((header, items)) = split_list(document) else { return false };
    let Ok(Value::Object(header)) = serde_saphyr::from_str_with_options::<Value>(&header, options()) else {
        return false;
    };
    if !header.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List")) {
        return false;
    }
    let implied = implied(&header);
    let template = importer.part();
    let parts: Option<Vec<Importer>> = items
        .par_iter()
        .enumerate()
        .map(|(index, text)| {
            let mut part = template.part();
            let source = Source { item: index + 1, ..source.clone() };
            let values = match canonical::read(text, DEEPEST) {
                Some(values) => values,
                None => match serde_saphyr::from_str_with_options(text, options()) {
                    Ok(values) => values,
                    Err(error) if defects => {
                        part.problems.push(no_yaml(file, text, source, &error));
                        return Some(part);
                    }
                    Err(_) => return None,
                },
            };
            values.as_array()?.iter().for_each(|value| part.add_as(value, source.clone(), &implied));
            Some(part)
        })
        .collect();
    let Some(parts) = parts else { return false };
    if !implied.kind.is_empty() {
        importer.listed.push(implied.kind);
    }
    parts.into_iter().for_each(|part| importer.join(part));
    true
}

/// The lines of a List that are not of its items, and the text of each item, its dash included.
pub(super) fn split_list(document: &str) -> Option<(String, Vec<&str>)> {
    let (mut header, mut items) = (String::new(), Vec::new());
    let (mut at, mut start, mut inside) = (0, None, false);
    for line in document.split_inclusive('\n') {
        let begin = at;
        at += line.len();
        match line.as_bytes().first() {
            Some(b'-') if inside && (line.starts_with("- ") || line.trim_end() == "-") => {
                if let Some(start) = start.replace(begin) {
                    items.push(&document[start..begin]);
                }
            }
            Some(b' ' | b'\n' | b'\r') if inside => {}
            Some(_) => {
                if let Some(start) = start.take() {
                    items.push(&document[start..begin]);
                }
                inside = line.trim_end() == "items:";
                if !inside {
                    header.push_str(line);
                }
            }
            None => {}
        }
    }
    if let Some(start) = start {
        items.push(&document[start..]);
    }
    (!items.is_empty()).then_some((header, items))
}

/// How YAML is read. Aliases may repeat a little, as people write them, but not blow up.
pub(super) fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        // A node may be called `n`.
        strict_booleans: true,
        budget: serde_saphyr::budget! {
            max_depth: DEEPEST,
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
            max_reader_input_bytes: None,
        },
    }
}

/// A YAML error in one line, without the extract of the text that the library adds in further ones.
pub fn plain(error: &impl fmt::Display) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let line = line.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
    match line.split_once("budget breached: ") {
        Some((place, what)) if what.starts_with("Depth") => format!("{place}is nested more than {DEEPEST} deep"),
        Some((place, _)) => format!("{place}its aliases repeat more than any dump does"),
        None => line.to_owned(),
    }
}
