//! The disruption controller (KUBERNETES.md B): keeps the status of PodDisruptionBudgets up to date.

use crate::cluster::{
    BudgetId, BudgetStatus, Cluster, Demand, DisruptionReason, Millis, Name, PodId, SYNC_FAILED, Time,
};
use crate::trace::Event;

use super::{Choice, Chooser, Task, World};

/// How long an approved eviction may take until its pod counts again, and a DisruptionTarget condition without a deletion is
/// stale (B.5).
const DELETION_TIMEOUT: Millis = Millis::secs(120);

/// The condition DisruptionAllowed after a good sync, or as the eviction handler writes it.
pub(super) fn condition(disruptions_allowed: i32) -> (bool, Name, Name) {
    let allowed = disruptions_allowed > 0;
    (allowed, Name::new(if allowed { "SufficientPods" } else { "InsufficientPods" }), Name::EMPTY)
}

/// Has the controller look at every budget once, and at conditions that were left behind.
pub(super) fn resume(world: &mut World, chooser: &mut dyn Chooser) {
    let budgets = world.cluster.budgets().len();
    for index in 0..budgets {
        world.wake_budget(BudgetId(index as u32), chooser);
    }
    let left_behind = |pod: PodId| stale_condition_since(&world.cluster, pod).map(|since| (pod, since));
    let marked: Vec<(PodId, Time)> = world.cluster.pods().filter_map(|(pod, _)| left_behind(pod)).collect();
    for (pod, since) in marked {
        world.at(world.now.max(since + DELETION_TIMEOUT), Task::ClearDisruptionTarget(pod));
    }
}

/// A pod changed: one of the budgets that match it is looked at, whichever the lister gives first (B.6).
pub(super) fn pod_changed(world: &mut World, pod: PodId, chooser: &mut dyn Chooser) {
    let budgets = world.cluster.budgets_of_pod(pod);
    let chosen = match budgets.len() {
        0 => return,
        1 => 0,
        several => chooser.pick(Choice::BudgetTie, several),
    };
    let budget = budgets[chosen];
    world.wake_budget(budget, chooser);
}

/// Brings a budget's status up to date.
pub(super) fn sync(world: &mut World, id: BudgetId, chooser: &mut dyn Chooser) {
    let budget = world.cluster.budget(id);
    if budget.gone {
        return;
    }
    let status = match world.cluster.demand(id) {
        Ok(desired) => {
            let (status, recheck) = observe(&world.cluster, id, desired, world.now);
            if let Some(due) = recheck
                && !world.events().any(|planned| planned == (due, Task::SyncBudget(id)))
            {
                world.at(due, Task::SyncBudget(id));
            }
            status
        }
        // Nothing else changes: the fail-safe keeps the counts and the observed generation (B.3).
        Err(failure) => BudgetStatus {
            disruptions_allowed: 0,
            condition: Some((false, Name::new(SYNC_FAILED), failure)),
            ..budget.status.clone()
        },
    };
    if world.cluster.budget(id).status != status {
        world.cluster.update_budget_status(id, |current| *current = status);
        world.emit(Event::BudgetStatus(id), chooser);
    }
}

/// The status after a good sync, and when an entry of `disruptedPods` is to be looked at again (B.5).
fn observe(cluster: &Cluster, id: BudgetId, desired: Demand, now: Time) -> (BudgetStatus, Option<Time>) {
    let budget = cluster.budget(id);
    let before = &budget.status.disrupted;
    let mut disrupted: Vec<(Name, Time)> = Vec::new();
    let mut healthy = i32::try_from(cluster.ready_of_budget(id)).unwrap_or(i32::MAX);
    if !before.is_empty() {
        for &pod in cluster.pods_of_budget(id) {
            let object = cluster.pod(pod);
            let Ok(position) = before.binary_search_by_key(&object.name, |entry| entry.0) else { continue };
            let entry = before[position];
            if object.deletion.is_some() || entry.1 + DELETION_TIMEOUT <= now {
                continue;
            }
            healthy -= i32::from(object.ready);
            disrupted.push(entry);
        }
        disrupted.sort_unstable();
    }
    let recheck = disrupted.iter().map(|entry| entry.1 + DELETION_TIMEOUT).min();
    let allowed = if desired.expected <= 0 { 0 } else { healthy.saturating_sub(desired.healthy).max(0) };
    let status = BudgetStatus {
        current_healthy: healthy,
        desired_healthy: desired.healthy,
        expected_pods: desired.expected,
        disruptions_allowed: allowed,
        observed_generation: budget.generation,
        disrupted,
        condition: Some(condition(allowed)),
    };
    (status, recheck)
}

