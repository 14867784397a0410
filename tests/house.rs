//! The rules of the house: who may know whom, and what may not stand below the shell. Reads every path that is written in
//! `src/`, in `use` lines and in the middle of code; comments, texts and unit tests do not count.

use std::fs;
use std::path::{Path, PathBuf};

/// What each room may know of the others. `upgrade::Action` allows only that item, `cluster` the whole room.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("cluster", &[]),
    ("upgrade", &["cluster"]),
    ("trace", &["cluster", "upgrade::Action"]),
    ("judge", &["cluster", "trace", "upgrade::Action"]),
    ("preflight", &["cluster", "judge::About", "upgrade"]),
    ("import", &["cluster"]),
    ("engine", &["cluster", "upgrade"]),
    ("live", &["cluster", "engine", "import", "recipe", "upgrade::Action"]),
    ("recipe", &["cluster", "import::plain"]),
    (
        "simulator",
        &[
            "cluster",
            "trace",
            "upgrade::Action",
            "upgrade::Decision",
            "upgrade::Goal",
            "upgrade::Outcome",
            "upgrade::Planner",
        ],
    ),
    ("scenario", &["cluster", "import", "simulator", "trace", "upgrade"]),
    ("explore", &["cluster", "simulator", "trace", "upgrade"]),
    ("forecast", &["cluster", "explore", "judge", "simulator", "trace", "upgrade"]),
    (
        "conform",
        &["check::limits", "cluster", "explore", "forecast", "import", "scenario", "simulator", "trace", "upgrade"],
    ),
];

/// Rooms that put the others together: they may know everything but `cli`.
const ON_TOP: &[&str] = &["check", "report", "simulations"];

/// What must not stand in a pure room, with the reason.
const IMPURE: &[(&str, &str)] = &[
    ("std::time", "reads a clock"),
    ("std::fs", "does IO"),
    ("std::net", "does IO"),
    ("std::env", "reads the environment"),
    ("std::process", "starts or ends processes"),
    ("std::thread", "depends on the order of threads"),
    ("jiff::Timestamp::now", "reads a clock"),
    ("jiff::Zoned::now", "reads a clock"),
    ("rand", "draws random numbers"),
    ("rand_xoshiro", "draws random numbers"),
    ("rand_core", "draws random numbers"),
    ("getrandom", "draws random numbers"),
    ("tokio", "is async"),
];

/// Rooms that must be pure, and the one impure thing that some of them may use.
const PURE: &[(&str, &[&str])] = &[
    ("cluster", &[]),
    ("upgrade", &[]),
    ("trace", &[]),
    ("judge", &[]),
    ("preflight", &[]),
    ("simulator", &[]),
    ("explore", &["rand_xoshiro"]),
    ("forecast", &[]),
    ("recipe", &["std::time"]),
    ("report", &[]),
];

/// Crates of the outside world, and the rooms that may use them.
const ONLY_IN: &[(&str, &[&str])] =
    &[("kube", &["live"]), ("russh", &["live"]), ("tokio", &["live", "engine", "cli"]), ("futures", &["live", "cli"])];

const NO_ROOM_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "prelude", "misc"];
const PRINTS: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

