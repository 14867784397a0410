//! P031: API versions that the target does not serve any more (M8, VERSIONS.md 4).

use std::collections::BTreeMap;

use crate::cluster::{ApiUse, Name};
use crate::judge::About;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P031",
    name: "API version that the target does not serve",
    what: "Objects that are used with an API version that is removed or deprecated at the target: read with it, or applied with it \
           by kubectl last.",
    why: "Stored objects stay and are served in their newer version, but every manifest, pipeline, chart or controller that asks \
          for the old version fails from the moment the control plane is upgraded.",
    example: "kube-system/FlowSchema/ours was applied as flowcontrol.apiserver.k8s.io/v1beta3, which ends with 1.32.",
    fix: "Write the newer version into manifests and charts and apply them before the upgrade; update controllers that use the \
          old one.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

/// The life of an API version: minors that deprecate it and that do not serve it any more, and what to use instead.
struct Life {
    version: &'static str,
    kinds: &'static str,
    deprecated: u16,
    removed: u16,
    instead: &'static str,
}

const fn life(
    version: &'static str,
    kinds: &'static str,
    deprecated: u16,
    removed: u16,
    instead: &'static str,
) -> Life {
    Life { version, kinds, deprecated, removed, instead }
}

const ADMISSION: &str = "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding";
const MUTATION: &str = "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding";
const FLOW: &str = "FlowSchema PriorityLevelConfiguration";
const RESOURCE: &str = "DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice";
const RBAC: &str = "Role RoleBinding ClusterRole ClusterRoleBinding";

/// VERSIONS.md 4; what was removed before 1.25 from the Kubernetes deprecation guide.
const LIVES: &[Life] = &[
    life(
        "extensions/v1beta1",
        "Deployment DaemonSet ReplicaSet NetworkPolicy PodSecurityPolicy",
        9,
        16,
        "the kind in apps/v1",
    ),
    life("extensions/v1beta1", "Ingress", 14, 22, "networking.k8s.io/v1"),
    life("apps/v1beta1", "Deployment StatefulSet ControllerRevision", 9, 16, "apps/v1"),
    life("apps/v1beta2", "Deployment StatefulSet DaemonSet ReplicaSet ControllerRevision", 9, 16, "apps/v1"),
    life("networking.k8s.io/v1beta1", "Ingress IngressClass", 19, 22, "networking.k8s.io/v1"),
    life("rbac.authorization.k8s.io/v1beta1", RBAC, 17, 22, "rbac.authorization.k8s.io/v1"),
    life("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", 16, 22, "apiextensions.k8s.io/v1"),
    life("apiregistration.k8s.io/v1beta1", "APIService", 19, 22, "apiregistration.k8s.io/v1"),
    life(
        "admissionregistration.k8s.io/v1beta1",
        "ValidatingWebhookConfiguration MutatingWebhookConfiguration",
        16,
        22,
        "admissionregistration.k8s.io/v1",
    ),
    life("scheduling.k8s.io/v1beta1", "PriorityClass", 14, 22, "scheduling.k8s.io/v1"),
    life("coordination.k8s.io/v1beta1", "Lease", 19, 22, "coordination.k8s.io/v1"),
    life("certificates.k8s.io/v1beta1", "CertificateSigningRequest", 19, 22, "certificates.k8s.io/v1"),
    life("storage.k8s.io/v1beta1", "StorageClass CSIDriver CSINode VolumeAttachment", 19, 22, "storage.k8s.io/v1"),
    life("batch/v1beta1", "CronJob", 21, 25, "batch/v1"),
    life("discovery.k8s.io/v1beta1", "EndpointSlice", 21, 25, "discovery.k8s.io/v1"),
    life("node.k8s.io/v1beta1", "RuntimeClass", 22, 25, "node.k8s.io/v1"),
    life("policy/v1beta1", "PodDisruptionBudget", 21, 25, "policy/v1"),
    life("policy/v1beta1", "PodSecurityPolicy", 21, 25, "Pod Security Admission"),
    life("autoscaling/v2beta1", "HorizontalPodAutoscaler", 22, 25, "autoscaling/v2"),
    life("autoscaling/v2beta2", "HorizontalPodAutoscaler", 23, 26, "autoscaling/v2"),
    life("flowcontrol.apiserver.k8s.io/v1beta1", FLOW, 23, 26, "flowcontrol.apiserver.k8s.io/v1"),
    life("flowcontrol.apiserver.k8s.io/v1beta2", FLOW, 26, 29, "flowcontrol.apiserver.k8s.io/v1"),
    life("flowcontrol.apiserver.k8s.io/v1beta3", FLOW, 29, 32, "flowcontrol.apiserver.k8s.io/v1"),
    life("storage.k8s.io/v1beta1", "CSIStorageCapacity", 24, 27, "storage.k8s.io/v1"),
    life("storage.k8s.io/v1alpha1", "VolumeAttributesClass", 32, 35, "storage.k8s.io/v1"),
    life("storage.k8s.io/v1beta1", "VolumeAttributesClass", 34, 37, "storage.k8s.io/v1"),
    life("admissionregistration.k8s.io/v1alpha1", ADMISSION, 29, 32, "admissionregistration.k8s.io/v1"),
    life("admissionregistration.k8s.io/v1beta1", ADMISSION, 31, 34, "admissionregistration.k8s.io/v1"),
    life("admissionregistration.k8s.io/v1alpha1", MUTATION, 35, 38, "admissionregistration.k8s.io/v1"),
    life("admissionregistration.k8s.io/v1beta1", MUTATION, 37, 40, "admissionregistration.k8s.io/v1"),
    life("certificates.k8s.io/v1alpha1", "ClusterTrustBundle", 34, 37, "certificates.k8s.io/v1"),
    life("certificates.k8s.io/v1beta1", "ClusterTrustBundle PodCertificateRequest", 37, 40, "certificates.k8s.io/v1"),
    life("coordination.k8s.io/v1alpha2", "LeaseCandidate", 35, 38, "coordination.k8s.io/v1beta1"),
    life("coordination.k8s.io/v1beta1", "LeaseCandidate", 36, 39, "a newer version"),
    life("networking.k8s.io/v1beta1", "IPAddress ServiceCIDR", 34, 37, "networking.k8s.io/v1"),
    life("resource.k8s.io/v1beta1", RESOURCE, 35, 38, "resource.k8s.io/v1"),
    life("resource.k8s.io/v1beta2", RESOURCE, 36, 39, "resource.k8s.io/v1"),
    life("resource.k8s.io/v1alpha3", "DeviceTaintRule", 36, 39, "resource.k8s.io/v1"),
    life("scheduling.k8s.io/v1alpha1", "Workload", 36, 36, "scheduling.k8s.io/v1beta1"),
    life("scheduling.k8s.io/v1alpha2", "Workload PodGroup", 37, 37, "scheduling.k8s.io/v1beta1"),
    life("storagemigration.k8s.io/v1beta1", "StorageVersionMigration", 37, 40, "storagemigration.k8s.io/v1"),
];

