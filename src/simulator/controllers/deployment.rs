//! The Deployment controller (KUBERNETES.md D.1): it sizes ReplicaSets and never touches pods.

use std::collections::BTreeMap;

use crate::cluster::{
    Cluster, Deployment, Detail, Name, ObjectKey, Operator, Phase, PodId, ReplicaSet, Requirement, SpecId, Time,
    Workload, WorkloadId,
};
use crate::simulator::{Chooser, World};
use crate::trace::Event;

use super::{minor, namespace_is_terminating, replica_set};

const HASH: &str = "pod-template-hash";

/// What it remembers between its syncs: `spec.replicas` as last spread over the ReplicaSets (the annotation
/// `deployment.kubernetes.io/desired-replicas`).
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    desired: BTreeMap<WorkloadId, i32>,
}

impl Memory {
    pub(super) fn new(cluster: &Cluster) -> Memory {
        let deployments = cluster.workloads().filter(|(_, workload)| workload.as_deployment().is_some());
        Memory { desired: deployments.map(|(id, workload)| (id, workload.replicas)).collect() }
    }
}

/// What a sync does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Size of the new ReplicaSet that is created.
    pub create: Option<i32>,
    /// New sizes of existing ReplicaSets; only those that change.
    pub scale: Vec<(WorkloadId, i32)>,
}

/// Looks at one workload.
pub(super) fn sync(world: &mut World, id: WorkloadId, chooser: &mut dyn Chooser) {
    let replicas = world.cluster.workload(id).replicas;
    let before = world.controllers.deployment.desired.insert(id, replicas).unwrap_or(replicas);
    let plan = plan(&world.cluster, id, before, |set| world.cluster.workload(set).replicas, world.now);
    if plan == Plan::default() {
        return;
    }
    if let Some(replicas) = plan.create {
        let created = create(&mut world.cluster, id, replicas, None, world.now);
        world.emit(Event::Scaled(created, replicas), chooser);
    }
    for (replica_set, replicas) in plan.scale {
        world.scale(replica_set, replicas, chooser);
    }
    // The write of a ReplicaSet comes back as an event.
    world.wake_workload(id, chooser);
}

/// What the controller does at this state. `before`: `spec.replicas` as of its last sync; `size`: `spec.replicas` of its
/// ReplicaSets.
pub fn plan(cluster: &Cluster, id: WorkloadId, before: i32, size: impl Fn(WorkloadId) -> i32, now: Time) -> Plan {
    let workload = cluster.workload(id);
    let Some(deployment) = workload.as_deployment() else { return Plan::default() };
    if namespace_is_terminating(cluster, workload.key.namespace) {
        return Plan::default();
    }
    let sets = Sets::of(cluster, id, &size, now);
    let mut plan = if deployment.paused || (before != workload.replicas && sets.active().next().is_some()) {
        Plan { create: None, scale: resize(workload.replicas, before, deployment, &sets) }
    } else if deployment.recreate {
        recreate(cluster, workload.replicas, &sets)
    } else {
        roll(workload.replicas, deployment, &sets)
    };
    plan.scale.retain(|&(id, replicas)| size(id) != replicas);
    plan
}

/// A ReplicaSet as the controller sees it.
#[derive(Clone, Copy, Debug)]
struct Set {
    id: WorkloadId,
    replicas: i32,
    available: i32,
    created: Time,
}

/// The ReplicaSets of a Deployment, the old ones by age.
struct Sets {
    new: Option<Set>,
    old: Vec<Set>,
}

impl Sets {
    fn of(cluster: &Cluster, id: WorkloadId, size: impl Fn(WorkloadId) -> i32, now: Time) -> Sets {
        let mut sets = Sets { new: None, old: Vec::new() };
        let mut newest = i64::MIN;
        for &owned in cluster.owned_workloads(id) {
            let workload = cluster.workload(owned);
            let Detail::ReplicaSet(detail) = &workload.detail else { continue };
            if workload.deleted {
                continue;
            }
            let set = Set {
                id: owned,
                replicas: size(owned),
                available: replica_set::available(cluster, owned, now),
                created: detail.created,
            };
            if detail.current && detail.revision > newest {
                newest = detail.revision;
                sets.old.extend(sets.new.replace(set));
            } else {
                sets.old.push(set);
            }
        }
        sets.old.sort_by_key(|set| (set.created, set.id));
        sets
    }

