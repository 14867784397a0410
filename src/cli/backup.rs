//! The copy of the cluster's objects that `apply` keeps on the operator's machine: `backups/CLUSTER/RUN/objects.yaml.gz`, a YAML
//! document an object, each on one line.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::live::{self, Connection};

use super::output::{self, note};

/// How many copies of a cluster are kept.
const KEPT: usize = 3;
/// Free bytes without which no copy is begun; more where the last one was large.
const ROOM: u64 = 100_000_000;
const FILE: &str = "objects.yaml.gz";

/// Takes the copy for a run, and says what is not in it.
///
/// # Errors
///
/// No room, an object that cannot be had, a file that does not hold what was written.
pub async fn back_up_objects(
    connection: &Connection,
    state: &Path,
    run: &str,
    secrets: bool,
) -> anyhow::Result<PathBuf> {
    let folder = state.join("backups").join(folder_name(&connection.server));
    let mut copy = Copy::begin(&folder, run)?;
    let bar = output::spinner("copying the cluster's objects");
    let listed = live::objects(connection, secrets, |object| {
        copy.put(object)?;
        if copy.total % 100 == 0 {
            bar.set_message(format!("copying the cluster's objects: {}", copy.total));
        }
        Ok(())
    })
    .await;
    bar.finish_and_clear();
    let listed = listed?;
    let total = copy.total;
    let file = copy.finish()?;
    keep(&folder, KEPT)?;
    note(&format!("{total} objects of {} kinds are in {}", listed.counts.len(), file.display()));
    if !listed.unread.is_empty() {
        let unread: Vec<String> = listed.unread.iter().map(|(kind, why)| format!("{kind} ({why})")).collect();
        note(&format!("not in the backup: {}; docs/rbac.yaml says how they get in", unread.join(", ")));
    }
    if !secrets {
        note("not in the backup: Secrets (--backup-secrets takes them)");
    }
    Ok(file)
}

/// The address of an API server as the name of a folder.
fn folder_name(server: &str) -> String {
    let address = server.split_once("://").map_or(server, |(_, rest)| rest).trim_end_matches('/');
    address.chars().map(|c| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' }).collect()
}

/// A copy that is being written.
struct Copy {
    partial: PathBuf,
    file: PathBuf,
    out: GzEncoder<BufWriter<File>>,
    /// Objects by `apiVersion` and `kind`.
    counts: BTreeMap<String, usize>,
    total: usize,
}

impl Copy {
    fn begin(folder: &Path, run: &str) -> anyhow::Result<Copy> {
        let own = folder.join(run);
        let what = || format!("writing {}", own.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&own).with_context(what)?;
        // Others may have made the folders above it.
        for folder in [folder, &own] {
            fs::set_permissions(folder, Permissions::from_mode(0o700)).with_context(what)?;
        }
        let last =
            kept(folder)?.first().map_or(0, |(_, copy)| fs::metadata(copy.join(FILE)).map_or(0, |file| file.len()));
        let (room, free) = (ROOM.max(2 * last), free(&own)?);
        ensure!(free >= room, "{} has {} MB free, and needs {} MB", own.display(), free / 1_000_000, room / 1_000_000);
        let (partial, file) = (own.join(format!("{FILE}.partial")), own.join(FILE));
        let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial);
        let out = GzEncoder::new(BufWriter::new(open.with_context(what)?), Compression::default());
        Ok(Copy { partial, file, out, counts: BTreeMap::new(), total: 0 })
    }

    fn put(&mut self, object: &Value) -> anyhow::Result<()> {
        // JSON is YAML.
        writeln!(self.out, "---\n{object}").with_context(|| format!("writing {}", self.partial.display()))?;
        *self.counts.entry(kind(object)).or_default() += 1;
        self.total += 1;
        Ok(())
    }

    /// Puts the file in its place once it was read back and found to hold what was written.
    fn finish(self) -> anyhow::Result<PathBuf> {
        let what = || format!("writing {}", self.partial.display());
        let file = self.out.finish().with_context(what)?.into_inner().map_err(|error| error.into_error());
        file.and_then(|file| file.sync_all()).with_context(what)?;
        let found = count(&self.partial).with_context(|| format!("reading {} back", self.partial.display()))?;
        ensure!(found == self.counts, "{} does not hold what was written", self.partial.display());
        fs::rename(&self.partial, &self.file).with_context(what)?;
        Ok(self.file)
    }
}

