//! Puts what was read together: what refers to something comes after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::admission::intercepts;
use super::directory::{Directory, group, kind_name, other};
use super::object::{Header, Object, RawOther, is_own_group};
use super::pod::RawPod;
use super::pod_spec::Admission;
use super::wire::Meta;
use super::workload::set_owner;
use super::{Importer, Source, assumed, job, node, pod, policy, storage, workload};
use crate::cluster::{
    ApiUse, Catalog, Cluster, CustomKind, Detail, Effect, Input, Millis, Name, NodeId, ObjectKey, Owner, Phase, PodId,
    SpecId, Taint, Time, Version, WorkloadId,
};

/// An object with what it is and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) source: Source,
    pub(super) header: Header,
    pub(super) object: Object,
}

/// Kinds that are read, with what is assumed when none is in the input.
const READ: [(&str, &str); 24] = [
    ("Node", "without nodes nothing can be said"),
    ("Pod", "no pod is assumed"),
    ("Namespace", "namespaces are assumed to have no labels of their own"),
    ("Deployment", "Deployments that ReplicaSets name are assumed to exist and to change nothing"),
    ("ReplicaSet", "ReplicaSets that pods name are assumed to exist and to have the pods that are there"),
    ("StatefulSet", "StatefulSets that pods name are assumed to exist and to have the pods that are there, in order"),
    ("DaemonSet", "DaemonSets that pods name are assumed to exist; their pods are not brought back"),
    (
        "ReplicationController",
        "ReplicationControllers that pods name are assumed to exist and to have the pods that are there",
    ),
    ("Job", "Jobs that pods name are assumed to exist and to want a success of every pod that is there"),
    ("CronJob", "none is assumed: no Job is started during the run"),
    ("PodDisruptionBudget", "none is assumed: nothing limits evictions"),
    ("Service", "none is assumed: no endpoint is watched"),
    ("PersistentVolumeClaim", "those that pods on nodes name are assumed to exist and to be bound"),
    ("PersistentVolume", "those of bound claims are assumed to be within reach of every node"),
    ("StorageClass", "none is assumed: no claim waits for a consumer"),
    ("CSINode", "none is assumed: nodes attach any number of volumes"),
    ("PriorityClass", "priorities are taken from the pods; templates have priority 0"),
    ("RuntimeClass", "none is assumed: templates have no overhead but their own"),
    ("HorizontalPodAutoscaler", "none is assumed: nothing is scaled during the run"),
    ("ResourceQuota", "none is assumed: nothing limits the creation of pods"),
    ("MutatingWebhookConfiguration", "none is assumed: pods are created as their templates say"),
    ("ValidatingWebhookConfiguration", "none is assumed: nothing refuses pods or evictions"),
    ("CSIDriver", "none is assumed: storage capacity is not checked"),
    ("CustomResourceDefinition", "whether custom resources have a scale is taken from the budgets' status"),
];

/// The cluster that the objects make.
pub(super) fn assemble(importer: Importer) -> Cluster {
    let Importer { entries, listed, admission, api_server, passed_over, taken_at, .. } = importer;
    let mut input = Input::default();
    if passed_over > 0 {
        input.remarks.push(format!("{passed_over} files hold no Kubernetes objects and were passed over"));
    }
    let entries = without_duplicates(entries, &mut input.remarks);
    let latest = entries.iter().filter_map(|entry| entry.object.latest()).max().unwrap_or_default();
    input.taken_at = taken_at.unwrap_or(latest);
    count(&entries, &listed, &mut input);

    let mut cluster = Cluster::default();
    cluster.api_server = api_server;
    let mut directory = Directory::default();
    for kind in entries.iter().map(|entry| kind_name(&entry.header.api_version, entry.header.kind)).chain(listed) {
        directory.add_kind(kind);
    }
    let catalog = Arc::make_mut(&mut cluster.catalog);
    catalog.input = input;
    put_all(&mut cluster, &mut directory, &entries, admission);

    assumed::storage(&mut cluster);
    cut_cycles(&mut cluster);
    say_what_was_assumed(&mut cluster, &directory);
    versions(&mut cluster, &directory, &entries);
    put_records(&mut cluster, &directory, &entries);
    cluster
}

/// What a run has written on the nodes: the input may have been taken in the middle of one.
fn put_records(cluster: &mut Cluster, directory: &Directory, entries: &[Entry]) {
    for entry in entries {
        let Object::Node(raw) = &entry.object else { continue };
        if let (Some(record), Some(&id)) = (&raw.metadata.annotations.record, directory.nodes.get(&raw.metadata.name)) {
            record.put(cluster, id);
        }
    }
}

