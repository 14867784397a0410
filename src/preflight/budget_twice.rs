//! P004: pods with several budgets.

use std::collections::BTreeMap;

use crate::cluster::{BudgetId, ObjectKey};
use crate::judge::About;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P004",
    name: "several budgets on a pod",
    what: "Pods that more than one PodDisruptionBudget selects.",
    why: "The eviction API answers 500 for such a pod, whatever the budgets say (KUBERNETES.md A12): its node cannot be drained.",
    example: "A chart brings a budget, and the platform team has added its own with a wider selector.",
    fix: "Delete one of the budgets, or narrow its selector.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let cluster = scope.cluster;
    let mut held: BTreeMap<(ObjectKey, &[BudgetId]), Vec<ObjectKey>> = BTreeMap::new();
    for leaving in scope.leaving() {
        let budgets = cluster.budgets_of_pod(leaving.pod);
        if budgets.len() > 1 && scope.asks_budgets(leaving.pod) {
            let pod = cluster.pod_key(leaving.pod);
            let object = cluster.top_of_pod(leaving.pod).map_or(pod, |workload| scope.key(workload));
            held.entry((object, budgets)).or_default().push(pod);
        }
    }
    held.into_iter().map(|((object, budgets), pods)| found(scope, object, budgets, &pods)).collect()
}

fn found(scope: &Scope, object: ObjectKey, budgets: &[BudgetId], pods: &[ObjectKey]) -> Finding {
    let cluster = scope.cluster;
    let names = listed(budgets.iter().map(|&budget| cluster.budget(budget).name));
    let message = format!(
        "the budgets {names} select the same {} pod(s) of nodes of the run ({} first): the eviction API answers 500 for ever",
        pods.len(),
        pods[0].name
    );
    let asks = |&budget: &BudgetId| cluster.demand(budget).map_or(0, |demand| demand.healthy);
    let strictest = budgets.iter().copied().max_by_key(asks).unwrap_or(budgets[0]);
    let others = budgets.iter().filter(|&&budget| budget != strictest).map(|&budget| cluster.budget(budget).name);
    let others: Vec<&str> = others.map(|name| name.as_str()).collect();
    let fix = format!(
        "keep {} and delete the rest (kubectl delete pdb -n {} {}), or narrow their selectors",
        cluster.budget(strictest).name,
        object.namespace,
        others.join(" ")
    );
    ABOUT.finding(Severity::Error, object, message, fix)
}
