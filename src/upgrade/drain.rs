//! The drain of a node: which pods must leave (the filters of `kubectl drain`, KUBERNETES.md F.3), and which of them may be
//! asked to leave now.

use crate::cluster::{
    BudgetId, Cluster, Detail, Millis, Name, NodeId, Owner, Phase, Pod, PodId, PodSpec, Refusal, Time, Volume,
};

use super::decide::{Step, View};
use super::floors::{self, Verdict};
use super::{Action, Goal, Pacing, Reason, Waiting};

pub(super) use super::floors::Tally;

/// What the filters say of a pod on a node that is to be drained.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It leaves.
    Leaves,
    /// It stays and is not waited for.
    Stays,
    /// The node cannot be drained because of it.
    Refused(Ground),
}

/// Why a pod refuses the drain of its node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ground {
    /// No controller brings it back, and the goal does not force it away.
    Unmanaged,
    /// It has an emptyDir volume, and the goal does not allow deleting its data.
    EmptyDir,
    /// It belongs to a DaemonSet, and the goal does not let those stay.
    DaemonSet,
    /// Its DaemonSet is gone, and the goal does not force it away.
    OrphanOfDaemonSet,
    /// Two budgets match it: the API answers 500 for ever (KUBERNETES.md A12).
    SeveralBudgets,
}

/// What the drain of a node comes to at this moment.
#[derive(Debug, Default)]
struct Drain {
    ask: Vec<PodId>,
    waiting: Vec<Waiting>,
    failed: Vec<Reason>,
}

/// What the eviction API will answer, as far as the cluster shows it (KUBERNETES.md A.2, A.3, A.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    /// No budget is asked.
    Free,
    /// This budget pays.
    Pays(BudgetId),
    /// This budget refuses now.
    Refuses(BudgetId),
    /// Two budgets: never (A12).
    Never,
}

/// The gate: no pod that must leave is on the node any more, or the drain was given up (`on_blocked: continue`).
pub(super) fn empty(view: View, node: NodeId, tally: &mut Tally) -> Option<Step> {
    let marks = view.cluster.node(node).marks;
    if marks.host_touched.is_some() || marks.forced.is_some() {
        return None;
    }
    let mut actions = Vec::new();
    if marks.drain_started.is_none() {
        let refusals = refusals(view, node, view.now);
        if !refusals.is_empty() {
            return Some(Step::Blocked(refusals));
        }
        actions.push(Action::BeginDrain(node));
    }
    let began = marks.drain_started.unwrap_or(view.now);
    let deadline = (view.goal.drain_timeout > Millis(0)).then(|| began + view.goal.drain_timeout);
    let mut drain = look(view, node, began, tally);
    if deadline.is_some_and(|deadline| view.now >= deadline) && !drain.is_over() {
        return Some(Step::Blocked(drain.reasons(node)));
    }
    actions.extend(drain.ask.iter().map(|&pod| request(view.goal, pod)));
    if !actions.is_empty() {
        return Some(Step::Act(actions));
    }
    if !drain.waiting.is_empty() {
        drain.waiting.iter_mut().for_each(|waiting| waiting.deadline = deadline);
        return Some(Step::Wait(drain.waiting));
    }
    (!drain.failed.is_empty()).then_some(Step::Blocked(drain.failed))
}

/// Why a node cannot be drained at all: one reason a ground, with its pods. Nothing of such a node is evicted.
pub(super) fn refusals(view: View, node: NodeId, began: Time) -> Vec<Reason> {
    let mut refused: Vec<(Ground, PodId)> = Vec::new();
    for &pod in view.cluster.pods_of_node(node) {
        match fate(view, pod, began) {
            Fate::Refused(ground) => refused.push((ground, pod)),
            Fate::Leaves if is_paced(view.goal) && answer(view, pod, &Tally::default()) == Answer::Never => {
                refused.push((Ground::SeveralBudgets, pod));
            }
            Fate::Leaves | Fate::Stays => {}
        }
    }
    reasons_of(view, node, refused)
}

