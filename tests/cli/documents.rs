//! The commands that the documentation shows work as shown.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::root;

/// Documents that users read.
fn documents() -> Vec<PathBuf> {
    let mut all =
        vec![root().join("README.md"), root().join("simulations/README.md"), root().join("fixtures/README.md")];
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    all.extend(docs.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    all.sort();
    all
}

/// The lines of the ```sh blocks of a document, continued lines joined.
fn shell_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.replace("\\\n", "").lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside && !line.is_empty() && !line.starts_with('#') => lines.push(line.to_owned()),
            _ => {}
        }
    }
    lines
}

/// The `cmsim` command of a line; what it is built with, a dump of a live cluster, a live cluster: `None`.
fn runnable(line: &str) -> Option<String> {
    let line = line.replace("cargo run --release -- ", "cmsim ").replace("cargo run -- ", "cmsim ");
    let at_start = line.split([' ', '|', ';', '&']).next() == Some("cmsim");
    let live = ["kubectl", "cmsim apply", "ssh "].iter().any(|word| line.contains(word));
    (at_start && !live).then_some(line)
}

#[test]
fn shell_examples_of_the_documentation_run() {
    let folder = tempfile::tempdir().unwrap();
    // Where the documents speak of the reader's own cluster, the example cluster stands in for it.
    for name in ["fixtures", "simulations", "docs"] {
        std::os::unix::fs::symlink(root().join(name), folder.path().join(name)).unwrap();
    }
    std::fs::copy(root().join("fixtures/dumps/kind-troubled.yaml"), folder.path().join("cluster.yaml")).unwrap();
    let mut ran = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for line in shell_lines(&text).iter().filter_map(|line| runnable(line)) {
            ran += 1;
            let output = shell(&line, folder.path());
            let said = String::from_utf8_lossy(&output.stderr);
            // 1 is an answer, too.
            assert!(matches!(output.status.code(), Some(0 | 1)), "{}: {line}\n{said}", document.display());
            assert!(!output.stdout.is_empty(), "{}: {line}", document.display());
        }
    }
    assert!(ran >= 2, "the first command of the README and the one for one's own cluster are among them");
}

/// Runs a line with `cmsim` in the path; few walks, since this tests the line and not the answer.
fn shell(line: &str, folder: &Path) -> std::process::Output {
    let bin = Path::new(env!("CARGO_BIN_EXE_cmsim")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    Command::new("sh").args(["-c", line]).current_dir(folder).env("PATH", path).output().unwrap()
}

#[test]
fn the_readme_shows_a_command_first_that_prints_a_verdict() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let lines = shell_lines(&text);
    let first = runnable(&lines[0]).expect("the first command is the main job");
    let output = shell(&first, root());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("BLOCKED  "));
    assert!(lines[1].starts_with("cargo test"), "{}", lines[1]);
}

#[test]
fn files_and_codes_that_the_documentation_names_are_there() {
    for document in documents().into_iter().chain([root().join("ARCHITECTURE.md")]) {
        let text = std::fs::read_to_string(&document).unwrap();
        let folder = document.parent().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let outside = file.contains("://") || file.is_empty();
            assert!(outside || folder.join(file).exists(), "{}: {link}", document.display());
        }
    }
}

/// Every flag that a document shows in backticks with `--` is one of the program.
#[test]
fn flags_that_the_documentation_names_are_there() {
    let mut help = String::new();
    for command in ["check", "capacity", "explain", "conform", "test"] {
        help.push_str(&String::from_utf8(super::run(&format!("{command} --help")).stdout).unwrap());
    }
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    for line in text.lines().filter(|line| line.contains("cmsim")) {
        for word in line.split([' ', '`', '=', '(', ')']).filter(|word| word.starts_with("--") && word.len() > 2) {
            let flag = word.trim_end_matches(['.', ',', ';', ':']);
            assert!(help.contains(flag) || flag == "--release", "{flag}: {line}");
        }
    }
}
