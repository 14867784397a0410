//! P032: targets that cannot be reached from the versions that run (KUBERNETES.md G.3).

use crate::judge::About;
use crate::upgrade::{Describe, Reason, version_problem};

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P032",
    name: "target cannot be reached",
    what: "Goals for which there is no way from the versions that run: an older minor, a kubelet that is newer than the target, \
           kubelets that would be more than three minors older than the control plane and that the goal does not take.",
    why: "The engine stops before it touches anything, as kubeadm does.",
    example: "Target v1.37.0, n3 runs a kubelet v1.33.1, and the plan takes only the control plane.",
    fix: "Choose another target, or take all nodes.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let Some(reason @ Reason::VersionPath { .. }) = version_problem(scope.goal, scope.cluster, scope.now) else {
        return Vec::new();
    };
    let fix =
        "choose a target that the versions of the control plane and of the kubelets can go to; see `only` and `skip`";
    vec![ABOUT.finding(Severity::Error, scope.whole(), reason.describe(scope.cluster), fix.to_owned())]
}

#[cfg(test)]
mod tests {
    use super::super::tests::tells_apart;

    #[test]
    fn ways_that_the_engine_refuses() {
        let cluster = "{version: v1.36.2, nodes: {count: 1, controlPlane: 1, all: {kubelet: v1.36.2}}}";
        let error = &["Error Cluster/cluster"];
        tells_apart("P032", error, (cluster, "{to: v1.35.4}"), (cluster, "{to: v1.38.0}"));
        let late = "{version: v1.36.2, nodes: {count: 1, controlPlane: 1, overrides: {n1: {kubelet: v1.33.1}}}}";
        tells_apart("P032", error, (late, "{to: v1.37.0, only: [cp1]}"), (late, "{to: v1.37.0}"));
    }
}
