//! The StatefulSet controller (KUBERNETES.md D.3).

use std::collections::BTreeMap;

use crate::cluster::{
    Access, Claim, ClaimTemplate, Cluster, IntOrPercent, Name, Phase, PodId, PodSpec, SpecId, StatefulSet, Time,
    Volume, Workload, WorkloadId,
};
use crate::simulator::{Chooser, NewPod, Task, World};

use super::{minor, namespace_is_terminating, replica_set};

const REVISION: &str = "controller-revision-hash";
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// What it remembers between its syncs: the template that an ordinal's pod had last.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    last_spec: BTreeMap<(WorkloadId, u32), SpecId>,
}

/// What a sync does, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The pod of this ordinal is created, of the update revision or of the current one.
    Create {
        /// Ordinal.
        ordinal: u32,
        /// Of the update revision.
        updated: bool,
    },
    /// The pod is deleted.
    Delete(PodId),
}

/// Looks at one workload.
pub(super) fn sync(world: &mut World, id: WorkloadId, chooser: &mut dyn Chooser) {
    for &pod in world.cluster.pods_of_workload(id) {
        let object = world.cluster.pod(pod);
        if let Some(ordinal) = object.ordinal {
            world.controllers.stateful_set.last_spec.insert((id, ordinal), object.spec);
        }
    }
    for step in plan(&world.cluster, id, world.now) {
        match step {
            Step::Create { ordinal, updated } => create(world, id, ordinal, updated, chooser),
            Step::Delete(pod) => world.delete_pod(pod, None, chooser),
        }
    }
    complete_rollout(&mut world.cluster, id);
    wait_for_availability(world, id);
}

/// One ordinal as the controller sees it.
#[derive(Clone, Copy, Debug)]
struct Slot {
    ordinal: u32,
    pod: Option<PodId>,
    updated: bool,
    running: bool,
    available: bool,
    terminating: bool,
    finished: bool,
}

impl Slot {
    fn is_healthy(&self) -> bool {
        self.running && !self.terminating
    }

    fn is_unavailable(&self) -> bool {
        !self.available || self.terminating
    }
}

/// What the controller does at this state.
pub fn plan(cluster: &Cluster, id: WorkloadId, now: Time) -> Vec<Step> {
    let workload = cluster.workload(id);
    let Some(set) = workload.as_stateful_set() else { return Vec::new() };
    if workload.deleted || namespace_is_terminating(cluster, workload.key.namespace) {
        return Vec::new();
    }
    let (replicas, condemned) = slots(cluster, id, set, now);
    let mut steps = Vec::new();
    if replicas.iter().any(|slot| process(cluster, workload, set, slot, &mut steps) && !set.parallel) {
        return steps;
    }
    let first_unhealthy = replicas.iter().chain(condemned.iter().rev()).find(|slot| !slot.is_healthy());
    let first_unhealthy = first_unhealthy.map(|slot| slot.ordinal);
    for slot in &condemned {
        let blocked = slot.terminating || (!slot.available && first_unhealthy != Some(slot.ordinal));
        if !slot.terminating && (set.parallel || !blocked) {
            steps.extend(slot.pod.map(Step::Delete));
        }
        if !set.parallel {
            return steps;
        }
    }
    if !set.on_delete {
        update(cluster, workload, set, &replicas, &mut steps);
    }
    steps
}

/// The ordinals that are wanted, ascending, and pods beyond them, descending.
fn slots(cluster: &Cluster, id: WorkloadId, set: &StatefulSet, now: Time) -> (Vec<Slot>, Vec<Slot>) {
    let wait = replica_set::min_ready(cluster, id);
    let end = set.start.saturating_add(cluster.workload(id).replicas.max(0) as u32);
    let mut found: BTreeMap<u32, Slot> = BTreeMap::new();
    let mut current = 0;
    for &pod in cluster.pods_of_workload(id) {
        let object = cluster.pod(pod);
        let Some(ordinal) = object.ordinal else { continue };
        let running = object.phase == Phase::Running && object.ready;
        let slot = Slot {
            ordinal,
            pod: Some(pod),
            updated: is_updated(set, cluster.spec(pod)),
            running,
            available: running && replica_set::is_available(object, wait, now),
            terminating: object.deletion.is_some(),
            finished: object.is_terminal(),
        };
        current += u32::from(!slot.updated && !slot.terminating);
        found.insert(ordinal, slot);
    }
    let vacant = |ordinal| Slot {
        ordinal,
        pod: None,
        updated: !set.updating || !wants_current(set, ordinal, current),
        running: false,
        available: false,
        terminating: false,
        finished: false,
    };
    let replicas = (set.start..end).map(|ordinal| found.remove(&ordinal).unwrap_or_else(|| vacant(ordinal))).collect();
    (replicas, found.into_values().rev().collect())
}

