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
