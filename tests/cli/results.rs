//! What is printed: the documented JSON, the same bytes for the same seed, the command that replays the worst run.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{QUIET, TROUBLED, cmsim, error, out, root, run, write};

/// Fields of a result with their types, from its section in `docs/check-result.md`.
fn documented(kind: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root().join("docs/check-result.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with(kind)).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let fields = rows.map(|(field, rest)| (field.to_owned(), rest.split(" |").next().unwrap().to_owned()));
    let mut fields: BTreeMap<String, String> = fields.collect();
    if fields.remove("placement").is_some() {
        fields.extend(documented("CheckResult").into_iter().filter(|(field, _)| field.starts_with("placement.")));
    }
    fields.insert("apiVersion".to_owned(), "string".to_owned());
    fields.insert("kind".to_owned(), "string".to_owned());
    assert!(fields.len() > 3, "{kind}");
    fields
}

/// Maps whose keys are data.
fn is_map(path: &str) -> bool {
    let maps = ["nodes", "skew", "checked", "notModelled", "input.unknown"];
    maps.iter().any(|map| path == *map || path.ends_with(&format!(".{map}")))
}

/// Every value with the path of its field.
fn values(path: &str, value: &Value, found: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let mut put = |kind| {
        found.entry(path.to_owned()).or_default().insert(kind);
    };
    match value {
        Value::Null => put("null"),
        Value::Bool(_) => put("boolean"),
        Value::String(_) => put("string"),
        Value::Number(number) if number.is_f64() => put("number"),
        Value::Number(_) => put("integer"),
        Value::Array(items) => items.iter().for_each(|item| values(&format!("{path}[]"), item, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = if is_map(path) { "*" } else { key };
                let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                values(&path, value, found);
            }
        }
    }
}

/// Holds results against the documentation: no field and no type that is not documented. Gives back what is documented and
/// stands in none of them.
fn validate(kind: &str, results: &[Value]) -> Vec<String> {
    let documented = documented(kind);
    let mut found = BTreeMap::new();
    for result in results {
        assert_eq!(result["apiVersion"], "cmsim.dev/v1");
        assert_eq!(result["kind"], kind);
        values("", result, &mut found);
    }
    for (field, types) in &found {
        let Some(said) = documented.get(field) else { panic!("{kind}: {field} is not documented") };
        for one in types {
            assert!(said.split(" or ").any(|said| said == *one), "{kind}: {field} is {one}, documented is {said}");
        }
    }
    documented.into_keys().filter(|field| !found.contains_key(field)).collect()
}

fn json(line: &str) -> Value {
    let output = run(line);
    assert!(output.status.code() < Some(2), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The quiet cluster without any room: a pod that is not placed, a budget below its count, one Pod twice.
fn full() -> String {
    let text = std::fs::read_to_string(root().join(QUIET)).unwrap();
    let mut list: Value = serde_saphyr::from_str(&text).unwrap();
    let items = list["items"].as_array_mut().unwrap();
    for item in items.iter_mut() {
        if item["kind"] == "Node" {
            let room = if item["metadata"]["name"] == "n2" { "0" } else { "1" };
            item["status"]["allocatable"]["pods"] = room.into();
        }
        if item["metadata"]["name"] == "web-1-2" {
            item["spec"]["nodeName"] = Value::Null;
            item["status"] = serde_json::json!({"phase": "Pending"});
        }
        if item["kind"] == "PodDisruptionBudget" {
            item["spec"]["minAvailable"] = 3.into();
            item["status"]["desiredHealthy"] = 3.into();
        }
    }
    items.push(items.last().unwrap().clone());
    list.to_string()
}

#[test]
fn json_results_are_as_documented() {
    let checks = [
        format!("check -f {QUIET} --to v1.37.0 --walks 2 -o json"),
        format!("check -f {TROUBLED} --to v1.37.0 --walks 2 -o json"),
        // Past what blocks it, so that applications are interrupted.
        format!("check -f {TROUBLED} --to v1.37.0 --walks 2 --force --on-blocked continue --drain-timeout 5m -o json"),
    ];
    let mut results: Vec<Value> = checks.iter().map(|line| json(line)).collect();
    let output = cmsim().args("check -f - --to v1.39.0 --walks 1 -o json".split(' ')).write_stdin(full()).output();
    results.push(serde_json::from_slice(&output.unwrap().stdout).unwrap());
    let verdicts: Vec<&str> = results.iter().map(|result| result["verdict"].as_str().unwrap()).collect();
    assert_eq!(&verdicts[..3], ["non-disruptive", "blocked", "disruptive"]);
    let lacking = validate("CheckResult", &results);
    assert!(lacking.is_empty(), "no result has {lacking:?}");
}

#[test]
fn json_of_the_other_commands_is_as_documented() {
    let line = "capacity -f - --to v1.39.0 --walks 1 --disable-eviction --on-blocked continue -o json";
    let output = cmsim().args(line.split(' ')).write_stdin(full()).output().unwrap();
    let capacity: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(capacity["holdsWithoutOneNode"], false);
    let stopped = json("capacity -f fixtures/dumps/kind-troubled.yaml --to v1.37.0 --walks 1 -o json");
    assert!(stopped["holdsWithoutOneNode"].is_null(), "no node was out");
    let lacking = validate("CapacityResult", &[capacity, stopped]);
    assert!(lacking.is_empty(), "no result has {lacking:?}");

    let conform = json("conform drains fixtures/drains/two-nodes fixtures/drains/plain-3n-single-replicas -o json");
    let lacking = validate("ConformResult", &[conform]);
    assert!(lacking.iter().all(|field| field.starts_with("mismatches") || field == "notModelled.*"), "{lacking:?}");

    let pacing = json("conform pacing fixtures/drains --walks 1 -o json");
    assert_eq!(validate("PacingComparison", &[pacing]), [""; 0]);

    assert_eq!(validate("ExplainResult", &[json("explain J001 -o json")]), [""; 0]);
    let all = json("explain -o json");
    assert_eq!(validate("ExplainResult", std::slice::from_ref(&all)), [""; 0]);
    let listed = out(&run("explain"), 0);
    assert_eq!(all["codes"].as_array().unwrap().len(), listed.lines().count());

    let folder = tempfile::tempdir().unwrap();
    let wrong = "story: none\ncluster: {nodes: {count: 1}}\nwalks: 1\nexpect: {verdict: blocked}\n";
    let file = write(folder.path(), "wrong.yaml", wrong);
    let test = json(&format!("test {} -o json", file.display()));
    assert_eq!(validate("TestResult", &[test]), [""; 0]);
}

#[test]
fn every_code_that_a_result_names_is_explained() {
    let line =
        format!("check -f {TROUBLED} --to v1.37.0 --walks 2 --force --on-blocked continue --drain-timeout 5m -o json");
    let result = json(&line);
    let codes = ["findings", "broken"].iter().flat_map(|part| result[part].as_array().unwrap());
    let codes: BTreeSet<&str> = codes.map(|one| one["code"].as_str().unwrap()).collect();
    assert!(!codes.is_empty());
    for code in codes {
        let text = out(&run(&format!("explain {code}")), 0);
        for part in ["What: ", "Why: ", "Example: ", "Way out: "] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for output in ["text", "json"] {
        let line = |seed: u64, trace: &str| {
            let trace = folder.path().join(trace);
            format!(
                "check -f {TROUBLED} --to v1.37.0 --force --pacing budgets --walks 6 --seed {seed} -o {output} --trace {}",
                trace.display()
            )
        };
        let (one, two, other) = (run(&line(7, "1")), run(&line(7, "2")), run(&line(8, "3")));
        assert_eq!(one.stdout, two.stdout);
        let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        assert_eq!(bytes("1"), bytes("2"));
        assert_ne!(one.stdout, other.stdout, "another seed is another run");
    }
}

#[test]
fn the_printed_command_replays_the_worst_run() {
    let folder = tempfile::tempdir().unwrap();
    let dump = write(folder.path(), "it's a dump.yaml", std::fs::read(root().join(TROUBLED)).unwrap());
    let mut command = cmsim();
    command.args(["check", "--walks", "12", "--seed=40", "--to", "v1.37.0", "--force", "--pacing", "budgets"]);
    command.args(["--on-blocked", "continue", "--drain-timeout", "5m", "--floor", "shop/Deployment/checkout=1"]);
    command.arg("--filename").arg(&dump).args(["--ignore", "P001"]);
    let text = out(&command.output().unwrap(), 1);
    let worst = text.lines().find_map(|line| line.trim().strip_prefix("worst run again: cmsim ")).unwrap();
    let worst = format!("'{}' {worst}", env!("CARGO_BIN_EXE_cmsim"));
    assert!(worst.contains("--walks 1 --seed "), "{worst}");
    let shell =
        |line: &str| std::process::Command::new("sh").args(["-c", line]).current_dir(folder.path()).output().unwrap();
    let replayed = out(&shell(&worst), 1);
    let verdict = |text: &str| text.split("  ").next().unwrap().to_owned();
    assert_eq!(verdict(&replayed), verdict(&text));
    // It is the run of that seed, down to the rules that it breaks.
    let result: Value = serde_json::from_slice(&shell(&format!("{worst} -o json")).stdout).unwrap();
    let mut all = command;
    let all: Value = serde_json::from_slice(&all.args(["-o", "json"]).output().unwrap().stdout).unwrap();
    assert_eq!(result["evidence"]["seed"], all["evidence"]["worstSeed"]);
    assert_eq!(result["verdict"], all["verdict"]);
    let trace = std::fs::read_to_string(folder.path().join("run.jsonl")).unwrap();
    let header: Value = serde_json::from_str(trace.lines().next().unwrap()).unwrap();
    assert_eq!(header["seed"], all["evidence"]["worstSeed"]);
    assert!(trace.lines().skip(1).all(|line| serde_json::from_str::<Value>(line).is_ok()));
    assert!(trace.lines().count() > 20);
}

#[test]
fn an_error_with_json_asked_for_is_still_an_error() {
    let text = error(&run("check -f no-such-file --to v1.37.0 -o json"));
    assert!(text.contains("no-such-file: cannot be read"), "{text}");
}

#[test]
fn what_to_do_says_each_thing_once() {
    let todo = |flags: &str| {
        let text = out(&run(&format!("check -f {TROUBLED} --to v1.37.0 --walks 2 {flags}")), 1);
        let section = text.split("\nWhat to do\n").nth(1).unwrap().split("\n\n").next().unwrap();
        section.to_owned()
    };
    // A finding about a pod that holds the run says why the run stops.
    let said = todo("");
    assert_eq!(said.matches("ops/Pod/debug-shell").count(), 1, "{said}");
    assert!(!said.contains("cannot be drained") && !said.contains("J007"), "{said}");
    // Without it the pod is named where it blocks.
    let said = todo("--ignore P001");
    assert_eq!(said.matches("ops/Pod/debug-shell").count(), 1, "{said}");
    assert!(said.contains("blocked Node/real-worker4 cannot be drained (2 of 2 runs)"), "{said}");
    assert!(!said.contains("J007"), "{said}");
    // A finding that explains a broken rule stands under it.
    let said = todo("--force --on-blocked continue --drain-timeout 5m");
    let titles: Vec<&str> = said.lines().filter(|line| !line.starts_with("     ")).collect();
    assert_eq!(titles.iter().filter(|line| line.contains("shop/Deployment/checkout")).count(), 1, "{said}");
    assert!(said.contains("\n     P009: 1 replica, on real-worker"), "{said}");
    // A budget that blocks, and the pod that it blocks.
    let said = todo("--force --drain-timeout 5m");
    assert!(said.contains("P003 shop/PodDisruptionBudget/legacy") && !said.contains("cannot be drained"), "{said}");
}