/// Whether a missing pod comes back with the current (old) revision during a rollout.
fn wants_current(set: &StatefulSet, ordinal: u32, current_replicas: u32) -> bool {
    if set.on_delete {
        false
    } else if set.rolling_update_unset {
        ordinal < set.start + current_replicas
    } else {
        ordinal < set.start + set.partition
    }
}

/// A pod of the update revision. Without a rollout, or without its name, every pod is.
fn is_updated(set: &StatefulSet, spec: &PodSpec) -> bool {
    !set.updating || set.update_revision.is_empty() || spec.labels.get(Name::new(REVISION)) == Some(set.update_revision)
}

/// One wanted ordinal (steps 1-4 of D.3). `true`: an OrderedReady set goes no further.
fn process(cluster: &Cluster, workload: &Workload, set: &StatefulSet, slot: &Slot, steps: &mut Vec<Step>) -> bool {
    match slot.pod {
        Some(pod) if slot.finished => {
            if !slot.terminating {
                steps.push(Step::Delete(pod));
            }
            true
        }
        Some(_) => slot.terminating || !slot.available,
        None => {
            if !claims_are_stale(cluster, workload, set, slot.ordinal) {
                steps.push(Step::Create { ordinal: slot.ordinal, updated: slot.updated });
            }
            true
        }
    }
}

fn claims_are_stale(cluster: &Cluster, workload: &Workload, set: &StatefulSet, ordinal: u32) -> bool {
    set.claim_templates.iter().any(|template| {
        let name = claim_name(template, workload, ordinal);
        cluster.find_claim(workload.key.namespace, name).is_some_and(|claim| cluster.claim(claim).deleting)
    })
}

/// The rolling update proper (VERSIONS.md V30): from the highest ordinal down to the partition.
fn update(cluster: &Cluster, workload: &Workload, set: &StatefulSet, replicas: &[Slot], steps: &mut Vec<Step>) {
    let from_top = || replicas.iter().skip(set.partition as usize).rev();
    let is_old = |slot: &&Slot| !slot.updated && !slot.terminating;
    if minor(cluster) < 37 {
        for slot in from_top() {
            if is_old(&slot) {
                steps.extend(slot.pod.map(Step::Delete));
                return;
            }
            if slot.is_unavailable() {
                return;
            }
        }
        return;
    }
    let most = set.max_unavailable.unwrap_or(IntOrPercent::Int(1)).round_down(workload.replicas).max(1);
    let unavailable = replicas.iter().filter(|slot| slot.is_unavailable()).count();
    let mut budget = (most as usize).saturating_sub(unavailable);
    if set.parallel {
        steps.extend(
            from_top().filter(is_old).filter(|slot| !slot.available).filter_map(|slot| slot.pod).map(Step::Delete),
        );
    }
    for slot in from_top().filter(is_old).filter(|slot| !set.parallel || slot.available) {
        if budget == 0 {
            return;
        }
        if let Some(pod) = slot.pod {
            steps.push(Step::Delete(pod));
            budget -= 1;
        }
    }
}

/// Every pod has the update revision and is Ready: it becomes the current one.
fn complete_rollout(cluster: &mut Cluster, id: WorkloadId) {
    let workload = cluster.workload(id);
    let Some(set) = workload.as_stateful_set() else { return };
    if !set.updating || (set.on_delete && minor(cluster) < 37) {
        return;
    }
    let done = cluster.pods_of_workload(id).iter().filter(|&&pod| {
        let object = cluster.pod(pod);
        object.ready && object.deletion.is_none() && is_updated(set, cluster.spec(pod))
    });
    if done.count() as i32 != workload.replicas {
        return;
    }
    cluster.update_workload(id, |workload| {
        if let crate::cluster::Detail::StatefulSet(set) = &mut workload.detail {
            set.updating = false;
            set.current_template = None;
            set.current_replicas = workload.replicas;
        }
    });
}