fn reasons_of(view: View, node: NodeId, mut refused: Vec<(Ground, PodId)>) -> Vec<Reason> {
    refused.sort_by_key(|&(ground, pod)| (ground, view.cluster.pod_key(pod)));
    let mut reasons = Vec::new();
    for same in refused.chunk_by(|one, other| one.0 == other.0) {
        let pods: Vec<PodId> = same.iter().map(|&(_, pod)| pod).collect();
        match same[0].0 {
            Ground::Unmanaged => reasons.push(Reason::Unmanaged(node, pods)),
            Ground::EmptyDir => reasons.push(Reason::EmptyDir(node, pods)),
            Ground::DaemonSet => reasons.push(Reason::DaemonSetPods(node, pods)),
            Ground::OrphanOfDaemonSet => reasons.push(Reason::OrphanedDaemonSetPods(node, pods)),
            Ground::SeveralBudgets => {
                reasons.extend(pods.into_iter().map(|pod| Reason::SeveralBudgets { pod, message: Name::EMPTY }));
            }
        }
    }
    reasons
}

/// What is still left on nodes that were put back: why the run stopped, as far as the cluster still shows it.
pub(super) fn left_behind(view: View) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for &node in view.cluster.nodes_put_back() {
        let marks = view.cluster.node(node).marks;
        match marks.drain_started {
            None => reasons.append(&mut refusals(view, node, view.now)),
            Some(began) => {
                let drain = look(view, node, began, &mut Tally::default());
                let timed_out = marks.outcome.is_some_and(|(_, at)| at >= began + view.goal.drain_timeout);
                if timed_out && view.goal.drain_timeout > Millis(0) {
                    reasons.append(&mut drain.reasons(node));
                } else {
                    reasons.extend(drain.failed);
                }
            }
        }
    }
    reasons
}

impl Drain {
    fn is_over(&self) -> bool {
        self.ask.is_empty() && self.waiting.is_empty() && self.failed.is_empty()
    }

    /// The time is spent: on whom it was.
    fn reasons(self, node: NodeId) -> Vec<Reason> {
        let mut reasons = vec![Reason::DrainTimeout(node)];
        reasons.extend(self.failed);
        reasons.extend(self.waiting.into_iter().map(|waiting| waiting.reason));
        reasons
    }
}

/// What can be done about each pod of the node, in the order of namespace and name.
fn look(view: View, node: NodeId, began: Time, tally: &mut Tally) -> Drain {
    let mut drain = Drain::default();
    let mut refused = Vec::new();
    let mut pods: Vec<PodId> = Vec::new();
    let mut resting = 0;
    for &pod in view.cluster.pods_of_node(node) {
        match fate(view, pod, began) {
            Fate::Stays => {}
            Fate::Refused(ground) if is_paced(view.goal) => refused.push((ground, pod)),
            // kubectl asks its filters once, at the beginning.
            Fate::Refused(_) if view.cluster.pod(pod).created > began => {}
            Fate::Leaves | Fate::Refused(_) => {
                resting += usize::from(view.cluster.pod(pod).deletion.is_none());
                pods.push(pod);
            }
        }
    }
    if resting > 1 {
        pods.sort_by_cached_key(|&pod| view.cluster.pod_key(pod));
    }
    let mut busy = false;
    for pod in pods {
        let serial = view.goal.pacing == Pacing::Serial;
        if serial && busy && view.cluster.pod(pod).deletion.is_none() {
            drain.wait(Reason::Turn(pod), None);
            continue;
        }
        match consider(view, pod, tally) {
            Considered::Ask => drain.ask.push(pod),
            Considered::Wait(reason, until) => drain.wait(reason, until),
            Considered::Failed(reason) => {
                drain.failed.push(reason);
                continue;
            }
        }
        busy = true;
    }
    drain.failed.append(&mut reasons_of(view, node, refused));
    if is_paced(view.goal) && !drain.failed.is_empty() {
        // The node cannot be emptied: what stands on it had better stay.
        drain.ask.clear();
        drain.waiting.retain(|waiting| matches!(waiting.reason, Reason::Terminating(_)));
    }
    drain
}

