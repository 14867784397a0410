//! What is read of a cluster: the kinds that the model knows. No Secret, no ConfigMap but the run's own.

use kube::api::ApiResource;
use kube::core::GroupVersionKind;

/// A kind, as the API server serves it.
pub(super) struct Kind {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
    pub(super) plural: &'static str,
    /// A cluster may live without it: it is not served everywhere.
    pub(super) optional: bool,
}

const fn kind(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { group, version, kind, plural, optional: false }
}

/// All that are read.
pub(super) const KINDS: [Kind; 24] = [
    kind("", "v1", "Node", "nodes"),
    kind("", "v1", "Namespace", "namespaces"),
    kind("", "v1", "Pod", "pods"),
    kind("apps", "v1", "Deployment", "deployments"),
    kind("apps", "v1", "ReplicaSet", "replicasets"),
    kind("apps", "v1", "StatefulSet", "statefulsets"),
    kind("apps", "v1", "DaemonSet", "daemonsets"),
    kind("", "v1", "ReplicationController", "replicationcontrollers"),
    kind("batch", "v1", "Job", "jobs"),
    kind("batch", "v1", "CronJob", "cronjobs"),
    kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    kind("", "v1", "Service", "services"),
    kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    kind("", "v1", "PersistentVolume", "persistentvolumes"),
    kind("storage.k8s.io", "v1", "StorageClass", "storageclasses"),
    kind("storage.k8s.io", "v1", "CSINode", "csinodes"),
    kind("storage.k8s.io", "v1", "CSIDriver", "csidrivers"),
    kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses"),
    kind("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses"),
    kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    kind("", "v1", "ResourceQuota", "resourcequotas"),
    kind("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
    kind("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
    Kind {
        optional: true,
        ..kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions")
    },
];

impl Kind {
    /// How kube addresses it.
    pub(super) fn resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }
}