fn create(world: &mut World, id: WorkloadId, ordinal: u32, updated: bool, chooser: &mut dyn Chooser) {
    let last = world.controllers.stateful_set.last_spec.get(&(id, ordinal)).copied();
    let Some(spec) = template(&mut world.cluster, id, ordinal, updated, last) else { return };
    create_claims(&mut world.cluster, id, ordinal);
    let name = pod_name(world.cluster.workload(id), ordinal);
    let new = NewPod {
        owner: id,
        spec,
        name: Some(name),
        ordinal: Some(ordinal),
        pinned: None,
        job_finalizer: false,
        foreign_finalizer: false,
    };
    world.create_pod(new, chooser);
}

fn pod_name(workload: &Workload, ordinal: u32) -> Name {
    Name::new(&format!("{}-{ordinal}", workload.key.name))
}

fn claim_name(template: &ClaimTemplate, workload: &Workload, ordinal: u32) -> Name {
    Name::new(&format!("{}-{}-{ordinal}", template.name, workload.key.name))
}

/// Template of a pod to create: that of the former pod of the ordinal if it had the same revision, or else the set's with the
/// labels and claims of the ordinal.
pub fn template(
    cluster: &mut Cluster,
    id: WorkloadId,
    ordinal: u32,
    updated: bool,
    last: Option<SpecId>,
) -> Option<SpecId> {
    let workload = cluster.workload(id);
    let set = workload.as_stateful_set()?;
    if let Some(last) = last
        && is_updated(set, cluster.catalog.spec(last)) == updated
    {
        return Some(last);
    }
    let base = if updated { workload.template } else { set.current_template.or(workload.template) };
    let mut spec = cluster.catalog.spec(base?).clone();
    let mut labels = spec
        .labels
        .with(Name::new(POD_NAME), pod_name(workload, ordinal))
        .with(Name::new(POD_INDEX), Name::new(&ordinal.to_string()));
    if updated && !set.update_revision.is_empty() {
        labels = labels.with(Name::new(REVISION), set.update_revision);
    }
    spec.labels = labels;
    let own_claims: Vec<String> =
        set.claim_templates.iter().map(|template| format!("{}-{}-", template.name, workload.key.name)).collect();
    spec.volumes.retain(|volume| {
        let Volume::Claim { name, .. } = volume else { return true };
        let ordinal_of =
            |prefix: &String| name.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.parse::<u32>().is_ok());
        !own_claims.iter().any(ordinal_of)
    });
    for template in set.claim_templates.iter().rev() {
        spec.volumes.insert(0, Volume::Claim { name: claim_name(template, workload, ordinal), read_only: false });
    }
    Some(cluster.intern_spec(spec))
}

/// Claims that are missing are created before the pod; those that exist are used again (PVCs are retained).
pub fn create_claims(cluster: &mut Cluster, id: WorkloadId, ordinal: u32) {
    let workload = cluster.workload(id);
    let Some(set) = workload.as_stateful_set() else { return };
    let namespace = workload.key.namespace;
    let default = cluster.catalog.storage_classes.values().find(|class| class.default).map(|class| class.name);
    let missing: Vec<Claim> = set
        .claim_templates
        .iter()
        .map(|template| (template, claim_name(template, workload, ordinal)))
        .filter(|(_, name)| cluster.find_claim(namespace, *name).is_none())
        .map(|(template, name)| Claim {
            namespace,
            name,
            volume: Name::EMPTY,
            bound: false,
            lost: false,
            class: if template.class.is_empty() { default } else { Some(template.class) },
            access: Access { ..template.access },
            block: false,
            bytes: template.bytes,
            selected_node: Name::EMPTY,
            selector: None,
            deleting: false,
            owner: None,
            gone: false,
        })
        .collect();
    for claim in missing {
        cluster.add_claim(claim);
    }
}

