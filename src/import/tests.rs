//! Objects to cluster, on recordings and on small inputs.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::cluster::{Owner, Phase};

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder)
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let all = walkdir::WalkDir::new(fixtures(folder)).sort_by_file_name();
    let files = all.into_iter().map(|entry| entry.unwrap().into_path());
    files.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

fn count(objects: &Value, kind: &str) -> usize {
    objects.get(kind).and_then(Value::as_array).map_or(0, Vec::len)
}

fn assert_counts(cluster: &Cluster, objects: &Value, name: &Path) {
    let workloads = ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController"];
    let found = |kind: &str| cluster.workloads().filter(|(_, one)| one.key.kind == kind).count();
    for kind in workloads {
        if kind == "ReplicationController" && count(objects, kind) == 0 {
            // Not recorded: it is taken from its pods.
            continue;
        }
        assert_eq!(found(kind), count(objects, kind), "{kind} of {}", name.display());
    }
    assert_eq!(cluster.pods().len(), count(objects, "Pod"), "{}", name.display());
    assert_eq!(cluster.budgets().len(), count(objects, "PodDisruptionBudget"), "{}", name.display());
    assert_eq!(cluster.services().len(), count(objects, "Service"), "{}", name.display());
    assert_eq!(cluster.claims().len(), count(objects, "PersistentVolumeClaim"), "{}", name.display());
    assert_eq!(cluster.volumes().len(), count(objects, "PersistentVolume"), "{}", name.display());
}

#[test]
fn every_recorded_drain_loads_with_all_that_it_holds() {
    let files = files("drains", ".initial.json");
    assert!(!files.is_empty());
    for file in files {
        let recording = read(&file);
        let cluster = from_recording(&recording).unwrap();
        assert_counts(&cluster, &recording["objects"], &file);
        assert_eq!(cluster.nodes().len(), count(&recording["objects"], "Node"), "{}", file.display());
        let ready = |pod: &Value| {
            let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
            conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
        };
        let pods = recording["objects"]["Pod"].as_array().unwrap();
        let expected = pods.iter().filter(|pod| ready(pod)).count();
        assert_eq!(cluster.pods().filter(|(_, pod)| pod.ready).count(), expected, "{}", file.display());
        for (id, pod) in cluster.pods() {
            let raw = pods.iter().find(|raw| raw["metadata"]["name"] == *pod.name).unwrap();
            let node = pod.node.map(|node| cluster.node(node).name().as_str());
            assert_eq!(node, raw["spec"]["nodeName"].as_str(), "{}", cluster.pod_key(id));
            let owned = raw["metadata"].get("ownerReferences").is_some();
            assert_eq!(pod.owner != Owner::None, owned, "{}", cluster.pod_key(id));
            assert!(!matches!(pod.owner, Owner::Missing { .. }), "{}: {}", file.display(), cluster.pod_key(id));
            // What a ReplicaSet makes next is the same as what is there.
            if let Owner::Workload(owner) = pod.owner
                && cluster.workload(owner).key.kind == "ReplicaSet"
            {
                assert_eq!(Some(pod.spec), cluster.workload(owner).template, "{}: {}", file.display(), pod.name);
            }
        }
        for (id, set) in cluster.workloads().filter(|(_, set)| set.as_deployment().is_some()) {
            let current = cluster.owned_workloads(id).iter().filter(
                |&&one| matches!(&cluster.workload(one).detail, crate::cluster::Detail::ReplicaSet(set) if set.current),
            );
            assert_eq!(current.count(), 1, "{}: {}", file.display(), set.key);
        }
    }
}

#[test]
fn every_eviction_case_loads_with_all_that_it_holds() {
    let files = files("evictions", ".json");
    assert!(!files.is_empty());
    for file in files {
        let case = read(&file);
        let cluster = from_recording(&case["initial"]).unwrap();
        assert_counts(&cluster, &case["initial"], &file);
        for (_, pod) in cluster.pods() {
            assert_eq!(pod.deletion.is_some(), pod.is_terminating());
        }
        let terminating = cluster.pods().filter(|(_, pod)| pod.deletion.is_some()).count();
        let pods = case["initial"]["Pod"].as_array().into_iter().flatten();
        let expected = pods.filter(|pod| pod["metadata"].get("deletionTimestamp").is_some()).count();
        assert_eq!(terminating, expected, "{}", file.display());
    }
}