    fn all(&self) -> impl Iterator<Item = &Set> {
        self.old.iter().chain(&self.new)
    }

    fn active(&self) -> impl Iterator<Item = &Set> {
        self.all().filter(|set| set.replicas > 0)
    }

    fn size(&self) -> i32 {
        self.all().map(|set| set.replicas).sum()
    }
}

/// maxSurge and maxUnavailable as counts: surge rounds up, unavailable down, not both zero (D-T11u).
fn bounds(deployment: &Deployment, replicas: i32) -> (i32, i32) {
    if deployment.recreate {
        return (0, 0);
    }
    let surge = deployment.max_surge.round_up(replicas);
    let unavailable = deployment.max_unavailable.round_down(replicas);
    let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
    (surge, unavailable.min(replicas))
}

/// A rolling update: the new ReplicaSet grows into the room, or else old ones shrink.
fn roll(replicas: i32, deployment: &Deployment, sets: &Sets) -> Plan {
    let (surge, unavailable) = bounds(deployment, replicas);
    let size = sets.size();
    let room = (replicas + surge - size).max(0);
    let mut plan = Plan::default();
    let new = match sets.new {
        Some(set) if set.replicas > replicas => {
            plan.scale.push((set.id, replicas));
            return plan;
        }
        Some(set) => {
            let growth = room.min(replicas - set.replicas);
            if growth > 0 {
                plan.scale.push((set.id, set.replicas + growth));
                return plan;
            }
            set
        }
        None => {
            let first = room.min(replicas);
            plan.create = Some(first);
            Set { id: WorkloadId(u32::MAX), replicas: first, available: 0, created: Time(i64::MAX) }
        }
    };
    let size = sets.old.iter().map(|set| set.replicas).sum::<i32>() + new.replicas;
    plan.scale = shrink(replicas - unavailable, size, new, &sets.old);
    plan
}

/// Old ReplicaSets shrink: first by what is unhealthy in them, then as far as enough stay available.
fn shrink(min_available: i32, size: i32, new: Set, old: &[Set]) -> Vec<(WorkloadId, i32)> {
    let mut old: Vec<Set> = old.iter().copied().filter(|set| set.replicas > 0).collect();
    let most = size - min_available - (new.replicas - new.available);
    if most <= 0 {
        return Vec::new();
    }
    let mut left = most;
    for set in &mut old {
        let unhealthy = (set.replicas - set.available).clamp(0, left);
        set.replicas -= unhealthy;
        left -= unhealthy;
    }
    let available = old.iter().map(|set| set.available).sum::<i32>() + new.available;
    let mut left = (available - min_available).max(0);
    for set in &mut old {
        let healthy = set.replicas.min(left);
        set.replicas -= healthy;
        left -= healthy;
    }
    old.iter().map(|set| (set.id, set.replicas)).collect()
}

/// Old ones go first and entirely; a terminating pod still counts as running (D-T42).
fn recreate(cluster: &Cluster, replicas: i32, sets: &Sets) -> Plan {
    let scale: Vec<_> = sets.old.iter().filter(|set| set.replicas > 0).map(|set| (set.id, 0)).collect();
    if !scale.is_empty() {
        return Plan { create: None, scale };
    }
    let running = |set: &Set| {
        cluster
            .pods_of_workload(set.id)
            .iter()
            .any(|&pod| matches!(cluster.pod(pod).phase, Phase::Pending | Phase::Running | Phase::Unknown))
    };
    if sets.old.iter().any(running) {
        return Plan::default();
    }
    match sets.new {
        Some(set) => Plan { create: None, scale: vec![(set.id, replicas)] },
        None => Plan { create: Some(replicas), scale: Vec::new() },
    }
}

