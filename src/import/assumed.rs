//! What the input does not hold, since it holds nothing of the kind, and what pods show of it all the same: owners, claims
//! and volumes. They are taken to be as they show; the result says so.

use std::sync::Arc;

use super::directory::Directory;
use crate::cluster::{
    Access, Claim, ClaimTemplate, Cluster, Detail, Job, JobEnd, Name, ObjectKey, PersistentVolume, Phase, PodId,
    ReplicaSet, StatefulSet, Volume,
};

/// Owners: the template of one of their pods, and as many as are there.
pub(super) fn owners(cluster: &mut Cluster, directory: &Directory) {
    Arc::make_mut(&mut cluster.catalog).unseen.extend(&directory.assumed);
    for &id in &directory.assumed {
        let key = cluster.workload(id).key;
        let pods = cluster.pods_of_workload(id);
        let active: Vec<PodId> = pods.iter().copied().filter(|&pod| cluster.pod(pod).is_active()).collect();
        let of_children: i32 = cluster.owned_workloads(id).iter().map(|&owned| cluster.workload(owned).replicas).sum();
        let mut replicas = i32::try_from(active.len()).unwrap_or(i32::MAX).saturating_add(of_children);
        let template = active.last().map(|&pod| cluster.pod(pod).spec);
        let detail = match &*key.kind {
            "ReplicaSet" => Detail::ReplicaSet(ReplicaSet { current: true, ..Default::default() }),
            "ReplicationController" => Detail::ReplicationController,
            "StatefulSet" => {
                let set = stateful_set(cluster, &active, key.name);
                replicas = set.current_replicas;
                Detail::StatefulSet(set)
            }
            "Job" => Detail::Job(job(cluster, pods, replicas)),
            _ => {
                cluster.update_workload(id, |workload| workload.replicas = replicas);
                continue;
            }
        };
        cluster.update_workload(id, |workload| {
            (workload.replicas, workload.detail, workload.template) = (replicas, detail, template);
        });
    }
}

/// From its lowest to its highest ordinal, in order, with the claims that one of the pods has; it updates nothing.
fn stateful_set(cluster: &Cluster, active: &[PodId], name: Name) -> StatefulSet {
    let ordinals = active.iter().filter_map(|&pod| cluster.pod(pod).ordinal);
    let (start, end) = ordinals.fold((u32::MAX, 0), |(start, end), ordinal| (start.min(ordinal), end.max(ordinal + 1)));
    let start = start.min(end);
    let own_claims = active.last().into_iter().flat_map(|&pod| {
        let ending = format!("-{name}-{}", cluster.pod(pod).ordinal.unwrap_or_default());
        cluster.spec(pod).volumes.iter().filter_map(move |volume| match volume {
            Volume::Claim { name, .. } => name.strip_suffix(ending.as_str()).map(Name::new),
            _ => None,
        })
    });
    StatefulSet {
        parallel: false,
        start,
        on_delete: true,
        rolling_update_unset: false,
        partition: 0,
        max_unavailable: None,
        claim_templates: own_claims
            .map(|name| ClaimTemplate { name, class: Name::EMPTY, bytes: 0, access: Access::default() })
            .collect(),
        updating: false,
        update_revision: Name::EMPTY,
        current_template: None,
        current_replicas: i32::try_from(end - start).unwrap_or(i32::MAX),
    }
}