/// Since when a pod that nobody deletes carries DisruptionTarget=True.
fn stale_condition_since(cluster: &Cluster, pod: PodId) -> Option<Time> {
    let pod = cluster.pod(pod);
    let (reason, since) = pod.disruption_target?;
    (pod.is_active() && reason != DisruptionReason::TerminationByKubelet).then_some(since)
}

/// A condition that has been True for two minutes without a deletion is taken back (B.5).
pub(super) fn clear_stale_condition(world: &mut World, pod: PodId) {
    if stale_condition_since(&world.cluster, pod).is_some_and(|since| since + DELETION_TIMEOUT <= world.now) {
        world.cluster.update_pod(pod, |pod| pod.disruption_target = None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::{
        BudgetLimit, DaemonSet, Deletion, Detail, IntOrPercent, Job, Owner, Phase, ReplicaSet, WorkloadId,
    };
    use crate::simulator::controllers::fixture;
    use crate::simulator::{First, Physics};

    fn synced(cluster: Cluster) -> World {
        at(cluster, Time(1_000_000))
    }

    fn at(cluster: Cluster, now: Time) -> World {
        let mut world = World::new(cluster, now, Arc::new(Physics::default()), &mut First);
        let budgets = world.cluster.budgets().len() as u32;
        for index in 0..budgets {
            sync(&mut world, BudgetId(index), &mut First);
        }
        world
    }

    /// (disruptionsAllowed, currentHealthy, desiredHealthy, expectedPods)
    fn numbers(cluster: Cluster) -> (i32, i32, i32, i32) {
        let world = synced(cluster);
        let status = &world.cluster.budget(BudgetId(0)).status;
        (status.disruptions_allowed, status.current_healthy, status.desired_healthy, status.expected_pods)
    }

    fn count(limit: i32) -> IntOrPercent {
        IntOrPercent::Int(limit)
    }

    /// A ReplicaSet without a Deployment.
    fn replica_set(cluster: &mut Cluster, name: &str, replicas: i32, pods: i32, ready: i32) -> WorkloadId {
        let detail = Detail::ReplicaSet(ReplicaSet::default());
        let id = fixture::workload(cluster, "ReplicaSet", name, None, replicas, detail);
        fill(cluster, id, name, pods, ready);
        id
    }

    fn fill(cluster: &mut Cluster, owner: WorkloadId, name: &str, pods: i32, ready: i32) {
        for index in 0..pods {
            let pod = fixture::pod(cluster, owner, &format!("{name}-{index}"));
            if index < ready {
                fixture::ready(cluster, pod);
            }
        }
    }

    fn of(limit: BudgetLimit, replicas: i32, pods: i32, ready: i32) -> (i32, i32, i32, i32) {
        let mut cluster = fixture::cluster(36);
        fixture::budget(&mut cluster, "b", limit);
        replica_set(&mut cluster, "web", replicas, pods, ready);
        numbers(cluster)
    }

    fn bare(cluster: &mut Cluster, name: &str) -> PodId {
        let owner =
            fixture::workload(cluster, "ReplicaSet", "none", None, 0, Detail::ReplicaSet(ReplicaSet::default()));
        let pod = fixture::pod(cluster, owner, name);
        cluster.update_pod(pod, |pod| pod.owner = Owner::None);
        fixture::ready(cluster, pod);
        pod
    }

    #[test]
    fn counts_of_one_controller() {
        use BudgetLimit::{MaxUnavailable, MinAvailable};
        for ready in 0..=3 {
            assert_eq!(of(MinAvailable(count(3)), 3, ready, ready), (0, ready, 3, ready), "B-T1u");
        }
        assert_eq!(of(MinAvailable(count(3)), 4, 4, 4), (1, 4, 3, 4), "B-T2u");
        assert_eq!(of(MinAvailable(count(3)), 4, 4, 3), (0, 3, 3, 4), "B-T3u");
        assert_eq!(of(MaxUnavailable(count(2)), 7, 1, 1), (0, 1, 5, 7), "B-T4u");
        assert_eq!(of(MaxUnavailable(count(2)), 5, 1, 1), (0, 1, 3, 5), "B-T5u");
        assert_eq!(of(MaxUnavailable(IntOrPercent::Percent(30)), 7, 1, 1), (0, 1, 4, 7), "B-T6u");
        assert_eq!(of(MaxUnavailable(IntOrPercent::Percent(30)), 3, 1, 1), (0, 1, 2, 3), "B-T7u");
        assert_eq!(of(MinAvailable(IntOrPercent::Percent(20)), 10, 1, 1), (0, 1, 2, 10), "B-T8u");
        assert_eq!(of(MinAvailable(IntOrPercent::Percent(34)), 3, 3, 3), (1, 3, 2, 3), "B-T9u");
        assert_eq!(of(MinAvailable(count(1)), 1, 1, 1), (0, 1, 1, 1), "B-T19");
        assert_eq!(of(MaxUnavailable(count(1)), 1, 1, 1), (1, 1, 0, 1), "B-T20");
        assert_eq!(of(MaxUnavailable(IntOrPercent::Percent(1)), 1, 1, 1), (1, 1, 0, 1), "B-T21");
        assert_eq!(of(MinAvailable(IntOrPercent::Percent(100)), 3, 3, 3), (0, 3, 3, 3), "B-T22");
        assert_eq!(of(MaxUnavailable(count(0)), 3, 3, 3), (0, 3, 3, 3), "B-T23");
        assert_eq!(of(MaxUnavailable(count(1)), 0, 0, 0), (0, 0, 0, 0), "B-T26");
        assert_eq!(of(BudgetLimit::Neither, 3, 3, 3), (0, 3, 0, 0), "B5");
    }

    #[test]
    fn a_pod_without_controller_counts_as_healthy_but_not_as_expected() {
        let mut cluster = fixture::cluster(36);
        fixture::budget(&mut cluster, "b", BudgetLimit::MinAvailable(IntOrPercent::Percent(34)));
        replica_set(&mut cluster, "web", 3, 3, 3);
        bare(&mut cluster, "rogue");
        assert_eq!(numbers(cluster), (2, 4, 2, 3), "B-T10u");
        for limit in [BudgetLimit::MaxUnavailable(count(1)), BudgetLimit::MinAvailable(IntOrPercent::Percent(28))] {
            let mut cluster = fixture::cluster(36);
            fixture::budget(&mut cluster, "b", limit);
            bare(&mut cluster, "naked");
            assert_eq!(numbers(cluster).0, 0, "B-T12u");
        }
    }

    #[test]
    fn scales_of_several_controllers_add_up() {
        let mut cluster = fixture::cluster(36);
        fixture::budget(&mut cluster, "b", BudgetLimit::MinAvailable(IntOrPercent::Percent(28)));
        replica_set(&mut cluster, "one", 11, 1, 1);
        assert_eq!(numbers(cluster.clone()).2, 4, "B-T11u");
        let detail = Detail::ReplicationController;
        let other = fixture::workload(&mut cluster, "ReplicationController", "two", None, 11, detail);
        fill(&mut cluster, other, "two", 1, 1);
        assert_eq!(numbers(cluster), (0, 2, 7, 22), "B-T11u");
    }

    #[test]
    fn replica_sets_of_one_deployment_count_once() {
        let mut cluster = fixture::cluster(36);
        fixture::budget(&mut cluster, "b", BudgetLimit::MaxUnavailable(count(1)));
        let deployment = fixture::deployment(&mut cluster, 10, count(2), count(0));
        fixture::replica_set(&mut cluster, deployment, 1, false, 10, 10);
        fixture::replica_set(&mut cluster, deployment, 2, true, 2, 2);
        assert_eq!(numbers(cluster.clone()), (3, 12, 9, 10), "B-T24");
        cluster.update_workload(deployment, |workload| workload.deleted = true);
        assert_eq!(numbers(cluster).3, 12, "B-T29: each ReplicaSet by its own scale");
    }

    #[test]
    fn kinds_without_scale_fail_unless_min_available_is_a_number() {
        let daemon_set =
            DaemonSet { on_delete: false, max_unavailable: count(1), max_surge: count(0), node_service: false };
        for (limit, expected) in
            [(BudgetLimit::MaxUnavailable(count(1)), None), (BudgetLimit::MinAvailable(count(4)), Some((1, 5, 4, 5)))]
        {
            let mut cluster = fixture::cluster(36);
            let budget = fixture::budget(&mut cluster, "b", limit);
            let detail = Detail::DaemonSet(daemon_set.clone());
            let owner = fixture::workload(&mut cluster, "DaemonSet", "agent", None, 0, detail);
            fill(&mut cluster, owner, "agent", 5, 5);
            cluster.update_budget_status(budget, |status| status.current_healthy = 9);
            let world = synced(cluster);
            let status = &world.cluster.budget(budget).status;
            match expected {
                Some(expected) => assert_eq!(numbers(world.cluster), expected, "B-T17"),
                None => {
                    let message = Name::new("daemonsets.apps does not implement the scale subresource");
                    assert_eq!(status.condition, Some((false, Name::new("SyncFailed"), message)), "B-T16");
                    assert_eq!((status.current_healthy, status.observed_generation), (9, 0), "kept");
                }
            }
        }
    }

    #[test]
    fn an_owner_that_is_gone_is_no_controller() {
        let mut cluster = fixture::cluster(36);
        fixture::budget(&mut cluster, "b", BudgetLimit::MaxUnavailable(count(1)));
        let owner = replica_set(&mut cluster, "web", 3, 1, 1);
        cluster.update_workload(owner, |workload| workload.deleted = true);
        let world = synced(cluster);
        let message = Name::new("found no controllers for pod \"web-0\"");
        let status = &world.cluster.budget(BudgetId(0)).status;
        assert_eq!(status.condition, Some((false, Name::new("SyncFailed"), message)));
    }

    #[test]
    fn a_custom_kind_counts_by_its_scale() {
        for (scale, expected) in [(true, (0, 4, 5, 10)), (false, (0, 0, 0, 0))] {
            let mut cluster = fixture::cluster(36);
            fixture::budget(&mut cluster, "b", BudgetLimit::MaxUnavailable(count(5)));
            let owner = fixture::workload(&mut cluster, "Widget", "w", None, 10, Detail::Other);
            cluster.update_workload(owner, |workload| workload.api_version = "sim.example.com/v1".into());
            fill(&mut cluster, owner, "w", 4, 4);
            let scale = scale.then(|| ".spec.replicas".into());
            let kind = crate::cluster::CustomKind { plural: "widgets".into(), scale };
            let kinds = &mut Arc::make_mut(&mut cluster.catalog).custom_kinds;
            kinds.insert(("sim.example.com".into(), "Widget".into()), kind);
            assert_eq!(numbers(cluster), expected, "B-T13u");
        }
    }

    #[test]
    fn a_selector_that_cannot_be_parsed_fails_the_sync() {
        let mut cluster = fixture::cluster(36);
        let budget = fixture::budget(&mut cluster, "b", BudgetLimit::MinAvailable(count(1)));
        cluster.update_budget(budget, |budget| {
            budget.selector = None;
            budget.selector_error = "bad".into();
        });
        assert_eq!(numbers(cluster), (0, 0, 0, 0), "B-T14u");
    }

    #[test]
    fn entries_of_disrupted_pods_expire() {
        let mut cluster = fixture::cluster(36);
        let budget = fixture::budget(&mut cluster, "b", BudgetLimit::MinAvailable(count(1)));
        replica_set(&mut cluster, "p", 3, 3, 3);
        cluster.update_pod(PodId(0), |pod| pod.deletion = Some(Deletion { since: Time(0), grace_seconds: 30 }));
        let minutes = |minutes: i64| Time(1_000_000) - Millis::secs(60 * minutes);
        cluster.update_budget_status(budget, |status| {
            status.disrupted = vec![
                ("notthere".into(), minutes(1)),
                ("p-0".into(), minutes(1)),
                ("p-1".into(), minutes(3)),
                ("p-2".into(), minutes(1)),
            ];
        });
        assert_eq!(numbers(cluster.clone()), (0, 1, 1, 3), "B-T15u");
        let mut world = synced(cluster);
        assert_eq!(world.cluster.budget(budget).status.disrupted, [("p-2".into(), minutes(1))]);
        let due = minutes(1) + DELETION_TIMEOUT;
        assert_eq!(world.events().filter(|event| *event == (due, Task::SyncBudget(budget))).count(), 1);
        world.now = due;
        sync(&mut world, budget, &mut First);
        let status = &world.cluster.budget(budget).status;
        assert_eq!((status.current_healthy, status.disrupted.len()), (2, 0), "B-T30");
    }

    #[test]
    fn jobs_count_with_a_number() {
        let mut cluster = fixture::cluster(36);
        fixture::budget(&mut cluster, "b", BudgetLimit::MinAvailable(count(1)));
        let detail = Detail::Job(Job {
            completions: None,
            backoff_limit: 6,
            replace_only_failed: false,
            failure_policy: Vec::new(),
            indexed: false,
            suspended: false,
            succeeded: 0,
            failed: 0,
            failures_in_row: 0,
            last_failure: None,
            finished: None,
            completed_indexes: Vec::new(),
        });
        let owner = fixture::workload(&mut cluster, "Job", "job", None, 2, detail);
        fill(&mut cluster, owner, "job", 2, 2);
        assert_eq!(numbers(cluster), (1, 2, 1, 2), "B-T27");
    }

    #[test]
    fn a_stale_condition_is_taken_back() {
        let mut cluster = fixture::cluster(36);
        let pod = bare(&mut cluster, "left");
        cluster.update_pod(pod, |pod| {
            pod.phase = Phase::Running;
            pod.disruption_target = Some((DisruptionReason::PreemptionByScheduler, Time(1_000_000)));
        });
        let mut world = synced(cluster);
        let due = Time(1_000_000) + DELETION_TIMEOUT;
        assert!(world.events().any(|event| event == (due, Task::ClearDisruptionTarget(pod))));
        clear_stale_condition(&mut world, pod);
        assert!(world.cluster.pod(pod).disruption_target.is_some(), "not yet");
        world.now = due;
        clear_stale_condition(&mut world, pod);
        assert_eq!(world.cluster.pod(pod).disruption_target, None);
    }

    #[test]
    fn a_pod_event_wakes_one_budget_of_several() {
        let mut cluster = fixture::cluster(36);
        fixture::budget(&mut cluster, "a", BudgetLimit::MinAvailable(count(0)));
        fixture::budget(&mut cluster, "b", BudgetLimit::MinAvailable(count(0)));
        replica_set(&mut cluster, "web", 1, 1, 0);
        let mut world = synced(cluster);
        while world.step(&mut First) {}
        world.cluster.update_pod(PodId(0), |pod| pod.phase = Phase::Running);
        world.set_ready(PodId(0), true, &mut First);
        while world.step(&mut First) {}
        let healthy = |budget: u32| world.cluster.budget(BudgetId(budget)).status.current_healthy;
        assert_eq!((healthy(0), healthy(1)), (1, 0), "the other one stays stale");
    }
}