/// `spec.replicas` changed, or the rollout is paused: one active ReplicaSet takes the whole change, several share it in
/// proportion to their sizes.
fn resize(replicas: i32, before: i32, deployment: &Deployment, sets: &Sets) -> Vec<(WorkloadId, i32)> {
    let active: Vec<Set> = sets.active().copied().collect();
    match active[..] {
        [] => {
            let latest = sets.new.or(sets.old.last().copied());
            return latest.map(|set| (set.id, replicas)).into_iter().collect();
        }
        [set] => return vec![(set.id, replicas)],
        _ => {}
    }
    let saturated = sets.new.is_some_and(|set| set.replicas == replicas && set.available == replicas);
    if saturated && before == replicas {
        return sets.old.iter().map(|set| (set.id, 0)).collect();
    }
    if deployment.recreate {
        return Vec::new();
    }
    share(replicas, before, deployment, active)
}

fn share(replicas: i32, before: i32, deployment: &Deployment, mut sets: Vec<Set>) -> Vec<(WorkloadId, i32)> {
    let most = |replicas: i32| if replicas > 0 { replicas + bounds(deployment, replicas).0 } else { 0 };
    let to_add = most(replicas) - sets.iter().map(|set| set.replicas).sum::<i32>();
    if to_add == 0 {
        return Vec::new();
    }
    // The largest first; among equals the newer one when growing, the older one when shrinking.
    sets.sort_by_key(|set| {
        let age = if to_add > 0 { -set.created.0 } else { set.created.0 };
        (-set.replicas, age, set.id)
    });
    let mut added = 0;
    let mut sizes: Vec<(WorkloadId, i32)> = Vec::new();
    for set in &sets {
        let left = to_add - added;
        let target = if replicas == 0 { 0 } else { proportion(set.replicas, most(replicas), most(before)) };
        let change = target - set.replicas;
        let change = if to_add > 0 { change.min(left) } else { change.max(left) };
        added += change;
        sizes.push((set.id, set.replicas + change));
    }
    if let Some(largest) = sizes.first_mut() {
        largest.1 = (largest.1 + to_add - added).max(0);
    }
    sizes
}

/// `size * most / before`, rounded half away from zero; unchanged when nothing is known of before.
fn proportion(size: i32, most: i32, before: i32) -> i32 {
    if before == 0 {
        return size;
    }
    let product = 2 * i64::from(size) * i64::from(most) + i64::from(before);
    product.div_euclid(2 * i64::from(before)) as i32
}

/// Creates the new ReplicaSet of a Deployment. `name`: the suffix where it is known from a recording.
pub fn create(cluster: &mut Cluster, id: WorkloadId, replicas: i32, name: Option<Name>, now: Time) -> WorkloadId {
    let revisions = cluster.owned_workloads(id).iter().map(|&owned| match &cluster.workload(owned).detail {
        Detail::ReplicaSet(detail) => detail.revision,
        _ => 0,
    });
    let revision = revisions.max().unwrap_or(0) + 1;
    let deployment = cluster.workload(id).clone();
    let own = Name::new(&format!("{}-sim{revision}", deployment.key.name));
    let key = ObjectKey::new(deployment.key.namespace, "ReplicaSet", name.unwrap_or(own));
    let prefix = format!("{}-", deployment.key.name);
    let hash = Name::new(key.name.strip_prefix(&prefix).unwrap_or(&key.name));
    let template = deployment.template.map(|template| with_hash(cluster, template, hash));
    let mut selector = deployment.selector.clone().unwrap_or_default();
    selector.requirements.push(Requirement { key: Name::new(HASH), operator: Operator::In(vec![hash]) });
    cluster.add_workload(Workload {
        key,
        owner: Some(id),
        missing_owner: None,
        selector: Some(selector),
        template,
        replicas,
        deleted: false,
        detail: Detail::ReplicaSet(ReplicaSet { revision, created: now, current: true }),
        ..deployment
    })
}

/// The template of a ReplicaSet: the Deployment's with the hash as label.
fn with_hash(cluster: &mut Cluster, template: SpecId, hash: Name) -> SpecId {
    let mut spec = cluster.catalog.spec(template).clone();
    spec.labels = spec.labels.with(Name::new(HASH), hash);
    cluster.intern_spec(spec)
}

