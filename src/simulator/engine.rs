//! The engine inside the world: it observes, decides by the planner it was given, and carries its actions out one by one.

use std::sync::Arc;

use crate::cluster::{
    Backup, HostJob, Lock, Marks, Millis, Name, Node, NodeId, NodeOutcome, PodId, Refusal, Routing, Time, Version,
};
use crate::trace::Event;
use crate::upgrade::{Action, Decision, Goal, Outcome, Planner};

use super::{Chooser, Delay, Task, World, eviction, host};

/// An engine with its goal. Everything but goal and planner is lost when it is killed, and nothing is missed.
#[derive(Clone)]
pub struct Engine {
    /// What it is to reach.
    pub goal: Arc<Goal>,
    /// How it decides.
    pub planner: Planner,
    /// How the run ended.
    pub outcome: Option<Outcome>,
    /// What it decided last.
    pub last: Decision,
    turn_due: Option<Time>,
    actions_in_flight: usize,
}

impl Engine {
    /// An engine that has not looked yet.
    pub fn new(goal: Arc<Goal>, planner: Planner) -> Engine {
        Engine { goal, planner, outcome: None, last: Decision::default(), turn_due: None, actions_in_flight: 0 }
    }
}

/// Something that is done to a world.
pub type Act = dyn Fn(&mut World, &mut dyn Chooser) + Send + Sync;

/// What somebody else does to the cluster during a run: an operator, an admin, a fault.
#[derive(Clone)]
pub struct Disturbance {
    /// Name for the trace.
    pub name: Name,
    /// When it happens.
    pub trigger: Trigger,
    /// How long after that.
    pub delay: Millis,
    /// What happens.
    pub act: Arc<Act>,
}

/// When a disturbance happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// At the start of the run.
    Start,
    /// Just before the node of this name is cordoned.
    BeforeNode(Name),
    /// Just after the node of this name is in service again.
    AfterNode(Name),
}

impl World {
    /// Puts an engine into the world, as the operator's command does: from now on it decides by `planner` and acts. A lock of
    /// which nothing is known is held by nobody in this world.
    pub fn start_engine(&mut self, goal: Arc<Goal>, planner: Planner, chooser: &mut dyn Chooser) {
        self.engine = Some(Engine::new(goal, planner));
        self.cluster.begin_again();
        if self.cluster.run.lock == Lock::Unknown {
            self.cluster.run.lock = Lock::Free;
        }
        trigger(self, Trigger::Start, chooser);
        plan_turn(self, self.now);
    }

    /// Kills the engine between two of its steps and starts it again: what it had decided and not done is forgotten.
    pub fn restart_engine(&mut self, chooser: &mut dyn Chooser) {
        let Some(engine) = &self.engine else { return };
        if engine.outcome.is_some() {
            return;
        }
        self.forget(|task| matches!(task, Task::Turn | Task::Act(_)));
        let Some(engine) = &mut self.engine else { return };
        *engine = Engine::new(Arc::clone(&engine.goal), engine.planner);
        self.emit(Event::EngineRestarted, chooser);
        plan_turn(self, self.now);
    }
}

/// The engine looks and decides.
pub(super) fn turn(world: &mut World, chooser: &mut dyn Chooser) {
    let Some(engine) = &mut world.engine else { return };
    if engine.turn_due != Some(world.now) || engine.actions_in_flight > 0 || engine.outcome.is_some() {
        return;
    }
    engine.turn_due = None;
    let decision = (engine.planner)(&engine.goal, &world.cluster, world.now);
    engine.actions_in_flight = decision.actions.len();
    engine.last = decision.clone();
    let mut due = world.now;
    for action in &decision.actions {
        due = due + world.length(Delay::Request, chooser);
        world.at(due, Task::Act(*action));
    }
    if !decision.actions.is_empty() {
        return;
    }
    if decision.outcome.is_some() {
        end(world, chooser);
    } else {
        let soonest = decision.waiting.iter().flat_map(|waiting| [waiting.until, waiting.deadline]).flatten();
        if let Some(next) = soonest.filter(|&next| next > world.now).min() {
            plan_turn(world, next);
        }
    }
}