#[test]
fn the_house_keeps_its_rules() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&source);
    assert!(files.len() > 50, "only {} files found below src/", files.len());
    let mut problems = Vec::new();
    for file in &files {
        let module = module_of(file.strip_prefix(&source).unwrap());
        problems.extend(look(&module, &fs::read_to_string(file).unwrap()));
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_kind_of_violation_is_found() {
    let found = |module: &[&str], text: &str| {
        let module: Vec<String> = module.iter().map(|part| (*part).to_owned()).collect();
        !look(&module, text).is_empty()
    };
    // A room that must not be known: in a use line, in a group, over several lines, inline, by `super`, by its full path.
    assert!(found(&["cluster", "pod"], "use crate::upgrade::Goal;"));
    assert!(found(&["judge", "floors"], "use crate::{cluster::Cluster, upgrade::decide};"));
    assert!(found(&["judge", "floors"], "use crate::upgrade::{\n    Action,\n    order::{self, next},\n};"));
    assert!(found(&["upgrade", "drain"], "fn f(w: &crate::simulator::World) {}"));
    assert!(found(&["upgrade", "drain"], "fn f() { let x = super::super::judge::abouts(); }"));
    assert!(found(&["upgrade"], "use super::judge::Judge;"));
    assert!(found(&["judge"], "use crate::upgrade;"));
    assert!(found(&["judge"], "use crate::*;"));
    assert!(found(&["trace"], "use ::cmsim::simulator::World;"));
    assert!(found(&["simulator", "world"], "use crate::upgrade::decide;"));
    assert!(found(&["explore"], "use crate::cli::Arguments;"));
    assert!(found(&["report", "text"], "use crate::cli;"));
    assert!(found(&["new_room"], "use crate::cluster::Cluster;"), "a room without a line in the table");
    // Impure things.
    assert!(found(&["simulator", "world"], "fn f() { std::time::Instant::now(); }"));
    assert!(found(&["upgrade"], "use std::{fmt, fs::File};"));
    assert!(found(&["cluster"], "use rand_xoshiro::Xoshiro256PlusPlus;"));
    assert!(found(&["judge"], "pub async fn observe() {}"));
    assert!(found(&["judge"], "fn f() { println!(\"x\"); }"));
    assert!(found(&["import", "read"], "fn f() { eprintln!(\"x\"); }"));
    assert!(found(&["cluster"], "mod utils;"));
    assert!(found(&["cluster", "helpers"], ""));
    assert!(found(&["cli", "apply"], "use kube::Client;"));
    assert!(found(&["import"], "fn f() { tokio::spawn(x); }"));
    assert!(found(&["engine"], "use crate::live::Live;"));
    // What is allowed, and what only looks like a violation.
    assert!(!found(&["judge", "floors"], "use crate::cluster::Cluster;\nuse crate::upgrade::Action;"));
    assert!(!found(&["judge", "floors"], "use crate::upgrade::Action as Act;"));
    assert!(!found(&["judge", "floors"], "use super::strength::{Tally, below};\nuse self::x::y;"));
    assert!(!found(&["explore", "walk"], "use rand_xoshiro::Xoshiro256PlusPlus;"));
    assert!(!found(&["cluster"], "// use crate::upgrade::Goal;\n/// See `crate::judge`.\n/* crate::simulator */"));
    assert!(!found(
        &["cluster"],
        "const X: &str = \"crate::judge\"; const Y: &str = r#\"std::fs \" {\"#; const Z: char = '\"';"
    ));
    assert!(!found(&["cluster"], "#[cfg(test)]\nmod tests {\n    use crate::simulator::World;\n    fn f() { { } }\n}"));
    assert!(!found(&["cluster", "tests"], "use crate::simulator::World;"));
    assert!(!found(&["cli", "check"], "use crate::judge::Judge; fn f() { println!(\"x\"); std::fs::read(\"x\"); }"));
    // Code after a test module still counts.
    assert!(found(&["cluster"], "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::judge::Judge;"));
}

/// Everything that is wrong with one file.
fn look(module: &[String], text: &str) -> Vec<String> {
    let place = if module.is_empty() { "crate root".to_owned() } else { module.join("::") };
    let mut problems = Vec::new();
    if let Some(name) = module.iter().find(|part| NO_ROOM_NAMES.contains(&part.as_str())) {
        problems.push(format!("{place}: no module is called {name}"));
    }
    if module.iter().any(|part| part == "tests") {
        return problems;
    }
    let tokens = without_tests(tokens(text));
    for pair in tokens.windows(2) {
        match (pair[0].as_str(), pair[1].as_str()) {
            ("mod", name) if NO_ROOM_NAMES.contains(&name) => problems.push(format!("{place}: mod {name}")),
            (name, "!") if PRINTS.contains(&name) && room(module) != "cli" => {
                problems.push(format!("{place}: {name}! outside cli"));
            }
            ("async", "fn" | "move" | "{") if purity(module).is_some() => problems.push(format!("{place}: async")),
            _ => {}
        }
    }
    for path in paths(&tokens) {
        problems.extend(judge_path(module, &path).map(|problem| format!("{place}: {} {problem}", path.join("::"))));
    }
    problems
}

fn room(module: &[String]) -> &str {
    module.first().map_or("", String::as_str)
}

fn purity(module: &[String]) -> Option<&'static [&'static str]> {
    PURE.iter().find(|(name, _)| *name == room(module)).map(|(_, allowed)| *allowed)
}

/// What is wrong with a path that is written in a module.
fn judge_path(module: &[String], path: &[String]) -> Option<String> {
    if let Some(allowed) = purity(module)
        && let Some((what, why)) = IMPURE.iter().find(|(what, _)| starts_with(path, what) && !allowed.contains(what))
    {
        return Some(format!("({what} {why})"));
    }
    let own = room(module);
    if let Some((name, rooms)) = ONLY_IN.iter().find(|(name, rooms)| path[0] == *name && !rooms.contains(&own)) {
        return Some(format!("({name} is for {} only)", rooms.join(", ")));
    }
    let inside = inside_crate(module, path)?;
    if own.is_empty() || own == "cli" || inside.first().is_some_and(|first| first == own) {
        return None;
    }
    let written = inside.join("::");
    let allowed = if ON_TOP.contains(&own) {
        written != "*" && inside[0] != "cli"
    } else {
        let Some((_, allowed)) = MAY_KNOW.iter().find(|(name, _)| *name == own) else {
            return Some("is in a room without a line in tests/house.rs".to_owned());
        };
        allowed.iter().any(|allowed| starts_with(&inside, allowed))
    };
    (!allowed).then(|| format!("is not for {own} to know"))
}

