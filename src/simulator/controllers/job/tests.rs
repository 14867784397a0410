use std::sync::Arc;

use super::super::fixture;
use super::*;
use crate::cluster::{DisruptionReason, FailureRule, PodSpec, Timing, Version};
use crate::simulator::{First, Physics};

fn job() -> Job {
    Job {
        completions: Some(1),
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
    }
}

fn ignore_disruptions() -> Vec<FailureRule> {
    let conditions = vec!["DisruptionTarget".into()];
    vec![FailureRule { action: FailureAction::Ignore, conditions, exit_codes: None }]
}

/// A Job whose pods all run on one node.
fn world(detail: Job, parallelism: i32) -> (World, WorkloadId) {
    let mut cluster = fixture::cluster(37);
    let node = fixture::node(&mut cluster, "n");
    let id = fixture::workload(&mut cluster, "Job", "batch", None, parallelism, Detail::Job(detail));
    let spec = cluster.intern_spec(PodSpec {
        namespace: "default".into(),
        restart_policy: RestartPolicy::Never,
        grace_seconds: 30,
        timing: Timing { stop: Some(Millis::secs(3)), ..Timing::default() },
        ..PodSpec::default()
    });
    cluster.update_workload(id, |job| job.template = Some(spec));
    for index in 0..parallelism {
        let pod = fixture::pod(&mut cluster, id, &format!("batch-{index}"));
        fixture::ready(&mut cluster, pod);
        cluster.update_pod(pod, |pod| {
            pod.node = Some(node);
            pod.job_finalizer = true;
            pod.started = Some(Time(0));
            pod.ordinal = Some(index as u32);
        });
    }
    let mut world = World::new(cluster, Time(0), Arc::new(Physics::default()), &mut First);
    until(&mut world, 100);
    (world, id)
}

fn until(world: &mut World, seconds: i64) {
    while world.next().is_some_and(|(due, _)| due <= Time(seconds * 1000)) {
        world.forget(|task| matches!(task, Task::Schedule));
        world.step(&mut First);
    }
    world.now = Time(seconds * 1000);
}

fn evict(world: &mut World, pod: u32) {
    world.mark_disrupted(PodId(pod), DisruptionReason::EvictionByEvictionApi, &mut First);
    world.delete_pod(PodId(pod), None, &mut First);
}

fn end(world: &mut World, pod: u32, phase: Phase) {
    world.cluster.update_pod(PodId(pod), |pod| {
        pod.phase = phase;
        pod.ready = false;
    });
    let event = if phase == Phase::Failed { Event::PodFailed(PodId(pod)) } else { Event::PodSucceeded(PodId(pod)) };
    world.emit(event, &mut First);
}

fn state(world: &World, id: WorkloadId) -> &Job {
    world.cluster.workload(id).as_job().unwrap()
}

fn created(world: &World) -> Vec<i64> {
    let pods = world.cluster.pods().filter(|(_, pod)| pod.created > Time(0));
    pods.map(|(_, pod)| pod.created.0 / 1000).collect()
}

#[test]
fn an_evicted_pod_counts_at_once_and_is_replaced_after_10_seconds() {
    let (mut world, id) = world(job(), 1);
    evict(&mut world, 0);
    until(&mut world, 101);
    assert_eq!(state(&world, id).failed, 1, "D-T28");
    assert!(!world.cluster.pod(PodId(0)).job_finalizer);
    until(&mut world, 109);
    assert!(created(&world).is_empty());
    until(&mut world, 200);
    assert_eq!(created(&world), [110]);
}

#[test]
fn back_off_doubles_and_a_success_resets_it() {
    let (mut world, _) = world(Job { completions: Some(9), ..job() }, 1);
    end(&mut world, 0, Phase::Failed);
    until(&mut world, 110);
    end(&mut world, 1, Phase::Failed);
    until(&mut world, 131);
    end(&mut world, 2, Phase::Succeeded);
    until(&mut world, 140);
    end(&mut world, 3, Phase::Failed);
    until(&mut world, 200);
    assert_eq!(created(&world), [110, 130, 131, 150]);
}

#[test]
fn the_policy_failed_waits_for_the_end_of_the_old_pod() {
    let (mut world, id) = world(Job { replace_only_failed: true, ..job() }, 1);
    evict(&mut world, 0);
    until(&mut world, 102);
    assert_eq!(state(&world, id).failed, 0, "D-T29");
    until(&mut world, 200);
    assert_eq!(state(&world, id).failed, 1);
    assert_eq!(created(&world), [113], "10 s after its containers have ended");
}

#[test]
fn an_eviction_fails_a_job_without_tries() {
    let (mut world, id) = world(Job { backoff_limit: 0, ..job() }, 1);
    evict(&mut world, 0);
    until(&mut world, 200);
    assert_eq!(state(&world, id).finished, Some(JobEnd::Failed), "D-T30");
    assert!(created(&world).is_empty());
    let told = world.trace.iter().any(|record| record.event == Event::JobStatus(id));
    assert!(told);
}