/// Puts more objects into a cluster.
pub(super) fn upsert(cluster: &mut Cluster, entries: &[Entry], admission: Admission) {
    let mut directory = Directory::of(cluster);
    let (specs, budgets, services) = (cluster.catalog.spec_count(), cluster.budgets().len(), cluster.services().len());
    put_all(cluster, &mut directory, entries, admission);
    // Templates that were known before have to be matched with budgets and Services that are new.
    if specs > 0 && (cluster.budgets().len() > budgets || cluster.services().len() > services) {
        cluster.reindex();
    }
}

fn put_all(cluster: &mut Cluster, directory: &mut Directory, entries: &[Entry], admission: Admission) {
    let objects = || entries.iter().map(|entry| (&entry.header, &entry.object));
    put_catalog(Arc::make_mut(&mut cluster.catalog), entries);
    for (_, object) in objects() {
        if let Object::Node(raw) = object {
            let known = directory.nodes.get(&raw.metadata.name).copied();
            let id = node::node(cluster, raw, known);
            directory.nodes.insert(raw.metadata.name, id);
        }
    }
    let taken_at = cluster.catalog.input.taken_at;
    for (header, object) in objects() {
        match object {
            Object::CsiNode(raw) => {
                if let Some(&id) = directory.nodes.get(&raw.metadata.name) {
                    node::set_drivers(cluster, id, raw.drivers());
                }
            }
            Object::Claim(raw) => storage::claim(cluster, raw),
            Object::Volume(raw) => storage::volume(cluster, raw),
            Object::VolumeAttachment(raw) => storage::attachment(cluster, raw),
            Object::Budget(raw) => policy::budget(cluster, &header.api_version, raw, taken_at),
            Object::Service(raw) => policy::service(cluster, raw),
            _ => {}
        }
    }
    let workloads = put_workloads(cluster, directory, entries);
    for (id, meta) in workloads {
        if cluster.pods_of_workload(id).is_empty() {
            set_owner(cluster, directory, id, meta);
        }
    }
    directory.look_at_selectors(cluster);
    let mut pods: Vec<(PodId, &RawPod)> = Vec::new();
    for (_, object) in objects() {
        if let Object::Pod(raw) = object {
            pods.push((pod::pod(cluster, directory, raw, admission), raw));
        }
    }
    assumed::owners(cluster, directory);
    mark_current_replica_sets(cluster);
    complete_stateful_sets(cluster, entries);
    complete_jobs(cluster, &pods);
    history(cluster, &pods);
    not_modelled(cluster, entries);
}

/// Adds all workloads, without their owners.
fn put_workloads<'a>(
    cluster: &mut Cluster,
    directory: &mut Directory,
    entries: &'a [Entry],
) -> Vec<(WorkloadId, &'a Meta)> {
    let controllers = entries.iter().filter_map(|entry| entry.object.meta()?.controller());
    let named: FxHashSet<(Name, Name)> =
        controllers.map(|reference| (kind_name(&reference.api_version, reference.kind), reference.name)).collect();
    let mut workloads = Vec::new();
    for Entry { header, object, .. } in entries {
        let version = header.api_version;
        let id = match object {
            Object::Workload(kind, raw) => workload::workload(cluster, directory, kind, version, raw),
            Object::ReplicationController(raw) => workload::replication_controller(cluster, directory, version, raw),
            Object::Job(raw) => job::job(cluster, directory, version, raw),
            Object::CronJob(raw) => job::cron_job(cluster, directory, version, raw),
            Object::Other(raw) => {
                let kind = kind_name(&version, header.kind);
                if !named.contains(&(kind, raw.metadata.name)) {
                    continue;
                }
                put_other(cluster, directory, kind, version, raw)
            }
            _ => continue,
        };
        workloads.extend(object.meta().map(|meta| (id, meta)));
    }
    workloads
}

fn put_other(
    cluster: &mut Cluster,
    directory: &mut Directory,
    kind: Name,
    version: Name,
    raw: &RawOther,
) -> WorkloadId {
    let meta = &raw.metadata;
    let key = ObjectKey { namespace: meta.namespace, kind, name: meta.name };
    let replicas = raw.spec.replicas;
    match directory.workload(&key) {
        Some(id) => {
            cluster.update_workload(id, |known| known.replicas = replicas);
            id
        }
        None => {
            let deleted = meta.deletion_timestamp.is_some();
            let id = cluster.add_workload(crate::cluster::Workload { replicas, deleted, ..other(key, version) });
            directory.add_workload(key, id, meta.uid);
            id
        }
    }
}

