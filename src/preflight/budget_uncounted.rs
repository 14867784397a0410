//! P005: budgets that the disruption controller cannot count.

use crate::cluster::BudgetId;
use crate::judge::About;

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P005",
    name: "budget whose pods cannot be counted",
    what: "PodDisruptionBudgets with a percentage or `maxUnavailable` over pods whose controller is missing or has no scale \
           (bare DaemonSet or Job pods, custom resources), and budgets with a selector that cannot be read.",
    why: "The controller sets `disruptionsAllowed: 0` and the reason SyncFailed, so that every eviction is refused (KUBERNETES.md \
          B.3). A selector that cannot be read protects nothing.",
    example: "maxUnavailable: 1 over the pods of a Job: jobs.batch does not implement the scale subresource.",
    fix: "Give `minAvailable` as a plain number, or narrow the selector to pods of a Deployment or StatefulSet.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let budgets = scope.cluster.budgets().filter(|(_, budget)| !budget.gone);
    budgets.filter_map(|(id, _)| found(scope, id)).collect()
}

fn found(scope: &Scope, id: BudgetId) -> Option<Finding> {
    let cluster = scope.cluster;
    let budget = cluster.budget(id);
    let key = cluster.budget_key(id);
    if !budget.selector_error.is_empty() {
        let message = format!("its selector cannot be read ({}): it protects no pod", budget.selector_error);
        let fix = "correct the selector, or delete the budget".to_owned();
        return Some(ABOUT.finding(Severity::Warning, key, message, fix));
    }
    let failure = cluster.demand(id).err()?;
    let held = scope.pays(id).count();
    if held == 0 {
        return None;
    }
    let message =
        format!("its pods cannot be counted ({failure}): it allows no disruption, {held} eviction(s) are refused");
    let least = cluster.ready_of_budget(id).saturating_sub(1);
    let patch = scope.patch_budget(id, &format!("\"minAvailable\":{least}"));
    let fix = format!("minAvailable: {least} as a plain number ({patch}), or narrow the selector to pods that scale");
    Some(ABOUT.finding(Severity::Error, key, message, fix))
}
