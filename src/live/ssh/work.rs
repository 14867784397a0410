//! The work on hosts as the engine asks for it: a recipe, run as a supervised job over SSH.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Error, Hosts, Inventory, JobState, Overrides, Settings};
use crate::cluster::Version;
use crate::engine::Trouble;
use crate::live::act::{HostTask, HostWork, JobState as Standing, Role as Part, Task};
use crate::recipe::{Defect, Job, Recipe, Role, Values};

/// A recipe with the operator's values for its variables.
pub type Prepared = (Recipe, BTreeMap<String, String>);

/// Hosts that a recipe upgrades.
pub struct RecipeWork {
    hosts: Hosts,
    inventory: Inventory,
    flags: Overrides,
    own_name: String,
    upgrade: Prepared,
    /// `None`: backups are the others' work.
    back_up: Option<Prepared>,
    /// What no recipe is for.
    others: Box<dyn HostWork>,
    /// Jobs that this process has asked for.
    asked: BTreeSet<String>,
}

impl RecipeWork {
    /// Work by a recipe for upgrades and perhaps one for backups, which go to `others` if there is none. A job that failed or was lost before
    /// is started again once: giving the command again is what the operator says it with.
    pub fn new(
        (inventory, flags, own_name): (Inventory, Overrides, String),
        settings: Settings,
        upgrade: Prepared,
        back_up: Option<Prepared>,
        others: Box<dyn HostWork>,
    ) -> Result<RecipeWork, Trouble> {
        for (recipe, given) in [&upgrade].into_iter().chain(&back_up) {
            recipe.knows(given).map_err(|defect| refused(&recipe.name, &[defect]))?;
        }
        let hosts = Hosts::new(BTreeMap::new(), settings);
        Ok(RecipeWork { hosts, inventory, flags, own_name, upgrade, back_up, others, asked: BTreeSet::new() })
    }

    /// The job of a task; `None`: the task is not for the recipe.
    fn job(&self, task: &HostTask) -> Result<Option<Job>, Trouble> {
        let (prepared, to, from, role) = match task.what {
            Task::Upgrade { to, from, role } => (Some(&self.upgrade), to, from, role),
            // A backup knows no versions.
            Task::BackUp => (self.back_up.as_ref(), Version::new(0, 0), None, Part::FirstControlPlane),
        };
        let Some((recipe, given)) = prepared else { return Ok(None) };
        let role = match role {
            Part::FirstControlPlane => Role::FirstControlPlane,
            Part::ControlPlane => Role::ControlPlane,
            Part::Worker => Role::Worker,
        };
        let values = Values {
            node: task.node.to_string(),
            address: task.address.to_string(),
            role,
            version: to,
            from,
            given: given.clone(),
        };
        recipe.job(&task.id, &values).map(Some).map_err(|defects| refused(&recipe.name, &defects))
    }

    async fn begin(&mut self, task: &HostTask) -> Result<(), Trouble> {
        let Some(job) = self.job(task)? else { return self.others.ensure(task).await };
        self.reach(task)?;
        let host = task.node.as_str();
        let mut state = self.hosts.ensure_job(host, &job).await.map_err(trouble);
        if let Err(Trouble::Refused(_)) | Ok(JobState::Failed { .. } | JobState::Lost { .. }) = &state
            && !self.asked.contains(&task.id)
        {
            // The recipe may have been put right meanwhile, which makes it a job of other content.
            state = self.hosts.restart_job(host, &job).await.map_err(trouble);
        }
        state?;
        self.asked.insert(task.id.clone());
        Ok(())
    }

    async fn look(&mut self, task: &HostTask) -> Result<Standing, Trouble> {
        if task.what == Task::BackUp && self.back_up.is_none() {
            return self.others.state(task).await;
        }
        self.reach(task)?;
        let state = self.hosts.job_state(task.node.as_str(), &task.id).await.map_err(trouble)?;
        let log = format!("{}/{}/log", self.hosts.settings().jobs, task.id);
        Ok(match state {
            JobState::Absent => Standing::Absent,
            JobState::Running { .. } => Standing::Running,
            JobState::Succeeded => Standing::Succeeded,
            JobState::Failed { step, exit_code, log_tail } => Standing::Failed(format!(
                "step {step} failed with exit code {exit_code}, log {log}:\n{}",
                log_tail.trim()
            )),
            JobState::Lost { rebooted, step, log_tail } => {
                let why = if rebooted { "the host was rebooted" } else { "the job was killed" };
                Standing::Failed(format!("{why} in step {step}, log {log}:\n{}", log_tail.trim()))
            }
        })
    }

    /// Makes the host known.
    fn reach(&mut self, task: &HostTask) -> Result<(), Trouble> {
        let address = Some(task.address.as_str()).filter(|address| !address.is_empty());
        let target = self.inventory.target(task.node.as_str(), address, &self.flags, &self.own_name);
        self.hosts.set_target(task.node.as_str(), target.map_err(trouble)?);
        Ok(())
    }
}

impl HostWork for RecipeWork {
    fn ensure<'a>(&'a mut self, task: &'a HostTask) -> BoxFuture<'a, Result<(), Trouble>> {
        self.begin(task).boxed()
    }

    fn state<'a>(&'a mut self, task: &'a HostTask) -> BoxFuture<'a, Result<Standing, Trouble>> {
        self.look(task).boxed()
    }
}

fn refused(recipe: &str, defects: &[Defect]) -> Trouble {
    let defects: Vec<String> = defects.iter().map(Defect::to_string).collect();
    Trouble::Refused(format!("recipe {recipe}: {}", defects.join("; ")))
}

fn trouble(error: Error) -> Trouble {
    if error.is_unreachable() { Trouble::Unreachable(error.to_string()) } else { Trouble::Refused(error.to_string()) }
}
