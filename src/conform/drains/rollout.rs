//! Sizes of ReplicaSets are not in the recordings. Which of them a Deployment's controller may have written follows from its
//! rules, so the replay keeps every possibility, and every pod that is created or deleted rules some out.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Cluster, Detail, Name, Owner, PodId, Time, WorkloadId};
use crate::simulator::controllers::{deployment, replica_set};

use super::replay::Replay;

/// More possibilities than this are not followed.
const MOST: usize = 4_000;

/// The ReplicaSets of a Deployment and the sizes that they may have.
#[derive(Clone, Debug)]
pub(super) struct Rollout {
    /// `spec.replicas` of the Deployment before and after the last change.
    pub(super) before: Vec<i32>,
    sets: Vec<WorkloadId>,
    sizes: BTreeSet<Vec<i32>>,
}

impl Rollout {
    /// Every Deployment with the sizes of the snapshot.
    pub(super) fn all(cluster: &Cluster) -> BTreeMap<WorkloadId, Rollout> {
        let deployments = cluster.workloads().filter(|(_, workload)| workload.as_deployment().is_some());
        deployments.map(|(id, workload)| (id, Rollout::of(cluster, id, workload.replicas))).collect()
    }

    fn of(cluster: &Cluster, id: WorkloadId, replicas: i32) -> Rollout {
        let sets: Vec<WorkloadId> = cluster.owned_workloads(id).to_vec();
        let sizes = sets.iter().map(|&set| cluster.workload(set).replicas).collect();
        Rollout { before: vec![replicas], sets, sizes: BTreeSet::from([sizes]) }
    }

    /// A ReplicaSet that was created, empty at first.
    fn add(&mut self, set: WorkloadId) {
        self.sets.push(set);
        self.sizes = std::mem::take(&mut self.sizes)
            .into_iter()
            .map(|mut sizes| {
                sizes.push(0);
                sizes
            })
            .collect();
    }

    /// Adds every size that the controller may have written at one of the states, in any number of syncs.
    fn advance<'s>(&mut self, id: WorkloadId, states: impl Iterator<Item = &'s Cluster> + Clone, now: Time) {
        let mut fresh: Vec<Vec<i32>> = self.sizes.iter().cloned().collect();
        while let Some(sizes) = fresh.pop() {
            for state in states.clone() {
                for &before in &self.before {
                    let size = |set| self.position(set).map_or(0, |position| sizes[position]);
                    let plan = deployment::plan(state, id, before, size, now);
                    let mut next = sizes.clone();
                    for (set, replicas) in plan.scale {
                        if let Some(position) = self.position(set) {
                            next[position] = replicas;
                        }
                    }
                    if self.sizes.len() < MOST && self.sizes.insert(next.clone()) {
                        fresh.push(next);
                    }
                }
            }
        }
    }

    fn position(&self, set: WorkloadId) -> Option<usize> {
        self.sets.iter().position(|&other| other == set)
    }
}

