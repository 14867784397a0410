//! Where chance comes from. The world never rolls its own dice: whoever drives it hands a [`Chooser`] in. A walk samples, a
//! replay reads, a search enumerates.

use serde::Deserialize;

use crate::cluster::Millis;

/// What a choice is about; lets a driver treat kinds of choices differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// Which of several nodes with the best score (KUBERNETES.md C21, C22).
    SchedulerTie,
    /// Which of several equal preemption candidates (C.7).
    PreemptionTie,
    /// Which of several equal pods a controller deletes, or which node a DaemonSet updates first (J.3, J.4).
    ControllerTie,
    /// Which budget the controller syncs when several match (B.6).
    BudgetTie,
}

/// What a delay is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Delay {
    /// A component notices a change (watch latency) and reacts.
    Watch,
    /// One request of the engine.
    Request,
    /// The engine looks again after a change.
    Observe,
    /// One cycle of the scheduler.
    Scheduling,
    /// Bound -> containers running, with all images there.
    Start,
    /// Pull of the images that a node does not have.
    Pull,
    /// Containers run -> the application answers its probes.
    Ready,
    /// Running -> Ready of a pod without probes.
    Unprobed,
    /// Deletion seen -> containers ended, for an application that follows SIGTERM (never more than its grace).
    Stop,
    /// A preStop hook that is no plain sleep.
    PreStop,
    /// Containers ended -> object removed.
    Cleanup,
    /// Host job started -> kubelet of the new version runs.
    Host,
    /// Kubelet runs -> node Ready.
    NodeReady,
    /// Endpoint no longer ready -> the last proxy has dropped it (E.10).
    Proxy,
    /// An API server is back -> a proxy that had lost it hears of changes again (client-go's reflectors back off).
    Reconnect,
    /// Backup started -> verified.
    Backup,
    /// Volume detached from one node and attached to another.
    Attach,
    /// Until the next pass of pod garbage collection (D.9).
    PodGc,
    /// Until the next monitor pass of the node lifecycle controller (D10).
    NodeMonitor,
    /// Age of a silent kubelet's last heartbeat (D11).
    Heartbeat,
}

/// A source of decisions for everything that the model leaves open.
pub trait Chooser {
    /// One of `among` equal possibilities; `among` is at least 1.
    fn pick(&mut self, choice: Choice, among: usize) -> usize;

    /// A length between the two bounds, both included.
    fn between(&mut self, delay: Delay, shortest: Millis, longest: Millis) -> Millis;
}

/// Takes the first possibility and the shortest delay, always: for tests and for reading a recording.
#[derive(Clone, Copy, Debug, Default)]
pub struct First;

impl Chooser for First {
    fn pick(&mut self, _: Choice, _: usize) -> usize {
        0
    }

    fn between(&mut self, _: Delay, shortest: Millis, _: Millis) -> Millis {
        shortest
    }
}