/// Classes, namespaces and all that does not change during a run.
fn put_catalog(catalog: &mut Catalog, entries: &[Entry]) {
    for Entry { header, object, .. } in entries {
        match object {
            Object::Namespace(raw) => {
                catalog.namespaces.insert(raw.metadata.name, raw.read());
            }
            Object::PriorityClass(raw) => {
                catalog.priority_classes.insert(raw.metadata.name, raw.read());
            }
            Object::RuntimeClass(raw) => {
                catalog.runtime_classes.insert(raw.metadata.name, raw.read());
            }
            Object::StorageClass(raw) => {
                catalog.storage_classes.insert(raw.metadata.name, raw.read());
            }
            Object::StorageCapacity(raw) => catalog.storage_capacities.push(raw.read()),
            Object::CsiDriver(raw) => {
                let spec = &raw.spec;
                let name = raw.metadata.name;
                catalog.csi_drivers.retain(|driver| driver.0 != name);
                catalog.csi_drivers.push((name, spec.storage_capacity, spec.prevent_pod_scheduling_if_missing));
            }
            Object::Definition(raw) => {
                let spec = &raw.spec;
                let served = spec.versions.iter().filter(|version| version.served);
                let scale = served.filter_map(|version| version.subresources.scale.as_ref()).next();
                let scale = scale.map(|scale| scale.spec_replicas_path);
                let custom = CustomKind { plural: spec.names.plural, scale };
                catalog.custom_kinds.insert((spec.group, spec.names.kind), custom);
            }
            Object::Autoscaler(raw) => {
                let autoscaler = raw.read();
                catalog.autoscalers.retain(|known| known.key != autoscaler.key);
                catalog.autoscalers.push(autoscaler);
            }
            Object::Quota(raw) => {
                let quota = raw.read();
                catalog.quotas.retain(|known| known.key != quota.key);
                catalog.quotas.push(quota);
            }
            Object::Webhooks(kind, raw) => {
                let configuration = ObjectKey::cluster_wide(kind, raw.metadata.name);
                catalog.webhooks.retain(|known| known.configuration != configuration);
                catalog.webhooks.extend(raw.read(kind));
            }
            _ => {}
        }
        if let Some(meta) = object.meta() {
            if !meta.namespace.is_empty() {
                let namespace = meta.namespace;
                catalog.namespaces.entry(namespace).or_insert_with(|| policy::unlabelled_namespace(namespace));
            }
            note_old_api(catalog, header, object, meta);
        }
    }
}

/// Versions of the API server's own groups that are not the stable one (VERSIONS.md 4).
fn note_old_api(catalog: &mut Catalog, header: &Header, object: &Object, meta: &Meta) {
    let Some(key) = object.key(header) else { return };
    let old = |version: Name| {
        let (group, number) = (group(&version), version.rsplit('/').next().unwrap_or_default());
        is_own_group(group) && (group == "extensions" || number.contains("alpha") || number.contains("beta"))
    };
    let found = [(header.api_version, false), (meta.annotations.last_applied_version, true)];
    for (api_version, last_applied) in found.into_iter().filter(|(version, _)| old(*version)) {
        let entry = ApiUse { key, api_version, last_applied };
        if !catalog.old_apis.contains(&entry) {
            catalog.old_apis.push(entry);
        }
    }
}

/// Of an object that stands in the input several times the newest remains.
fn without_duplicates(entries: Vec<Entry>, remarks: &mut Vec<String>) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
    let mut places: FxHashMap<(Name, ObjectKey), usize> = FxHashMap::default();
    let mut identical = 0usize;
    for entry in entries {
        let Some(key) = entry.object.key(&entry.header) else {
            kept.push(entry);
            continue;
        };
        let place = places.entry((Name::new(group(&entry.header.api_version)), key)).or_insert(kept.len());
        let Some(known) = kept.get_mut(*place) else {
            kept.push(entry);
            continue;
        };
        if known.object == entry.object {
            identical += 1;
            continue;
        }
        remarks.push(format!(
            "{key} stands twice with different content ({}; {}): the newer counts",
            known.source, entry.source
        ));
        if entry.object.latest() >= known.object.latest() {
            *known = entry;
        }
    }
    if identical > 0 {
        remarks.push(format!("{identical} objects stand in the input more than once, with the same content"));
    }
    kept
}