/// One that wants a success of every pod that is there, with the default back-off limit.
fn job(cluster: &Cluster, pods: &[PodId], active: i32) -> Job {
    let count = |test: &dyn Fn(PodId) -> bool| pods.iter().filter(|&&pod| test(pod)).count() as i32;
    let in_phase = |pod, phase| cluster.pod(pod).phase == phase;
    let counted = |pod, phase| in_phase(pod, phase) && !cluster.pod(pod).job_finalizer;
    let indexes = |phase: Option<Phase>| {
        let of_phase = pods.iter().filter(move |&&pod| phase.is_none_or(|phase| counted(pod, phase)));
        of_phase.filter_map(|&pod| cluster.pod(pod).ordinal)
    };
    let indexed = indexes(None).next().is_some();
    let failed = count(&|pod| counted(pod, Phase::Failed));
    let completions = if indexed {
        indexes(None).max().map_or(0, |last| last as i32 + 1)
    } else {
        active + count(&|pod| in_phase(pod, Phase::Succeeded))
    };
    let mut completed_indexes: Vec<u32> = Vec::new();
    if indexed {
        // Pods of lower indexes are created first: those without one are done.
        let open: Vec<u32> = pods
            .iter()
            .filter(|&&pod| !counted(pod, Phase::Succeeded))
            .filter_map(|&pod| cluster.pod(pod).ordinal)
            .collect();
        completed_indexes = (0..completions as u32).filter(|index| !open.contains(index)).collect();
    }
    Job {
        completions: Some(completions),
        backoff_limit: failed.max(6),
        replace_only_failed: false,
        failure_policy: Vec::new(),
        indexed,
        suspended: false,
        succeeded: if indexed { completed_indexes.len() as i32 } else { count(&|pod| counted(pod, Phase::Succeeded)) },
        failed,
        failures_in_row: 0,
        last_failure: None,
        finished: (active == 0).then_some(JobEnd::Complete),
        completed_indexes,
    }
}

/// Claims that pods on nodes name, bound, and the volumes of bound claims, within reach of every node.
pub(super) fn storage(cluster: &mut Cluster) {
    let lacks = |cluster: &Cluster, kind: &str| !cluster.catalog.input.kinds.contains_key(&Name::new(kind));
    let mut first: Option<ObjectKey> = None;
    let mut count = 0;
    if lacks(cluster, "PersistentVolumeClaim") {
        for claim in named_claims(cluster) {
            if cluster.find_claim(claim.namespace, claim.name).is_none() {
                cluster.add_claim(claim);
            }
        }
    }
    if lacks(cluster, "PersistentVolume") {
        let bound = cluster.claims().filter(|(_, claim)| claim.bound && cluster.find_volume(claim.volume).is_none());
        let volumes: Vec<PersistentVolume> = bound.map(|(_, claim)| volume_of(claim)).collect();
        for volume in volumes {
            if let Some((namespace, name)) = volume.claim {
                first = first.or(Some(ObjectKey::new(namespace, "PersistentVolumeClaim", name)));
            }
            count += 1;
            cluster.add_volume(volume);
        }
    }
    if let Some(first) = first {
        let what = format!("from which nodes its volume is within reach; so for {count} claims");
        Arc::make_mut(&mut cluster.catalog).input.not_modelled.push((first, what));
    }
}

fn named_claims(cluster: &Cluster) -> Vec<Claim> {
    let on_nodes = cluster.pods().filter(|(_, pod)| pod.node.is_some() && pod.is_active());
    let mut claims = Vec::new();
    for (id, pod) in on_nodes {
        for volume in &cluster.spec(id).volumes {
            let (name, owner) = match volume {
                Volume::Claim { name, .. } => (*name, None),
                Volume::Ephemeral { name, .. } => {
                    (Name::new(&format!("{}-{name}", pod.name)), Some((Name::new("Pod"), pod.name)))
                }
                _ => continue,
            };
            let namespace = cluster.spec(id).namespace;
            claims.push(Claim {
                namespace,
                name,
                volume: Name::new(&format!("of {namespace}/{name}")),
                bound: true,
                lost: false,
                class: None,
                access: Access::default(),
                block: false,
                bytes: 0,
                selected_node: Name::EMPTY,
                selector: None,
                deleting: false,
                owner,
                gone: false,
            });
        }
    }
    claims
}

