//! The gates of a rolling upgrade, in order. Each gate says what must be done or waited for before it opens, and nothing once
//! it is open; the first gate that says something is the decision.

use crate::cluster::{Backup, Cluster, HostJob, Lock, NodeId, NodeOutcome, Routing, Time};

use super::drain::Tally;
use super::order::Next;
use super::{Action, Decision, Goal, OnBlocked, Outcome, Reason, Waiting, drain, health, order, skew};

/// All that a decision is made from.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub goal: &'a Goal,
    pub cluster: &'a Cluster,
    pub now: Time,
}

impl<'a> View<'a> {
    /// Nodes that the run has taken in hand and not ended with. One that the operator wants to be left out stays as it is until
    /// he wants it again.
    pub fn in_hand(self) -> impl Iterator<Item = NodeId> + use<'a> {
        let skipped = move |node: NodeId| self.goal.skip.contains(&self.cluster.node(node).name());
        self.cluster.nodes_under_maintenance().iter().copied().filter(move |&node| !skipped(node))
    }
}

/// What a gate of a node asks for.
#[derive(Debug)]
pub(super) enum Step {
    /// Do this.
    Act(Vec<Action>),
    /// Wait for this.
    Wait(Vec<Waiting>),
    /// The drain cannot finish: what happens is the goal's `on_blocked`.
    Blocked(Vec<Reason>),
    /// The run must stop; the node stays as it is.
    Fail(Vec<Reason>),
}

/// What the engine does next. Pure: what must be remembered stands on the cluster, so the same cluster at the same time is
/// always decided alike, and any restarted engine goes on where the former was.
pub fn decide(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    let view = View { goal, cluster, now };
    stopped_before(view)
        .or_else(|| nothing_left(view))
        .or_else(|| lock_held(view))
        .or_else(|| versions_fit(view))
        .or_else(|| pods_may_move(view))
        .or_else(|| backup_verified(view))
        .unwrap_or_else(|| nodes(view))
}

/// One node's way, from the moment it is taken in hand.
fn step(view: View, node: NodeId, tally: &mut Tally) -> Step {
    let end = |outcome| Step::Act(vec![Action::End { node, outcome }]);
    if is_given_up(view, node) {
        return in_service(view, node)
            .or_else(|| health::settled(view, node))
            .unwrap_or_else(|| end(NodeOutcome::Blocked));
    }
    out_of_service(view, node)
        .or_else(|| drain::empty(view, node, tally))
        .or_else(|| host_upgraded(view, node))
        .or_else(|| health::back(view, node))
        .or_else(|| in_service(view, node))
        .or_else(|| health::settled(view, node))
        .unwrap_or_else(|| end(NodeOutcome::Done))
}

/// The run was stopped for good: only the same command, given again, goes on (`Cluster::begin_again`).
fn stopped_before(view: View) -> Option<Decision> {
    if !view.cluster.run.stopped {
        return None;
    }
    let mut reasons = drain::left_behind(view);
    for node in view.in_hand() {
        if let Step::Fail(mut failed) = step(view, node, &mut Tally::default()) {
            reasons.append(&mut failed);
        }
    }
    Some(ended(view, Vec::new(), Outcome::Stopped(reasons)))
}

/// Every node of the goal has its version: nothing is asked, not even the lock.
fn nothing_left(view: View) -> Option<Decision> {
    let idle = view.in_hand().next().is_none() && !must_stop(view);
    (idle && matches!(order::next(view, &[]), Ok(Next::Nothing))).then(|| ended(view, Vec::new(), Outcome::Done))
}

/// Nobody else upgrades this cluster (M11).
fn lock_held(view: View) -> Option<Decision> {
    match view.cluster.run.lock {
        _ if !view.goal.lock => None,
        Lock::Ours => None,
        Lock::Free => Some(act(vec![Action::TakeLock])),
        Lock::Unknown => Some(wait(Reason::LockUnknown, Some(view.now + view.goal.retry))),
        Lock::Other { holder, since } => Some(Decision {
            outcome: Some(Outcome::Stopped(vec![Reason::LockHeld { holder, since }])),
            ..Decision::default()
        }),
    }
}

/// The target can be reached from what runs (KUBERNETES.md G.3).
fn versions_fit(view: View) -> Option<Decision> {
    if view.in_hand().next().is_some() {
        return None;
    }
    order::next(view, &[]).err().map(|reason| stop(view, Vec::new(), vec![reason]))
}

/// No node of the plan has pods that would refuse its drain (M14): looked at once, before anything is changed.
fn pods_may_move(view: View) -> Option<Decision> {
    let untouched = view.cluster.run.started.is_none() && view.in_hand().next().is_none();
    if !untouched || !view.goal.refuse_early || view.goal.on_blocked != OnBlocked::Stop {
        return None;
    }
    let reasons: Vec<Reason> =
        order::plan(view).into_iter().flat_map(|node| drain::refusals(view, node, view.now)).collect();
    (!reasons.is_empty()).then(|| stop(view, Vec::new(), reasons))
}