/// Counts what was read and says what was not there.
fn count(entries: &[Entry], listed: &[Name], input: &mut Input) {
    for kind in listed {
        input.kinds.entry(*kind).or_default();
    }
    for Entry { header, object, .. } in entries {
        let kind = kind_name(&header.api_version, header.kind);
        let passed_over =
            matches!(object, Object::Other(_) | Object::Bystander(_) | Object::Ignored | Object::Moment(_));
        let counts = if passed_over { &mut input.unknown } else { &mut input.kinds };
        *counts.entry(kind).or_default() += 1;
    }
    let missing = READ.iter().filter(|(kind, _)| !input.kinds.contains_key(&Name::new(kind)));
    input.missing = missing.map(|&(kind, assumed)| (Name::new(kind), assumed)).collect();
    for entry in entries {
        if let Object::Node(raw) = &entry.object
            && !raw.says_whether_ready()
        {
            input.remarks.push(format!("Node/{} has no Ready condition: it is taken to be ready", raw.metadata.name));
        }
    }
}

/// Of a Deployment's ReplicaSets with the Deployment's template the one with the highest revision is the new one; without
/// revisions the oldest (`FindNewReplicaSet`, KUBERNETES.md D.1). Templates are compared without `pod-template-hash`.
fn mark_current_replica_sets(cluster: &mut Cluster) {
    let hash = Name::new("pod-template-hash");
    let mut current: BTreeMap<WorkloadId, (i64, std::cmp::Reverse<Time>, WorkloadId)> = BTreeMap::new();
    for (id, set) in cluster.workloads() {
        let (Detail::ReplicaSet(detail), Some(owner), Some(template)) = (&set.detail, set.owner, set.template) else {
            continue;
        };
        let deployment = cluster.workload(owner);
        let (Detail::Deployment(_), Some(wanted)) = (&deployment.detail, deployment.template) else { continue };
        let mut spec = cluster.catalog.spec(template).clone();
        spec.labels = spec.labels.iter().filter(|pair| pair.0 != hash).collect();
        let mut wanted = cluster.catalog.spec(wanted).clone();
        wanted.labels = wanted.labels.iter().filter(|pair| pair.0 != hash).collect();
        if spec == wanted {
            let rank = (detail.revision, std::cmp::Reverse(detail.created), id);
            current.entry(owner).and_modify(|best| *best = (*best).max(rank)).or_insert(rank);
        }
    }
    let current: BTreeSet<WorkloadId> = current.into_values().map(|best| best.2).collect();
    let sets: Vec<WorkloadId> = cluster
        .workloads()
        .filter(|(id, set)| {
            let of_deployment = set.owner.is_some_and(|owner| cluster.workload(owner).as_deployment().is_some());
            of_deployment && matches!(&set.detail, Detail::ReplicaSet(detail) if detail.current != current.contains(id))
        })
        .map(|(id, _)| id)
        .collect();
    for id in sets {
        cluster.update_workload(id, |workload| {
            if let Detail::ReplicaSet(detail) = &mut workload.detail {
                detail.current = current.contains(&id);
            }
        });
    }
}

/// The template of the old revision of a set that is being updated, from a pod that still has it.
fn complete_stateful_sets(cluster: &mut Cluster, entries: &[Entry]) {
    let revision = Name::new("controller-revision-hash");
    for entry in entries {
        let Object::Workload("StatefulSet", raw) = &entry.object else { continue };
        let key = ObjectKey::new(raw.metadata.namespace, "StatefulSet", raw.metadata.name);
        let Some(id) = cluster.find_workload(&key) else { continue };
        let old = raw.status.current_revision;
        let mut pods = cluster.pods_of_workload(id).iter().map(|&pod| cluster.pod(pod).spec);
        let template = pods.find(|&spec| cluster.catalog.spec(spec).labels.get(revision) == Some(old));
        cluster.update_workload(id, |workload| {
            if let Detail::StatefulSet(set) = &mut workload.detail
                && set.updating
            {
                set.current_template = template;
            }
        });
    }
}

