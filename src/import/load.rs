//! Reads an input: YAML or JSON files, gzip or not, directories and archives of them, standard input.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use rayon::prelude::*;
use serde_json::Value;

use super::{Importer, Source};
use crate::cluster::{Cluster, HostFacts, Name};

/// The cluster that the files make; `-` reads `stdin`.
///
/// # Errors
///
/// Files that cannot be read, and everything that is wrong with any object.
pub fn load(paths: &[PathBuf], stdin: &mut dyn Read) -> anyhow::Result<Cluster> {
    let mut reader = Reader { importer: Importer::new(), objects: 0 };
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            stdin.read_to_end(&mut bytes).context("reading standard input")?;
            reader.read("-", bytes, false)?;
        } else if path.is_dir() {
            reader.read_tree(path)?;
        } else {
            let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
            reader.read(&path.display().to_string(), bytes, false)?;
        }
    }
    if reader.objects == 0 {
        bail!("the input holds no Kubernetes object; give the output of `kubectl get nodes,pods,... -A -o yaml`");
    }
    Ok(reader.importer.finish()?)
}

/// Adds the facts of a hosts file: a YAML map from node name to facts.
///
/// # Errors
///
/// A file that cannot be read, unknown fields, and nodes that are not in the cluster.
pub fn hosts(cluster: &mut Cluster, file: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let facts: BTreeMap<Name, HostFacts> =
        serde_saphyr::from_str(&text).map_err(|error| anyhow!("{}: {error}", file.display()))?;
    for &name in facts.keys() {
        if cluster.find_node(name).is_none() {
            bail!("{}: node {:?} is not in the input", file.display(), name.as_str());
        }
    }
    Arc::make_mut(&mut cluster.catalog).hosts.extend(facts);
    Ok(())
}

struct Reader {
    importer: Importer,
    objects: usize,
}

impl Reader {
    fn read_tree(&mut self, root: &Path) -> anyhow::Result<()> {
        for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
            let entry = entry.with_context(|| format!("reading {}", root.display()))?;
            if entry.file_type().is_file() && is_object_file(entry.path()) {
                let path = entry.path();
                let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
                self.read(&path.display().to_string(), bytes, true)?;
            }
        }
        Ok(())
    }

    /// Reads one file. In a tree, what is no Kubernetes object is passed over.
    fn read(&mut self, name: &str, bytes: Vec<u8>, in_tree: bool) -> anyhow::Result<()> {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            let mut decoder = flate2::read::MultiGzDecoder::new(bytes.as_slice());
            decoder.read_to_end(&mut plain).with_context(|| format!("{name}: not a whole gzip file"))?;
            return self.read(name, plain, in_tree);
        }
        if bytes.get(257..262) == Some(b"ustar".as_slice()) {
            return self.read_archive(name, &bytes);
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let place = error.utf8_error().valid_up_to();
            anyhow!("{name}: byte {place} is not UTF-8 text; expected YAML or JSON of Kubernetes objects")
        })?;
        let text = text.trim_start_matches('\u{feff}');
        let documents = match documents(text) {
            Ok(documents) => documents,
            Err(_) if in_tree => return Ok(()),
            Err(problem) => bail!("{name}: {problem}"),
        };
        let several = documents.len() > 1;
        for (index, document) in documents.iter().enumerate().filter(|(_, document)| !document.is_null()) {
            if in_tree && document.get("kind").is_none() {
                continue;
            }
            let number = if several { index + 1 } else { 0 };
            self.objects += 1;
            self.importer.add(document, Source { file: name.into(), document: number, item: 0 });
        }
        Ok(())
    }

    fn read_archive(&mut self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let mut archive = tar::Archive::new(bytes);
        for entry in archive.entries().with_context(|| format!("reading {name}"))? {
            let mut entry = entry.with_context(|| format!("{name}: not a whole archive"))?;
            let path = entry.path().with_context(|| format!("reading {name}"))?.into_owned();
            if entry.header().entry_type().is_file() && is_object_file(&path) {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).with_context(|| format!("{name}: not a whole archive"))?;
                self.read(&format!("{name}:{}", path.display()), content, true)?;
            }
        }
        Ok(())
    }
}

fn is_object_file(path: &Path) -> bool {
    let name = path.to_string_lossy().to_lowercase();
    [".json", ".yaml", ".yml", ".json.gz", ".yaml.gz"].iter().any(|end| name.ends_with(end))
}

/// The documents of a text.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    if text.trim_start().starts_with(['{', '[']) {
        let stream = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        return stream.collect::<Result<_, _>>().map_err(|error| format!("not valid JSON: {error}"));
    }
    if let Some(list) = kubectl_list(text) {
        return list;
    }
    serde_saphyr::from_multiple::<Value>(text).map_err(|error| format!("not valid YAML: {error}"))
}

/// A List as `kubectl get -o yaml` writes it, item by item in parallel; `None`: another layout.
fn kubectl_list(text: &str) -> Option<Result<Vec<Value>, String>> {
    let head = text.find("\nitems:\n")?;
    if text[..head].lines().any(|line| line.starts_with([' ', '-', '#', '{'])) {
        return None;
    }
    let body = &text[head + "\nitems:\n".len()..];
    let end = find_line(body, |line| !line.starts_with([' ', '-']) && !line.trim().is_empty()).unwrap_or(body.len());
    let (items, tail) = body.split_at(end);
    if tail.contains("\n---") || tail.starts_with("---") || items.contains("\n---") {
        return None;
    }
    let mut starts = Vec::new();
    let mut offset = 0;
    for line in items.split_inclusive('\n') {
        if line.starts_with("- ") {
            starts.push(offset);
        } else if line.starts_with('-') {
            return None;
        }
        offset += line.len();
    }
    starts.push(items.len());
    let values: Result<Vec<Value>, String> = starts
        .par_windows(2)
        .enumerate()
        .map(|(index, range)| {
            let item = format!("  {}", &items[range[0] + 2..range[1]]);
            serde_saphyr::from_str::<Value>(&item)
                .map_err(|error| format!("item {}: not valid YAML: {error}", index + 1))
        })
        .collect();
    let mut list: Value = match serde_saphyr::from_str(&format!("{}\n{tail}", &text[..head])) {
        Ok(list) => list,
        Err(error) => return Some(Err(format!("not valid YAML: {error}"))),
    };
    Some(values.map(|values| {
        if let Some(map) = list.as_object_mut() {
            map.insert("items".to_owned(), Value::Array(values));
        }
        vec![list]
    }))
}

/// Offset of the first line that satisfies the test.
fn find_line(text: &str, test: impl Fn(&str) -> bool) -> Option<usize> {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if test(line) {
            return Some(offset);
        }
        offset += line.len();
    }
    None
}
