//! The Job controller (KUBERNETES.md D.5): which pods count, when the Job is over, and how many pods it wants.
//!
//! A pod that carries the tracking finalizer has not been counted yet; counting it and taking the finalizer off is one step.

mod failure;

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{
    Cluster, Detail, FailureAction, Job, JobEnd, Millis, Phase, PodId, RestartPolicy, Time, WorkloadId,
};
use crate::simulator::{Chooser, NewPod, Task, World};
use crate::trace::Event;

use super::namespace_is_terminating;

/// Pods that one sync creates at most.
const BURST: i32 = 500;

/// Back-off after a failure: 10 s, doubled with every further one, at most 10 min.
const FIRST_BACK_OFF: Millis = Millis::secs(10);
const LONGEST_BACK_OFF: Millis = Millis::secs(10 * 60);

/// What it remembers between its syncs.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// When pods were first seen ended.
    ended: BTreeMap<PodId, Time>,
}

/// What a sync finds.
struct View {
    active: Vec<PodId>,
    terminating: i32,
    ready: i32,
    succeeded: Vec<PodId>,
    failed: Vec<PodId>,
}

/// Looks at one workload.
pub(super) fn sync(world: &mut World, id: WorkloadId, chooser: &mut dyn Chooser) {
    let workload = world.cluster.workload(id);
    let Some(mut job) = workload.as_job().cloned() else { return };
    let before = (job.succeeded, job.failed, job.finished);
    let parallelism = workload.replicas.max(0);
    let blocked_namespace = namespace_is_terminating(&world.cluster, workload.key.namespace);
    let view = look(world, id, &job);
    let back_off = BackOff::after(world, &job, &view);
    let counted = job.finished.is_none();
    let succeeded = job.succeeded + view.succeeded.len() as i32;
    let (failed, ruled_out) = failure::count(&world.cluster, &job, &view.failed);
    if counted {
        job.finished = verdict(&world.cluster, &job, &view, succeeded, job.failed + failed, ruled_out);
    }
    let mut stalled = false;
    if job.finished.is_some() || job.suspended {
        stop_pods(world, &view.active, chooser);
    } else if !blocked_namespace {
        stalled = manage(world, id, &job, &view, &back_off, succeeded, parallelism, chooser);
    }
    if stalled {
        return;
    }
    if counted {
        job.succeeded = succeeded;
        job.failed += failed;
        job.completed_indexes = completed_indexes(&world.cluster, &job, &view.succeeded);
        job.failures_in_row = back_off.failures;
        job.last_failure = back_off.last;
    }
    let changed = before != (job.succeeded, job.failed, job.finished);
    world.cluster.update_workload(id, |workload| workload.detail = Detail::Job(job));
    for &pod in view.succeeded.iter().chain(&view.failed) {
        world.controllers.job.ended.remove(&pod);
        drop_finalizer(world, pod, chooser);
    }
    if changed {
        world.emit(Event::JobStatus(id), chooser);
        if let Some(owner) = world.cluster.workload(id).owner {
            world.wake_workload(owner, chooser);
        }
    }
}

/// The Job is gone: pods are let go without being counted.
pub(super) fn release(world: &mut World, id: WorkloadId, chooser: &mut dyn Chooser) {
    for pod in world.cluster.pods_of_workload(id).to_vec() {
        world.controllers.job.ended.remove(&pod);
        drop_finalizer(world, pod, chooser);
    }
}

fn drop_finalizer(world: &mut World, pod: PodId, chooser: &mut dyn Chooser) {
    if world.cluster.pod(pod).job_finalizer {
        world.cluster.update_pod(pod, |pod| pod.job_finalizer = false);
        world.finalizers_changed(pod, chooser);
    }
}

fn look(world: &mut World, id: WorkloadId, job: &Job) -> View {
    let mut view = View { active: Vec::new(), terminating: 0, ready: 0, succeeded: Vec::new(), failed: Vec::new() };
    for pod in world.cluster.pods_of_workload(id).to_vec() {
        let object = world.cluster.pod(pod);
        let (ready, terminating) = (object.is_serving_strength(), object.deletion.is_some() && !object.is_terminal());
        view.ready += i32::from(ready);
        view.terminating += i32::from(terminating);
        if object.is_active() {
            view.active.push(pod);
        }
        if object.job_finalizer {
            if object.phase == Phase::Succeeded {
                view.succeeded.push(pod);
            } else if object.phase == Phase::Failed || (terminating && !job.replace_only_failed) {
                view.failed.push(pod);
            }
        }
        if object.is_terminal() && object.job_finalizer {
            let now = world.now;
            world.controllers.job.ended.entry(pod).or_insert(now);
        }
    }
    view
}

/// Failures since the last success (`backoff_utils.go`).
struct BackOff {
    failures: i32,
    last: Option<Time>,
}

impl BackOff {
    fn after(world: &World, job: &Job, view: &View) -> BackOff {
        let ends = |pods: &[PodId]| pods.iter().map(|&pod| finish_time(world, pod)).collect::<Vec<Time>>();
        let failed = ends(&view.failed);
        match ends(&view.succeeded).into_iter().max() {
            None => BackOff {
                failures: job.failures_in_row + failed.len() as i32,
                last: failed.into_iter().chain(job.last_failure).max(),
            },
            Some(success) => {
                let later: Vec<Time> = failed.into_iter().filter(|&end| end > success).collect();
                BackOff { failures: later.len() as i32, last: later.into_iter().max() }
            }
        }
    }

    /// When the next pod may be created.
    fn until(&self) -> Option<Time> {
        let doublings = self.failures.checked_sub(1).filter(|&doublings| doublings >= 0)?;
        let length = FIRST_BACK_OFF.0.checked_shl(doublings.min(10) as u32).unwrap_or(LONGEST_BACK_OFF.0);
        self.last.map(|last| last + Millis(length.min(LONGEST_BACK_OFF.0)))
    }
}