/// Failures since the last success, from the Job's pods that are still there.
fn complete_jobs(cluster: &mut Cluster, pods: &[(PodId, &RawPod)]) {
    let mut ends: BTreeMap<WorkloadId, Vec<(Time, bool)>> = BTreeMap::new();
    for &(id, raw) in pods {
        let pod = cluster.pod(id);
        let (Owner::Workload(owner), true, Some(end)) = (pod.owner, pod.is_terminal(), raw.finished()) else {
            continue;
        };
        if cluster.workload(owner).as_job().is_some() {
            ends.entry(owner).or_default().push((end, pod.phase == Phase::Failed));
        }
    }
    for (id, mut ends) in ends {
        ends.sort_unstable();
        let since_success: Vec<Time> =
            ends.iter().rev().take_while(|(_, failed)| *failed).map(|(end, _)| *end).collect();
        cluster.update_workload(id, |workload| {
            if let Detail::Job(job) = &mut workload.detail {
                job.failures_in_row = i32::try_from(since_success.len()).unwrap_or(i32::MAX);
                job.last_failure = ends.iter().rev().find(|(_, failed)| *failed).map(|(end, _)| *end);
            }
        });
    }
}

/// Longer than this no pod takes to become Ready.
const LONGEST_START: Millis = Millis::secs(30 * 60);

/// How long pods of each template took to become Ready. A pod whose readiness was lost later on, with its node (D14) or for a
/// failed probe, shows when that came back instead, which nothing but its length tells from a start.
fn history(cluster: &mut Cluster, pods: &[(PodId, &RawPod)]) {
    let mut samples: BTreeMap<SpecId, Vec<Millis>> = BTreeMap::new();
    for &(id, raw) in pods {
        if let Some(span) = raw.start_to_ready() {
            samples.entry(cluster.pod(id).spec).or_default().push(span);
        }
    }
    for spans in samples.values_mut() {
        let shortest = spans.iter().min().map_or(0, |shortest| shortest.0);
        let longest = (4 * shortest + Millis::secs(60).0).min(LONGEST_START.0);
        spans.retain(|span| span.0 <= longest);
    }
    samples.retain(|_, spans| !spans.is_empty());
    if !samples.is_empty() {
        let history = &mut Arc::make_mut(&mut cluster.catalog).start_to_ready;
        for (spec, spans) in samples {
            history.entry(spec).or_default().extend(spans);
        }
    }
}

/// Features in use that no part of the model covers, told once for all pods of an owner.
fn not_modelled(cluster: &mut Cluster, entries: &[Entry]) {
    let mut found: BTreeSet<(ObjectKey, String)> = BTreeSet::new();
    for Entry { header, object, .. } in entries {
        let Some(key) = object.key(header) else { continue };
        let (key, features) = match object {
            Object::Pod(raw) => {
                let controller = raw.metadata.controller();
                let owner = controller.map(|owner| ObjectKey {
                    namespace: key.namespace,
                    kind: kind_name(&owner.api_version, owner.kind),
                    name: owner.name,
                });
                (owner.unwrap_or(key), raw.spec.not_modelled())
            }
            Object::Job(raw) => (key, raw.not_modelled()),
            Object::CronJob(raw) => (key, raw.not_modelled()),
            _ => continue,
        };
        found.extend(features.into_iter().map(|feature| (key, feature)));
    }
    let owners = cluster
        .workloads()
        .filter(|(id, workload)| workload.detail == Detail::Other && !cluster.pods_of_workload(*id).is_empty());
    found.extend(
        owners.map(|(_, workload)| (workload.key, "owns pods; what its controller does is not known".to_owned())),
    );
    let of_pods = |name: &str| {
        ["pods", "count/pods", "cpu", "memory", "ephemeral-storage"].contains(&name)
            || name.starts_with("requests.")
            || name.starts_with("limits.")
    };
    let quotas = cluster.catalog.quotas.iter();
    let quotas = quotas.filter(|quota| quota.limits.iter().any(|(name, _, _)| of_pods(name)));
    found.extend(quotas.map(|quota| (quota.key, "pods that it would refuse are created all the same".to_owned())));
    let timed = cluster.nodes().filter(|(id, _)| leaves_in_time(cluster, *id));
    let what = "pods that tolerate its NoExecute taint for some time have all of that time from the dump on";
    found.extend(timed.map(|(id, _)| (cluster.node_key(id), what.to_owned())));
    let webhooks = cluster.catalog.webhooks.iter();
    found.extend(webhooks.filter_map(|webhook| Some((webhook.configuration, intercepts(webhook)?))));
    let known = &mut Arc::make_mut(&mut cluster.catalog).input.not_modelled;
    found.extend(std::mem::take(known));
    known.extend(found);
}

