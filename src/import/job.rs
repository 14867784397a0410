//! Jobs and CronJobs (KUBERNETES.md D.5, D.6).

use super::directory::Directory;
use super::pod_spec::Template;
use super::wire::{CheckedSelector, Condition, Count, Meta, condition, object};
use super::workload::{Made, put};
use crate::cluster::{Cluster, CronJob, Detail, FailureAction, FailureRule, Job, JobEnd, Name, WorkloadId};

object! {
    /// Job.
    struct RawJob {
        metadata: Meta,
        spec: JobSpec,
        status: JobStatus,
    }

    /// `spec` of a Job.
    struct JobSpec {
        parallelism: Option<Count>,
        completions: Option<Count>,
        backoff_limit: Option<Count>,
        backoff_limit_per_index: Option<Count>,
        completion_mode: Name,
        pod_failure_policy: Option<FailurePolicy>,
        pod_replacement_policy: Name,
        selector: Option<CheckedSelector>,
        success_policy: Option<super::wire::Present>,
        managed_by: Name,
        suspend: bool,
        active_deadline_seconds: Option<Count>,
        ttl_seconds_after_finished: Option<Count>,
        template: Template,
    }

    /// `podFailurePolicy`.
    struct FailurePolicy {
        rules: Vec<RawRule>,
    }

    /// A rule of a podFailurePolicy.
    struct RawRule {
        action: Name,
        on_exit_codes: Option<ExitCodes>,
        on_pod_conditions: Vec<PodCondition>,
    }

    /// `onExitCodes`.
    struct ExitCodes {
        operator: Name,
        values: Vec<i32>,
    }

    /// An entry of `onPodConditions`.
    struct PodCondition {
        #[serde(rename = "type")]
        kind: Name,
        status: Name,
    }

    /// `status` of a Job.
    struct JobStatus {
        succeeded: i32,
        failed: i32,
        completed_indexes: String,
        conditions: Vec<Condition>,
    }

    /// CronJob.
    struct RawCronJob {
        metadata: Meta,
        spec: CronJobSpec,
    }

    /// `spec` of a CronJob.
    struct CronJobSpec {
        schedule: Name,
        time_zone: Name,
        suspend: bool,
        concurrency_policy: Name,
        job_template: JobTemplate,
    }

    /// `jobTemplate`.
    struct JobTemplate {
        spec: JobSpec,
    }
}

impl JobSpec {
    fn parallelism(&self) -> i32 {
        self.parallelism.map_or(1, |count| count.0)
    }

    fn read(&self, status: &JobStatus) -> Job {
        // Both left out mean one pod that has to succeed; a parallelism alone means a work queue.
        let completions = match (self.completions, self.parallelism) {
            (Some(count), _) => Some(count.0),
            (None, None) => Some(1),
            (None, Some(_)) => None,
        };
        let per_index = self.backoff_limit_per_index.is_some();
        let finished = |kind: &str| condition(&status.conditions, kind).is_some_and(|one| one.status == "True");
        Job {
            completions,
            backoff_limit: self.backoff_limit.map_or(if per_index { i32::MAX } else { 6 }, |count| count.0),
            replace_only_failed: self.pod_replacement_policy == "Failed" || self.pod_failure_policy.is_some(),
            failure_policy: self
                .pod_failure_policy
                .iter()
                .flat_map(|policy| &policy.rules)
                .map(RawRule::read)
                .collect(),
            indexed: self.completion_mode == "Indexed",
            suspended: self.suspend,
            succeeded: status.succeeded,
            failed: status.failed,
            failures_in_row: 0,
            last_failure: None,
            finished: match (finished("Complete"), finished("Failed")) {
                (true, _) => Some(JobEnd::Complete),
                (false, true) => Some(JobEnd::Failed),
                (false, false) => None,
            },
            completed_indexes: indexes(&status.completed_indexes),
        }
    }

