//! J001: no workload falls below its floor.

use std::collections::BTreeMap;

use crate::cluster::{BudgetId, Cluster, Detail, ObjectKey, PodId, WorkloadId};

use super::strength::{Change, Tally, below, desired, stated, turn_of};
use super::{About, Class, Rule, Seen, Violation, floors};

static ABOUT: About = About {
    code: "J001",
    name: "workload-floor",
    what: "No workload has fewer ready pods than its floor: what the plan states, else what its budget asks for, else 1. A \
           workload that was below before the start must not get worse than it was.",
    why: "Below its floor an application is interrupted or too weak for its load.",
    example: "Deployment web has one replica. Its node is drained: until the replacement is Ready nobody answers.",
    fix: "Run more replicas on several nodes, add a budget that fits them, or state a lower floor in the plan.",
};

/// What a floor belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Workload(WorkloadId),
    Budget(BudgetId),
}

/// The rule.
#[derive(Default)]
pub(super) struct WorkloadFloor {
    /// The violation that speaks of the current fall of each subject, by its place in the list.
    falls: BTreeMap<Subject, usize>,
}

impl Rule for WorkloadFloor {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        let Some(change) = seen.strength.change() else { return };
        let cluster = seen.cluster;
        if cluster.pod(change.pod).mirror {
            return;
        }
        if let Some(workload) = change.lost.workload {
            if let Some(floor) = stated(cluster, seen.limits, workload) {
                self.judge(seen, change, Subject::Workload(workload), seen.strength.workload(workload), floor, broken);
                return;
            }
            if matches!(cluster.workload(workload).detail, Detail::DaemonSet(_)) {
                return;
            }
        }
        if floors::governing(cluster, cluster.pod(change.pod).spec).next().is_some() {
            for &budget in &change.lost.budgets {
                let floor = desired(cluster, budget);
                self.judge(seen, change, Subject::Budget(budget), seen.strength.budget(budget), floor, broken);
            }
        } else if let Some(workload) = change.lost.workload
            && let Some(floor) = floors::default_floor(cluster, workload)
        {
            self.judge(seen, change, Subject::Workload(workload), seen.strength.workload(workload), floor, broken);
        }
    }
}

impl WorkloadFloor {
    fn judge(
        &mut self,
        seen: Seen<'_>,
        change: &Change,
        subject: Subject,
        tally: Tally,
        asked: u32,
        broken: &mut Vec<Violation>,
    ) {
        let Some((ready, floor)) = below(tally, asked, change.cause) else { return };
        let message = words(subject, ready, floor, asked, seen.cluster);
        let was_above = ready + 1 >= floor;
        if !was_above && let Some(&fall) = self.falls.get(&subject) {
            broken[fall].message = message;
            return;
        }
        self.falls.insert(subject, broken.len());
        let object = sufferer(change.pod, subject, seen.cluster);
        broken.push(seen.broken(&ABOUT, Class::Disruptive, object, turn_of(change.pod, seen.cluster), message));
    }
}

fn sufferer(pod: PodId, subject: Subject, cluster: &Cluster) -> ObjectKey {
    match (cluster.top_of_pod(pod), subject) {
        (Some(workload), _) | (None, Subject::Workload(workload)) => cluster.workload(workload).key,
        (None, Subject::Budget(budget)) => cluster.budget_key(budget),
    }
}

fn words(subject: Subject, ready: u32, floor: u32, asked: u32, cluster: &Cluster) -> String {
    let floor_is = match subject {
        Subject::Workload(_) => format!("its floor is {asked}"),
        Subject::Budget(budget) => format!("its budget {} asks for {asked}", cluster.budget(budget).name),
    };
    if floor == asked {
        format!("only {ready} ready, {floor_is}")
    } else {
        format!("only {ready} ready, {floor_is} and {floor} would be without the upgrade")
    }
}