fn wait_for_availability(world: &mut World, id: WorkloadId) {
    let wait = replica_set::min_ready(&world.cluster, id);
    let pods = world.cluster.pods_of_workload(id).iter().map(|&pod| world.cluster.pod(pod));
    let next = pods
        .filter(|pod| pod.is_active() && pod.ready && !replica_set::is_available(pod, wait, world.now))
        .map(|pod| replica_set::available_at(pod, wait))
        .min();
    if let Some(due) = next {
        world.at(due, Task::SyncWorkload(id));
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::cluster::Labels;

    const NOW: Time = Time(1_000_000);

    /// Three ready pods.
    fn three(minor: u16) -> (Cluster, WorkloadId, Vec<PodId>) {
        let mut cluster = fixture::cluster(minor);
        let id = fixture::stateful_set(&mut cluster, 3);
        let pods: Vec<PodId> =
            (0..3).map(|ordinal| fixture::pod(&mut cluster, id, &format!("web-{ordinal}"))).collect();
        for &pod in &pods {
            fixture::ready(&mut cluster, pod);
        }
        (cluster, id, pods)
    }

    fn remove(cluster: &mut Cluster, pod: PodId) {
        cluster.update_pod(pod, |pod| pod.gone = true);
    }

    fn create(ordinal: u32) -> Step {
        Step::Create { ordinal, updated: true }
    }

    #[test]
    fn a_replacement_waits_until_the_old_object_is_gone() {
        let (mut cluster, id, pods) = three(36);
        fixture::terminate(&mut cluster, pods[1]);
        assert_eq!(plan(&cluster, id, NOW), [], "D-T16");
        remove(&mut cluster, pods[1]);
        assert_eq!(plan(&cluster, id, NOW), [create(1)], "D-T16");
    }

    #[test]
    fn ordered_repair_starts_at_the_lowest_ordinal() {
        let (mut cluster, id, pods) = three(36);
        remove(&mut cluster, pods[0]);
        remove(&mut cluster, pods[2]);
        assert_eq!(plan(&cluster, id, NOW), [create(0)], "D-T17");
        fixture::pod(&mut cluster, id, "web-0");
        assert_eq!(plan(&cluster, id, NOW), [], "D-T17");
        fixture::change_set(&mut cluster, id, |set| set.parallel = true);
        assert_eq!(plan(&cluster, id, NOW), [create(2)], "D-T18");
    }

    #[test]
    fn an_unready_low_ordinal_freezes_the_rest() {
        let (mut cluster, id, pods) = three(36);
        cluster.update_pod(pods[0], |pod| pod.ready = false);
        remove(&mut cluster, pods[1]);
        assert_eq!(plan(&cluster, id, NOW), [], "D-T19");
    }

    #[test]
    fn a_finished_pod_is_deleted_first() {
        let (mut cluster, id, pods) = three(36);
        cluster.update_pod(pods[1], |pod| pod.phase = Phase::Failed);
        assert_eq!(plan(&cluster, id, NOW), [Step::Delete(pods[1])]);
    }

    /// A rollout: the named pods have the new revision.
    fn rollout(minor: u16, updated: &[usize]) -> (Cluster, WorkloadId, Vec<PodId>) {
        let (mut cluster, id, pods) = three(minor);
        let old = fixture::template(&mut cluster, Some((REVISION, "old")));
        let new = fixture::template(&mut cluster, Some((REVISION, "new")));
        for (index, &pod) in pods.iter().enumerate() {
            cluster.update_pod(pod, |pod| pod.spec = if updated.contains(&index) { new } else { old });
        }
        fixture::change_set(&mut cluster, id, |set| {
            set.updating = true;
            set.update_revision = "new".into();
        });
        (cluster, id, pods)
    }

    #[test]
    fn one_pod_at_a_time_from_the_top() {
        for minor in [36, 37] {
            let (cluster, id, pods) = rollout(minor, &[]);
            assert_eq!(plan(&cluster, id, NOW), [Step::Delete(pods[2])]);
            let (mut cluster, id, pods) = rollout(minor, &[2]);
            assert_eq!(plan(&cluster, id, NOW), [Step::Delete(pods[1])]);
            cluster.update_pod(pods[2], |pod| pod.ready = false);
            assert_eq!(plan(&cluster, id, NOW), []);
        }
    }

    #[test]
    fn parallel_rollout_by_version() {
        for (minor, expected) in [(36, vec![2]), (37, vec![])] {
            let (mut cluster, id, pods) = rollout(minor, &[0]);
            fixture::change_set(&mut cluster, id, |set| set.parallel = true);
            cluster.update_pod(pods[0], |pod| pod.ready = false);
            let expected: Vec<Step> = expected.into_iter().map(|index: usize| Step::Delete(pods[index])).collect();
            assert_eq!(plan(&cluster, id, NOW), expected, "V30, 1.{minor}: web-0 is down");
        }
        let (mut cluster, id, pods) = rollout(37, &[]);
        fixture::change_set(&mut cluster, id, |set| set.parallel = true);
        cluster.update_pod(pods[0], |pod| pod.ready = false);
        cluster.update_pod(pods[1], |pod| pod.ready = false);
        assert_eq!(plan(&cluster, id, NOW), [Step::Delete(pods[1]), Step::Delete(pods[0])], "V30: broken ones at once");
    }

    #[test]
    fn max_unavailable_counts_from_1_37() {
        for (minor, count) in [(36, 1), (37, 2)] {
            let (mut cluster, id, _) = rollout(minor, &[]);
            fixture::change_set(&mut cluster, id, |set| set.max_unavailable = Some(IntOrPercent::Percent(90)));
            assert_eq!(plan(&cluster, id, NOW).len(), count, "V30, 1.{minor}");
        }
    }

    #[test]
    fn revision_of_a_recreated_pod() {
        let lost = |ordinal: usize, change: fn(&mut StatefulSet)| {
            let (mut cluster, id, pods) = rollout(36, &[2]);
            fixture::change_set(&mut cluster, id, change);
            remove(&mut cluster, pods[ordinal]);
            plan(&cluster, id, NOW)
        };
        let back = |ordinal, updated| vec![Step::Create { ordinal, updated }];
        assert_eq!(lost(0, |_| {}), back(0, true), "D-T21");
        assert_eq!(lost(0, |set| set.rolling_update_unset = true), back(0, false), "D-T21b");
        assert_eq!(lost(1, |set| set.partition = 2), back(1, false), "D-T21c");
    }

    #[test]
    fn scale_down_takes_the_highest_and_waits() {
        let (mut cluster, id, pods) = three(36);
        cluster.update_workload(id, |set| set.replicas = 1);
        assert_eq!(plan(&cluster, id, NOW), [Step::Delete(pods[2])]);
        fixture::terminate(&mut cluster, pods[2]);
        assert_eq!(plan(&cluster, id, NOW), []);
        fixture::change_set(&mut cluster, id, |set| set.parallel = true);
        assert_eq!(plan(&cluster, id, NOW), [Step::Delete(pods[1])]);
    }

    #[test]
    fn a_new_pod_has_the_labels_and_claims_of_its_ordinal() {
        let mut cluster = fixture::cluster(36);
        let id = fixture::stateful_set(&mut cluster, 1);
        let claim = ClaimTemplate { name: "data".into(), class: Name::EMPTY, bytes: 1, access: Access::default() };
        fixture::change_set(&mut cluster, id, |set| set.claim_templates = vec![claim]);
        let spec = template(&mut cluster, id, 4, true, None).map(|spec| cluster.catalog.spec(spec).clone());
        let spec = spec.unwrap_or_default();
        let labels: Labels = [("app", "web"), (POD_NAME, "web-4"), (POD_INDEX, "4")]
            .into_iter()
            .map(|(key, value)| (Name::new(key), Name::new(value)))
            .collect();
        assert_eq!(spec.labels, labels);
        assert_eq!(spec.volumes, [Volume::Claim { name: "data-web-4".into(), read_only: false }]);
        create_claims(&mut cluster, id, 4);
        assert!(cluster.find_claim("default".into(), "data-web-4".into()).is_some());
    }
}