#[test]
fn every_placement_case_loads_with_all_that_it_holds() {
    let files = files("placement", ".json");
    assert!(!files.is_empty());
    for file in files {
        for case in read(&file).as_array().unwrap() {
            let objects = case["objects"].as_array().unwrap();
            let mut cluster = from_objects(objects.iter().cloned()).unwrap();
            let of_kind = |kind: &str| objects.iter().filter(|object| object["kind"] == kind).count();
            assert_eq!(cluster.nodes().len(), of_kind("Node"), "{}", case["name"]);
            assert_eq!(cluster.pods().len(), of_kind("Pod"), "{}", case["name"]);
            for decision in case["decisions"].as_array().unwrap() {
                for when in ["before", "after"] {
                    let upserts = decision.pointer(&format!("/{when}/upsert")).and_then(Value::as_array);
                    for object in upserts.into_iter().flatten() {
                        apply(&mut cluster, object.clone()).unwrap();
                    }
                }
                if decision["pod"].get("spec").is_some() {
                    apply(&mut cluster, decision["pod"].clone()).unwrap();
                }
            }
        }
    }
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"containers": [{"name": "c", "image": "app"}]}, "status": {"phase": "Running"},
    })
}

#[test]
fn a_known_object_is_brought_up_to_date_and_keeps_its_id() {
    let mut cluster = from_objects([pod("a"), pod("b")]).unwrap();
    let mut changed = pod("a");
    changed["status"] = json!({"phase": "Failed"});
    apply(&mut cluster, changed).unwrap();
    apply(&mut cluster, pod("c")).unwrap();
    let phases: Vec<_> = cluster.pods().map(|(_, pod)| (pod.name.as_str(), pod.phase)).collect();
    assert_eq!(phases, [("a", Phase::Failed), ("b", Phase::Running), ("c", Phase::Running)]);
}

/// Reads files from memory, as [`load`] would from the disk.
fn load_text(text: &str) -> Result<Cluster, Errors> {
    load(&[PathBuf::from("-")], &mut text.as_bytes())
}

