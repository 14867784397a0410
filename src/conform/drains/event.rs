//! The lines of a drain recording's trace (DRAINS.md).

// Every field of the recordings is read, so that a recording of another form is refused; not every one is compared.
#![allow(dead_code)]

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use crate::scenario::Action;

/// One line.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    /// Revision; of the recorder's own events: the one that was current when they began.
    pub rv: u64,
    /// Seconds since the snapshot.
    pub t: f64,
    /// Number of the line in its file, from 1.
    #[serde(skip)]
    pub number: usize,
    /// It stands in an earlier part of a journal, and what came of it may be told in this one.
    #[serde(skip)]
    pub earlier: bool,
    /// What was recorded.
    #[serde(flatten)]
    pub event: Recorded,
}

/// What was recorded.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "ev")]
pub enum Recorded {
    /// A step of the operator.
    #[serde(rename = "step")]
    Step(Step),
    /// An eviction request and its answer.
    #[serde(rename = "evict")]
    Evict(Request),
    /// A pod object appeared.
    #[serde(rename = "pod.created")]
    PodCreated {
        /// Namespace.
        ns: String,
        /// Name.
        pod: String,
        /// `Kind/name` of the direct controller; absent for bare pods.
        controller: Option<String>,
        /// Ordinal or index.
        index: Option<String>,
        /// The object, in a journal, where no template tells what the pod is like.
        object: Option<serde_json::Value>,
    },
    /// The pod got its node.
    #[serde(rename = "pod.bound")]
    PodBound {
        /// Namespace.
        ns: String,
        /// Name.
        pod: String,
        /// Node.
        node: String,
    },
    /// Condition PodScheduled is False.
    #[serde(rename = "pod.unschedulable")]
    PodUnschedulable {
        /// Namespace.
        ns: String,
        /// Name.
        pod: String,
        /// Message of the condition.
        #[serde(default)]
        message: String,
    },
    /// `status.nominatedNodeName` changed.
    #[serde(rename = "pod.nominated")]
    PodNominated {
        /// Namespace.
        ns: String,
        /// Name.
        pod: String,
        /// Node, empty when cleared.
        node: String,
    },
    /// Phase Pending again (not seen).
    #[serde(rename = "pod.pending")]
    PodPending(PodName),
    /// Phase Running.
    #[serde(rename = "pod.running")]
    PodRunning(PodName),
    /// Phase Succeeded.
    #[serde(rename = "pod.succeeded")]
    PodSucceeded(PodName),
    /// Phase Failed.
    #[serde(rename = "pod.failed")]
    PodFailed(PodName),
    /// Condition Ready became True.
    #[serde(rename = "pod.ready")]
    PodReady(PodName),
    /// Condition Ready became False.
    #[serde(rename = "pod.notready")]
    PodNotReady(PodName),
    /// Condition DisruptionTarget was set.
    #[serde(rename = "pod.disruptionTarget")]
    PodDisruptionTarget {
        /// Namespace.
        ns: String,
        /// Name.
        pod: String,
        /// Reason of the condition.
        reason: String,
    },
    /// deletionTimestamp appeared.
    #[serde(rename = "pod.deleting")]
    PodDeleting {
        /// Namespace.
        ns: String,
        /// Name.
        pod: String,
        /// `deletionGracePeriodSeconds`.
        grace: u32,
        /// Reason of DisruptionTarget, absent for plain deletes.
        reason: Option<String>,
    },
    /// The object is gone.
    #[serde(rename = "pod.gone")]
    PodGone(PodName),
    /// Cordoned.
    #[serde(rename = "node.cordoned")]
    NodeCordoned(NodeName),
    /// Schedulable again.
    #[serde(rename = "node.uncordoned")]
    NodeUncordoned(NodeName),
    /// Ready.
    #[serde(rename = "node.ready")]
    NodeReady(NodeName),
    /// Not ready.
    #[serde(rename = "node.notready")]
    NodeNotReady {
        /// Node.
        node: String,
        /// `False` or `Unknown`.
        status: String,
    },
    /// Version of the kubelet.
    #[serde(rename = "node.version")]
    NodeVersion {
        /// Node.
        node: String,
        /// Version, empty when the object was removed.
        version: String,
    },
    /// All taints.
    #[serde(rename = "node.taints")]
    NodeTaints {
        /// Node.
        node: String,
        /// `key[=value]:effect`.
        taints: Vec<String>,
    },
    /// The Node object appeared.
    #[serde(rename = "node.created")]
    NodeCreated(NodeName),
    /// The Node object is gone.
    #[serde(rename = "node.gone")]
    NodeGone(NodeName),
    /// Status of a budget was written.
    #[serde(rename = "pdb.status")]
    BudgetStatus(Status),
    /// A budget is gone.
    #[serde(rename = "pdb.gone")]
    BudgetGone {
        /// Namespace.
        ns: String,
        /// Name.
        pdb: String,
    },
    /// Endpoints of a Service.
    #[serde(rename = "endpoints")]
    Endpoints(Endpoints),
    /// Status of a Job.
    #[serde(rename = "job.status")]
    JobStatus(JobStatus),
    /// A Job is gone.
    #[serde(rename = "job.gone")]
    JobGone {
        /// Namespace.
        ns: String,
        /// Name.
        job: String,
    },
    /// A core Event.
    #[serde(rename = "event")]
    Event {
        /// Reason.
        reason: String,
    },
    /// A journal: the run's deed.
    #[serde(rename = "act")]
    Act(Act),
    /// A journal: the objects follow, up to `begin`.
    #[serde(rename = "start")]
    Start(Start),
    /// A journal: all objects stand there; changes follow.
    #[serde(rename = "begin")]
    Begin {},
    /// A journal: an object, or what changed of it beside what has events of its own.
    #[serde(rename = "object")]
    Object {
        /// The object.
        object: serde_json::Value,
    },
    /// A journal: an object that has no event of its own is gone.
    #[serde(rename = "gone")]
    Gone {
        /// Kind.
        kind: String,
        /// Namespace, empty where the kind has none.
        ns: String,
        /// Name.
        name: String,
    },
    /// A journal: changes may have been missed.
    #[serde(rename = "gap")]
    Gap {
        /// Why.
        why: String,
    },
    /// A journal: the work on a host is under way.
    #[serde(rename = "host.started")]
    HostStarted(NodeName),
    /// A journal: the work on a host has ended.
    #[serde(rename = "host.ended")]
    HostEnded(NodeName),
    /// A journal: the run is over.
    #[serde(rename = "end")]
    End {},
}

