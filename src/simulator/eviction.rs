//! The eviction API (KUBERNETES.md A). One request is one atomic step: the retry loops of A.6 exist because of concurrent
//! writes, which here are steps of their own before or after it.

use crate::cluster::{BudgetId, DisruptionReason, Name, Phase, PodId};
use crate::trace::Event;

use super::{Chooser, World, disruption};

/// More entries than this in `status.disruptedPods` refuse every eviction (A17).
const MOST_DISRUPTED: usize = 2000;

/// Seconds after which a request is to be repeated while a budget is still being processed (A14).
const RETRY_AFTER_SECONDS: u32 = 10;

/// `deleteOptions` of an eviction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// `gracePeriodSeconds`.
    pub grace_seconds: Option<u32>,
    /// `dryRun: [All]`.
    pub dry_run: bool,
    /// `preconditions.uid`.
    pub uid: Precondition,
    /// `preconditions.resourceVersion`.
    pub resource_version: Precondition,
}

/// What the caller demands of the stored pod.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Precondition {
    /// Nothing.
    #[default]
    Absent,
    /// What is true of it.
    Holds,
    /// What is not true of it.
    Fails,
}

/// An answer of the API.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// HTTP code.
    pub code: u16,
    /// `reason` of the Status, empty when it has none.
    pub reason: &'static str,
    /// `message` of the Status.
    pub message: String,
    /// `details.causes`: (reason, message).
    pub causes: Vec<(String, String)>,
    /// `details.retryAfterSeconds`, 0 when absent. The `Retry-After` header is there exactly when it is not 0 (A.5.2).
    pub retry_after_seconds: u32,
}

impl Answer {
    fn failure(code: u16, reason: &'static str, message: String) -> Answer {
        Answer { code, reason, message, ..Answer::default() }
    }

    fn refusal(cause: String, retry_after_seconds: u32) -> Answer {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.".to_owned();
        let causes = vec![("DisruptionBudget".to_owned(), cause)];
        Answer { causes, retry_after_seconds, ..Answer::failure(429, "TooManyRequests", message) }
    }

    fn still_processed(budget: Name) -> Answer {
        let cause = format!("The disruption budget {budget} is still being processed by the server.");
        Answer::refusal(cause, RETRY_AFTER_SECONDS)
    }
}

/// One eviction request by name, as it stands in the URL.
pub fn evict_named(
    world: &mut World,
    namespace: Name,
    name: Name,
    options: Options,
    chooser: &mut dyn Chooser,
) -> Answer {
    let cluster = &world.cluster;
    let is_meant = |pod: PodId| cluster.pod(pod).name == name && cluster.spec(pod).namespace == namespace;
    let pod = cluster.pods().rev().find(|(id, pod)| !pod.gone && is_meant(*id)).map(|(id, _)| id);
    match pod {
        Some(pod) => evict(world, pod, options, chooser),
        None if is_terminating(world, namespace) => namespace_terminating(namespace, name),
        None => not_found(name),
    }
}

/// One eviction request, in the order of checks of A.2.
pub fn evict(world: &mut World, pod: PodId, options: Options, chooser: &mut dyn Chooser) -> Answer {
    let cluster = &world.cluster;
    let (object, namespace) = (cluster.pod(pod), cluster.spec(pod).namespace);
    if is_terminating(world, namespace) {
        return namespace_terminating(namespace, object.name);
    }
    if object.gone {
        return not_found(object.name);
    }
    if object.is_terminating() || object.is_terminal() || object.phase == Phase::Pending {
        return delete(world, pod, options, chooser);
    }
    let budget = match *cluster.budgets_of_pod(pod) {
        [] => return delete(world, pod, options, chooser),
        [budget] => budget,
        [_, _, ..] => {
            let message =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Answer::failure(500, "", message.to_owned());
        }
    };
    let (object, name) = (cluster.pod(pod), cluster.budget(budget).name);
    if !object.ready && may_evict_unready(world, budget) {
        // The server puts its own resourceVersion in the place of the caller's here, and it is the current one.
        let own = Options { resource_version: Precondition::Holds, ..options };
        let answer = delete(world, pod, own, chooser);
        let conflict = answer.code == 409 && options.resource_version == Precondition::Absent;
        return if conflict { Answer::still_processed(name) } else { answer };
    }
    if let Some(refusal) = refusal(world, budget) {
        return refusal;
    }
    if !options.dry_run {
        decrement(world, pod, budget, chooser);
    }
    delete(world, pod, options, chooser)
}

