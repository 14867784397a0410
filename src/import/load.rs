//! Reads inputs: files, standard input, compressed files, archives, and whole directory trees such as `kubectl cluster-info
//! dump`, must-gather and support bundles write. YAML and JSON, one object, Lists, or several documents.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::canonical;
use super::object::Header;
use super::{Errors, Importer, Problem, Source};
use crate::cluster::{Cluster, HostFacts, Name};

/// Uncompressed bytes of one file that are taken at most: more is no dump, but a trap.
const LARGEST: u64 = 8 << 30;
/// How deep objects may be nested, as for JSON.
const DEEPEST: usize = 128;
/// How many times as large as itself a compressed file may become, if that is more than [`UNSUSPICIOUS`] bytes: real dumps
/// shrink to a tenth or a fiftieth, traps to a thousandth.
const LARGEST_RATIO: u64 = 400;
/// Uncompressed bytes that are taken from any compressed file.
const UNSUSPICIOUS: u64 = 64 << 20;
/// How many archives may stand in each other.
const DEEPEST_ARCHIVE: usize = 3;

/// The cluster that all objects below the paths make; `-` is standard input.
///
/// # Errors
///
/// Everything that is wrong with any file or object.
pub fn load(paths: &[PathBuf], mut stdin: &mut dyn Read) -> Result<Cluster, Errors> {
    let mut loader = Loader::default();
    for path in paths {
        if path.as_os_str() == "-" {
            loader.take_from(&mut stdin, "-", false);
        } else if path.is_dir() {
            loader.take_tree(path);
        } else {
            loader.take_file(path, false);
        }
    }
    let Loader { mut importer, passed_over, inside: _ } = loader;
    if importer.problems.is_empty() && importer.entries.is_empty() {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        importer.problems.push(problem(
            names.join(", ").into(),
            "holds no Kubernetes object; give the output of `kubectl get nodes,pods,... -A -o yaml`",
        ));
    }
    importer.passed_over = passed_over;
    importer.finish()
}

/// Adds the facts of a hosts file: a YAML map from node name to [`HostFacts`].
///
/// # Errors
///
/// A file that cannot be read or is no such map, unknown fields, names of nodes that the cluster does not have.
pub fn hosts(cluster: &mut Cluster, file: &Path) -> Result<(), Errors> {
    let name: Arc<str> = file.display().to_string().into();
    match std::fs::read_to_string(file) {
        Ok(text) => host_facts(cluster, &text, name),
        Err(error) => Err(Errors { problems: vec![problem(name, &format!("cannot be read: {error}"))] }),
    }
}

fn host_facts(cluster: &mut Cluster, text: &str, file: Arc<str>) -> Result<(), Errors> {
    let one = |field: String, message: String| Problem {
        source: Source { file: Arc::clone(&file), ..Source::default() },
        object: String::new(),
        field,
        message,
    };
    let fail = |problem| Errors { problems: vec![problem] };
    let value: Value = serde_saphyr::from_str_with_options(text.trim_start_matches('\u{feff}'), options())
        .map_err(|error| fail(one(String::new(), plain(&error))))?;
    let Value::Object(map) = value else {
        return Err(fail(one(String::new(), "expected a map from node name to facts".to_owned())));
    };
    let mut problems = Vec::new();
    let mut facts = Vec::new();
    for (node, value) in &map {
        if cluster.find_node(Name::new(node)).is_none() {
            problems.push(one(node.clone(), "the cluster has no node of this name".to_owned()));
        }
        match serde_path_to_error::deserialize::<_, HostFacts>(value) {
            Ok(of_node) => facts.push((Name::new(node), of_node)),
            Err(error) => problems.push(one(format!("{node}.{}", error.path()), error.inner().to_string())),
        }
    }
    if problems.is_empty() {
        Arc::make_mut(&mut cluster.catalog).hosts.extend(facts);
        return Ok(());
    }
    Err(Errors { problems })
}

#[derive(Default)]
struct Loader {
    importer: Importer,
    passed_over: usize,
    /// Archives around what is being read.
    inside: usize,
}

