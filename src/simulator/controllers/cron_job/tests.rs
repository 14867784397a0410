use std::sync::Arc;

use super::super::fixture;
use super::*;
use crate::cluster::{Job, Millis, Phase, PodId, PodSpec, RestartPolicy};
use crate::simulator::{First, Physics};

/// 2026-11-25 14:30:10 UTC, a Wednesday.
const NOW: Time = Time(1_795_617_010_000);

fn next(text: &str) -> Option<String> {
    let next = Schedule::parse(text)?.next_after(NOW)?;
    jiff::Timestamp::from_millisecond(next.0).ok().map(|time| time.to_string())
}

#[test]
fn schedules() {
    for (text, expected) in [
        ("* * * * *", "2026-11-25T14:31:00Z"),
        ("*/20 * * * *", "2026-11-25T14:40:00Z"),
        ("5 * * * *", "2026-11-25T15:05:00Z"),
        ("0 3 * * *", "2026-11-26T03:00:00Z"),
        ("0 3 * * sun", "2026-11-29T03:00:00Z"),
        ("0 3 1 * *", "2026-12-01T03:00:00Z"),
        ("0 3 31 */2 *", "2027-01-31T03:00:00Z"),
        ("0 3 1 * 5", "2026-11-27T03:00:00Z"),
        ("0 0 */10 * 1", "2026-11-30T00:00:00Z"),
        ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
        ("10-20/5,50 14 * * *", "2026-11-25T14:50:00Z"),
        ("30/15 14 * nov *", "2026-11-25T14:45:00Z"),
        ("@hourly", "2026-11-25T15:00:00Z"),
        ("@daily", "2026-11-26T00:00:00Z"),
        ("@weekly", "2026-11-29T00:00:00Z"),
        ("@monthly", "2026-12-01T00:00:00Z"),
        ("@yearly", "2027-01-01T00:00:00Z"),
        ("@every 1h30m", "2026-11-25T16:00:10Z"),
        ("CRON_TZ=UTC 0 3 * * *", "2026-11-26T03:00:00Z"),
    ] {
        assert_eq!(next(text).as_deref(), Some(expected), "{text}");
    }
    for text in ["", "* * * *", "60 * * * *", "* * * * 7", "5-1 * * * *", "*/0 * * * *", "@sometimes", "a * * * *"] {
        assert_eq!(Schedule::parse(text), None, "{text}");
    }
    assert_eq!(next("0 0 31 2 *"), None);
}

fn world(concurrency: &str) -> (World, WorkloadId) {
    let mut cluster = fixture::cluster(36);
    fixture::node(&mut cluster, "n");
    let job = Job {
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
    };
    let cron = CronJob { schedule: "* * * * *".into(), suspended: false, concurrency: concurrency.into(), job };
    let id = fixture::workload(&mut cluster, "CronJob", "tick", None, 1, Detail::CronJob(cron));
    let template = cluster.workload(id).template.unwrap();
    let template = PodSpec { restart_policy: RestartPolicy::Never, ..cluster.catalog.spec(template).clone() };
    let template = cluster.intern_spec(template);
    cluster.update_workload(id, |workload| workload.template = Some(template));
    let mut world = World::new(cluster, NOW, Arc::new(Physics::default()), &mut First);
    run(&mut world, 0, Pods::NeverStart);
    (world, id)
}

/// What becomes of the pods.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pods {
    NeverStart,
    Succeed,
    RunOn,
}

/// Runs for so many minutes.
fn run(world: &mut World, minutes: i64, pods: Pods) {
    let end = NOW + Millis(minutes * 60_000);
    while world.next().is_some_and(|(due, _)| due <= end) {
        world.forget(|task| matches!(task, Task::Schedule));
        world.step(&mut First);
        let open: Vec<PodId> = world.cluster.pods().filter(|(_, pod)| pod.is_active()).map(|(id, _)| id).collect();
        for pod in open {
            match pods {
                Pods::NeverStart => {}
                Pods::Succeed => {
                    world.cluster.update_pod(pod, |pod| pod.phase = Phase::Succeeded);
                    world.emit(Event::PodSucceeded(pod), &mut First);
                }
                Pods::RunOn => {
                    let node = world.cluster.find_node("n".into());
                    world.cluster.update_pod(pod, |pod| (pod.phase, pod.node) = (Phase::Running, node));
                }
            }
        }
    }
}

fn running(world: &World, id: WorkloadId) -> usize {
    jobs(&world.cluster, id, |end| end.is_none()).len()
}

#[test]
fn policies() {
    for (concurrency, expected) in [("Allow", 3), ("Forbid", 1), ("Replace", 1)] {
        let (mut world, id) = world(concurrency);
        run(&mut world, 3, Pods::NeverStart);
        assert_eq!(running(&world, id), expected, "{concurrency}");
        let all = world.cluster.owned_workloads(id).len();
        assert_eq!(all, if concurrency == "Forbid" { 1 } else { 3 }, "{concurrency}");
    }
}

#[test]
fn old_jobs_are_forgotten_with_their_pods() {
    let (mut world, id) = world("Allow");
    run(&mut world, 10, Pods::Succeed);
    assert_eq!(jobs(&world.cluster, id, |end| end == Some(JobEnd::Complete)).len(), 3);
    assert_eq!(world.cluster.pods().filter(|(_, pod)| !pod.gone).count(), 3);
    let name = world.cluster.workload(world.cluster.owned_workloads(id)[0]).key.name;
    assert_eq!(name, "tick-29926951");
}

#[test]
fn a_suspended_cron_job_starts_nothing() {
    let (mut world, id) = world("Allow");
    world.cluster.update_workload(id, |workload| {
        if let Detail::CronJob(cron) = &mut workload.detail {
            cron.suspended = true;
        }
    });
    run(&mut world, 5, Pods::NeverStart);
    assert_eq!(world.cluster.owned_workloads(id).len(), 0);
}

#[test]
fn the_oldest_job_ends_when_the_next_one_starts() {
    for (concurrency, started) in [("Allow", 6), ("Forbid", 3)] {
        let (mut world, id) = world(concurrency);
        run(&mut world, 6, Pods::RunOn);
        assert!(running(&world, id) <= 1, "{concurrency}");
        let known = jobs(&world.cluster, id, |_| true).len();
        assert_eq!(known, started.min(4), "{concurrency}: the last three that are complete, and the one that runs");
    }
}
