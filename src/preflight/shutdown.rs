//! P018: how pods end (M4).

use crate::cluster::{Millis, NodeId, PodId, PodSpec, PreStop, WorkloadId};
use crate::judge::About;

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P018",
    name: "no time to shut down",
    what: "terminationGracePeriodSeconds and preStop of pods that have to move: no grace at all, a preStop that uses all of it, \
           grace beyond the plan's drain timeout, and pods behind a Service without a preStop.",
    why: "Applications must shut down gracefully (M4). A container is killed when the grace period is over; and until every proxy \
          has dropped the endpoint, requests still reach a pod that is already ending.",
    example: "preStop sleeps 30 s with a grace period of 30 s: the application gets SIGKILL instead of time to finish.",
    fix: "A grace period longer than preStop and shutdown together; a preStop sleep of some seconds behind a Service.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    scope.moved().filter_map(|(workload, places)| found(scope, workload, places)).collect()
}

fn found(scope: &Scope, workload: WorkloadId, places: &[(NodeId, Vec<PodId>)]) -> Option<Finding> {
    let pod = places[0].1[0];
    let spec = scope.cluster.spec(pod);
    let grace = spec.grace_seconds;
    let hook = longest_hook(spec);
    let timeout = scope.goal.drain_timeout;
    let length = Millis::secs(i64::from(grace));
    let (severity, message, fix) = if grace == 0 {
        let message = "terminationGracePeriodSeconds: 0: its processes are killed at once".to_owned();
        (Severity::Warning, message, "terminationGracePeriodSeconds: 30".to_owned())
    } else if let Some((container, sleep)) = hook.filter(|(_, sleep)| *sleep >= length) {
        let seconds = sleep.0 / 1000;
        let message = format!(
            "preStop of container {container} takes {seconds} s of a grace period of {grace} s: the process is killed without \
             time to finish"
        );
        (Severity::Warning, message, format!("terminationGracePeriodSeconds: {}", seconds + 30))
    } else if timeout > Millis(0) && length > timeout {
        let message = format!(
            "a grace period of {grace} s is longer than the drain timeout of {} s: the drain may be given up before the pod ends",
            timeout.0 / 1000
        );
        (Severity::Warning, message, format!("drainTimeout: {}s in the plan", i64::from(grace) + 300))
    } else {
        let services = scope.cluster.services_of_pod(pod);
        let serves = !services.is_empty() && spec.containers.iter().all(|container| container.pre_stop.is_none());
        if !serves {
            return None;
        }
        let message =
            "is behind a Service and has no preStop: requests may reach it while it is already ending".to_owned();
        (Severity::Info, message, "lifecycle.preStop.sleep.seconds: 5".to_owned())
    };
    Some(ABOUT.finding(severity, scope.key(workload), message, fix))
}

/// The container whose preStop sleeps longest.
fn longest_hook(spec: &PodSpec) -> Option<(crate::cluster::Name, Millis)> {
    let sleeps = spec.containers.iter().filter_map(|container| match container.pre_stop {
        Some(PreStop::Sleep(length)) => Some((container.name, length)),
        Some(PreStop::Unknown) | None => None,
    });
    sleeps.max_by_key(|(_, length)| *length)
}