impl Loader {
    fn take_tree(&mut self, root: &Path) {
        for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_file() => self.take_file(entry.path(), true),
                Ok(_) => {}
                Err(error) => self.fail(&root.display().to_string(), format!("cannot be read: {error}")),
            }
        }
    }

    fn take_file(&mut self, path: &Path, in_tree: bool) {
        let name = path.display().to_string();
        if in_tree && !may_hold_objects(&name) {
            self.passed_over += 1;
            return;
        }
        match File::open(path) {
            Ok(mut file) => self.take_from(&mut file, &name, in_tree),
            Err(error) => self.fail(&name, format!("cannot be read: {error}")),
        }
    }

    fn take_from(&mut self, reader: &mut impl Read, name: &str, in_tree: bool) {
        let mut bytes = Vec::new();
        match read(reader, LARGEST, &mut bytes) {
            Ok(()) => self.take(&bytes, name, in_tree),
            Err(error) => self.fail(name, format!("cannot be read: {error}")),
        }
    }

    fn take(&mut self, bytes: &[u8], name: &str, in_tree: bool) {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            self.take_compressed(bytes, name, in_tree);
        } else if is_archive(bytes) {
            self.take_archive(bytes, name);
        } else {
            self.take_text(bytes, name, in_tree);
        }
    }

    fn take_compressed(&mut self, bytes: &[u8], name: &str, in_tree: bool) {
        let mut content = Vec::new();
        let mut decoder = flate2::read::MultiGzDecoder::new(bytes);
        let most = (bytes.len() as u64 * LARGEST_RATIO).clamp(UNSUSPICIOUS, LARGEST);
        match read(&mut decoder, most, &mut content) {
            Ok(()) if content.starts_with(&[0x1f, 0x8b]) => self.fail(name, "is compressed twice".to_owned()),
            Ok(()) => self.take(&content, name, in_tree),
            Err(error) => self.fail(name, format!("is no whole gzip file: {error}")),
        }
    }

    fn take_archive(&mut self, bytes: &[u8], name: &str) {
        if self.inside == DEEPEST_ARCHIVE {
            return self.fail(name, format!("stands in {DEEPEST_ARCHIVE} archives: unpack the outer ones"));
        }
        self.inside += 1;
        self.take_entries(bytes, name);
        self.inside -= 1;
    }

    fn take_entries(&mut self, bytes: &[u8], name: &str) {
        let mut archive = tar::Archive::new(bytes);
        let entries = match archive.entries() {
            Ok(entries) => entries,
            Err(error) => return self.fail(name, format!("is no tar archive: {error}")),
        };
        for entry in entries {
            let mut entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.fail(name, format!("is no whole tar archive: {error}")),
            };
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let inner = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if may_hold_objects(&inner) && !inner.ends_with(".tar") {
                self.take_from(&mut entry, &format!("{name}!{inner}"), true);
            } else {
                self.passed_over += 1;
            }
        }
    }

    fn take_text(&mut self, bytes: &[u8], name: &str, in_tree: bool) {
        let text = match text(bytes) {
            Ok(text) => text,
            Err(_) if in_tree => {
                self.passed_over += 1;
                return;
            }
            Err(message) => return self.fail(name, message),
        };
        let text = text.trim_start_matches('\u{feff}');
        if in_tree && !(text.contains("kind") && text.contains("apiVersion") || text.contains("gitVersion")) {
            self.passed_over += 1;
            return;
        }
        let file: Arc<str> = name.into();
        let first = text.trim_start().as_bytes().first();
        let mut part = self.importer.part();
        part.in_tree = in_tree;
        if matches!(first, Some(b'{' | b'[')) {
            read_json(&mut part, text, &file);
        } else {
            read_yaml(&mut part, text, &file);
        }
        if in_tree && part.entries.is_empty() && part.problems.is_empty() && part.listed.is_empty() {
            self.passed_over += 1;
        }
        self.importer.join(part);
    }

    fn fail(&mut self, file: &str, message: String) {
        self.importer.problems.push(problem(file.into(), &message));
    }
}

fn problem(file: Arc<str>, message: &str) -> Problem {
    let source = Source { file, ..Source::default() };
    Problem { source, object: String::new(), field: String::new(), message: message.to_owned() }
}

/// Reads to the end, but no more than so many bytes, and nothing without end that is no text, such as a device.
fn read(reader: &mut impl Read, most: u64, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    let begin = UNSUSPICIOUS.min(most);
    reader.take(begin).read_to_end(bytes)?;
    let is_text = |bytes: &[u8]| !bytes.contains(&0) || bytes.starts_with(&[0x1f, 0x8b]) || is_archive(bytes);
    if (bytes.len() as u64) < begin {
        return Ok(());
    }
    if is_text(bytes) {
        reader.take(most - begin).read_to_end(bytes)?;
        if reader.read(&mut [0])? == 0 {
            return Ok(());
        }
    }
    Err(std::io::Error::other(format!("it is no text, or grows to more than {most} bytes, so it is no dump")))
}

fn is_archive(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

/// The text of a file, or why it has none.
fn text(bytes: &[u8]) -> Result<&str, String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(
            "is UTF-16, as `>` of PowerShell writes it: save it as UTF-8 (`| Out-File -Encoding utf8`)".to_owned()
        );
    }
    let line = |at: usize| bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    let text = std::str::from_utf8(bytes).map_err(|error| {
        format!("is neither YAML nor JSON: expected UTF-8 text, line {} holds other bytes", line(error.valid_up_to()))
    })?;
    match bytes.iter().position(|byte| *byte == 0) {
        Some(at) => Err(format!("is neither YAML nor JSON: line {} holds a NUL byte", line(at))),
        None => Ok(text),
    }
}

