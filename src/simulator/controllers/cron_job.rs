//! The CronJob controller (KUBERNETES.md D.6): starts Jobs on schedule. Schedules are taken in UTC. How long a Job runs is not
//! known unless its pods say so: as many Jobs of a CronJob as ran in the input, at least one, run at the same time, and the oldest
//! ends when the next one starts.

mod schedule;

use std::collections::BTreeMap;

use crate::cluster::{Cluster, CronJob, Detail, JobEnd, Name, ObjectKey, SpecId, Time, Workload, WorkloadId};
use crate::simulator::{Chooser, KubeletStep, Task, World};
use crate::trace::Event;

use schedule::Schedule;

/// `successfulJobsHistoryLimit` and `failedJobsHistoryLimit` by default.
const KEPT: [(JobEnd, usize); 2] = [(JobEnd::Complete, 3), (JobEnd::Failed, 1)];

/// What it remembers between its syncs: when each CronJob starts its next Job. Times before the start of the world were met.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    next: BTreeMap<WorkloadId, Time>,
    /// How many Jobs of each ran in the input, at least one.
    overlap: BTreeMap<WorkloadId, usize>,
}

/// Looks at one workload.
pub(super) fn sync(world: &mut World, id: WorkloadId, chooser: &mut dyn Chooser) {
    let workload = world.cluster.workload(id);
    let (Detail::CronJob(cron), Some(template)) = (&workload.detail, workload.template) else { return };
    let cron = cron.clone();
    forget_old_jobs(world, id, chooser);
    // A schedule that cannot be read never fires; the API server does not admit one.
    let Some(schedule) = Schedule::parse(&cron.schedule) else { return };
    let now = world.now;
    match world.controllers.cron_job.next.get(&id) {
        Some(&due) if due > now => return,
        Some(&due) if !cron.suspended => start(world, id, template, &cron, due, chooser),
        Some(_) => {}
        None => {
            let running = jobs(&world.cluster, id, |job| job.is_none()).len();
            world.controllers.cron_job.overlap.insert(id, running.max(1));
        }
    }
    if let Some(next) = schedule.next_after(now) {
        world.controllers.cron_job.next.insert(id, next);
        world.at(next, Task::SyncWorkload(id));
    }
}

fn start(world: &mut World, id: WorkloadId, template: SpecId, cron: &CronJob, due: Time, chooser: &mut dyn Chooser) {
    let owner = world.cluster.workload(id);
    if super::namespace_is_terminating(&world.cluster, owner.key.namespace) {
        return;
    }
    let key = ObjectKey::new(
        owner.key.namespace,
        "Job",
        Name::new(&format!("{}-{}", owner.key.name, due.0.div_euclid(60_000))),
    );
    let (parallelism, api_version) = (owner.replicas, owner.api_version);
    let running = jobs(&world.cluster, id, |job| job.is_none());
    end_oldest(world, id, &running);
    if !running.is_empty() && cron.concurrency == "Forbid" {
        return;
    }
    if cron.concurrency == "Replace" {
        running.into_iter().for_each(|job| delete_job(world, job, chooser));
    }
    let job = world.cluster.add_workload(Workload {
        key,
        api_version,
        owner: Some(id),
        missing_owner: None,
        selector: None,
        template: Some(template),
        replicas: parallelism,
        min_ready_seconds: 0,
        deleted: false,
        detail: Detail::Job(cron.job.clone()),
    });
    world.emit(Event::JobStatus(job), chooser);
}

/// Has the Jobs end that are too many beside the next one: their pods succeed, unless it is known how long they run.
fn end_oldest(world: &mut World, id: WorkloadId, running: &[WorkloadId]) {
    let overlap = world.controllers.cron_job.overlap.get(&id).copied().unwrap_or(1);
    for &job in running.iter().take((running.len() + 1).saturating_sub(overlap)) {
        for pod in world.cluster.pods_of_workload(job).to_vec() {
            if world.cluster.spec(pod).timing.run.is_none() {
                world.at(world.now, Task::Kubelet(pod, KubeletStep::Finished));
            }
        }
    }
}

/// Jobs of a CronJob that exist, oldest first, by how they ended.
fn jobs(cluster: &Cluster, id: WorkloadId, wanted: impl Fn(Option<JobEnd>) -> bool) -> Vec<WorkloadId> {
    let owned = cluster.owned_workloads(id).iter().copied();
    owned
        .filter(|&job| {
            let job = cluster.workload(job);
            !job.deleted && job.as_job().is_some_and(|job| wanted(job.finished))
        })
        .collect()
}

/// Finished Jobs beyond the history limits are deleted with their pods.
fn forget_old_jobs(world: &mut World, id: WorkloadId, chooser: &mut dyn Chooser) {
    for (end, kept) in KEPT {
        let finished = jobs(&world.cluster, id, |found| found == Some(end));
        for &job in finished.iter().take(finished.len().saturating_sub(kept)) {
            delete_job(world, job, chooser);
        }
    }
}

fn delete_job(world: &mut World, job: WorkloadId, chooser: &mut dyn Chooser) {
    world.cluster.update_workload(job, |job| job.deleted = true);
    world.emit(Event::WorkloadGone(job), chooser);
    for pod in world.cluster.pods_of_workload(job).to_vec() {
        world.delete_pod(pod, None, chooser);
    }
}

#[cfg(test)]
mod tests;