/// Whether the time of a pod that tolerates a NoExecute taint of its node runs out.
fn leaves_in_time(cluster: &Cluster, node: NodeId) -> bool {
    let tolerations = |taint: &Taint| {
        let pods = cluster.pods_of_node(node).iter();
        pods.filter_map(|&pod| cluster.spec(pod).tolerations.iter().find(|one| one.tolerates(taint)))
            .collect::<Vec<_>>()
    };
    let mut taints = cluster.node(node).taints.iter().filter(|taint| taint.effect == Effect::NoExecute);
    taints.any(|taint| tolerations(taint).iter().any(|one| one.seconds.is_some()))
}

/// Owners that own each other in a circle: the circle is cut, since it has no top.
fn cut_cycles(cluster: &mut Cluster) {
    let count = cluster.workloads().len();
    for index in 0..count {
        let id = WorkloadId(index as u32);
        let (mut seen, mut at) = (BTreeSet::from([id]), id);
        while let Some(owner) = cluster.workload(at).owner {
            if !seen.insert(owner) {
                let (child, parent) = (cluster.workload(at).key, cluster.workload(owner).key);
                cluster.update_workload(at, |workload| workload.owner = None);
                let remarks = &mut Arc::make_mut(&mut cluster.catalog).input.remarks;
                remarks.push(format!(
                    "{child} and its owner {parent} own each other: the reference of {child} is passed over"
                ));
                break;
            }
            at = owner;
        }
    }
}

fn say_what_was_assumed(cluster: &mut Cluster, directory: &Directory) {
    let mut remarks = Vec::new();
    let mut assumed: BTreeMap<Name, Vec<ObjectKey>> = BTreeMap::new();
    for &id in &directory.assumed {
        let key = cluster.workload(id).key;
        assumed.entry(key.kind).or_default().push(key);
    }
    for (kind, mut keys) in assumed {
        keys.sort();
        remarks.push(format!(
            "no object of kind {kind} is in the input: the {} that own something there are taken to exist (first {})",
            keys.len(),
            keys[0]
        ));
    }
    for (key, other_uid) in &directory.missing {
        let why = if *other_uid {
            "is there, but with another uid"
        } else {
            "is not in the input although others of its kind are"
        };
        remarks.push(format!("{key} is named as owner and {why}: taken as missing"));
    }
    if let Some(first) = directory.unknown_nodes.first() {
        let taken = if cluster.nodes().any(|(_, node)| !node.gone && !directory.unknown_nodes.contains(&node.name())) {
            "nodes that are gone"
        } else {
            "nodes of which nothing is known"
        };
        let count = directory.unknown_nodes.len();
        remarks.push(format!("pods name {count} nodes that are not in the input (first {first}): taken as {taken}"));
    }
    Arc::make_mut(&mut cluster.catalog).input.remarks.extend(remarks);
}

/// Versions of the control plane: from the API servers' static pods, or else from the kubelets beside them.
fn versions(cluster: &mut Cluster, directory: &Directory, entries: &[Entry]) {
    for entry in entries {
        let Object::Pod(raw) = &entry.object else { continue };
        let Some(version) = raw.api_server_version() else { continue };
        if let Some(&id) = directory.nodes.get(&raw.spec.node_name) {
            let since = raw.ready_since().unwrap_or(cluster.catalog.input.taken_at);
            cluster.update_node(id, |node| {
                node.control_plane = Some(version);
                node.api_since = Some(since);
                Arc::make_mut(&mut node.info).control_plane = true;
            });
        }
    }
    let unknown: Vec<_> = cluster
        .nodes()
        .filter(|(_, node)| node.is_control_plane() && node.control_plane.is_none() && node.kubelet.is_some())
        .map(|(id, _)| id)
        .collect();
    for id in unknown {
        let kubelet = cluster.node(id).kubelet;
        cluster.update_node(id, |node| node.control_plane = kubelet);
        let remark = format!("{}: the control plane's version is taken from the kubelet", cluster.node_key(id));
        Arc::make_mut(&mut cluster.catalog).input.remarks.push(remark);
    }
    let lowest: Option<Version> = cluster.nodes().filter_map(|(_, node)| node.control_plane).min();
    cluster.api_server = cluster.api_server.or(lowest);
}
