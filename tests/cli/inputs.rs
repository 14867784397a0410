//! One cluster in all the forms that an input may have.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{QUIET, TROUBLED, cmsim, error, gzip, out, root, run, write};

/// The result of a check without what says where the input came from.
fn result(files: &[&Path], stdin: Option<&[u8]>) -> Value {
    let mut command = cmsim();
    command.args(["check", "--to", "v1.37.0", "--walks", "2", "-o", "json"]);
    for file in files {
        command.arg("-f").arg(file);
    }
    let output = match stdin {
        Some(bytes) => command.write_stdin(bytes).output().unwrap(),
        None => command.output().unwrap(),
    };
    let code = output.status.code().unwrap();
    assert!(code < 2, "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn quiet_items() -> Vec<Value> {
    let text = std::fs::read_to_string(root().join(QUIET)).unwrap();
    let list: Value = serde_saphyr::from_str(&text).unwrap();
    list["items"].as_array().unwrap().clone()
}

fn list(items: &[Value]) -> String {
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

#[test]
fn the_same_cluster_in_every_form_has_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let expected = result(&[Path::new(QUIET)], None);
    let yaml = std::fs::read(root().join(QUIET)).unwrap();
    let items = quiet_items();
    let json = list(&items);
    let stdin = Path::new("-");

    assert_eq!(result(&[stdin], Some(json.as_bytes())), expected, "JSON List on standard input");
    assert_eq!(result(&[stdin], Some(&yaml)), expected, "YAML on standard input");
    assert_eq!(result(&[stdin], Some(&gzip(json.as_bytes()))), expected, "gzip on standard input");
    assert_eq!(result(&[&write(folder, "c.yaml.gz", gzip(&yaml))], None), expected, "gzip");
    assert_eq!(result(&[&write(folder, "no-ending", gzip(&yaml))], None), expected, "gzip without its ending");

    let halves = items.split_at(items.len() / 2);
    let (one, two) = (write(folder, "one.json", list(halves.0)), write(folder, "two.json", list(halves.1)));
    assert_eq!(result(&[&one, &two], None), expected, "two files");
    assert_eq!(result(&[&one, stdin], Some(list(halves.1).as_bytes())), expected, "a file and standard input");

    let documents: String = items.iter().map(|item| format!("---\n{item}\n")).collect();
    assert_eq!(result(&[&write(folder, "documents.yaml", documents)], None), expected, "documents");

    let mut kinds: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for item in &items {
        kinds.entry(item["kind"].as_str().unwrap()).or_default().push(item.clone());
    }
    for (kind, items) in &kinds {
        write(folder, &format!("tree/by-kind/{kind}.json"), list(items));
    }
    assert_eq!(result(&[&folder.join("tree")], None), expected, "a folder");
    // What is no object is passed over in a folder, and counted.
    write(folder, "tree/notes.txt", "kind of a note");
    write(folder, "tree/values.yaml", "replicas: 3\n");
    let counted = result(&[&folder.join("tree")], None);
    let remarks = &counted["input"]["remarks"];
    assert_eq!(remarks[0], "2 files hold no Kubernetes objects and were passed over", "{remarks}");
}

#[test]
fn an_archive_and_its_unpacked_tree_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let archive = root().join("fixtures/dumps/kind-troubled-cluster-info-dump.tar.gz");
    let bytes = std::fs::read(&archive).unwrap();
    tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..])).unpack(folder.path()).unwrap();
    let packed = result(&[&archive], None);
    assert_eq!(packed, result(&[&folder.path().join("cluster-info-dump")], None));
    assert_eq!(packed, result(&[Path::new("-")], Some(&bytes)));
    // The same cluster as in the YAML dump, as far as a cluster-info dump goes: it has no budgets.
    let full = result(&[Path::new(TROUBLED)], None);
    for of in ["Pod", "Node"] {
        assert!(!packed["input"]["missing"].to_string().contains(&format!("no {of} in")));
    }
    assert_eq!(packed["nodes"].as_array().unwrap().len(), full["nodes"].as_array().unwrap().len());
    assert!(packed["input"]["missing"].to_string().contains("no PodDisruptionBudget in the input: none is assumed"));
    assert!(!full["input"]["missing"].to_string().contains("no PodDisruptionBudget in the input"));
}

