//! Supervised jobs: work that goes on while nobody is connected. A job is started once, whatever breaks in between; its state,
//! its log and the steps that are done stand on the host's disk.

use std::fmt::Write;
use std::time::Duration;

use super::{Error, Hosts, Sudo, quote};
use crate::recipe::{Job, is_name};

/// How long starting a job may take.
const START: Duration = Duration::from_secs(60);

/// How a job stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobState {
    /// It was never started.
    Absent,
    /// It goes on.
    Running {
        /// When it was started, in seconds since 1970 by the host's clock.
        since: i64,
        /// Step in hand; empty before the first.
        step: String,
    },
    /// All steps are done.
    Succeeded,
    /// A step failed; nothing goes on.
    Failed {
        /// Which.
        step: String,
        /// Its exit code; 124: it took too long; 75: it was interrupted, and must not run twice.
        exit_code: i32,
        /// End of the log.
        log_tail: String,
    },
    /// It ended without a result: the host was rebooted, or somebody killed it.
    Lost {
        /// The host was rebooted meanwhile.
        rebooted: bool,
        /// Step that was in hand.
        step: String,
        /// End of the log.
        log_tail: String,
    },
}

impl JobState {
    /// Nothing goes on any more, and nothing will by itself.
    pub fn is_over(&self) -> bool {
        matches!(self, JobState::Succeeded | JobState::Failed { .. } | JobState::Lost { .. })
    }
}

impl Hosts {
    /// Starts a job unless it was started before, and says how it stands. To be called again after any error: it is started
    /// once. A job of the same name with other content is an error.
    pub async fn ensure_job(&self, host: &str, job: &Job) -> Result<JobState, Error> {
        self.begin(host, job, false).await
    }

    /// Starts a job again that failed or was lost, perhaps with other content. Steps that are done are not repeated. A job that
    /// runs or has succeeded is left alone.
    pub async fn restart_job(&self, host: &str, job: &Job) -> Result<JobState, Error> {
        self.begin(host, job, true).await
    }

    /// How a job stands.
    pub async fn job_state(&self, host: &str, id: &str) -> Result<JobState, Error> {
        let script = format!("dir={}\n{}\nstate\n", quote(&self.folder(host, id)?), include_str!("job_state.sh"));
        let output = self.run(host, &script, Sudo::Yes).await?;
        parse(&output.text()).ok_or_else(|| self.failed(host, &nonsense(&output)))
    }

    /// The whole log of a job.
    pub async fn job_log(&self, host: &str, id: &str) -> Result<String, Error> {
        let path = format!("{}/log", self.folder(host, id)?);
        Ok(String::from_utf8_lossy(&self.download(host, &path, Sudo::Yes).await?).into_owned())
    }

    fn folder(&self, host: &str, id: &str) -> Result<String, Error> {
        let named = is_name(id);
        named
            .then(|| format!("{}/{id}", self.settings().jobs))
            .ok_or_else(|| self.failed(host, &format!("{id:?} cannot name a job")))
    }

    async fn begin(&self, host: &str, job: &Job, again: bool) -> Result<JobState, Error> {
        let folder = self.folder(host, &job.id)?;
        if let Some(step) = job.steps.iter().find(|step| !is_name(&step.name)) {
            return Err(self.failed(host, &format!("{:?} cannot name a step", step.name)));
        }
        let script = format!(
            "dir={}\nunit={}\nagain={}\njob={}\n{}\n{}",
            quote(&folder),
            quote(&format!("cmsim-job-{}", job.id)),
            u8::from(again),
            quote(&supervised(&folder, job)),
            include_str!("job_state.sh"),
            include_str!("job_start.sh"),
        );
        let output = self.run_within(host, &script, Sudo::Yes, START).await?;
        match output.code {
            0 => parse(&output.text()).ok_or_else(|| self.failed(host, &nonsense(&output))),
            _ => Err(self.failed(host, &format!("job {}: {}", job.id, output.complaint()))),
        }
    }
}

fn nonsense(output: &super::Output) -> String {
    format!("cannot say how the job stands: {} {}", output.text().trim(), output.complaint())
}

/// The whole program that runs on the host.
fn supervised(folder: &str, job: &Job) -> String {
    let mut text =
        format!("#!/bin/sh\n# cmsim job {}\ndir={}\n{}", job.id, quote(folder), include_str!("supervisor.sh"));
    for step in &job.steps {
        let words = [&step.check, &step.run, &step.verify].map(|script| quote(script)).join(" ");
        let once = if step.once { "once" } else { "any" };
        let seconds = (step.timeout.0 / 1000).max(1);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "step {} {once} {seconds} {words}", quote(&step.name));
    }
    text.push_str("finish 0\n");
    text
}

/// Reads what `job_state.sh` says.
fn parse(text: &str) -> Option<JobState> {
    let (head, log) = text.split_once("log=\n").unwrap_or((text, ""));
    let field = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        lines.next()
    };
    let step = || field("current").unwrap_or_default().to_owned();
    let log_tail = log.to_owned();
    Some(match field("state")? {
        "absent" => JobState::Absent,
        "running" => JobState::Running { since: field("since")?.parse().ok()?, step: step() },
        "rebooted" => JobState::Lost { rebooted: true, step: step(), log_tail },
        "killed" => JobState::Lost { rebooted: false, step: step(), log_tail },
        "ended" if field("exit")? == "0" => JobState::Succeeded,
        "ended" => {
            let (step, code) = field("failed")?.rsplit_once(' ')?;
            JobState::Failed { step: step.to_owned(), exit_code: code.parse().ok()?, log_tail }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_is_read() {
        let lost = |rebooted| JobState::Lost { rebooted, step: "b".to_owned(), log_tail: "x\nlog=\n".to_owned() };
        for (text, state) in [
            ("state=absent\n", JobState::Absent),
            ("state=running\nsince=12\nlog=\n", JobState::Running { since: 12, step: String::new() }),
            (
                "state=running\nsince=12\ncurrent=a\nlog=\nhello\n",
                JobState::Running { since: 12, step: "a".to_owned() },
            ),
            ("state=rebooted\nsince=12\ncurrent=b\nlog=\nx\nlog=\n", lost(true)),
            ("state=killed\nsince=12\ncurrent=b\nlog=\nx\nlog=\n", lost(false)),
            ("state=ended\nsince=12\nexit=0\ncurrent=b\nlog=\n", JobState::Succeeded),
            (
                "state=ended\nsince=12\nexit=1\nfailed=b 100\nlog=\nE: no\n",
                JobState::Failed { step: "b".to_owned(), exit_code: 100, log_tail: "E: no\n".to_owned() },
            ),
        ] {
            assert_eq!(parse(text), Some(state), "{text}");
        }
        for text in ["", "state=\n", "state=ended\n", "state=ended\nexit=1\n", "state=running\nlog=\n"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
