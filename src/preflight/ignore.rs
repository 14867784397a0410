//! Findings that the operator does not want to see.

use serde::Deserialize;

use super::Finding;

/// Codes, each for every object or for one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ignore {
    entries: Vec<(String, Option<String>)>,
}

/// Why an entry cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IgnoreError {
    /// No finding has this code.
    #[error("no finding has the code {0:?}; `cmsim explain` lists all codes")]
    UnknownCode(String),
    /// Not `CODE` or `CODE=object`.
    #[error("{0:?} is not CODE or CODE=object (object: namespace/Kind/name, or Kind/name)")]
    Malformed(String),
    /// The file is not of the documented form.
    #[error("not an ignore file: {0}")]
    File(String),
}

/// The ignore file: `ignore: [{code, object, reason}]`; `object` and `reason` may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    ignore: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    code: String,
    #[serde(default)]
    object: Option<String>,
    /// For the reader of the file only.
    #[serde(default, rename = "reason")]
    _reason: Option<String>,
}

impl Ignore {
    /// Adds `CODE` or `CODE=object`.
    pub fn add(&mut self, text: &str) -> Result<(), IgnoreError> {
        let (code, object) = match text.split_once('=') {
            Some((code, object)) => (code, Some(object.to_owned())),
            None => (text, None),
        };
        self.insert(code, object, text)
    }

    /// Adds the entries of an ignore file (YAML). Nothing is added if one of them is wrong.
    pub fn add_file(&mut self, text: &str) -> Result<(), IgnoreError> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| {
            // The library adds an extract of the text in further lines.
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            IgnoreError::File(line.trim_start_matches("error: ").to_owned())
        })?;
        let mut all = self.clone();
        for entry in file.ignore {
            all.insert(&entry.code, entry.object.clone(), entry.object.as_deref().unwrap_or(&entry.code))?;
        }
        *self = all;
        Ok(())
    }

    fn insert(&mut self, code: &str, object: Option<String>, text: &str) -> Result<(), IgnoreError> {
        if object.as_ref().is_some_and(|object| !matches!(object.split('/').count(), 2 | 3)) {
            return Err(IgnoreError::Malformed(text.to_owned()));
        }
        let about = super::abouts().into_iter().find(|about| about.code.eq_ignore_ascii_case(code));
        let about = about.ok_or_else(|| IgnoreError::UnknownCode(code.to_owned()))?;
        self.entries.push((about.code.to_owned(), object));
        Ok(())
    }

    /// Whether the operator does not want to see this finding.
    pub fn covers(&self, finding: &Finding) -> bool {
        self.entries.iter().any(|(code, object)| {
            code == finding.code && object.as_ref().is_none_or(|object| *object == finding.object.to_string())
        })
    }
}