fn not_found(pod: Name) -> Answer {
    Answer::failure(404, "NotFound", format!("pods \"{pod}\" not found"))
}

fn is_terminating(world: &World, namespace: Name) -> bool {
    world.cluster.catalog.namespaces.get(&namespace).is_some_and(|namespace| namespace.terminating)
}

/// Admission refuses every creation in such a namespace, that of evictions included (A21).
fn namespace_terminating(namespace: Name, pod: Name) -> Answer {
    let message = format!(
        "pods \"{pod}\" is forbidden: unable to create new content in namespace {namespace} because it is being terminated"
    );
    let cause = ("NamespaceTerminating".to_owned(), format!("namespace {namespace} is being terminated"));
    Answer { causes: vec![cause], ..Answer::failure(403, "Forbidden", message) }
}

/// An unready pod leaves without touching the budget (A8, A9). The status is trusted as it stands, stale or not.
fn may_evict_unready(world: &World, budget: BudgetId) -> bool {
    let budget = world.cluster.budget(budget);
    let status = &budget.status;
    budget.always_allow_unhealthy || (status.current_healthy >= status.desired_healthy && status.desired_healthy > 0)
}

/// Why the budget does not allow an eviction (A.7).
fn refusal(world: &World, budget: BudgetId) -> Option<Answer> {
    let budget = world.cluster.budget(budget);
    let (name, status) = (budget.name, &budget.status);
    let forbidden = |why: &str| {
        let message = format!("poddisruptionbudget.policy \"{name}\" is forbidden: {why}");
        Some(Answer::failure(403, "Forbidden", message))
    };
    if status.observed_generation < budget.generation {
        return Some(Answer::still_processed(name));
    }
    if status.disruptions_allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    if status.disrupted.len() > MOST_DISRUPTED {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if status.disruptions_allowed > 0 {
        return None;
    }
    let refused = status.condition.filter(|(allowed, ..)| !allowed).map(|(_, reason, message)| (reason, message));
    let not_now = "does not allow evicting pods currently";
    let cause = match refused {
        Some((reason, message)) if reason == crate::cluster::SYNC_FAILED && !message.is_empty() => {
            format!("The disruption budget {name} {not_now} because it failed sync: {message}")
        }
        _ if status.current_healthy <= status.desired_healthy => format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            status.desired_healthy, status.current_healthy
        ),
        Some((reason, message)) if !message.is_empty() => {
            format!("The disruption budget {name} {not_now} ({reason}): {message}")
        }
        Some(_) | None => format!("The disruption budget {name} {not_now}"),
    };
    Some(Answer::refusal(cause, 0))
}

/// Books the eviction in the budget's status (A.7). `currentHealthy` is the controller's business.
fn decrement(world: &mut World, pod: PodId, budget: BudgetId, chooser: &mut dyn Chooser) {
    let (name, now) = (world.cluster.pod(pod).name, world.now);
    world.cluster.update_budget_status(budget, |status| {
        status.disruptions_allowed -= 1;
        if status.disruptions_allowed == 0 {
            status.condition = Some(disruption::condition(0));
        }
        match status.disrupted.binary_search_by_key(&name, |entry| entry.0) {
            Ok(position) => status.disrupted[position].1 = now,
            Err(position) => status.disrupted.insert(position, (name, now)),
        }
    });
    world.emit(Event::BudgetStatus(budget), chooser);
    world.wake_budget(budget, chooser);
}