impl Drain {
    fn wait(&mut self, reason: Reason, until: Option<Time>) {
        self.waiting.push(Waiting { reason, until, deadline: None });
    }
}

enum Considered {
    Ask,
    Wait(Reason, Option<Time>),
    Failed(Reason),
}

/// What to do about one pod that must leave.
fn consider(view: View, pod: PodId, tally: &mut Tally) -> Considered {
    let View { goal, cluster, now } = view;
    let object = cluster.pod(pod);
    if let Some(deletion) = object.deletion {
        let ends = deletion.since + Millis::secs(i64::from(deletion.grace_seconds));
        if goal.grace_period.is_some_and(|grace| now + Millis::secs(i64::from(grace)) < ends) && !object.is_terminal() {
            return Considered::Ask;
        }
        let given_up = goal.skip_wait_for_delete.map(|length| ends + length + Millis(1));
        return Considered::Wait(Reason::Terminating(pod), given_up);
    }
    if let Some(refusal) = cluster.run.refusal(pod) {
        if is_final(view, pod, refusal) {
            return Considered::Failed(refused(cluster, pod, refusal));
        }
        let next = refusal.at + goal.retry.max(Millis::secs(i64::from(refusal.retry_after_seconds)));
        if now < next {
            return Considered::Wait(refused(cluster, pod, refusal), Some(next));
        }
    }
    if !is_paced(goal) {
        return Considered::Ask;
    }
    let mut pays = None;
    if !goal.disable_eviction {
        match answer(view, pod, tally) {
            Answer::Free => {}
            Answer::Pays(budget) => pays = Some(budget),
            Answer::Refuses(budget) => {
                let message = cluster.run.refusal(pod).map_or(Name::EMPTY, |refusal| refusal.message);
                return Considered::Wait(Reason::Budget { pod, budget: Some(budget), message }, None);
            }
            Answer::Never => return Considered::Failed(Reason::SeveralBudgets { pod, message: Name::EMPTY }),
        }
    }
    match floors::verdict(view, pod, tally) {
        Verdict::Go => {
            tally.take(cluster, pod, pays);
            Considered::Ask
        }
        Verdict::Hold(reason, until) => Considered::Wait(reason, until),
        Verdict::Never(reason) => Considered::Failed(reason),
    }
}

/// The engine's own pacing: it asks only what will be granted, and keeps floors. Otherwise it does as `kubectl drain`.
fn is_paced(goal: &Goal) -> bool {
    match goal.pacing {
        Pacing::Floors => true,
        Pacing::Budgets | Pacing::Serial => false,
    }
}

fn request(goal: &Goal, pod: PodId) -> Action {
    let grace_seconds = goal.grace_period;
    if goal.disable_eviction { Action::Delete { pod, grace_seconds } } else { Action::Evict { pod, grace_seconds } }
}

/// Whether a refusal is the last word. kubectl gives a pod up on everything but 429 and a namespace that is being deleted
/// (KUBERNETES.md F.5); the engine's own pacing only where no later answer can differ.
fn is_final(view: View, pod: PodId, refusal: &Refusal) -> bool {
    if is_paced(view.goal) {
        return answer(view, pod, &Tally::default()) == Answer::Never;
    }
    match refusal.code {
        429 => false,
        403 => !namespace_terminates(view.cluster, pod),
        _ => true,
    }
}

fn namespace_terminates(cluster: &Cluster, pod: PodId) -> bool {
    cluster.catalog.namespaces.get(&cluster.spec(pod).namespace).is_some_and(|namespace| namespace.terminating)
}

fn refused(cluster: &Cluster, pod: PodId, refusal: &Refusal) -> Reason {
    let message = refusal.message;
    let budgets = cluster.budgets_of_pod(pod);
    match refusal.code {
        429 => Reason::Budget { pod, budget: budgets.first().copied(), message },
        500 if budgets.len() > 1 => Reason::SeveralBudgets { pod, message },
        code => Reason::EvictionError { pod, code, message },
    }
}

