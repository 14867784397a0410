//! The judge: rules over transitions and whole traces, a file each. Shares no code with `upgrade`: it sees the trace and the
//! cluster, never a decision.
//!
//! **What the upgrade is answerable for.** A run is judged by what would have been without it: a pod is *taken* by the upgrade
//! when the run evicts or deletes it, when its host goes away under it, or when it has to make room for a displaced one. An
//! application is below its floor by the upgrade when it is below while a pod that was taken from it is not back. What others
//! do during the run (a scenario's actions, a crash, a rollout, a scale-down) breaks no rule by itself; a loss by others on
//! top of a pod that was taken does, since without the upgrade the application would have stood it.

#![allow(clippy::wildcard_enum_match_arm, reason = "a rule names the few events that it is about")]

mod backup;
mod budget;
mod cordons;
mod displaced;
mod emptied;
mod end;
mod floors;
mod forgotten;
mod grace;
mod in_service;
mod jobs;
mod left_out;
mod limits;
mod lock;
mod nodes_out;
mod own_cordon;
mod retries;
mod routing;
mod service_floor;
mod skew;
mod sometimes;
mod strength;
#[cfg(test)]
mod tests;
mod turns;
mod victims;
mod workload_floor;

use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, NodeId, ObjectKey, Time};
use crate::trace::Record;

pub use end::END;
pub use floors::Floors;
pub use limits::Limits;
pub use sometimes::Sometimes;

use cordons::Cordons;
use strength::Strength;
use turns::Turns;

/// What a broken rule means for the verdict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The run does not finish, or refuses to start.
    Blocked,
    /// An application is interrupted.
    Disruptive,
    /// The engine did what it must never do.
    Engine,
}

/// A rule that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Code of the rule (`J001`).
    pub code: &'static str,
    /// What it means for the verdict.
    pub class: Class,
    /// The object that suffers.
    pub object: ObjectKey,
    /// When.
    pub at: Time,
    /// On which node's turn, if on one's.
    pub node: Option<NodeId>,
    /// One sentence with numbers.
    pub message: String,
}

/// A rule's text for `cmsim explain`.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Stable code.
    pub code: &'static str,
    /// Short name.
    pub name: &'static str,
    /// What it checks.
    pub what: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// An example.
    pub example: &'static str,
    /// What to do.
    pub fix: &'static str,
}

/// What a rule sees of one event.
#[derive(Clone, Copy)]
struct Seen<'a> {
    record: &'a Record,
    /// As it is after the step that the event belongs to.
    cluster: &'a Cluster,
    limits: &'a Limits,
    strength: &'a Strength,
    cordons: &'a Cordons,
    turns: &'a Turns,
}

/// What a rule sees when the run is over and the world has come to rest.
#[derive(Clone, Copy)]
struct Rest<'a> {
    now: Time,
    cluster: &'a Cluster,
    limits: &'a Limits,
    strength: &'a Strength,
    cordons: &'a Cordons,
    /// The engine ended and said that it is done.
    done: bool,
}

/// A rule that watches a run.
trait Rule: Send {
    /// Its text.
    fn about(&self) -> &'static About;
    /// Something happened.
    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>);
    /// The run is over.
    fn finish(&mut self, _rest: Rest<'_>, _broken: &mut Vec<Violation>) {}
}

/// Every rule, watching one run. Costs what an event changes, not what the cluster holds.
pub struct Judge {
    limits: Limits,
    strength: Strength,
    cordons: Cordons,
    turns: Turns,
    sometimes: sometimes::Watch,
    rules: Vec<Box<dyn Rule>>,
    broken: Vec<Violation>,
}

impl Judge {
    /// A judge for a run that starts from this cluster under this plan.
    pub fn new(initial: &Cluster, limits: Limits) -> Judge {
        Judge {
            strength: Strength::new(initial, &limits),
            cordons: Cordons::new(initial),
            turns: Turns::new(initial),
            sometimes: sometimes::Watch::default(),
            rules: rules(initial),
            broken: Vec::new(),
            limits,
        }
    }

    /// Something happened; `cluster` is as it is after the step that the record belongs to.
    pub fn observe(&mut self, record: &Record, cluster: &Cluster) {
        self.turns.observe(record, cluster);
        self.strength.observe(record, cluster, &self.turns);
        self.cordons.observe(record);
        let seen = Seen {
            record,
            cluster,
            limits: &self.limits,
            strength: &self.strength,
            cordons: &self.cordons,
            turns: &self.turns,
        };
        self.sometimes.observe(seen);
        for rule in &mut self.rules {
            rule.observe(seen, &mut self.broken);
        }
    }

    /// What happened at least once so far, of all that a proof must have seen not to be empty.
    pub fn sometimes(&self) -> Vec<Sometimes> {
        self.sometimes.result()
    }

    /// The run is over and the world has come to rest at `now`; `done`: the engine ended and said that it is done.
    /// Violations are in the order of time.
    pub fn finish(mut self, now: Time, cluster: &Cluster, done: bool) -> Vec<Violation> {
        let rest = Rest { now, cluster, limits: &self.limits, strength: &self.strength, cordons: &self.cordons, done };
        for rule in &mut self.rules {
            rule.finish(rest, &mut self.broken);
        }
        self.broken.sort_by(|a, b| (a.at, a.code, a.object).cmp(&(b.at, b.code, b.object)));
        self.broken
    }
}

fn rules(initial: &Cluster) -> Vec<Box<dyn Rule>> {
    vec![
        Box::new(workload_floor::WorkloadFloor::default()),
        Box::new(service_floor::ServiceFloor::default()),
        Box::new(displaced::Displaced),
        Box::new(jobs::Jobs::default()),
        Box::new(grace::Grace),
        Box::new(routing::Routing),
        Box::new(end::End::default()),
        Box::new(budget::Budget),
        Box::new(victims::Victims),
        Box::new(emptied::Emptied),
        Box::new(nodes_out::NodesOut::default()),
        Box::new(own_cordon::OwnCordon),
        Box::new(left_out::LeftOut::new(initial)),
        Box::new(in_service::InService),
        Box::new(skew::Skew::new(initial)),
        Box::new(backup::BackupFirst),
        Box::new(lock::LockHeld),
        Box::new(retries::Retries::default()),
        Box::new(forgotten::Forgotten),
    ]
}

/// The texts of all rules, in the order of their codes.
pub fn abouts() -> Vec<About> {
    let mut abouts: Vec<About> = rules(&Cluster::default()).iter().map(|rule| *rule.about()).collect();
    abouts.extend(sometimes::ABOUTS);
    abouts.sort_by_key(|about| about.code);
    abouts
}

impl Seen<'_> {
    /// A violation by this event.
    fn broken(
        &self,
        about: &About,
        class: Class,
        object: ObjectKey,
        node: Option<NodeId>,
        message: String,
    ) -> Violation {
        Violation { code: about.code, class, object, at: self.record.at, node, message }
    }
}