/// Adds the condition and deletes the pod (A.8). Preconditions are checked here, after the budget was charged.
fn delete(world: &mut World, pod: PodId, options: Options, chooser: &mut dyn Chooser) -> Answer {
    let conflict = |what: &str, then: &str| {
        let name = world.cluster.pod(pod).name;
        let message = format!(
            "Operation cannot be fulfilled on Pod \"{name}\": the {what} in the precondition does not match the {what} in \
             record. The object might have been {then}"
        );
        Answer::failure(409, "Conflict", message)
    };
    if options.uid == Precondition::Fails {
        return conflict("UID", "deleted and then recreated");
    }
    if options.resource_version == Precondition::Fails {
        return conflict("ResourceVersion", "modified");
    }
    if !options.dry_run {
        world.mark_disrupted(pod, DisruptionReason::EvictionByEvictionApi, chooser);
        world.delete_pod(pod, options.grace_seconds, chooser);
    }
    Answer { code: 201, ..Answer::default() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::{BudgetLimit, Cluster, Deletion, Detail, IntOrPercent, Owner, Pod, ReplicaSet, Time};
    use crate::simulator::controllers::fixture;
    use crate::simulator::{First, Physics};

    /// A world with a Ready pod on a node and a budget with (allowed, healthy, desired) in its status.
    fn world(allowed: i32, healthy: i32, desired: i32, change: impl FnOnce(&mut Pod)) -> World {
        let mut cluster = fixture::cluster(36);
        budget(&mut cluster, "web", allowed, healthy, desired);
        let detail = Detail::ReplicaSet(ReplicaSet::default());
        let owner = fixture::workload(&mut cluster, "ReplicaSet", "web", None, 1, detail);
        let node = fixture::node(&mut cluster, "n1");
        let pod = fixture::pod(&mut cluster, owner, "web-0");
        fixture::ready(&mut cluster, pod);
        cluster.update_pod(pod, |pod| {
            pod.node = Some(node);
            change(pod);
        });
        World::new(cluster, Time(1_000_000), Arc::new(Physics::default()), &mut First)
    }

    fn budget(cluster: &mut Cluster, name: &str, allowed: i32, healthy: i32, desired: i32) {
        let id = fixture::budget(cluster, name, BudgetLimit::MinAvailable(IntOrPercent::Int(desired)));
        cluster.update_budget_status(id, |status| {
            status.disruptions_allowed = allowed;
            status.current_healthy = healthy;
            status.desired_healthy = desired;
            status.observed_generation = 1;
            status.condition = Some(disruption::condition(allowed));
        });
    }

    fn ask(world: &mut World) -> Answer {
        evict(world, PodId(0), Options::default(), &mut First)
    }

    fn leaves(world: &World) -> bool {
        world.cluster.pod(PodId(0)).gone || world.cluster.pod(PodId(0)).deletion.is_some()
    }

    fn allowed(world: &World) -> i32 {
        world.cluster.budget(BudgetId(0)).status.disruptions_allowed
    }

    fn always_allow(world: &mut World) {
        world.cluster.update_budget(BudgetId(0), |budget| budget.always_allow_unhealthy = true);
    }

    fn unready(pod: &mut Pod) {
        pod.ready = false;
    }

    #[test]
    fn an_exhausted_budget_refuses() {
        for (healthy, desired) in [(0, 0), (2, 2)] {
            let mut world = world(0, healthy, desired, |_| {});
            let answer = ask(&mut world);
            let cause = format!("The disruption budget web needs {desired} healthy pods and has {healthy} currently");
            assert_eq!(answer.causes, [("DisruptionBudget".to_owned(), cause)], "A-T1u, A-T8u");
            assert_eq!((answer.code, answer.reason, answer.retry_after_seconds), (429, "TooManyRequests", 0));
            assert!(!leaves(&world));
        }
    }

    #[test]
    fn pending_and_ended_pods_leave_past_the_budget() {
        for phase in [Phase::Pending, Phase::Succeeded, Phase::Failed] {
            let mut world = world(0, 1, 1, |pod| {
                pod.phase = phase;
                pod.ready = false;
            });
            assert_eq!(ask(&mut world).code, 201, "A-T2u");
            assert!(leaves(&world));
        }
    }

    #[test]
    fn a_terminating_pod_is_not_charged() {
        let mut world = world(0, 1, 1, |pod| pod.deletion = Some(Deletion { since: Time(1), grace_seconds: 30 }));
        assert_eq!((ask(&mut world).code, allowed(&world)), (201, 0), "A-T3u");
    }

    #[test]
    fn an_eviction_is_booked() {
        for (before, after, reason) in [(1, 0, "InsufficientPods"), (3, 2, "SufficientPods")] {
            let mut world = world(before, 4, 1, |_| {});
            assert_eq!(ask(&mut world).code, 201, "A-T5u, A-T6u");
            let status = &world.cluster.budget(BudgetId(0)).status;
            assert_eq!(status.disruptions_allowed, after);
            assert_eq!(status.condition.map(|condition| condition.1.as_str()), Some(reason));
            assert_eq!(status.disrupted, [(Name::new("web-0"), world.now)]);
            assert_eq!(status.current_healthy, 4, "only the controller counts anew");
            let pod = world.cluster.pod(PodId(0));
            assert_eq!(pod.deletion, Some(Deletion { since: world.now, grace_seconds: 30 }));
            assert_eq!(pod.disruption_target, Some((DisruptionReason::EvictionByEvictionApi, world.now)));
        }
    }

    #[test]
    fn an_unready_pod_leaves_when_the_healthy_ones_suffice() {
        let mut met = world(0, 2, 2, unready);
        assert_eq!(ask(&mut met).code, 201, "A-T9u");
        assert!(met.cluster.budget(BudgetId(0)).status.disrupted.is_empty() && allowed(&met) == 0);
        assert_eq!(ask(&mut world(0, 1, 2, unready)).code, 429, "A-T10u");
        assert_eq!(ask(&mut world(0, 0, 0, unready)).code, 429, "A-T11u");
        let mut always = world(0, 1, 2, unready);
        always_allow(&mut always);
        assert_eq!(ask(&mut always).code, 201, "A-T12u");
        let mut still_ready = world(0, 1, 2, |_| {});
        always_allow(&mut still_ready);
        assert_eq!(ask(&mut still_ready).code, 429);
    }

    #[test]
    fn the_cause_names_what_stands_in_the_condition() {
        let mut failed = world(0, 0, 0, |_| {});
        failed.cluster.update_budget_status(BudgetId(0), |status| {
            status.condition = Some((false, "SyncFailed".into(), "hoge".into()));
        });
        assert!(ask(&mut failed).causes[0].1.ends_with("currently because it failed sync: hoge"), "A-T17u");
        let mut other = world(0, 4, 3, |_| {});
        other.cluster.update_budget_status(BudgetId(0), |status| {
            status.condition = Some((false, "bar-reason".into(), "hoge".into()));
        });
        assert!(ask(&mut other).causes[0].1.ends_with("currently (bar-reason): hoge"), "A-T18u");
        let mut none = world(0, 4, 3, |_| {});
        assert!(ask(&mut none).causes[0].1.ends_with("does not allow evicting pods currently"));
    }

    #[test]
    fn two_budgets_refuse_without_being_charged() {
        let both = |change: fn(&mut Pod)| {
            let mut world = world(1, 2, 1, change);
            budget(&mut world.cluster, "other", 1, 2, 1);
            (ask(&mut world), world)
        };
        let (answer, world) = both(|_| {});
        assert_eq!((answer.code, answer.reason, allowed(&world)), (500, "", 1), "A-T19");
        let pending = |pod: &mut Pod| {
            pod.phase = Phase::Pending;
            pod.ready = false;
        };
        assert_eq!(both(pending).0.code, 201, "A-T20");
    }

    #[test]
    fn a_budget_that_is_not_synced_yet_asks_to_come_back() {
        let fresh = |change: fn(&mut Pod)| {
            let mut world = world(0, 0, 0, change);
            world.cluster.update_budget_status(BudgetId(0), |status| *status = Default::default());
            world
        };
        for change in [(|_| {}) as fn(&mut Pod), unready] {
            let answer = ask(&mut fresh(change));
            assert_eq!((answer.code, answer.retry_after_seconds), (429, 10), "A-T21, A-T22");
            assert!(answer.causes[0].1.ends_with("web is still being processed by the server."));
        }
        let mut always = fresh(unready);
        always_allow(&mut always);
        assert_eq!(ask(&mut always).code, 201, "A-T23");
    }

    #[test]
    fn a_dry_run_changes_nothing() {
        let mut world = world(1, 2, 1, |_| {});
        let options = Options { dry_run: true, ..Options::default() };
        for _ in 0..2 {
            assert_eq!(evict(&mut world, PodId(0), options, &mut First).code, 201, "A-T24");
            assert!(allowed(&world) == 1 && !leaves(&world));
            assert_eq!(world.cluster.pod(PodId(0)).disruption_target, None);
        }
    }

    #[test]
    fn pods_that_vanish_at_once() {
        let mut unscheduled = world(0, 1, 1, |pod| {
            pod.phase = Phase::Pending;
            pod.ready = false;
            pod.node = None;
        });
        assert_eq!(ask(&mut unscheduled).code, 201);
        assert!(unscheduled.cluster.pod(PodId(0)).gone, "A-T27");
        assert_eq!(ask(&mut unscheduled).code, 404, "A19");
        let mut graceless = world(1, 2, 1, |_| {});
        let options = Options { grace_seconds: Some(0), ..Options::default() };
        assert_eq!(evict(&mut graceless, PodId(0), options, &mut First).code, 201);
        assert!(graceless.cluster.pod(PodId(0)).gone, "A-T28");
    }

    #[test]
    fn a_naked_pod_without_budget_is_deleted() {
        let mut world = world(0, 1, 1, |pod| pod.owner = Owner::None);
        world.cluster.update_budget(BudgetId(0), |budget| budget.gone = true);
        assert_eq!(ask(&mut world).code, 201, "A-T26, A-T4u");
    }

    #[test]
    fn preconditions_are_checked_after_the_budget_is_charged() {
        let uid = Options { uid: Precondition::Fails, ..Options::default() };
        let mut charged = world(1, 2, 1, |_| {});
        let answer = evict(&mut charged, PodId(0), uid, &mut First);
        assert_eq!((answer.code, answer.reason, allowed(&charged)), (409, "Conflict", 0), "B-T30");
        assert!(!leaves(&charged));
        let answer = evict(&mut world(0, 2, 2, unready), PodId(0), uid, &mut First);
        assert_eq!((answer.code, answer.retry_after_seconds), (429, 10), "A15, A-T13u");
        let version = Options { resource_version: Precondition::Fails, ..Options::default() };
        assert_eq!(evict(&mut world(0, 2, 2, unready), PodId(0), version, &mut First).code, 201, "overwritten");
        let pending = |pod: &mut Pod| pod.phase = Phase::Pending;
        assert_eq!(evict(&mut world(1, 2, 1, pending), PodId(0), version, &mut First).code, 409, "A-T15u");
    }

    #[test]
    fn limits_of_the_status() {
        let mut negative = world(-1, 2, 1, |_| {});
        assert_eq!((ask(&mut negative).code, ask(&mut negative).reason), (403, "Forbidden"), "A16");
        for (entries, code) in [(2000, 201), (2001, 403)] {
            let mut full = world(1, 2, 1, |_| {});
            full.cluster.update_budget_status(BudgetId(0), |status| {
                status.disrupted = (0..entries).map(|n| (Name::new(&format!("a{n:05}")), Time(0))).collect();
            });
            assert_eq!(ask(&mut full).code, code, "A17");
        }
    }

    #[test]
    fn a_namespace_that_is_terminating_refuses_first() {
        let mut world = world(1, 2, 1, |_| {});
        Arc::make_mut(&mut world.cluster.catalog).namespaces.entry("default".into()).or_default().terminating = true;
        let answer = ask(&mut world);
        assert_eq!((answer.code, answer.causes[0].0.as_str()), (403, "NamespaceTerminating"), "A21");
        assert!(!leaves(&world));
    }
}
