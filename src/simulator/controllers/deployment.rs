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
    let plan = plan(&world.cluster, id, before, world.now);
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

/// What the controller does at this state. `before`: `spec.replicas` as of its last sync.
pub fn plan(cluster: &Cluster, id: WorkloadId, before: i32, now: Time) -> Plan {
    let workload = cluster.workload(id);
    let Some(deployment) = workload.as_deployment() else { return Plan::default() };
    if namespace_is_terminating(cluster, workload.key.namespace) {
        return Plan::default();
    }
    let sets = Sets::of(cluster, id, now);
    let mut plan = if deployment.paused || (before != workload.replicas && sets.active().next().is_some()) {
        Plan { create: None, scale: resize(workload.replicas, before, deployment, &sets) }
    } else if deployment.recreate {
        recreate(cluster, workload.replicas, &sets)
    } else {
        roll(workload.replicas, deployment, &sets)
    };
    plan.scale.retain(|&(id, replicas)| cluster.workload(id).replicas != replicas);
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
    fn of(cluster: &Cluster, id: WorkloadId, now: Time) -> Sets {
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
                replicas: workload.replicas,
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
