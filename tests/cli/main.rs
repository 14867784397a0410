//! The command line as a user meets it.

mod defects;
mod documents;
mod flags;
mod inputs;
mod recipes;
mod results;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;

/// A small cluster whose upgrade interrupts nothing.
const QUIET: &str = "tests/cli/quiet.yaml";
/// A real cluster with a pod and a budget that block its upgrade.
const TROUBLED: &str = "fixtures/dumps/kind-troubled.yaml";

/// The program, in the folder of the repository, as in a pipe.
fn cmsim() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cmsim"));
    command.current_dir(root());
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "COLUMNS"] {
        command.env_remove(name);
    }
    command
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the program with words that hold no spaces.
fn run(line: &str) -> Output {
    cmsim().args(line.split_whitespace()).output().unwrap()
}

/// Standard output of a run that ended with this code.
fn out(output: &Output, code: i32) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Standard error of a run that could not be done: nothing stands on standard output, and it did not panic.
fn error(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}\n{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// A text as a file in a folder.
fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path
}

/// Bytes as gzip compresses them.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