fn starts_with(path: &[String], prefix: &str) -> bool {
    let prefix: Vec<&str> = prefix.split("::").collect();
    path.len() >= prefix.len() && path.iter().zip(&prefix).all(|(part, wanted)| part == wanted)
}

/// The path from the crate's root, if it names something of the crate; `None` if not or if it stays in the own room.
fn inside_crate(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let first = path.first()?.as_str();
    if matches!(first, "crate" | "cmsim") {
        return (path.len() > 1).then(|| path[1..].to_vec());
    }
    let ups = path.iter().take_while(|part| *part == "super").count();
    if ups == 0 || ups < module.len() {
        return None;
    }
    (path.len() > ups).then(|| path[ups..].to_vec())
}

/// All paths of two parts and more, groups of use lines taken apart.
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        // A path may itself begin with `::`.
        let starts = is_word(&tokens[at])
            && !matches!(tokens[at].as_str(), "use" | "return" | "in" | "as" | "mut")
            && tokens.get(at + 1).is_some_and(|next| next == "::");
        let alone = at > 0 && tokens[at - 1] == "use" && is_word(&tokens[at]);
        if starts || alone {
            at = path(tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one path that begins at a word, and returns where it ends.
fn path(tokens: &[String], mut at: usize, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut parts = before.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while let Some(token) = tokens.get(at) {
                    match token.as_str() {
                        "}" => return at + 1,
                        "," => at += 1,
                        "as" => at += 2,
                        "{" | "*" => at = path(tokens, at, &parts, found),
                        word if is_word(word) => at = path(tokens, at, &parts, found),
                        _ => at += 1,
                    }
                }
                return at;
            }
            Some(word) if is_word(word) || word == "*" => {
                parts.push(word.to_owned());
                at += 1;
            }
            _ => break,
        }
        if tokens.get(at).is_none_or(|next| next != "::") {
            break;
        }
        at += 1;
    }
    if parts.last().is_some_and(|last| last == "self") {
        parts.pop();
    }
    found.push(parts);
    at
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Words and signs of a Rust text, without comments, texts, characters and lifetimes.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let next = chars.get(at + 1).copied().unwrap_or(' ');
        match chars[at] {
            '/' if next == '/' => at += chars[at..].iter().take_while(|&&c| c != '\n').count(),
            '/' if next == '*' => at = end_of_comment(&chars, at),
            '"' => at = end_of_text(&chars, at + 1),
            'r' if next == '"' || (next == '#' && is_raw(&chars[at + 1..])) => at = end_of_raw(&chars, at + 1),
            '\'' => at = end_of_char(&chars, at),
            ':' if next == ':' => {
                tokens.push("::".to_owned());
                at += 2;
            }
            c if c.is_alphanumeric() || c == '_' => {
                let word: String = chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
                at += word.chars().count();
                tokens.push(word);
            }
            c if c.is_whitespace() => at += 1,
            c => {
                tokens.push(c.to_string());
                at += 1;
            }
        }
    }
    tokens
}

fn end_of_comment(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn end_of_text(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn is_raw(chars: &[char]) -> bool {
    chars.iter().find(|&&c| c != '#') == Some(&'"')
}

fn end_of_raw(chars: &[char], mut at: usize) -> usize {
    let marks = chars[at..].iter().take_while(|&&c| c == '#').count();
    at += marks + 1;
    while at < chars.len() {
        if chars[at] == '"' && chars[at + 1..].iter().take(marks).filter(|&&c| c == '#').count() == marks {
            return at + 1 + marks;
        }
        at += 1;
    }
    at
}

/// The end of a character, or of a lifetime.
fn end_of_char(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => at + 3 + chars[at + 3..].iter().take_while(|&&c| c != '\'').count() + 1,
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
}

/// Leaves out what stands under `#[cfg(test)]`.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    let mark: Vec<&str> = vec!["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let marked = tokens[at..].iter().zip(&mark).filter(|(token, wanted)| token == *wanted).count() == mark.len();
        if !marked {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut depth = 0;
        at += mark.len();
        while at < tokens.len() {
            match tokens[at].as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 && matches!(tokens[at - 1].as_str(), "}" | ";") {
                break;
            }
        }
    }
    kept
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// `judge/floors.rs` is the module `judge::floors`, `judge/mod.rs` is `judge`, `lib.rs` and `main.rs` are the root.
fn module_of(path: &Path) -> Vec<String> {
    let parts = path.with_extension("");
    let mut parts: Vec<String> = parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") || parts == ["lib"] || parts == ["main"] {
        parts.pop();
    }
    parts
}