/// There is a way back (M7, M8).
fn backup_verified(view: View) -> Option<Decision> {
    match view.cluster.run.backup {
        _ if !view.goal.backup => None,
        Backup::Verified => None,
        Backup::Absent => Some(act(vec![Action::BackUp])),
        Backup::Failed => Some(stop(view, Vec::new(), vec![Reason::BackupFailed])),
        Backup::Running { since } => {
            let deadline = since + view.goal.host_timeout;
            Some(if view.now < deadline {
                let waiting = Waiting { reason: Reason::BackupRunning, until: None, deadline: Some(deadline) };
                Decision { waiting: vec![waiting], ..Decision::default() }
            } else {
                stop(view, Vec::new(), vec![Reason::TimeSpent(Box::new(Reason::BackupRunning))])
            })
        }
    }
}

/// Nodes in hand go on; free places are taken.
fn nodes(view: View) -> Decision {
    let mut tally = Tally::default();
    let mut decision = Decision::default();
    let mut why = Vec::new();
    let mut stopping = must_stop(view);
    for node in view.in_hand() {
        match (step(view, node, &mut tally), view.goal.on_blocked) {
            (Step::Act(mut actions), _) => decision.actions.append(&mut actions),
            (Step::Wait(mut waiting), _) => decision.waiting.append(&mut waiting),
            (Step::Blocked(_), OnBlocked::Continue) => decision.actions.push(Action::ForceOn(node)),
            (Step::Blocked(_), OnBlocked::Uncordon) => decision.actions.append(&mut give_up(view, node)),
            (Step::Blocked(mut reasons), OnBlocked::Stop) | (Step::Fail(mut reasons), _) => {
                why.append(&mut reasons);
                stopping = true;
            }
        }
    }
    if stopping {
        return wind_down(view, why);
    }
    take_next(view, &mut decision).err().unwrap_or(decision)
}

/// Takes nodes in hand until all places are taken. `Err`: the run ends, or stops.
fn take_next(view: View, decision: &mut Decision) -> Result<(), Decision> {
    let View { goal, cluster, now } = view;
    let in_hand: Vec<NodeId> = view.in_hand().collect();
    let mut taken: Vec<NodeId> = Vec::new();
    while in_hand.len() + taken.len() < goal.nodes_at_once.max(1) && (!goal.batches || in_hand.is_empty()) {
        let node = match order::next(view, &taken).map_err(|reason| stop(view, Vec::new(), vec![reason]))? {
            Next::Take(node) => node,
            Next::Hop(version) if in_hand.is_empty() && taken.is_empty() => {
                decision.actions.push(Action::NextHop(version));
                break;
            }
            Next::Nothing if in_hand.is_empty() && taken.is_empty() && decision.actions.is_empty() => {
                return Err(ended(view, Vec::new(), Outcome::Done));
            }
            Next::Nothing | Next::Hop(_) => break,
        };
        // Members of the control plane go one by one: two out at once may cost etcd its quorum.
        let is_control_plane = |&id: &NodeId| cluster.node(id).is_control_plane();
        let others = || in_hand.iter().chain(&taken);
        if others().any(is_control_plane) || (is_control_plane(&node) && others().next().is_some()) {
            break;
        }
        if let Some(until) = cluster.run.last_ended.map(|ended| ended + goal.pause).filter(|&until| now < until) {
            decision.waiting.push(Waiting { reason: Reason::Pause, until: Some(until), deadline: None });
            break;
        }
        match health::may_be_taken(view, node) {
            None => decision.actions.append(&mut begin(view, node)),
            Some(Step::Act(mut actions)) => decision.actions.append(&mut actions),
            Some(Step::Wait(mut waiting)) => {
                decision.waiting.append(&mut waiting);
                break;
            }
            Some(Step::Blocked(_)) if goal.on_blocked == OnBlocked::Uncordon => {
                decision.actions.push(Action::End { node, outcome: NodeOutcome::Blocked });
            }
            Some(Step::Blocked(_)) if goal.on_blocked == OnBlocked::Continue => {
                decision.actions.append(&mut begin(view, node));
            }
            Some(Step::Blocked(reasons) | Step::Fail(reasons)) => return Err(wind_down(view, reasons)),
        }
        taken.push(node);
    }
    Ok(())
}

/// Takes a node in hand: remembers how it stood, stops routing, cordons.
fn begin(view: View, node: NodeId) -> Vec<Action> {
    let mut actions = vec![Action::Begin(node)];
    actions.append(&mut stop_serving(view, node));
    actions
}

fn stop_serving(view: View, node: NodeId) -> Vec<Action> {
    let state = view.cluster.node(node);
    let stop_routing = view.goal.routing && state.routing != Routing::Stopped;
    let mut actions = Vec::new();
    actions.extend(stop_routing.then_some(Action::StopRouting(node)));
    actions.extend((!state.unschedulable).then_some(Action::Cordon(node)));
    actions
}