/// The first line of a part of a journal.
#[derive(Clone, Debug, Deserialize)]
pub struct Start {
    /// `cmsim.dev/journal/v1`.
    pub format: String,
    /// Instant that times count from.
    pub time: String,
    /// Version of the API server.
    pub server: Option<crate::cluster::Version>,
    /// Kinds of which all objects follow.
    pub kinds: Vec<String>,
}

/// An action of a run, about to be carried out.
#[derive(Clone, Debug, Deserialize)]
pub struct Act {
    /// Which: `cordon`, `evict`, `upgrade-host`, ...
    pub what: String,
    /// The node.
    pub node: Option<String>,
    /// Namespace of the pod.
    #[serde(default)]
    pub ns: String,
    /// The pod.
    #[serde(default)]
    pub pod: String,
    /// Grace period that is asked for, in seconds.
    pub grace: Option<u32>,
    /// How the run ends for the node: `done`, `blocked`.
    pub outcome: Option<crate::cluster::NodeOutcome>,
    /// The version that the host gets.
    pub version: Option<crate::cluster::Version>,
}

impl Recorded {
    /// What the recorder or the run did itself: it stands after all changes of its revision.
    pub fn is_own(&self) -> bool {
        matches!(
            self,
            Recorded::Step(_)
                | Recorded::Evict(_)
                | Recorded::Act(_)
                | Recorded::HostStarted(_)
                | Recorded::HostEnded(_)
                | Recorded::Gap { .. }
                | Recorded::End {}
        )
    }
}

