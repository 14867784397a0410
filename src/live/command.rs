//! Hosts that a command of the operator's own machine upgrades: a cloud's tool, a playbook. The command is a supervised job: it
//! is started once, goes on without this process, and its log and exit code stay on disk.

use std::path::PathBuf;
use std::process::Stdio;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::act::{HostTask, HostWork, JobState, Role, Task};
use crate::engine::Trouble;

/// Commands for the work on hosts. In their environment: `NODE`, `ADDRESS`, `JOB`, and for an upgrade `VERSION`, `FROM`, `ROLE`
/// (`firstControlPlane`, `controlPlane`, `worker`).
#[derive(Clone, Debug)]
pub struct Commands {
    /// Upgrades a host.
    pub upgrade: Option<String>,
    /// Takes a backup and verifies it.
    pub back_up: Option<String>,
    /// Where jobs are kept.
    pub folder: PathBuf,
}

/// How much of a log is shown.
const TAIL: usize = 2000;

impl Commands {
    fn start(&self, task: &HostTask) -> std::io::Result<()> {
        let folder = self.folder.join(&task.id);
        if folder.join("started").exists() {
            return Ok(());
        }
        std::fs::create_dir_all(&folder)?;
        let text = match task.what {
            Task::Upgrade { .. } => &self.upgrade,
            Task::BackUp => &self.back_up,
        };
        let mut command = std::process::Command::new("setsid");
        command
            .args(["sh", "-c", SUPERVISOR])
            .env("COMMAND", text.as_deref().unwrap_or("echo no command was given; exit 1"))
            .env("FOLDER", &folder)
            .env("NODE", task.node.as_str())
            .env("ADDRESS", task.address.as_str())
            .env("JOB", &task.id)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Task::Upgrade { to, from, role } = task.what {
            command.env("VERSION", to.to_string()).env("ROLE", role.as_str());
            command.env("FROM", from.map_or(String::new(), |from| from.to_string()));
        }
        command.spawn().map(drop)
    }

    fn look(&self, task: &HostTask) -> JobState {
        let folder = self.folder.join(&task.id);
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).map(|text| text.trim().to_owned());
        if !folder.join("started").exists() {
            return JobState::Absent;
        }
        let failed = |why: String| {
            let log = std::fs::read(folder.join("log")).unwrap_or_default();
            let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(TAIL)..]).trim().to_owned();
            JobState::Failed(format!("{why}, log {}: {tail}", folder.join("log").display()))
        };
        // Whether it is alive is asked before whether it has ended: it may end in between.
        let process = read("started/pid");
        let alive = process.as_ref().is_ok_and(|process| PathBuf::from("/proc").join(process).exists());
        match read("exit") {
            Ok(code) if code == "0" => JobState::Succeeded,
            Ok(code) => failed(format!("exit code {code}")),
            Err(_) if alive || process.is_err() => JobState::Running,
            Err(_) => failed("it was killed, or the machine was restarted".to_owned()),
        }
    }
}

/// Runs a job. Making the folder `started` is its start: that succeeds once, whoever tries.
const SUPERVISOR: &str = r#"
mkdir "$FOLDER/started" 2>/dev/null || exit 0
echo $$ > "$FOLDER/pid.new" && mv "$FOLDER/pid.new" "$FOLDER/started/pid"
sh -c "$COMMAND" > "$FOLDER/log" 2>&1
echo $? > "$FOLDER/exit.new" && mv "$FOLDER/exit.new" "$FOLDER/exit"
"#;

impl HostWork for Commands {
    fn ensure<'a>(&'a mut self, task: &'a HostTask) -> BoxFuture<'a, Result<(), Trouble>> {
        async move { self.start(task).map_err(|error| Trouble::Refused(format!("starting job {}: {error}", task.id))) }
            .boxed()
    }

    fn state<'a>(&'a mut self, task: &'a HostTask) -> BoxFuture<'a, Result<JobState, Trouble>> {
        async move { Ok(self.look(task)) }.boxed()
    }
}

impl Role {
    /// The role that a word of [`Role::as_str`] means.
    pub(super) fn named(word: &str) -> Role {
        match word {
            "firstControlPlane" => Role::FirstControlPlane,
            "controlPlane" => Role::ControlPlane,
            _ => Role::Worker,
        }
    }

    /// The word for it in records and recipes.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::FirstControlPlane => "firstControlPlane",
            Role::ControlPlane => "controlPlane",
            Role::Worker => "worker",
        }
    }
}