/// No requests, no new pods: also when somebody uncordons the node before its drain is over.
fn out_of_service(view: View, node: NodeId) -> Option<Step> {
    if view.cluster.node(node).marks.host_touched.is_some() {
        return None;
    }
    let actions = stop_serving(view, node);
    (!actions.is_empty()).then_some(Step::Act(actions))
}

/// The host's job has ended well.
fn host_upgraded(view: View, node: NodeId) -> Option<Step> {
    let state = view.cluster.node(node);
    if state.gone {
        return None;
    }
    match state.job {
        HostJob::Absent => Some(Step::Act(vec![Action::UpgradeHost { node, to: skew::target(view, node) }])),
        HostJob::Running { since } => Some(allow(view, Reason::HostBusy(node), since + view.goal.host_timeout)),
        HostJob::Failed => Some(Step::Fail(vec![Reason::HostFailed(node)])),
        HostJob::Succeeded => None,
    }
}

/// New pods, then requests: unless it was the operator who kept them away.
fn in_service(view: View, node: NodeId) -> Option<Step> {
    let state = view.cluster.node(node);
    if state.gone {
        return None;
    }
    let mut actions = Vec::new();
    if !state.marks.was_cordoned && state.marks.uncordoned.is_none() {
        actions.push(Action::Uncordon(node));
    }
    if view.goal.routing && state.routing != Routing::Routed && !state.marks.was_unrouted {
        actions.push(Action::ResumeRouting(node));
    }
    (!actions.is_empty()).then_some(Step::Act(actions))
}

/// Made schedulable again before its host was touched: it stays at its version.
fn is_given_up(view: View, node: NodeId) -> bool {
    let marks = view.cluster.node(node).marks;
    marks.host_touched.is_none() && marks.uncordoned.is_some()
}

/// Puts a node back that has not been touched.
fn give_up(view: View, node: NodeId) -> Vec<Action> {
    match in_service(view, node) {
        Some(Step::Act(actions)) if !view.cluster.node(node).marks.was_cordoned => actions,
        Some(Step::Act(mut actions)) => {
            actions.push(Action::End { node, outcome: NodeOutcome::Blocked });
            actions
        }
        Some(Step::Wait(_) | Step::Blocked(_) | Step::Fail(_)) | None => {
            vec![Action::End { node, outcome: NodeOutcome::Blocked }]
        }
    }
}

/// A node was put back and the goal says that this is the end.
fn must_stop(view: View) -> bool {
    view.goal.on_blocked == OnBlocked::Stop && !view.cluster.nodes_put_back().is_empty()
}

/// The run stops: nodes whose host was not touched are put back, the others are brought to their end first.
fn wind_down(view: View, mut why: Vec<Reason>) -> Decision {
    let mut decision = Decision::default();
    let mut underway = false;
    for node in view.in_hand() {
        if view.cluster.node(node).marks.host_touched.is_none() {
            decision.actions.append(&mut give_up(view, node));
            let end = Action::End { node, outcome: NodeOutcome::Blocked };
            if decision.actions.last() != Some(&end) {
                decision.actions.push(end);
            }
            continue;
        }
        match step(view, node, &mut Tally::default()) {
            Step::Act(mut actions) => {
                decision.actions.append(&mut actions);
                underway = true;
            }
            Step::Wait(mut waiting) => {
                decision.waiting.append(&mut waiting);
                underway = true;
            }
            Step::Blocked(_) | Step::Fail(_) => {}
        }
    }
    if underway {
        return decision;
    }
    for reason in drain::left_behind(view) {
        if !why.contains(&reason) {
            why.push(reason);
        }
    }
    stop(view, decision.actions, why)
}

/// Stops the run for good, after these actions.
fn stop(view: View, mut actions: Vec<Action>, reasons: Vec<Reason>) -> Decision {
    actions.push(Action::Halt);
    ended(view, actions, Outcome::Stopped(reasons))
}

/// Gives the lock back and ends.
fn ended(view: View, mut actions: Vec<Action>, outcome: Outcome) -> Decision {
    if view.goal.lock && view.cluster.run.lock == Lock::Ours {
        actions.push(Action::ReleaseLock);
    }
    Decision { actions, waiting: Vec::new(), outcome: Some(outcome) }
}

fn act(actions: Vec<Action>) -> Decision {
    Decision { actions, ..Decision::default() }
}

fn wait(reason: Reason, until: Option<Time>) -> Decision {
    Decision { waiting: vec![Waiting { reason, until, deadline: None }], ..Decision::default() }
}

/// A wait with an allowance; once it is spent the run stops.
pub(super) fn allow(view: View, reason: Reason, deadline: Time) -> Step {
    if view.now < deadline {
        Step::Wait(vec![Waiting { reason, until: None, deadline: Some(deadline) }])
    } else {
        Step::Fail(vec![Reason::TimeSpent(Box::new(reason))])
    }
}