/// When a pod ended, in the whole seconds of the API: its containers' end, or the request to delete it.
fn finish_time(world: &World, pod: PodId) -> Time {
    let ended = world.controllers.job.ended.get(&pod).copied();
    let deleted = world.cluster.pod(pod).deletion.map(|deletion| deletion.since);
    Time(ended.or(deleted).unwrap_or(world.now).0.div_euclid(1000) * 1000)
}

/// Whether the Job is over.
fn verdict(cluster: &Cluster, job: &Job, view: &View, succeeded: i32, failed: i32, ruled_out: bool) -> Option<JobEnd> {
    if ruled_out || failed > job.backoff_limit || restarts_exceed(cluster, job, &view.active) {
        return Some(JobEnd::Failed);
    }
    let complete = match job.completions {
        Some(completions) => succeeded >= completions,
        None => succeeded > 0 && view.active.is_empty(),
    };
    (complete && !job.suspended).then_some(JobEnd::Complete)
}

/// Containers that are restarted in place count as failures too (`restartPolicy: OnFailure`).
fn restarts_exceed(cluster: &Cluster, job: &Job, active: &[PodId]) -> bool {
    let restarts: i64 = active
        .iter()
        .filter(|&&pod| cluster.spec(pod).restart_policy == RestartPolicy::OnFailure)
        .map(|&pod| i64::from(cluster.pod(pod).restarts))
        .sum();
    if job.backoff_limit == 0 { restarts > 0 } else { restarts >= i64::from(job.backoff_limit) }
}

fn completed_indexes(cluster: &Cluster, job: &Job, succeeded: &[PodId]) -> Vec<u32> {
    let new = succeeded.iter().filter_map(|&pod| cluster.pod(pod).ordinal);
    let all: BTreeSet<u32> = job.completed_indexes.iter().copied().chain(new).collect();
    if job.indexed { all.into_iter().collect() } else { Vec::new() }
}

/// Pods of a Job that is over or suspended are deleted without being counted.
fn stop_pods(world: &mut World, pods: &[PodId], chooser: &mut dyn Chooser) {
    for &pod in pods {
        drop_finalizer(world, pod, chooser);
        world.delete_pod(pod, None, chooser);
    }
}

/// Brings the number of pods to what is wanted. True: the status cannot be written, so nothing is counted (V35).
#[expect(clippy::too_many_arguments)]
fn manage(
    world: &mut World,
    id: WorkloadId,
    job: &Job,
    view: &View,
    back_off: &BackOff,
    succeeded: i32,
    parallelism: i32,
    chooser: &mut dyn Chooser,
) -> bool {
    let active = view.active.len() as i32;
    let wanted = match job.completions {
        Some(completions) => (completions - succeeded).clamp(0, parallelism),
        None if succeeded > 0 => active.min(parallelism),
        None => parallelism,
    };
    if active > wanted {
        let mut pods = view.active.clone();
        // Pods that have come less far go first.
        pods.sort_by_key(|&pod| {
            let pod = world.cluster.pod(pod);
            (pod.node.is_some(), pod.phase == Phase::Running, pod.ready, std::cmp::Reverse(pod.created))
        });
        pods.truncate((active - wanted) as usize);
        stop_pods(world, &pods, chooser);
        return false;
    }
    let held = if job.replace_only_failed { view.terminating } else { 0 };
    let missing = (wanted - active - held).min(BURST);
    if missing <= 0 {
        return false;
    }
    if let Some(until) = back_off.until().filter(|&until| until > world.now) {
        world.at(until, Task::SyncWorkload(id));
        return status_is_refused(&world.cluster, view);
    }
    let Some(spec) = world.cluster.workload(id).template else { return false };
    for ordinal in free_indexes(&world.cluster, id, job, view).into_iter().take(missing as usize) {
        let new = NewPod {
            owner: id,
            spec,
            name: None,
            ordinal,
            pinned: None,
            job_finalizer: true,
            foreign_finalizer: false,
        };
        world.create_pod(new, chooser);
    }
    false
}

/// 1.36.1 and 1.36.2 report no active pod while a replacement waits for its back-off; the API server refuses a status with more
/// ready than active pods, and finalizers stay (VERSIONS.md V35).
fn status_is_refused(cluster: &Cluster, view: &View) -> bool {
    let affected = cluster.api_server.is_some_and(|version| version.minor == 36 && matches!(version.patch, 1 | 2));
    affected && view.ready > 0
}

/// Indexes that want a pod, lowest first; as many `None` as one likes for a Job without indexes.
fn free_indexes(cluster: &Cluster, id: WorkloadId, job: &Job, view: &View) -> Vec<Option<u32>> {
    if !job.indexed {
        return vec![None; BURST as usize];
    }
    let taken: BTreeSet<u32> = cluster
        .pods_of_workload(id)
        .iter()
        .map(|&pod| cluster.pod(pod))
        .filter(|pod| pod.is_active() || (job.replace_only_failed && pod.deletion.is_some() && !pod.is_terminal()))
        .filter_map(|pod| pod.ordinal)
        .chain(completed_indexes(cluster, job, &view.succeeded))
        .collect();
    let end = job.completions.unwrap_or(0).max(0) as u32;
    (0..end).filter(|index| !taken.contains(index)).map(Some).collect()
}

/// Whether a failed pod makes the whole Job fail, is counted, or is passed over.
fn rule_for(cluster: &Cluster, job: &Job, pod: PodId) -> FailureAction {
    failure::matching(cluster, job, pod).unwrap_or(FailureAction::Count)
}

#[cfg(test)]
mod tests;