/// Files of trees that are worth opening, by their ending.
fn may_hold_objects(name: &str) -> bool {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    [".json", ".yaml", ".yml", ".tar", ".tgz"].iter().any(|ending| name.ends_with(ending))
}

/// An importer that can be filled beside another one and joined with it.
impl Importer {
    fn part(&self) -> Importer {
        Importer {
            admission: self.admission,
            fill_versions: self.fill_versions,
            in_tree: self.in_tree,
            ..Importer::default()
        }
    }

    fn join(&mut self, part: Importer) {
        self.entries.extend(part.entries);
        self.problems.extend(part.problems);
        self.listed.extend(part.listed);
        self.api_server = self.api_server.or(part.api_server);
    }
}

/// One or more JSON documents. Items of a List are read one by one, so that the whole is never in memory as a tree.
fn read_json(importer: &mut Importer, text: &str, file: &Arc<str>) {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut document = 0;
    loop {
        document += 1;
        let source = Source { file: Arc::clone(file), document, item: 0 };
        importer.reading = 0;
        if let Err(error) = (Document { importer, source: source.clone() }).deserialize(&mut deserializer) {
            let document = if document == 1 && importer.entries.is_empty() { 0 } else { document };
            let source = Source { document, item: importer.reading, ..source };
            let message = format!("{error}; the text is cut off here, or is no JSON");
            importer.problems.push(Problem { source, object: String::new(), field: String::new(), message });
            return;
        }
        if deserializer.end().is_ok() {
            break;
        }
    }
    if document == 1 {
        let all = importer.entries.iter_mut().map(|entry| &mut entry.source);
        all.chain(importer.problems.iter_mut().map(|problem| &mut problem.source))
            .for_each(|source| source.document = 0);
    }
}

/// A JSON document: an object, a List, or a bare array of objects.
struct Document<'a> {
    importer: &'a mut Importer,
    source: Source,
}

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object or a List")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut fields = serde_json::Map::new();
        let mut late = Vec::new();
        let mut is_list = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "items" {
                is_list = true;
                let implied = implied(&fields);
                late = map.next_value_seed(Items { importer: self.importer, source: self.source.clone(), implied })?;
            } else {
                fields.insert(key, map.next_value()?);
            }
        }
        if !is_list {
            self.importer.add(&Value::Object(fields), self.source);
            return Ok(());
        }
        let implied = implied(&fields);
        if !implied.kind.is_empty() {
            self.importer.listed.push(implied.kind);
        }
        for (item, value) in late {
            self.importer.add_as(&value, Source { item, ..self.source.clone() }, &implied);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        let items = Items { importer: self.importer, source: self.source.clone(), implied: Header::default() };
        let late = items.visit_seq(list)?;
        for (item, value) in late {
            self.importer.add(&value, Source { item, ..self.source.clone() });
        }
        Ok(())
    }
}

/// What a List says of the kind of its items; nothing for a plain `List`.
fn implied(fields: &serde_json::Map<String, Value>) -> Header {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("kind").strip_suffix("List") {
        Some(kind) if !kind.is_empty() => Header { api_version: text("apiVersion").into(), kind: kind.into() },
        Some(_) | None => Header::default(),
    }
}

/// The items of a List, added one by one. Those that do not say their kind although the List has not said it yet are handed
/// back with their numbers.
struct Items<'a> {
    importer: &'a mut Importer,
    source: Source,
    implied: Header,
}

impl Items<'_> {
    /// Says that there is something else than a list, and goes on behind it.
    fn no_list<E>(self, found: &Value) -> Result<Vec<(usize, Value)>, E> {
        self.importer.no_list(self.source, "List".to_owned(), found);
        Ok(Vec::new())
    }
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = Vec<(usize, Value)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<(usize, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the items of a List")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut late, mut item) = (Vec::new(), 0);
        self.importer.reading = 1;
        while let Some(value) = list.next_element::<Value>()? {
            item += 1;
            self.importer.reading = item + 1;
            if value.get("kind").is_none() && self.implied.kind.is_empty() && value.is_object() {
                late.push((item, value));
            } else {
                self.importer.add_as(&value, Source { item, ..self.source.clone() }, &self.implied);
            }
        }
        self.importer.reading = 0;
        Ok(late)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.no_list(&Value::deserialize(serde::de::value::MapAccessDeserializer::new(map))?)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        self.no_list(&text.into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        self.no_list(&value.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        self.no_list(&number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        self.no_list(&number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        self.no_list(&number.into())
    }
}

/// One or more YAML documents.
fn read_yaml(importer: &mut Importer, text: &str, file: &Arc<str>) {
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