    /// What no part of the model covers.
    fn not_modelled(&self) -> Vec<String> {
        let mut found = self.template.spec.not_modelled();
        if self.backoff_limit_per_index.is_some() {
            found.push("backoffLimitPerIndex".to_owned());
        }
        if self.active_deadline_seconds.is_some() {
            found.push("activeDeadlineSeconds".to_owned());
        }
        if self.ttl_seconds_after_finished.is_some() {
            found.push("ttlSecondsAfterFinished".to_owned());
        }
        if self.success_policy.is_some() {
            found.push("successPolicy".to_owned());
        }
        if !self.managed_by.is_empty() && self.managed_by != "kubernetes.io/job-controller" {
            found.push(format!("managed by {}", self.managed_by));
        }
        let rules = self.pod_failure_policy.iter().flat_map(|policy| &policy.rules);
        let mut conditions = rules.flat_map(|rule| &rule.on_pod_conditions);
        if conditions.any(|one| !one.status.is_empty() && one.status != "True") {
            found.push("podFailurePolicy on conditions that are not True".to_owned());
        }
        found
    }
}

impl RawJob {
    /// What no part of the model covers.
    pub(super) fn not_modelled(&self) -> Vec<String> {
        self.spec.not_modelled()
    }

    /// Its condition Complete or Failed is True, so its pods say nothing about what is to come.
    pub(super) fn latest(&self) -> Option<crate::cluster::Time> {
        self.status.conditions.iter().filter_map(|one| one.last_transition_time).map(|stamp| stamp.0).max()
    }
}

impl RawCronJob {
    /// What no part of the model covers.
    pub(super) fn not_modelled(&self) -> Vec<String> {
        let mut found = self.spec.job_template.spec.not_modelled();
        found.push("how long its Jobs run (the oldest is taken to end when the next one starts)".to_owned());
        if !self.spec.time_zone.is_empty() {
            found.push(format!("schedule in time zone {} (read as UTC)", self.spec.time_zone));
        }
        found
    }
}

impl RawRule {
    fn read(&self) -> FailureRule {
        FailureRule {
            action: match &*self.action {
                "Ignore" => FailureAction::Ignore,
                "FailIndex" => FailureAction::FailIndex,
                "FailJob" => FailureAction::FailJob,
                _ => FailureAction::Count,
            },
            conditions: self.on_pod_conditions.iter().map(|condition| condition.kind).collect(),
            exit_codes: self.on_exit_codes.as_ref().map(|codes| (codes.values.clone(), codes.operator != "NotIn")),
        }
    }
}

/// `status.completedIndexes`: `1,3-5,7`. At most as many as a Job may have are taken.
fn indexes(text: &str) -> Vec<u32> {
    let mut indexes = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
            indexes.extend((first..=last).take(100_000));
        }
    }
    indexes.sort_unstable();
    indexes.dedup();
    indexes
}

/// Adds a Job, or brings one up to date.
pub(super) fn job(cluster: &mut Cluster, directory: &mut Directory, api_version: Name, raw: &RawJob) -> WorkloadId {
    let template = raw.spec.template.read(&cluster.catalog, raw.metadata.namespace);
    let template = cluster.intern_spec(template);
    let made = Made {
        selector: raw.spec.selector.clone().map(|selector| selector.0),
        replicas: raw.spec.parallelism(),
        min_ready_seconds: 0,
        template: Some(template),
        detail: Detail::Job(raw.spec.read(&raw.status)),
    };
    put(cluster, directory, "Job", api_version, &raw.metadata, made)
}

/// Adds a CronJob, or brings one up to date.
pub(super) fn cron_job(
    cluster: &mut Cluster,
    directory: &mut Directory,
    api_version: Name,
    raw: &RawCronJob,
) -> WorkloadId {
    let spec = &raw.spec;
    let of_jobs = &spec.job_template.spec;
    let template = of_jobs.template.read(&cluster.catalog, raw.metadata.namespace);
    let template = cluster.intern_spec(template);
    let made = Made {
        selector: None,
        replicas: of_jobs.parallelism(),
        min_ready_seconds: 0,
        template: Some(template),
        detail: Detail::CronJob(CronJob {
            schedule: spec.schedule,
            suspended: spec.suspend,
            concurrency: if spec.concurrency_policy.is_empty() { Name::new("Allow") } else { spec.concurrency_policy },
            job: of_jobs.read(&JobStatus::default()),
        }),
    };
    put(cluster, directory, "CronJob", api_version, &raw.metadata, made)
}