fn run(scope: &Scope) -> Vec<Finding> {
    let (from, to) = (scope.cluster.api_server.map(|version| version.minor), scope.goal.to.minor);
    let mut findings = Vec::new();
    let mut deprecated: BTreeMap<(&str, Name, u16), Vec<&ApiUse>> = BTreeMap::new();
    for used in &scope.cluster.catalog.old_apis {
        // Kinds of several groups carry their group behind the kind.
        let kind = used.key.kind.as_str().split('.').next().unwrap_or_default();
        let known = |life: &&Life| used.api_version == life.version && life.kinds.split(' ').any(|one| one == kind);
        let Some(life) = LIVES.iter().find(known) else { continue };
        if life.removed <= to {
            findings.push(removed(used, life, from));
        } else if life.deprecated <= to {
            deprecated.entry((life.version, used.key.kind, life.removed)).or_default().push(used);
        }
    }
    for ((version, kind, removed), uses) in deprecated {
        let objects = listed(uses.iter().map(|used| used.key));
        let message = format!("{version} of {kind} is still served by 1.{to}, not by 1.{removed}: {objects}");
        let fix = format!("move the manifests away from {version} before 1.{removed}");
        findings.push(ABOUT.finding(Severity::Info, scope.whole(), message, fix));
    }
    findings
}

fn removed(used: &ApiUse, life: &Life, from: Option<u16>) -> Finding {
    let Life { version, removed, instead, .. } = life;
    let long_gone = from.is_some_and(|from| from >= *removed);
    let severity = if long_gone { Severity::Info } else { Severity::Warning };
    let seen = if used.last_applied { "was last applied as" } else { "is used as" };
    let tail = if long_gone { "not even now: its manifest cannot be applied again" } else { "which this upgrade ends" };
    let message = format!("{seen} {version}, served until 1.{}, {tail}", removed - 1);
    let fix = format!("use {instead} in its manifest and in all that reads or writes it");
    ABOUT.finding(severity, used.key, message, fix)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{named, tells_apart};
    use super::*;

    fn applied(version: &str, kind: &str) -> String {
        format!(
            r#"{{version: v1.36.2, nodes: {{count: 1}}, objects: [{{kind: {kind}, apiVersion: {}, metadata: {{name: ours,
            annotations: {{kubectl.kubernetes.io/last-applied-configuration: '{{"apiVersion": "{version}", "kind": "{kind}"}}'}}}}}}]}}"#,
            version.replace("v1beta1", "v1").replace("v1alpha1", "v1")
        )
    }

    #[test]
    fn versions_that_the_upgrade_ends_are_told_from_those_that_stay() {
        let (ends, stays) =
            (applied("networking.k8s.io/v1beta1", "ServiceCIDR"), applied("networking.k8s.io/v1", "ServiceCIDR"));
        let target = "{to: v1.37.0}";
        tells_apart("P031", &["Warning ServiceCIDR/ours"], (&ends, target), (&stays, target));
        assert_eq!(named("P031", &ends, "{to: v1.36.3}"), ["Info Cluster/cluster"], "deprecated, served by 1.36");
        let long_gone = applied("networking.k8s.io/v1beta1", "IngressClass");
        assert_eq!(named("P031", &long_gone, target), ["Info IngressClass/ours"]);
    }

    #[test]
    fn objects_read_with_an_old_version_count() {
        let live = "{version: v1.36.2, nodes: {count: 1}, objects: [\
                    {kind: ResourceClaim, apiVersion: resource.k8s.io/v1beta1, metadata: {name: gpu, namespace: x}}]}";
        assert_eq!(named("P031", live, "{to: v1.38.0}"), ["Warning x/ResourceClaim/gpu"]);
        assert_eq!(named("P031", live, "{to: v1.37.0}"), ["Info Cluster/cluster"]);
    }

    #[test]
    fn no_version_of_a_kind_stands_twice() {
        let mut all: Vec<(&str, &str)> =
            LIVES.iter().flat_map(|life| life.kinds.split(' ').map(|kind| (life.version, kind))).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(LIVES.iter().all(|life| life.deprecated <= life.removed));
    }
}
