//! P003: budgets that can never allow an eviction (M5).

use crate::cluster::{BudgetId, BudgetLimit, Demand, IntOrPercent, WorkloadId};
use crate::judge::About;

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P003",
    name: "budget that can never allow an eviction",
    what: "PodDisruptionBudgets that ask for all pods there are, even when every pod is healthy: `minAvailable` as high as the \
           number of replicas (a percentage is rounded up), `maxUnavailable: 0`, or no controller whose pods could be expected.",
    why: "The eviction API refuses every eviction with 429 for as long as the budget and the number of replicas stay as they \
          are: the drain of the node never ends.",
    example: "minAvailable: 80% of 3 replicas asks for ceil(2.4) = 3 of 3 pods.",
    fix: "One replica more than the budget asks for, or `maxUnavailable: 1`.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

/// The most replicas that are worth recommending because of a percentage.
const MOST_REPLICAS: i32 = 20;

fn run(scope: &Scope) -> Vec<Finding> {
    let budgets = scope.cluster.budgets().filter(|(_, budget)| !budget.gone);
    budgets.filter_map(|(id, _)| found(scope, id)).collect()
}

fn found(scope: &Scope, budget: BudgetId) -> Option<Finding> {
    let demand = never(scope, budget)?;
    let held: Vec<_> = scope.pays(budget).filter(|leaving| holds(scope, budget, demand, leaving.pod)).collect();
    let first = held.first()?;
    let cluster = scope.cluster;
    let total = total(scope, budget);
    let pod = cluster.pod_key(first.pod);
    let limit = match cluster.budget(budget).limit {
        BudgetLimit::MinAvailable(limit) => format!("minAvailable: {limit}"),
        BudgetLimit::MaxUnavailable(limit) => format!("maxUnavailable: {limit}"),
        BudgetLimit::Neither => "a budget without minAvailable and maxUnavailable".to_owned(),
    };
    let asks = if demand.expected <= 0 {
        format!("{limit} expects no pods at all, so it allows no disruption")
    } else {
        format!("{limit} asks for {} healthy pods of {total}, so it never allows a disruption", demand.healthy)
    };
    let message = format!("{asks}; evictions of {} pod(s) are refused, {pod} the first of them", held.len());
    Some(ABOUT.finding(Severity::Error, cluster.budget_key(budget), message, fix(scope, budget, total)))
}

/// What the budget asks for if it can never allow a disruption however healthy its pods are.
pub(super) fn never(scope: &Scope, budget: BudgetId) -> Option<Demand> {
    let demand = scope.cluster.demand(budget).ok()?;
    let is_mute = demand.expected <= 0 || scope.cluster.budget(budget).limit == BudgetLimit::Neither;
    (is_mute || demand.healthy >= total(scope, budget)).then_some(demand)
}

/// Whether the budget is what keeps this pod (KUBERNETES.md A.3): a pod that is not ready may leave under some budgets.
pub(super) fn holds(scope: &Scope, budget: BudgetId, demand: Demand, pod: crate::cluster::PodId) -> bool {
    let healthy = i32::try_from(scope.cluster.ready_of_budget(budget)).unwrap_or(i32::MAX);
    let healthy_enough = demand.healthy > 0 && healthy >= demand.healthy;
    scope.cluster.pod(pod).ready || !(scope.cluster.budget(budget).always_allow_unhealthy || healthy_enough)
}

/// The most pods that can be healthy: those that are there, or those that their controllers want if that is more.
fn total(scope: &Scope, budget: BudgetId) -> i32 {
    let cluster = scope.cluster;
    let active = cluster.pods_of_budget(budget).iter().filter(|&&pod| cluster.pod(pod).is_active()).count() as i32;
    let wanted: i32 = owners(scope, budget).iter().map(|&owner| cluster.workload(owner).replicas.max(0)).sum();
    active.max(wanted)
}

/// The topmost workloads of a budget's pods.
fn owners(scope: &Scope, budget: BudgetId) -> Vec<WorkloadId> {
    let pods = scope.cluster.pods_of_budget(budget).iter();
    let mut owners: Vec<WorkloadId> = pods.filter_map(|&pod| scope.cluster.top_of_pod(pod)).collect();
    owners.sort();
    owners.dedup();
    owners
}

fn fix(scope: &Scope, budget: BudgetId, total: i32) -> String {
    let loosen = scope.patch_budget(budget, "\"maxUnavailable\":1");
    let accepts = if total <= 1 { ", which accepts that it is away for a moment" } else { "" };
    let loosen = format!("maxUnavailable: 1 ({loosen}){accepts}");
    match (replicas(scope.cluster.budget(budget).limit, total), owners(scope, budget).as_slice()) {
        (Some(replicas), &[owner]) => format!("{}, or {loosen}", scope.scale_to(owner, replicas)),
        (_, []) => format!(
            "run the pods under a controller, or minAvailable: {} ({})",
            (total - 1).max(0),
            scope.patch_budget(budget, &format!("\"minAvailable\":{}", (total - 1).max(0)))
        ),
        (Some(_) | None, _) => loosen,
    }
}

/// The least number of replicas with which one pod may be away.
fn replicas(limit: BudgetLimit, total: i32) -> Option<i32> {
    match limit {
        BudgetLimit::MinAvailable(IntOrPercent::Int(count)) => (count < MOST_REPLICAS).then_some(count.max(total) + 1),
        BudgetLimit::MinAvailable(share @ IntOrPercent::Percent(_)) => {
            (total + 1..=total.saturating_add(MOST_REPLICAS)).find(|&replicas| share.round_up(replicas) < replicas)
        }
        BudgetLimit::MaxUnavailable(_) | BudgetLimit::Neither => None,
    }
}