#[test]
fn every_defect_is_named_with_its_place_and_field() {
    let deployment = |spec: &str| {
        format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: shop}}\nspec: {spec}\n")
    };
    let pod = |spec: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a, namespace: shop}}\nspec: {spec}\n");
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let bomb = format!(
        "a: &a [x,x,x,x,x,x,x,x,x]\n{}",
        ('b'..='j')
            .map(|c| format!("{c}: &{c} [{}]\n", vec![format!("*{}", (c as u8 - 1) as char); 9].join(",")))
            .collect::<String>()
    );
    let mut wrong = Vec::new();
    for (what, text, expected) in [
        ("empty", String::new(), "-: holds no Kubernetes object"),
        ("no object", "just text".into(), "expected a Kubernetes object, found a text"),
        ("number", "3".into(), "expected a Kubernetes object, found a number"),
        ("missing kind", "apiVersion: v1\nmetadata: {name: x}".into(), "kind: is missing"),
        ("missing version", "kind: Pod\nmetadata: {name: x}".into(), "apiVersion: is missing"),
        ("missing name", "apiVersion: v1\nkind: Node\nmetadata: {}".into(), "-: Node: metadata.name: is missing"),
        ("wrong type", deployment("{replicas: many}"), "-: shop/Deployment/web: spec.replicas: invalid type"),
        ("negative replicas", deployment("{replicas: -1}"), "spec.replicas: invalid value: integer `-1`, expected a number from 0"),
        ("operator", deployment("{selector: {matchExpressions: [{key: a, operator: Near}]}}"), "spec.selector: \"Near\" is no operator"),
        ("no values", deployment("{selector: {matchExpressions: [{key: a, operator: In}]}}"), "needs `values`"),
        ("label value", deployment("{selector: {matchLabels: {a: \"-x\"}}}"), "\"-x\" is no label value"),
        ("percent", deployment("{strategy: {rollingUpdate: {maxSurge: 25}}}").replace("25", "lots%"), "spec.strategy.rollingUpdate.maxSurge: invalid value"),
        ("quantity", pod("{containers: [{name: c, resources: {requests: {cpu: 1core}}}]}"), "spec.containers[0].resources.requests.cpu: invalid value: string \"1core\""),
        ("effect", pod("{tolerations: [{effect: Never}]}"), "spec.tolerations[0]: \"Never\" is no effect"),
        ("version", "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nstatus: {nodeInfo: {kubeletVersion: new}}".into(), "status.nodeInfo.kubeletVersion: \"new\" is not a Kubernetes version"),
        ("time", "apiVersion: v1\nkind: Node\nmetadata: {name: n, creationTimestamp: yesterday}".into(), "metadata.creationTimestamp: invalid value"),
        ("truncated JSON", "{\"apiVersion\": \"v1\", \"kind\": \"Po".into(), "EOF while parsing"),
        ("truncated YAML", "apiVersion: v1\nkind: \"Po".into(), "-: "),
        ("deep JSON", format!("{{\"a\": {deep}}}"), "recursion limit"),
        ("deep YAML", format!("a: {deep}"), "-: "),
        ("alias bomb", bomb, "-: "),
        ("second document", format!("{}---\nkind: Pod\n", pod("{}")), "document 2: Pod: apiVersion: is missing"),
        ("item", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Node\n  metadata: {name: n}\n- apiVersion: v1\n  kind: Pod\n  metadata: {}\n".into(), "-, item 2: Pod: metadata.name: is missing"),
    ] {
        let errors = load_text(&text).expect_err(what).to_string();
        if !errors.contains(expected) {
            wrong.push(format!("{what}: {errors}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_defects_are_collected() {
    let items: String = (0..60)
        .map(|n| format!("- apiVersion: v1\n  kind: Node\n  metadata: {{name: n{n}}}\n  spec: {{unschedulable: 1}}\n"))
        .collect();
    let errors = load_text(&format!("apiVersion: v1\nitems:\n{items}kind: List\n")).unwrap_err();
    assert_eq!(errors.problems.len(), 60);
    assert!(errors.to_string().ends_with("and 10 more"), "{errors}");
}

#[test]
fn what_is_no_text_and_half_a_gzip_is_an_error() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(pod("a").to_string().as_bytes()).unwrap();
    let whole = encoder.finish().unwrap();
    let stdin = [PathBuf::from("-")];
    assert_eq!(load(&stdin, &mut &whole[..]).unwrap().pods().len(), 1);
    let half = load(&stdin, &mut &whole[..whole.len() / 2]).unwrap_err().to_string();
    assert!(half.contains("no whole gzip file"), "{half}");
    let junk = load(&stdin, &mut &[0x80u8, 0xff, 0, 1][..]).unwrap_err().to_string();
    assert!(junk.contains("expected UTF-8 text"), "{junk}");
}

#[test]
fn one_cluster_is_the_same_in_every_layout() {
    let objects = [pod("a"), pod("b")];
    let json = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let bare: Vec<Value> = objects
        .iter()
        .map(|one| json!({"metadata": one["metadata"], "spec": one["spec"], "status": one["status"]}))
        .collect();
    let typed = json!({"kind": "PodList", "apiVersion": "v1", "items": bare}).to_string();
    let late = format!("{{\"items\": {}, \"kind\": \"PodList\", \"apiVersion\": \"v1\"}}", json!(bare));
    let documents: String = objects.iter().map(|one| format!("---\n{one}\n")).collect();
    let yaml = "apiVersion: v1\r\nitems:\r\n- apiVersion: v1\r\n  kind: Pod\r\n  metadata: {name: a, namespace: shop}\r\n  spec:\r\n    containers:\r\n    - name: c\r\n      image: app\r\n  status: {phase: Running}\r\n- apiVersion: v1\r\n  kind: Pod\r\n  metadata: {name: b, namespace: shop}\r\n  spec: &spec\r\n    containers:\r\n    - {name: c, image: app}\r\n  status: {phase: Running}\r\nkind: List\r\n";
    let anchored = yaml.replace("&spec", "&spec ").replace("\r\n", "\n");
    let seen = |text: &str| {
        let cluster = load_text(text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        cluster.pods().map(|(id, pod)| (cluster.pod_key(id).to_string(), pod.phase, pod.spec)).collect::<Vec<_>>()
    };
    let expected = seen(&json);
    assert_eq!(expected.len(), 2);
    for text in [typed.as_str(), &late, &documents, yaml, &anchored, &format!("\u{feff}{json}")] {
        assert_eq!(seen(text), expected, "{text}");
    }
}

#[test]
fn time_that_a_taint_is_tolerated_for_is_said_to_count_from_the_dump() {
    let said = |effect: &str, seconds: Value| {
        let taints = json!([{"key": "gone", "effect": effect, "timeAdded": "2026-01-01T00:00:00Z"}]);
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {"taints": taints}});
        let mut one = pod("a");
        one["spec"]["nodeName"] = json!("n1");
        one["spec"]["tolerations"] = json!([{"key": "gone", "operator": "Exists", "tolerationSeconds": seconds}]);
        let cluster = from_objects([node, one]).unwrap();
        cluster.catalog.input.not_modelled.iter().any(|(object, _)| object.to_string() == "Node/n1")
    };
    assert!(said("NoExecute", json!(60)));
    assert!(!said("NoExecute", Value::Null) && !said("NoSchedule", json!(60)));
}

#[test]
fn hosts_files_name_nodes_of_the_cluster_and_known_facts() {
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}});
    let mut cluster = from_objects([node]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts.yaml");
    let mut read = |text: &str| {
        std::fs::write(&file, text).unwrap();
        hosts(&mut cluster, &file).map_err(|errors| errors.to_string())
    };
    read("n1: {cpus: 4, kubelet: {failCgroupV1: true}}").unwrap();
    for (text, expected) in [
        ("n2: {}", "hosts.yaml: n2: the cluster has no node of this name"),
        ("n1: {cpu: 4}", "hosts.yaml: n1.cpu: unknown field `cpu`"),
        ("n1: {kubelet: {gates: {}}}", "hosts.yaml: n1.kubelet.gates: unknown field"),
        ("[n1]", "expected a map from node name to facts"),
    ] {
        let errors = read(text).unwrap_err();
        assert!(errors.contains(expected), "{text}: {errors}");
    }
    assert_eq!(cluster.catalog.hosts[&Name::new("n1")].cpus, Some(4));
}