impl Replay<'_> {
    /// Whether the controller of a ReplicaSet can be explained by one of the sizes it may have at one of the states it may
    /// see; sizes that cannot explain it are ruled out.
    fn explain(&mut self, set: WorkloadId, test: impl Fn(&Replay<'_>, &Cluster, i32) -> bool) -> bool {
        let top = self.world.cluster.top(set);
        let Some(mut rollout) = self.rollouts.remove(&top) else {
            let size = self.world.cluster.workload(set).replicas;
            return self.states().any(|state| knows(state, set) && test(self, state, size));
        };
        let states: Vec<&Cluster> = self.states().filter(|state| knows(state, set)).collect();
        rollout.advance(top, states.iter().copied(), self.world.now);
        let allowed: BTreeSet<Vec<i32>> = rollout
            .sizes
            .iter()
            .filter(|sizes| {
                let size = rollout.position(set).map_or(0, |position| sizes[position]);
                states.iter().any(|state| test(self, state, size))
            })
            .cloned()
            .collect();
        let explained = !allowed.is_empty();
        if explained {
            rollout.sizes = allowed;
        }
        if let Some(sizes) = rollout.sizes.first() {
            for (&set, &size) in rollout.sets.iter().zip(sizes) {
                self.world.cluster.update_workload(set, |set| set.replicas = size);
            }
        }
        self.rollouts.insert(top, rollout);
        explained
    }

    /// Whether a ReplicaSet may create a pod now.
    pub(super) fn may_create(&mut self, set: WorkloadId) -> bool {
        self.explain(set, |replay, state, size| {
            let known = state.pods().len() as u32;
            let created = replay.world.cluster.pods().skip(known as usize);
            let created = created.filter(|(_, pod)| pod.owner == Owner::Workload(set)).count() as i64;
            shortage(state, set, size) > created
        })
    }

    /// Whether a ReplicaSet may delete this pod now.
    pub(super) fn may_delete(&mut self, set: WorkloadId, pod: PodId) -> bool {
        let now = self.world.now;
        self.explain(set, |replay, state, size| {
            let surplus = -shortage(state, set, size);
            if surplus <= 0 || state.pods().len() <= pod.index() {
                return false;
            }
            let groups = replica_set::victim_groups(state, set, now);
            let before: Vec<PodId> =
                groups.iter().take_while(|group| !group.contains(&pod)).flatten().copied().collect();
            if !groups.iter().any(|group| group.contains(&pod)) {
                return false;
            }
            // Since when the pods of the snapshot are Ready is not known: they may stand anywhere among Ready ones.
            let certain = before.iter().filter(|&&other| !replay.is_interchangeable(state, other, pod)).count() as i64;
            let deleted = groups.iter().flatten().filter(|other| replay.deleted_by_controller.contains(other)).count();
            let room = surplus - deleted as i64;
            let gone_before = before.iter().filter(|other| replay.deleted_by_controller.contains(other)).count() as i64;
            room > 0 && certain - gone_before.min(certain) < room
        })
    }

    /// Two pods of which only ages that the snapshot does not tell decide which is deleted first.
    fn is_interchangeable(&self, state: &Cluster, one: PodId, other: PodId) -> bool {
        let (a, b) = (state.pod(one), state.pod(other));
        (one < self.first_new || other < self.first_new)
            && a.ready
            && b.ready
            && a.deletion_cost == b.deletion_cost
            && {
                let crowd = |node| {
                    state.pods().filter(|(_, pod)| pod.is_active() && pod.owner == a.owner && pod.node == node).count()
                };
                crowd(a.node) == crowd(b.node)
            }
    }

    /// A Deployment's template changed: a ReplicaSet comes into being, under the name that its first pod shows.
    pub(super) fn new_replica_set(&mut self, deployment: WorkloadId, name: crate::cluster::Name) {
        let now = self.world.now;
        let set = deployment::create(&mut self.world.cluster, deployment, 0, Some(name), now);
        self.world.wake_workload(set, &mut crate::simulator::First);
        if let Some(rollout) = self.rollouts.get_mut(&deployment) {
            rollout.add(set);
        }
    }

    /// A journal told a workload as it is; `before`: its replicas until then, if it was known.
    pub(super) fn workload_told(&mut self, id: WorkloadId, before: Option<i32>) {
        let cluster = &self.world.cluster;
        let workload = cluster.workload(id);
        if workload.as_deployment().is_some() {
            let replicas = workload.replicas;
            match self.rollouts.get_mut(&id) {
                Some(rollout) => rollout.before = before.into_iter().chain([replicas]).collect(),
                None => {
                    self.rollouts.insert(id, Rollout::of(cluster, id, replicas));
                }
            }
        } else if let Some(rollout) = self.rollouts.get_mut(&cluster.top(id))
            && rollout.position(id).is_none()
        {
            rollout.add(id);
        }
    }

    /// ReplicaSets that still want something at the end, in one sentence each; empty if some sizes leave nothing to do.
    pub(super) fn unfinished_replica_sets(&mut self) -> Vec<String> {
        let cluster = self.world.cluster.clone();
        let mut unfinished = Vec::new();
        for (id, workload) in cluster.workloads().filter(|(_, workload)| !workload.deleted) {
            if leaving(&cluster, workload.key.namespace) {
                continue;
            }
            let plays = matches!(workload.detail, Detail::ReplicaSet(_) | Detail::ReplicationController);
            if plays && !self.rollouts.contains_key(&cluster.top(id)) {
                let shortage = shortage(&cluster, id, workload.replicas);
                if shortage != 0 {
                    unfinished.push(format!("{} wants {shortage:+} pods", workload.key));
                }
            }
        }
        let now = self.world.now;
        for (&id, rollout) in &mut self.rollouts {
            if cluster.workload(id).deleted || leaving(&cluster, cluster.workload(id).key.namespace) {
                continue;
            }
            rollout.advance(id, std::iter::once(&cluster), now);
            let settled = |sizes: &Vec<i32>| {
                let size = |set| rollout.position(set).map_or(0, |position| sizes[position]);
                rollout.sets.iter().all(|&set| cluster.workload(set).deleted || shortage(&cluster, set, size(set)) == 0)
                    && rollout
                        .before
                        .iter()
                        .any(|&before| deployment::plan(&cluster, id, before, size, now) == deployment::Plan::default())
            };
            if !rollout.sizes.iter().any(settled) {
                unfinished.push(format!("{} is not settled at any of {:?}", cluster.workload(id).key, rollout.sizes));
            }
        }
        unfinished
    }
}

/// Whether a namespace is being deleted.
pub(super) fn leaving(cluster: &Cluster, namespace: Name) -> bool {
    cluster.catalog.namespaces.get(&namespace).is_some_and(|namespace| namespace.terminating)
}

/// Whether a workload was there already.
pub(super) fn knows(state: &Cluster, id: WorkloadId) -> bool {
    id.index() < state.workloads().len()
}

fn shortage(state: &Cluster, set: WorkloadId, size: i32) -> i64 {
    replica_set::shortage(state, set) + i64::from(size - state.workload(set).replicas)
}