/// The run is over, once what was decided together with its end is done.
fn end(world: &mut World, chooser: &mut dyn Chooser) {
    let Some(engine) = &mut world.engine else { return };
    engine.outcome = engine.last.outcome.clone();
    let done = matches!(engine.outcome, Some(Outcome::Done));
    world.emit(Event::RunEnded { done }, chooser);
}

/// Something happened that the engine may want to react to.
pub(super) fn observe(world: &mut World, event: &Event, chooser: &mut dyn Chooser) {
    let Some(engine) = &world.engine else { return };
    if engine.actions_in_flight > 0 || engine.outcome.is_some() || matches!(event, Event::Endpoints { .. }) {
        return;
    }
    if engine.turn_due.is_some_and(|due| due <= world.now + world.physics.range(Delay::Observe).1) {
        return;
    }
    let next = world.now + world.length(Delay::Observe, chooser);
    plan_turn(world, next);
}

fn plan_turn(world: &mut World, due: Time) {
    if let Some(engine) = &mut world.engine {
        engine.turn_due = Some(due);
        world.at(due, Task::Turn);
    }
}

/// The engine carries one action out.
pub(super) fn act(world: &mut World, action: Action, chooser: &mut dyn Chooser) {
    carry_out(world, action, chooser);
    world.emit(Event::Acted(action), chooser);
    let Some(engine) = &mut world.engine else { return };
    engine.actions_in_flight = engine.actions_in_flight.saturating_sub(1);
    if engine.actions_in_flight > 0 || engine.outcome.is_some() {
        return;
    }
    if engine.last.outcome.is_some() {
        end(world, chooser);
    } else {
        let next = world.now + world.length(Delay::Observe, chooser);
        plan_turn(world, next);
    }
}

fn carry_out(world: &mut World, action: Action, chooser: &mut dyn Chooser) {
    let now = world.now;
    match action {
        Action::TakeLock => match world.cluster.run.lock {
            Lock::Free | Lock::Unknown => {
                world.cluster.run.lock = Lock::Ours;
                world.emit(Event::Lock, chooser);
            }
            Lock::Ours | Lock::Other { .. } => {}
        },
        Action::ReleaseLock => {
            if world.cluster.run.lock == Lock::Ours {
                world.cluster.run.lock = Lock::Free;
                world.emit(Event::Lock, chooser);
            }
        }
        Action::BackUp => match world.cluster.run.backup {
            Backup::Absent | Backup::Failed => {
                world.cluster.run.backup = Backup::Running { since: now };
                world.emit(Event::Backup, chooser);
                world.after(Delay::Backup, Task::BackupDone, chooser);
            }
            Backup::Running { .. } | Backup::Verified => {}
        },
        Action::Begin(node) => begin(world, node, chooser),
        Action::StopRouting(node) => route(world, node, Routing::Stopped, chooser),
        Action::ResumeRouting(node) => route(world, node, Routing::Routed, chooser),
        Action::Cordon(node) => world.set_schedulable(node, false, chooser),
        Action::Uncordon(node) => {
            world.cluster.update_node(node, |node| node.marks.uncordoned = Some(now));
            world.set_schedulable(node, true, chooser);
            trigger(world, Trigger::AfterNode(world.cluster.node(node).name()), chooser);
        }
        Action::BeginDrain(node) => {
            world.cluster.record_standing(node);
            world.cluster.update_node(node, |node| node.marks.drain_started = Some(now));
        }
        Action::ForceOn(node) => world.cluster.update_node(node, |node| node.marks.forced = Some(now)),
        Action::Evict { pod, grace_seconds } => evict(world, pod, grace_seconds, chooser),
        Action::Delete { pod, grace_seconds } => {
            if !world.cluster.pod(pod).gone {
                world.emit(Event::Evict { pod, code: 200, message: Name::EMPTY }, chooser);
                world.delete_pod(pod, grace_seconds, chooser);
            }
        }
        Action::UpgradeHost { node, to } => host::start(world, node, to, chooser),
        Action::End { node, outcome } => {
            world.cluster.update_node(node, |node| node.marks.outcome = Some((outcome, now)));
            world.cluster.forget_drain(node);
            world.cluster.run.last_ended = Some(now);
            world.emit(Event::NodeEnded(node, outcome), chooser);
        }
        Action::NextHop(version) => next_hop(world, version),
        Action::Halt => world.cluster.run.stopped = true,
    }
}

