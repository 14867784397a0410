//! podFailurePolicy (KUBERNETES.md D.5): what the failure of a pod means for its Job.

use crate::cluster::{Cluster, FailureAction, FailureRule, Job, Millis, Phase, Pod, PodId};

use super::rule_for;

/// How many of the failed pods count against `backoffLimit`, and whether one of them fails the whole Job.
pub(super) fn count(cluster: &Cluster, job: &Job, failed: &[PodId]) -> (i32, bool) {
    let actions = || failed.iter().map(|&pod| rule_for(cluster, job, pod));
    let counted = actions().filter(|&action| action != FailureAction::Ignore).count() as i32;
    (counted, actions().any(|action| action == FailureAction::FailJob))
}

/// The action of the first rule that matches; rules look at pods of phase Failed only.
pub(super) fn matching(cluster: &Cluster, job: &Job, pod: PodId) -> Option<FailureAction> {
    let object = cluster.pod(pod);
    if object.phase != Phase::Failed {
        return None;
    }
    job.failure_policy.iter().find(|rule| matches(cluster, rule, pod, object)).map(|rule| rule.action)
}

fn matches(cluster: &Cluster, rule: &FailureRule, id: PodId, pod: &Pod) -> bool {
    match &rule.exit_codes {
        Some((codes, among)) => {
            exit_code(cluster, id, pod).is_some_and(|code| code != 0 && codes.contains(&code) == *among)
        }
        // DisruptionTarget is the one condition of a failed pod that the model knows.
        None => rule.conditions.iter().any(|kind| kind == "DisruptionTarget") && pod.disruption_target.is_some(),
    }
}

/// The exit code of the pod's containers; `None` where they never started (the kubelet refused the pod).
fn exit_code(cluster: &Cluster, id: PodId, pod: &Pod) -> Option<i32> {
    let timing = cluster.spec(id).timing;
    pod.started?;
    let Some(deletion) = pod.deletion else { return Some(timing.exit_code) };
    let grace = Millis::secs(i64::from(deletion.grace_seconds));
    let killed = timing.ignores_term || timing.stop.is_some_and(|stop| stop > grace);
    Some(if killed { 137 } else { timing.stop_exit_code.unwrap_or(143) })
}
