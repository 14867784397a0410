//! P002: data in emptyDir volumes.

use crate::cluster::{PodId, Volume};
use crate::judge::About;
use crate::upgrade::Ground;

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P002",
    name: "pod with an emptyDir volume",
    what: "Pods with emptyDir volumes on nodes of the run.",
    why: "An eviction deletes what is in the volume. Without `--delete-emptydir-data` the drain refuses the node.",
    example: "cache-0 keeps uploads in an emptyDir until they are processed.",
    fix: "Where the data is a mere cache, run with `--delete-emptydir-data`; otherwise move it to a volume claim first.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    scope.leaving().filter_map(|leaving| found(scope, leaving.pod, leaving.ground)).collect()
}

fn found(scope: &Scope, pod: PodId, ground: Option<Ground>) -> Option<Finding> {
    let volumes = scope.cluster.spec(pod).volumes.iter().filter(|volume| matches!(volume, Volume::EmptyDir)).count();
    let key = scope.cluster.pod_key(pod);
    if ground == Some(Ground::EmptyDir) {
        let message =
            format!("{volumes} emptyDir volume(s), whose data an eviction deletes: the drain of its node is refused");
        let fix = "--delete-emptydir-data if the data may be lost, or move it to a volume claim first".to_owned();
        return Some(ABOUT.finding(Severity::Error, key, message, fix));
    }
    let lost = volumes > 0 && ground.is_none() && scope.cluster.pod(pod).is_active();
    lost.then(|| {
        let message = format!("what is in its {volumes} emptyDir volume(s) is deleted with the pod");
        let fix = "nothing, if the data is a mere cache; otherwise move it to a volume claim first".to_owned();
        ABOUT.finding(Severity::Info, key, message, fix)
    })
}
