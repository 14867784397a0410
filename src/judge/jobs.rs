//! J004: no Job fails for good because the upgrade took its pods.

use std::collections::BTreeSet;

use crate::cluster::{JobEnd, WorkloadId};
use crate::trace::Event;

use super::{About, Class, Rule, Seen, Violation};

static ABOUT: About = About {
    code: "J004",
    name: "job-lost",
    what: "No Job reaches the condition Failed after the upgrade has taken one of its pods.",
    why: "A failed Job is not tried again: its work is lost until somebody starts it by hand.",
    example: "A Job with backoffLimit 0 is evicted while it runs: the evicted pod counts as its one failure.",
    fix: "Let it finish before the node's turn, raise backoffLimit, or ignore disruptions in a podFailurePolicy \
          (onPodConditions DisruptionTarget).",
};

/// The rule.
#[derive(Default)]
pub(super) struct Jobs {
    reported: BTreeSet<WorkloadId>,
}

impl Rule for Jobs {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        let Event::JobStatus(id) = seen.record.event else { return };
        let workload = seen.cluster.workload(id);
        let Some(job) = workload.as_job() else { return };
        if job.finished == Some(JobEnd::Failed) && seen.strength.workload(id).taken && self.reported.insert(id) {
            let message = format!("failed for good after {} failed pods", job.failed);
            let node = seen.cluster.nodes_under_maintenance().first().copied();
            broken.push(seen.broken(&ABOUT, Class::Disruptive, workload.key, node, message));
        }
    }
}