#[test]
fn a_policy_that_ignores_disruptions_goes_on() {
    let detail = Job { backoff_limit: 0, replace_only_failed: true, failure_policy: ignore_disruptions(), ..job() };
    let (mut world, id) = world(detail, 1);
    evict(&mut world, 0);
    until(&mut world, 200);
    assert_eq!(state(&world, id).finished, None, "D-T31");
    assert_eq!(state(&world, id).failed, 0);
    assert_eq!(created(&world).len(), 1);
}

#[test]
fn a_rule_on_an_exit_code_fails_the_job() {
    let rule =
        FailureRule { action: FailureAction::FailJob, conditions: Vec::new(), exit_codes: Some((vec![143], true)) };
    let detail = Job { replace_only_failed: true, failure_policy: vec![rule], ..job() };
    let (mut world, id) = world(detail, 1);
    evict(&mut world, 0);
    until(&mut world, 200);
    assert_eq!(state(&world, id).finished, Some(JobEnd::Failed));
}

#[test]
fn the_sixth_failure_is_tolerated_the_seventh_is_not() {
    let (mut world, id) = world(job(), 1);
    let mut now = 100;
    for pod in 0..6 {
        end(&mut world, pod, Phase::Failed);
        now += 700;
        until(&mut world, now);
    }
    assert_eq!((state(&world, id).failed, state(&world, id).finished), (6, None));
    end(&mut world, 6, Phase::Failed);
    until(&mut world, now + 700);
    assert_eq!(state(&world, id).finished, Some(JobEnd::Failed));
}

/// Pods of a Job of which one is evicted while the other is Ready; when the evicted object is gone.
fn gone_after_eviction(version: Version) -> i64 {
    let (mut world, _) = world(Job { completions: Some(2), ..job() }, 2);
    world.cluster.api_server = Some(version);
    evict(&mut world, 0);
    while !world.cluster.pod(PodId(0)).gone {
        assert!(world.step(&mut First));
    }
    (world.now - Time(100_000)).0 / 1000
}

#[test]
fn two_patch_releases_keep_the_pod_until_the_back_off_is_over() {
    // 10 s after its containers have ended.
    assert_eq!(gone_after_eviction(Version::new(36, 2)), 13, "V35");
    assert_eq!(gone_after_eviction(Version::new(36, 1)), 13);
    assert_eq!(gone_after_eviction(Version::new(36, 3)), 3);
    assert_eq!(gone_after_eviction(Version::new(37, 0)), 3);
    assert_eq!(gone_after_eviction(Version::new(35, 2)), 3);
}

#[test]
fn a_job_without_completions_ends_with_its_last_pod() {
    let (mut world, id) = world(Job { completions: None, ..job() }, 2);
    end(&mut world, 0, Phase::Succeeded);
    until(&mut world, 110);
    assert_eq!(state(&world, id).finished, None);
    assert!(created(&world).is_empty(), "no pod is added after a success");
    end(&mut world, 1, Phase::Succeeded);
    until(&mut world, 120);
    assert_eq!(state(&world, id).finished, Some(JobEnd::Complete));
}

#[test]
fn a_failed_index_comes_back() {
    let (mut world, id) = world(Job { completions: Some(3), indexed: true, ..job() }, 2);
    end(&mut world, 0, Phase::Succeeded);
    end(&mut world, 1, Phase::Failed);
    until(&mut world, 200);
    let indexes: Vec<Option<u32>> = world.cluster.pods().skip(2).map(|(_, pod)| pod.ordinal).collect();
    assert_eq!(indexes, [Some(1), Some(2)]);
    assert_eq!(state(&world, id).completed_indexes, [0]);
}

#[test]
fn a_suspended_job_deletes_its_pods_without_counting_them() {
    let (mut world, id) = world(job(), 1);
    world.cluster.update_workload(id, |workload| workload.detail = Detail::Job(Job { suspended: true, ..job() }));
    world.wake_workload(id, &mut First);
    until(&mut world, 200);
    assert!(world.cluster.pod(PodId(0)).gone);
    assert_eq!((state(&world, id).failed, created(&world).len()), (0, 0));
}

#[test]
fn restarts_in_place_count_against_the_limit() {
    let (mut world, id) = world(Job { backoff_limit: 2, ..job() }, 1);
    let mut spec = world.cluster.spec(PodId(0)).clone();
    spec.restart_policy = RestartPolicy::OnFailure;
    let spec = world.cluster.intern_spec(spec);
    world.cluster.update_pod(PodId(0), |pod| {
        pod.spec = spec;
        pod.restarts = 2;
    });
    world.wake_workload(id, &mut First);
    until(&mut world, 200);
    assert_eq!(state(&world, id).finished, Some(JobEnd::Failed));
}

#[test]
fn pods_of_a_deleted_job_are_let_go() {
    let (mut world, id) = world(job(), 1);
    world.cluster.update_workload(id, |workload| workload.deleted = true);
    world.delete_pod(PodId(0), None, &mut First);
    world.emit(Event::WorkloadGone(id), &mut First);
    until(&mut world, 200);
    assert!(world.cluster.pod(PodId(0)).gone);
}