/// A step of the operator.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Step {
    /// Cordon.
    Cordon(NodeName),
    /// The drain begins.
    DrainStart(NodeName),
    /// The drain ends.
    DrainEnd(NodeName),
    /// The host goes away.
    Down {
        /// Node.
        node: String,
        /// How.
        mode: crate::simulator::Down,
    },
    /// The host comes back.
    Up(NodeName),
    /// Uncordon.
    Uncordon(NodeName),
    /// An action of the scenario.
    Action {
        /// The action.
        action: Box<Action>,
    },
    /// The run is over.
    End,
}

/// Namespace and name of a pod.
#[derive(Clone, Debug, Deserialize)]
pub struct PodName {
    /// Namespace.
    pub ns: String,
    /// Name.
    pub pod: String,
}

/// Name of a node.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeName {
    /// Node.
    pub node: String,
}

/// An eviction request and its answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Request {
    /// Namespace.
    pub ns: String,
    /// Name of the pod.
    pub pod: String,
    /// HTTP code.
    pub code: u16,
    /// Message of the Status.
    #[serde(default)]
    pub message: String,
    /// Causes.
    #[serde(default)]
    pub causes: Vec<Cause>,
    /// Revision after the answer; a journal may not know it.
    #[serde(default = "latest")]
    pub rv_hi: u64,
}

impl Request {
    /// A request whose answer is not known: the run was killed, or the connection lost.
    pub fn unanswered(ns: &str, pod: &str) -> Request {
        let (ns, pod, message, causes) = (ns.to_owned(), pod.to_owned(), String::new(), Vec::new());
        Request { ns, pod, code: 0, message, causes, rv_hi: latest() }
    }

    /// Nobody knows what became of it: no answer, or one of a proxy or an API server on its way out.
    pub fn is_open(&self) -> bool {
        self.code == 0 || (502..=504).contains(&self.code)
    }
}

fn latest() -> u64 {
    u64::MAX
}

/// A cause of a refusal.
#[derive(Clone, Debug, Deserialize)]
pub struct Cause {
    /// Reason.
    pub reason: String,
    /// Message.
    #[serde(default)]
    pub message: String,
}

/// Status of a budget.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Namespace.
    pub ns: String,
    /// Name.
    pub pdb: String,
    /// `currentHealthy`.
    pub current_healthy: i32,
    /// `desiredHealthy`.
    pub desired_healthy: i32,
    /// `expectedPods`.
    pub expected_pods: i32,
    /// `disruptionsAllowed`.
    pub disruptions_allowed: i32,
    /// `observedGeneration`.
    #[serde(default)]
    pub observed_generation: i64,
    /// Names of `disruptedPods`.
    #[serde(default)]
    pub disrupted_pods: Vec<String>,
    /// Status, reason and message of DisruptionAllowed.
    #[serde(default)]
    pub condition: Vec<String>,
}

/// Endpoints of a Service, summed over its slices.
#[derive(Clone, Debug, Deserialize)]
pub struct Endpoints {
    /// Namespace.
    pub ns: String,
    /// Service.
    pub service: String,
    /// Ready.
    pub ready: u32,
    /// Serving.
    pub serving: u32,
    /// Terminating.
    pub terminating: u32,
    /// All.
    pub total: u32,
}

/// Status of a Job.
#[derive(Clone, Debug, Deserialize)]
pub struct JobStatus {
    /// Namespace.
    pub ns: String,
    /// Name.
    pub job: String,
    /// `CronJob/name`.
    pub owner: Option<String>,
    /// Pods that are neither finished nor being deleted.
    #[serde(default)]
    pub active: i32,
    /// Ready ones.
    #[serde(default)]
    pub ready: i32,
    /// Counted successes.
    #[serde(default)]
    pub succeeded: i32,
    /// Counted failures.
    #[serde(default)]
    pub failed: i32,
    /// True conditions as `type:reason`.
    #[serde(default)]
    pub conditions: Vec<String>,
}

/// Reads a trace.
pub fn read(path: &Path) -> anyhow::Result<Vec<Line>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let parse =
        |(index, line)| self::line(index + 1, line).with_context(|| format!("{} line {}", path.display(), index + 1));
    text.lines().enumerate().map(parse).collect()
}

/// Reads one line.
pub fn line(number: usize, text: &str) -> serde_json::Result<Line> {
    Ok(Line { number, ..serde_json::from_str(text)? })
}