/// Whether an event of a pod reaches the Deployment above its owner: it watches the status of its ReplicaSets, which counts
/// active pods only; a Recreate one also hears of pods that are gone (VERSIONS.md V32). Called after the change.
pub(super) fn hears_of(cluster: &Cluster, top: WorkloadId, pod: PodId, event: &Event) -> bool {
    let object = cluster.pod(pod);
    let was_inactive = object.deletion.is_some() || object.is_terminal();
    match event {
        Event::PodDeleting(_) => !object.is_terminal(),
        Event::PodSucceeded(_) | Event::PodFailed(_) => object.deletion.is_none(),
        Event::PodGone(_) if was_inactive => {
            let waits = cluster.workload(top).as_deployment().is_some_and(|deployment| deployment.recreate);
            let owned = cluster.owned_workloads(top);
            waits && (minor(cluster) >= 37 || owned.iter().all(|&set| cluster.pods_of_workload(set).is_empty()))
        }
        _ => !was_inactive,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::cluster::IntOrPercent::{self, Int, Percent};

    const NOW: Time = Time(1_000_000);

    fn planned(cluster: &Cluster, id: WorkloadId, before: i32) -> Plan {
        plan(cluster, id, before, |set| cluster.workload(set).replicas, NOW)
    }

    /// Sizes of old and new ReplicaSet after one sync. `old` and `new`: (replicas, available).
    fn step(replicas: i32, bounds: (IntOrPercent, IntOrPercent), old: (i32, i32), new: (i32, i32)) -> (i32, i32) {
        let mut cluster = fixture::cluster(36);
        let web = fixture::deployment(&mut cluster, replicas, bounds.0, bounds.1);
        let first = fixture::replica_set(&mut cluster, web, 1, false, old.0, old.1);
        let second = fixture::replica_set(&mut cluster, web, 2, true, new.0, new.1);
        let plan = plan(&cluster, web, replicas, |set| cluster.workload(set).replicas, NOW);
        assert_eq!(plan.create, None);
        let size = |id, before| plan.scale.iter().find(|entry| entry.0 == id).map_or(before, |entry| entry.1);
        (size(first, old.0), size(second, new.0))
    }

    #[test]
    fn rolling_steps() {
        let surge = |count| (Int(count), Int(0));
        assert_eq!(step(10, surge(2), (10, 10), (0, 0)), (10, 2), "D-T1u");
        assert_eq!(step(10, surge(2), (5, 5), (0, 0)), (5, 7), "D-T2u");
        assert_eq!(step(10, surge(0), (10, 10), (0, 0)), (9, 0), "D-T3u");
        assert_eq!(step(10, surge(2), (10, 10), (2, 0)), (10, 2), "D-T4u");
        assert_eq!(step(10, surge(2), (2, 2), (11, 11)), (2, 10), "D-T5u");
        let unavailable = (Int(0), Int(2));
        assert_eq!(step(10, unavailable, (10, 10), (0, 0)), (8, 0), "D-T6u");
        assert_eq!(step(10, unavailable, (10, 8), (0, 0)), (8, 0), "D-T7u");
        assert_eq!(step(10, unavailable, (10, 9), (0, 0)), (8, 0), "D-T8u");
        assert_eq!(step(10, unavailable, (8, 8), (2, 0)), (8, 2), "D-T9u");
    }

    #[test]
    fn fenceposts() {
        let of = |surge, unavailable, replicas| {
            let mut cluster = fixture::cluster(36);
            let web = fixture::deployment(&mut cluster, replicas, surge, unavailable);
            cluster.workload(web).as_deployment().map(|deployment| bounds(deployment, replicas))
        };
        assert_eq!(of(Percent(39), Percent(39), 10), Some((4, 3)), "D-T11u");
        assert_eq!(of(Int(0), Int(0), 10), Some((0, 1)), "D-T11u");
        assert_eq!(of(Percent(0), Percent(0), 10), Some((0, 1)), "D-T11u");
        assert_eq!(of(Percent(25), Percent(25), 1), Some((1, 0)), "D-T12");
    }

    #[test]
    fn a_changed_template_creates_a_replica_set_with_its_first_pods() {
        let mut cluster = fixture::cluster(36);
        let web = fixture::deployment(&mut cluster, 6, Percent(25), Percent(25));
        let old = fixture::replica_set(&mut cluster, web, 1, false, 6, 6);
        assert_eq!(planned(&cluster, web, 6), Plan { create: Some(2), scale: vec![(old, 5)] });
        let new = create(&mut cluster, web, 2, Some(Name::new("web-abc")), NOW);
        let labels = cluster.workload(new).template.map(|template| cluster.catalog.spec(template).labels.clone());
        assert_eq!(labels.and_then(|labels| labels.get(Name::new(HASH))), Some(Name::new("abc")));
        assert_eq!(cluster.owned_workloads(web), [old, new]);
    }

    #[test]
    fn an_evicted_pod_moves_nothing() {
        let mut cluster = fixture::cluster(36);
        let web = fixture::deployment(&mut cluster, 3, Percent(25), Percent(25));
        let set = fixture::replica_set(&mut cluster, web, 1, true, 3, 3);
        let pod = cluster.pods_of_workload(set)[0];
        fixture::terminate(&mut cluster, pod);
        assert_eq!(planned(&cluster, web, 3), Plan::default());
        assert_eq!(replica_set::shortage(&cluster, set), 1, "D-T13");
    }

    #[test]
    fn recreate_waits_for_terminating_pods() {
        let mut cluster = fixture::cluster(36);
        let web = fixture::deployment(&mut cluster, 1, Percent(25), Percent(25));
        cluster.update_workload(web, |web| {
            if let Detail::Deployment(deployment) = &mut web.detail {
                deployment.recreate = true;
            }
        });
        let old = fixture::replica_set(&mut cluster, web, 1, false, 1, 1);
        assert_eq!(planned(&cluster, web, 1), Plan { create: None, scale: vec![(old, 0)] });
        cluster.update_workload(old, |old| old.replicas = 0);
        let pod = cluster.pods_of_workload(old)[0];
        fixture::terminate(&mut cluster, pod);
        assert_eq!(planned(&cluster, web, 1), Plan::default(), "D-T42");
        cluster.update_pod(pod, |pod| pod.phase = Phase::Failed);
        assert_eq!(planned(&cluster, web, 1), Plan { create: Some(1), scale: Vec::new() });
        assert!(
            !hears_of(&cluster, web, pod, &Event::PodFailed(pod)),
            "a terminating pod is in no ReplicaSet's status"
        );
    }

    #[test]
    fn recreate_hears_of_deletions_by_version() {
        for (minor, hears) in [(36, false), (37, true)] {
            let mut cluster = fixture::cluster(minor);
            let web = fixture::deployment(&mut cluster, 2, Percent(25), Percent(25));
            cluster.update_workload(web, |web| {
                if let Detail::Deployment(deployment) = &mut web.detail {
                    deployment.recreate = true;
                }
            });
            let set = fixture::replica_set(&mut cluster, web, 1, false, 2, 2);
            let [gone, lingering] = cluster.pods_of_workload(set)[..] else { panic!("two pods") };
            cluster.update_pod(lingering, |pod| pod.phase = Phase::Failed);
            fixture::terminate(&mut cluster, gone);
            cluster.update_pod(gone, |pod| pod.gone = true);
            assert_eq!(hears_of(&cluster, web, gone, &Event::PodGone(gone)), hears, "V32, 1.{minor}");
        }
    }

    #[test]
    fn scaling_in_a_rollout_is_proportional() {
        let mut cluster = fixture::cluster(36);
        let web = fixture::deployment(&mut cluster, 15, Int(3), Int(2));
        let old = fixture::replica_set(&mut cluster, web, 1, false, 8, 8);
        let new = fixture::replica_set(&mut cluster, web, 2, true, 5, 0);
        // The documentation's example: 10 -> 15 replicas with surge 3 adds 3 to the larger and 2 to the smaller.
        assert_eq!(planned(&cluster, web, 10).scale, [(old, 11), (new, 7)]);
    }
}