fn kind(object: &Value) -> String {
    format!("{} {}", object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default())
}

/// Objects of a copy by `apiVersion` and `kind`.
fn count(file: &Path) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    for line in BufReader::new(GzDecoder::new(File::open(file)?)).lines() {
        let line = line?;
        if line != "---" {
            *counts.entry(kind(&serde_json::from_str(&line)?)).or_default() += 1;
        }
    }
    Ok(counts)
}

/// Folders with a whole copy, the newest first.
fn kept(folder: &Path) -> anyhow::Result<Vec<(SystemTime, PathBuf)>> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if let Ok(made) = fs::metadata(path.join(FILE)).and_then(|file| file.modified()) {
            kept.push((made, path));
        }
    }
    kept.sort_by(|one, other| other.cmp(one));
    Ok(kept)
}

/// Removes all copies but the newest.
fn keep(folder: &Path, count: usize) -> anyhow::Result<()> {
    for (_, old) in kept(folder)?.drain(..).skip(count) {
        fs::remove_dir_all(&old).with_context(|| format!("removing {}", old.display()))?;
    }
    Ok(())
}

/// Bytes that this user may still write there.
fn free(path: &Path) -> anyhow::Result<u64> {
    let disk = rustix::fs::statvfs(path).with_context(|| format!("asking for the room on {}", path.display()))?;
    Ok(disk.f_bavail * disk.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(kind: &str, name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "annotations": {"text": "a\n---\nb"}}})
    }

    #[test]
    fn a_copy_is_in_its_place_once_it_was_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut copy = Copy::begin(&folder.path().join("c"), "r1").unwrap();
        for name in ["n1", "n2"] {
            copy.put(&object("Node", name)).unwrap();
        }
        copy.put(&object("Pod", "p")).unwrap();
        let place = copy.file.clone();
        assert!(!place.exists());
        let file = copy.finish().unwrap();
        assert_eq!(file, place);
        assert_eq!(count(&file).unwrap(), BTreeMap::from([("v1 Node".to_owned(), 2), ("v1 Pod".to_owned(), 1)]));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        assert_eq!(mode(file.parent().unwrap().parent().unwrap()), 0o700);
        // It is a dump that `check` reads.
        let cluster = crate::import::load(&[file], &mut std::io::empty()).unwrap();
        assert_eq!(cluster.nodes().count(), 2);
    }

    #[test]
    fn a_copy_that_does_not_hold_what_was_written_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut copy = Copy::begin(folder.path(), "r1").unwrap();
        copy.put(&object("Node", "n1")).unwrap();
        copy.counts.insert("v1 Pod".to_owned(), 1);
        let place = copy.file.clone();
        let error = copy.finish().unwrap_err().to_string();
        assert!(error.contains("does not hold what was written"), "{error}");
        assert!(!place.exists());
        let cut = folder.path().join("cut");
        fs::write(&cut, &fs::read(place.with_extension("gz.partial")).unwrap()[..30]).unwrap();
        assert!(count(&cut).is_err());
    }

    #[test]
    fn the_newest_copies_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for run in 1..=5 {
            let mut copy = Copy::begin(folder.path(), &format!("r{run}")).unwrap();
            copy.put(&object("Node", "n1")).unwrap();
            let file = copy.finish().unwrap();
            let made = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(run);
            File::options().write(true).open(file).unwrap().set_modified(made).unwrap();
        }
        Copy::begin(folder.path(), "begun").unwrap();
        keep(folder.path(), KEPT).unwrap();
        let mut left: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["begun", "r3", "r4", "r5"]);
    }

    #[test]
    fn folders_are_named_after_servers() {
        assert_eq!(folder_name("https://10.0.0.1:6443/"), "10.0.0.1_6443");
        assert_eq!(folder_name("https://host/k8s/../x"), "host_k8s_.._x");
    }
}
