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
    /// `spec.replicas` of the Deployment, each value that it has had in turn.
    replicas: Vec<i32>,
    sets: Vec<WorkloadId>,
    possible: BTreeSet<Possibility>,
}

/// What the controller may have done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Possibility {
    /// The sizes of the ReplicaSets.
    sizes: Vec<i32>,
    /// Which `spec.replicas` it spread over them last; it never goes back to a former one.
    spread: usize,
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
        Rollout { replicas: vec![replicas], sets, possible: BTreeSet::from([Possibility { sizes, spread: 0 }]) }
    }

    /// A ReplicaSet that was created with a size.
    fn add(&mut self, set: WorkloadId, size: i32) {
        self.sets.push(set);
        self.possible = std::mem::take(&mut self.possible)
            .into_iter()
            .map(|mut possibility| {
                possibility.sizes.push(size);
                possibility
            })
            .collect();
    }

    /// Somebody wrote the Deployment's `spec.replicas`. Its controller may not have seen what stood there until then.
    pub(super) fn resized(&mut self, replicas: i32) {
        if self.replicas.last() != Some(&replicas) {
            self.replicas.push(replicas);
        }
    }

    /// What the controller does at a state.
    fn plan(&self, cluster: &Cluster, id: WorkloadId, possibility: &Possibility, now: Time) -> deployment::Plan {
        let before = self.replicas[possibility.spread];
        deployment::plan(cluster, id, before, |set| self.size(possibility, set), now)
    }

    /// Adds every size that the controller may have written at one of the states, in any number of syncs.
    fn advance<'s>(&mut self, id: WorkloadId, states: impl Iterator<Item = &'s Cluster> + Clone, now: Time) {
        let mut fresh: Vec<Possibility> = self.possible.iter().cloned().collect();
        while let Some(possibility) = fresh.pop() {
            for state in states.clone() {
                let replicas = state.workload(id).replicas;
                let Some(ahead) = self.replicas[possibility.spread..].iter().position(|&other| other == replicas)
                else {
                    continue;
                };
                let mut next = possibility.clone();
                next.spread += ahead;
                for (set, replicas) in self.plan(state, id, &possibility, now).scale {
                    if let Some(position) = self.position(set) {
                        next.sizes[position] = replicas;
                    }
                }
                if self.possible.len() < MOST && self.possible.insert(next.clone()) {
                    fresh.push(next);
                }
            }
        }
    }

    fn size(&self, possibility: &Possibility, set: WorkloadId) -> i32 {
        self.position(set).map_or(0, |position| possibility.sizes[position])
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
        let allowed: BTreeSet<Possibility> = rollout
            .possible
            .iter()
            .filter(|possibility| states.iter().any(|state| test(self, state, rollout.size(possibility, set))))
            .cloned()
            .collect();
        let explained = !allowed.is_empty();
        if explained {
            rollout.possible = allowed;
        }
        if let Some(possibility) = rollout.possible.first() {
            for (&set, &size) in rollout.sets.iter().zip(&possibility.sizes) {
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
            rollout.add(set, 0);
        }
    }

    /// A journal told a workload as it is.
    pub(super) fn workload_told(&mut self, id: WorkloadId) {
        let cluster = &self.world.cluster;
        let workload = cluster.workload(id);
        if workload.as_deployment().is_some() {
            let replicas = workload.replicas;
            match self.rollouts.get_mut(&id) {
                Some(rollout) => rollout.resized(replicas),
                None => {
                    self.rollouts.insert(id, Rollout::of(cluster, id, replicas));
                }
            }
        } else if let Some(rollout) = self.rollouts.get_mut(&cluster.top(id))
            && rollout.position(id).is_none()
        {
            rollout.add(id, workload.replicas);
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
            let settled = |possibility: &Possibility| {
                let wants = |set| shortage(&cluster, set, rollout.size(possibility, set)) != 0;
                !rollout.sets.iter().any(|&set| !cluster.workload(set).deleted && wants(set))
                    && rollout.plan(&cluster, id, possibility, now) == deployment::Plan::default()
            };
            if !rollout.possible.iter().any(settled) {
                unfinished.push(format!(
                    "{} is not settled at any of {:?}",
                    cluster.workload(id).key,
                    rollout.possible
                ));
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
