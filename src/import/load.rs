//! Reads inputs: files, standard input, compressed files, archives, and whole directory trees such as `kubectl cluster-info
//! dump`, must-gather and support bundles write. YAML and JSON, one object, Lists, or several documents.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::json::read_json;
use super::yaml::{options, plain, read_yaml};
use super::{Errors, Importer, Problem, Source};
use crate::cluster::{Cluster, HostFacts, Name};

/// Uncompressed bytes of one file that are taken at most: more is no dump, but a trap.
const LARGEST: u64 = 8 << 30;
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
    pub(super) fn part(&self) -> Importer {
        Importer {
            admission: self.admission,
            fill_versions: self.fill_versions,
            in_tree: self.in_tree,
            ..Importer::default()
        }
    }

    pub(super) fn join(&mut self, part: Importer) {
        self.entries.extend(part.entries);
        self.problems.extend(part.problems);
        self.listed.extend(part.listed);
        self.api_server = self.api_server.or(part.api_server);
    }
}