/// docs/hosts.md has every field of the format in its table and among the lines to collect it by hand, and the first host of its
/// example states them all.
#[test]
fn the_document_of_the_hosts_file_is_complete() {
    use crate::cluster::{ChangedFile, Disk, HostFacts, KubeletFacts};

    let document = include_str!("../../docs/hosts.md");
    let fenced = |language: &str| {
        let (_, rest) = document.split_once(&format!("```{language}\n")).unwrap();
        rest.split_once("```").unwrap().0
    };
    let keys = |value: Value| value.as_object().unwrap().keys().cloned().collect::<Vec<String>>();
    let top = keys(json!(HostFacts::default()));
    let below =
        |above: &str, keys: Vec<String>| keys.into_iter().map(|key| format!("{above}.{key}")).collect::<Vec<_>>();
    let of_kubelet = below("kubelet", keys(json!(KubeletFacts::default())));
    let of_items =
        [below("disks[]", keys(json!(Disk::default()))), below("changedFiles[]", keys(json!(ChangedFile::default())))];

    let mut fields = [top.clone(), of_kubelet.clone(), of_items.concat()].concat();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let mut documented: Vec<&str> = rows.map(|(field, _)| field).collect();
    fields.sort_unstable();
    documented.sort_unstable();
    assert_eq!(documented, fields);

    let notes = fenced("sh").lines().filter_map(|line| line.strip_prefix("# "));
    let collected: Vec<&str> = notes.flat_map(str::split_whitespace).collect();
    for field in top.iter().filter(|field| *field != "kubelet").chain(&of_kubelet) {
        assert!(collected.contains(&field.as_str()), "no line collects {field}");
    }

    let node = |name: &str| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    let mut cluster = from_objects([node("cp1"), node("n1")]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts.yaml");
    std::fs::write(&file, fenced("yaml")).unwrap();
    hosts(&mut cluster, &file).unwrap_or_else(|errors| panic!("{errors}"));
    let example = json!(cluster.catalog.hosts[&Name::new("cp1")]);
    let unstated = |value: &Value| value.as_object().unwrap().values().filter(|value| value.is_null()).count();
    assert_eq!((unstated(&example), unstated(&example["kubelet"])), (0, 0), "{example:#}");
}