fn begin(world: &mut World, node: NodeId, chooser: &mut dyn Chooser) {
    trigger(world, Trigger::BeforeNode(world.cluster.node(node).name()), chooser);
    let now = world.now;
    world.cluster.update_node(node, |node| {
        node.marks = Marks {
            started: Some(now),
            was_cordoned: node.unschedulable,
            was_unrouted: node.routing == Routing::Stopped,
            ..Marks::default()
        };
        node.job = HostJob::Absent;
    });
    world.cluster.run.started.get_or_insert(now);
}

fn route(world: &mut World, node: NodeId, routing: Routing, chooser: &mut dyn Chooser) {
    if world.cluster.node(node).routing != routing {
        world.cluster.update_node(node, |node| node.routing = routing);
        world.emit(Event::NodeRouted(node, routing == Routing::Routed), chooser);
    }
}

/// The control plane goes for its next minor version: nodes that are done may be taken in hand once more.
fn next_hop(world: &mut World, version: Version) {
    world.cluster.run.hop = Some(version);
    let done = |node: &Node| matches!(node.marks.outcome, Some((NodeOutcome::Done, _)));
    let again: Vec<NodeId> = world.cluster.nodes().filter(|(_, node)| done(node)).map(|(id, _)| id).collect();
    for node in again {
        world.cluster.update_node(node, |node| {
            node.marks = Marks::default();
            node.job = HostJob::Absent;
        });
    }
}

fn evict(world: &mut World, pod: PodId, grace_seconds: Option<u32>, chooser: &mut dyn Chooser) {
    let options = eviction::Options { grace_seconds, ..eviction::Options::default() };
    let answer = eviction::evict(world, pod, options, chooser);
    let message = match answer.causes.first() {
        Some((_, cause)) => Name::new(&format!("{} {cause}", answer.message)),
        None => Name::new(&answer.message),
    };
    world.emit(Event::Evict { pod, code: answer.code, message }, chooser);
    let at = world.now;
    let refusals = &mut world.cluster.run.refusals;
    let position = refusals.binary_search_by_key(&pod, |entry| entry.0);
    let accepted = matches!(answer.code, 200 | 201 | 404);
    match (position, accepted) {
        (Ok(position), true) => {
            refusals.remove(position);
        }
        (Err(_), true) => {}
        (position, false) => {
            let retry_after_seconds = answer.retry_after_seconds;
            let mut refusal = Refusal { at, code: answer.code, retry_after_seconds, message, count: 1 };
            match position {
                Ok(position) => {
                    refusal.count += refusals[position].1.count;
                    refusals[position].1 = refusal;
                }
                Err(position) => refusals.insert(position, (pod, refusal)),
            }
        }
    }
}

/// The backup is done and verified.
pub(super) fn backup_done(world: &mut World, chooser: &mut dyn Chooser) {
    if matches!(world.cluster.run.backup, Backup::Running { .. }) {
        world.cluster.run.backup = Backup::Verified;
        world.emit(Event::Backup, chooser);
    }
}

/// A disturbance happens.
pub(super) fn disturb(world: &mut World, number: u32, chooser: &mut dyn Chooser) {
    let Some(disturbance) = world.disturbances.get(number as usize).cloned() else { return };
    world.emit(Event::Disturbance(disturbance.name), chooser);
    (disturbance.act)(world, chooser);
}

fn trigger(world: &mut World, trigger: Trigger, chooser: &mut dyn Chooser) {
    let disturbances = Arc::clone(&world.disturbances);
    for (number, disturbance) in disturbances.iter().enumerate() {
        if disturbance.trigger == trigger {
            if disturbance.delay == Millis(0) {
                disturb(world, number as u32, chooser);
            } else {
                world.at(world.now + disturbance.delay, Task::Disturb(number as u32));
            }
        }
    }
}