fn answer(view: View, pod: PodId, tally: &Tally) -> Answer {
    let object = view.cluster.pod(pod);
    if view.goal.disable_eviction || object.deletion.is_some() || object.is_terminal() || object.phase == Phase::Pending
    {
        return Answer::Free;
    }
    let &[id] = view.cluster.budgets_of_pod(pod) else {
        return if view.cluster.budgets_of_pod(pod).is_empty() { Answer::Free } else { Answer::Never };
    };
    let budget = view.cluster.budget(id);
    let status = &budget.status;
    let healthy_enough = status.current_healthy >= status.desired_healthy && status.desired_healthy > 0;
    if !object.ready && (budget.always_allow_unhealthy || healthy_enough) {
        return Answer::Free;
    }
    let stale = status.observed_generation < budget.generation;
    if stale || i64::from(status.disruptions_allowed) <= i64::from(tally.of_budget(id)) {
        Answer::Refuses(id)
    } else {
        Answer::Pays(id)
    }
}

/// The filters, in kubectl's order; the first that decides ends it.
pub(super) fn fate(view: View, pod: PodId, began: Time) -> Fate {
    let View { goal, cluster, now } = view;
    let object = cluster.pod(pod);
    let spec = cluster.spec(pod);
    if let (Some(deletion), Some(length)) = (object.deletion, goal.skip_wait_for_delete)
        && now > deletion.since + Millis::secs(i64::from(deletion.grace_seconds)) + length
    {
        return Fate::Stays;
    }
    match of_daemon_set(cluster, object) {
        _ if object.is_terminal() => {}
        Some(Owned::Orphan) if !goal.force => return Fate::Refused(Ground::OrphanOfDaemonSet),
        Some(Owned::Orphan) | None => {}
        Some(Owned::Alive) if goal.ignore_daemonsets => return Fate::Stays,
        Some(Owned::Alive) => return Fate::Refused(Ground::DaemonSet),
    }
    if object.mirror {
        return Fate::Stays;
    }
    if object.is_terminal() {
        return Fate::Leaves;
    }
    if object.created > began && comes_back(spec) {
        return Fate::Stays;
    }
    if !goal.delete_emptydir_data && spec.volumes.iter().any(|volume| matches!(volume, Volume::EmptyDir)) {
        return Fate::Refused(Ground::EmptyDir);
    }
    if !goal.force && is_unmanaged(object) {
        return Fate::Refused(Ground::Unmanaged);
    }
    Fate::Leaves
}

enum Owned {
    Alive,
    Orphan,
}

fn of_daemon_set(cluster: &Cluster, pod: &Pod) -> Option<Owned> {
    match pod.owner {
        Owner::Workload(id) => {
            let workload = cluster.workload(id);
            let state = if workload.deleted { Owned::Orphan } else { Owned::Alive };
            matches!(workload.detail, Detail::DaemonSet(_)).then_some(state)
        }
        Owner::Missing { kind, .. } => (kind == "DaemonSet").then_some(Owned::Orphan),
        Owner::None | Owner::Node => None,
    }
}

/// No controller brings the pod back (M14). kubectl does not look whether the controller that a pod names exists; of the
/// kinds that every cluster has it is known, and a reference to one that is not there counts for nothing.
fn is_unmanaged(pod: &Pod) -> bool {
    match pod.owner {
        Owner::None => true,
        Owner::Missing { kind, .. } => {
            matches!(kind.as_str(), "ReplicationController" | "ReplicaSet" | "StatefulSet" | "Job")
        }
        Owner::Workload(_) | Owner::Node => false,
    }
}

/// A pod that goes to the node although it is cordoned: evicting it once more would only bring the next one.
fn comes_back(spec: &PodSpec) -> bool {
    !spec.node_name.is_empty() || spec.tolerates_cordon()
}