/// A cluster-info dump holds neither StatefulSets nor Jobs: their pods come back all the same, and a Job's pods are counted and let
/// go.
#[test]
fn owners_and_claims_that_an_input_lacks_are_taken_from_the_pods() {
    let text = std::fs::read_to_string(root().join(TROUBLED)).unwrap();
    let objects: Value = serde_saphyr::from_str(&text).unwrap();
    let mut items = objects["items"].as_array().unwrap().clone();
    let named = |item: &Value, kind: &str, name: &str| item["kind"] == kind && item["metadata"]["name"] == name;
    items.retain(|item| !named(item, "Pod", "debug-shell") && !named(item, "PodDisruptionBudget", "legacy"));
    items.retain(|item| !matches!(item["kind"].as_str().unwrap(), "StatefulSet" | "Job" | "CronJob"));
    for item in items.iter_mut().filter(|item| item["metadata"]["name"] == "db-0") {
        let claim = serde_json::json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}});
        item["spec"]["volumes"] = serde_json::json!([claim]);
    }
    let result = result(&[Path::new("-")], Some(list(&items).as_bytes()));
    assert_eq!(result["completes"], true, "{}", result["stoppedBecause"]);
    assert_eq!(result["pending"], serde_json::json!([]));
    let broken: Vec<&Value> = result["broken"].as_array().unwrap().iter().map(|broken| &broken["code"]).collect();
    assert!(!broken.iter().any(|code| **code == "J003"), "{broken:?}");
    let not_modelled = result["notModelled"].to_string();
    assert!(not_modelled.contains("data/PersistentVolumeClaim/data-db-0: from which nodes"), "{not_modelled}");
}

#[test]
fn what_an_input_lacks_is_said() {
    let items = quiet_items();
    let without = |kind: &str| items.iter().filter(|item| item["kind"] != kind).cloned().collect::<Vec<_>>();
    let text = |items: &[Value]| {
        let output =
            cmsim().args(["check", "-f", "-", "--to", "v1.37.0", "--walks", "1"]).write_stdin(list(items)).output();
        let output = output.unwrap();
        assert!(output.status.code() < Some(2), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for (kind, said) in [
        ("PodDisruptionBudget", " no PodDisruptionBudget in the input: none is assumed: nothing limits evictions"),
        ("Service", " no Service in the input: none is assumed"),
        ("Deployment", " no Deployment in the input: Deployments that ReplicaSets name are assumed"),
        ("Pod", " no Pod in the input: no pod is assumed"),
    ] {
        assert!(!text(&items).contains(said), "{kind}");
        assert!(text(&without(kind)).contains(said), "{kind}: {}", text(&without(kind)));
    }
    let mut nothing = cmsim();
    nothing.args(["check", "-f", "-", "--to", "v1.37.0"]).write_stdin(list(&without("Node")));
    let said = error(&nothing.output().unwrap());
    assert!(said.contains("the input holds no Node") && said.contains("kubectl get nodes,pods"), "{said}");
    // Kinds that were asked for and are empty are not missing.
    let empty = r#"{"apiVersion": "policy/v1", "kind": "PodDisruptionBudgetList", "items": []}"#;
    let documents = format!("---\n{}\n---\n{empty}\n", list(&without("PodDisruptionBudget")));
    let mut asked = cmsim();
    asked.args(["check", "-f", "-", "--to", "v1.37.0", "--walks", "1"]).write_stdin(documents);
    let said = out(&asked.output().unwrap(), 0);
    assert!(!said.contains("no PodDisruptionBudget in the input"), "{said}");
    // Unknown kinds are counted.
    let mut more = items.clone();
    more.push(serde_json::json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w"}}));
    assert!(text(&more).contains("passed over: 1 Widget"), "{}", text(&more));
}

#[test]
fn hosts_are_read_beside_the_dump() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = |text: &str| {
        let file = write(folder.path(), "hosts.yaml", text);
        let line = format!("check -f {QUIET} --to v1.37.0 --walks 1 --hosts {}", file.display());
        run(&line)
    };
    out(&hosts("n1: {cpus: 4}\n"), 0);
    let said = error(&hosts("n1: {cpu: 4}\n"));
    assert!(said.contains("hosts.yaml: n1.cpu: unknown field `cpu`"), "{said}");
    let said = error(&hosts("n9: {cpus: 4}\n"));
    assert!(said.contains("n9: the cluster has no node of this name"), "{said}");
}
