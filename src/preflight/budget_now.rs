//! P006: budgets that allow nothing now because pods are not healthy.

use crate::cluster::{BudgetId, PodId};
use crate::judge::About;

use super::budget_never::{holds, never};
use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P006",
    name: "budget without room now",
    what: "PodDisruptionBudgets that would allow evictions if all of their pods were healthy, and allow none as they are.",
    why: "The drain waits until pods become healthy. Pods that never do (a crash loop, a wrong image) block it for good; under \
          `unhealthyPodEvictionPolicy: IfHealthyBudget` they cannot even be evicted themselves.",
    example: "2 of 3 pods healthy, minAvailable: 2: nothing may leave until the third is back.",
    fix: "Repair the pods. `unhealthyPodEvictionPolicy: AlwaysAllow` lets those leave that are broken anyway.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let budgets = scope.cluster.budgets().filter(|(_, budget)| !budget.gone);
    budgets.filter_map(|(id, _)| found(scope, id)).collect()
}

fn found(scope: &Scope, id: BudgetId) -> Option<Finding> {
    let cluster = scope.cluster;
    let demand = cluster.demand(id).ok()?;
    let healthy = i32::try_from(cluster.ready_of_budget(id)).unwrap_or(i32::MAX);
    if healthy > demand.healthy || never(scope, id).is_some() {
        return None;
    }
    let held: Vec<PodId> =
        scope.pays(id).map(|leaving| leaving.pod).filter(|&pod| holds(scope, id, demand, pod)).collect();
    if held.is_empty() {
        return None;
    }
    let active = |pod: PodId| cluster.pod(pod).is_active() && !cluster.pod(pod).ready;
    let unhealthy: Vec<PodId> = cluster.pods_of_budget(id).iter().copied().filter(|&pod| active(pod)).collect();
    let named = |&pod: &PodId| {
        let pod = cluster.pod(pod);
        if pod.stuck.is_empty() { pod.name.to_string() } else { format!("{} ({})", pod.name, pod.stuck) }
    };
    let why = if unhealthy.is_empty() {
        "pods are missing".to_owned()
    } else {
        format!("not ready: {}", listed(unhealthy.iter().map(named)))
    };
    let message = format!(
        "{healthy} healthy pods of {}, and it asks for {}: it allows no eviction now ({why}); {} pod(s) would have to leave",
        demand.expected,
        demand.healthy,
        held.len()
    );
    let broken = held.iter().any(|&pod| !cluster.pod(pod).ready);
    let mut fix = "repair these pods before the upgrade".to_owned();
    if broken && !cluster.budget(id).always_allow_unhealthy {
        let patch = scope.patch_budget(id, "\"unhealthyPodEvictionPolicy\":\"AlwaysAllow\"");
        fix += &format!(", or let those leave that are not ready ({patch})");
    }
    // Missing pods are on their way; whether they come in time is what the simulation says.
    let severity = if unhealthy.is_empty() { Severity::Info } else { Severity::Warning };
    Some(ABOUT.finding(severity, cluster.budget_key(id), message, fix))
}