fn volume_of(claim: &Claim) -> PersistentVolume {
    PersistentVolume {
        name: claim.volume,
        node_affinity: None,
        labels: Default::default(),
        class: claim.class.unwrap_or_default(),
        access: claim.access,
        block: claim.block,
        bytes: claim.bytes,
        claim: Some((claim.namespace, claim.name)),
        phase: Name::new("Bound"),
        driver: Name::EMPTY,
        handle: Name::EMPTY,
        local: false,
        deleting: false,
        gone: false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::import::from_objects;

    /// A pod of an owner on a node, with changes.
    fn pod(name: &str, owner: (&str, &str), change: Value) -> Value {
        let version = if owner.0 == "Job" { "batch/v1" } else { "apps/v1" };
        let reference =
            json!({"apiVersion": version, "kind": owner.0, "name": owner.1, "uid": "u", "controller": true});
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "data", "ownerReferences": [reference]},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "app"}]},
            "status": {"phase": "Running"},
        });
        for (pointer, value) in change.as_object().unwrap() {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            pod.pointer_mut(parent).unwrap()[key] = value.clone();
        }
        pod
    }

    fn node() -> Value {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
    }

    #[test]
    fn a_stateful_set_and_its_claims_are_as_its_pods_show_them() {
        let claim = |name: &str| json!({"name": "data", "persistentVolumeClaim": {"claimName": name}});
        let db = |ordinal: u32| {
            let volumes = json!([claim(&format!("data-db-{ordinal}")), claim("shared")]);
            pod(&format!("db-{ordinal}"), ("StatefulSet", "db"), json!({"/spec/volumes": volumes}))
        };
        let cluster = from_objects([node(), db(2), db(4)]).unwrap();
        let key = ObjectKey::new("data".into(), "StatefulSet", "db".into());
        let workload = cluster.workload(cluster.find_workload(&key).unwrap());
        let set = workload.as_stateful_set().unwrap();
        assert_eq!((set.start, workload.replicas), (2, 3), "ordinal 3 is on its way");
        let own: Vec<&str> = set.claim_templates.iter().map(|template| &*template.name).collect();
        assert_eq!(own, ["data"], "the other claim is not the set's own");
        let claims: Vec<&str> = cluster.claims().map(|(_, claim)| &*claim.name).collect();
        assert_eq!(claims, ["data-db-2", "shared", "data-db-4"]);
        assert!(cluster.claims().all(|(_, claim)| claim.bound && cluster.find_volume(claim.volume).is_some()));
        let said: Vec<String> =
            cluster.catalog.input.not_modelled.iter().map(|(object, what)| format!("{object}: {what}")).collect();
        let expected =
            "data/PersistentVolumeClaim/data-db-2: from which nodes its volume is within reach; so for 3 claims";
        assert_eq!(said, [expected]);
    }

    #[test]
    fn nothing_is_assumed_of_claims_that_the_input_could_hold() {
        let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "one"}}]);
        let user = |name: &str| pod(name, ("ReplicaSet", "web"), json!({"/spec/volumes": volumes}));
        let other = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "other", "namespace": "data"}});
        let cluster = from_objects([node(), user("a"), other]).unwrap();
        assert_eq!(cluster.claims().len(), 1);
        let mut waiting = user("a");
        waiting["spec"]["nodeName"] = Value::Null;
        assert_eq!(from_objects([node(), waiting]).unwrap().claims().len(), 0, "its claim may be what it waits for");
    }

    #[test]
    fn a_job_wants_a_success_of_every_pod_that_is_there() {
        let end = |phase: &str| json!({"/status/phase": phase});
        let seen = |pods: Vec<Value>| {
            let cluster = from_objects([vec![node()], pods].concat()).unwrap();
            let (_, workload) = cluster.workloads().next().unwrap();
            let job = workload.as_job().unwrap().clone();
            (workload.replicas, job.completions, job.succeeded, job.failed, job.completed_indexes, job.finished)
        };
        let one = |name: &str, change: Value| pod(name, ("Job", "import"), change);
        let running = vec![one("a", json!({})), one("b", end("Succeeded")), one("c", end("Failed"))];
        assert_eq!(seen(running), (1, Some(2), 1, 1, Vec::new(), None));
        let over = vec![one("a", end("Succeeded"))];
        assert_eq!(seen(over), (0, Some(1), 1, 0, Vec::new(), Some(JobEnd::Complete)));
        let indexed = |name: &str, index: &str, phase: &str| {
            let labels = json!({"batch.kubernetes.io/job-completion-index": index});
            one(name, json!({"/metadata/labels": labels, "/status/phase": phase}))
        };
        let pods = vec![indexed("a", "1", "Running"), indexed("b", "3", "Running"), indexed("c", "2", "Succeeded")];
        assert_eq!(seen(pods), (2, Some(4), 2, 0, vec![0, 2], None));
    }
}
