//! Budgets, Services, quotas, autoscalers, classes and namespaces.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::affinity::CheckedToleration;
use super::amounts::resources;
use super::wire::{Amounts, Condition, Count, LenientSelector, Meta, Pairs, Portion, Stamp, condition, object};
use crate::cluster::{
    Autoscaler, Budget, BudgetLimit, BudgetStatus, Cluster, Name, Namespace, ObjectKey, PriorityClass, Quota,
    RuntimeClass, Selector, Service, Time,
};

object! {
    /// PodDisruptionBudget.
    struct RawBudget {
        metadata: Meta,
        spec: BudgetSpec,
        status: RawBudgetStatus,
    }

    /// `spec` of a budget.
    struct BudgetSpec {
        selector: Option<LenientSelector>,
        min_available: Option<Portion>,
        max_unavailable: Option<Portion>,
        unhealthy_pod_eviction_policy: Name,
    }

    /// `status` of a budget.
    struct RawBudgetStatus {
        current_healthy: i32,
        desired_healthy: i32,
        expected_pods: i32,
        disruptions_allowed: i32,
        observed_generation: i64,
        disrupted_pods: Disrupted,
        conditions: Vec<Condition>,
    }

    /// Service.
    struct RawService {
        metadata: Meta,
        spec: ServiceSpec,
    }

    /// `spec` of a Service.
    struct ServiceSpec {
        selector: Option<Pairs>,
        publish_not_ready_addresses: bool,
        #[serde(rename = "type")]
        kind: Name,
        #[serde(rename = "clusterIP")]
        cluster_ip: Name,
        external_traffic_policy: Name,
    }

    /// ResourceQuota.
    struct RawQuota {
        metadata: Meta,
        spec: QuotaSpec,
        status: QuotaStatus,
    }

    /// `spec` of a quota.
    struct QuotaSpec {
        hard: Amounts,
        scopes: Vec<Name>,
        scope_selector: Option<super::wire::Present>,
    }

    /// `status` of a quota.
    struct QuotaStatus {
        used: Amounts,
    }

    /// HorizontalPodAutoscaler.
    struct RawAutoscaler {
        metadata: Meta,
        spec: AutoscalerSpec,
    }

    /// `spec` of an autoscaler.
    struct AutoscalerSpec {
        scale_target_ref: Target,
        min_replicas: Option<Count>,
        max_replicas: Count,
    }

    /// `scaleTargetRef`.
    struct Target {
        kind: Name,
        name: Name,
    }

    /// PriorityClass.
    struct RawPriorityClass {
        metadata: Meta,
        value: i32,
        global_default: bool,
        preemption_policy: Name,
    }

    /// RuntimeClass.
    struct RawRuntimeClass {
        metadata: Meta,
        overhead: Overhead,
        scheduling: RuntimeScheduling,
    }

    /// `overhead` of a RuntimeClass.
    struct Overhead {
        pod_fixed: Amounts,
    }

    /// `scheduling` of a RuntimeClass.
    struct RuntimeScheduling {
        node_selector: Pairs,
        tolerations: Vec<CheckedToleration>,
    }

    /// Namespace.
    struct RawNamespace {
        metadata: Meta,
        status: NamespaceStatus,
    }

    /// `status` of a namespace.
    struct NamespaceStatus {
        phase: Name,
    }
}

/// `disruptedPods`: pod name -> time; recordings have the names alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Disrupted(Vec<(Name, Option<Stamp>)>);

impl<'de> Deserialize<'de> for Disrupted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Disrupted;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from pod name to time")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Disrupted, A::Error> {
                let mut pods = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    pods.push(entry);
                }
                Ok(Disrupted(pods))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Disrupted, A::Error> {
                let mut pods = Vec::new();
                while let Some(name) = list.next_element()? {
                    pods.push((name, None));
                }
                Ok(Disrupted(pods))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl RawBudget {
    /// What the API server refuses (`ValidatePodDisruptionBudgetSpec`).
    pub(super) fn refused(&self) -> Option<(&'static str, String)> {
        if self.spec.min_available.is_some() && self.spec.max_unavailable.is_some() {
            return Some(("spec", "has minAvailable and maxUnavailable; only one of them is allowed".to_owned()));
        }
        let fields =
            [("spec.minAvailable", self.spec.min_available), ("spec.maxUnavailable", self.spec.max_unavailable)];
        fields.into_iter().find_map(|(field, portion)| Some((field, portion?.over_all()?)))
    }
}

/// Adds a budget, or brings one up to date. `taken_at` stands for times that a recording leaves out.
pub(super) fn budget(cluster: &mut Cluster, api_version: &str, raw: &RawBudget, taken_at: Time) {
    let (spec, status) = (&raw.spec, &raw.status);
    let (selector, selector_error) = match spec.selector.as_ref().map(|selector| &selector.0) {
        None => (None, Name::EMPTY),
        // In the old API an empty selector matched nothing (KUBERNETES.md A.4).
        Some(Ok(selector)) if selector.is_empty() && api_version == "policy/v1beta1" => (None, Name::EMPTY),
        Some(Ok(selector)) => (Some(selector.clone()), Name::EMPTY),
        Some(Err(problem)) => (None, Name::new(problem)),
    };
    let limit = match (spec.min_available, spec.max_unavailable) {
        (Some(portion), _) => BudgetLimit::MinAvailable(portion.0),
        (None, Some(portion)) => BudgetLimit::MaxUnavailable(portion.0),
        (None, None) => BudgetLimit::Neither,
    };
    let time = |stamp: Option<Stamp>| stamp.map_or(taken_at, |stamp| stamp.0);
    let mut disrupted: Vec<(Name, Time)> = status.disrupted_pods.0.iter().map(|&(pod, at)| (pod, time(at))).collect();
    disrupted.sort();
    let allowed = condition(&status.conditions, "DisruptionAllowed");
    let budget = Budget {
        namespace: raw.metadata.namespace,
        name: raw.metadata.name,
        selector,
        selector_error,
        limit,
        always_allow_unhealthy: spec.unhealthy_pod_eviction_policy == "AlwaysAllow",
        generation: raw.metadata.generation,
        status: BudgetStatus {
            current_healthy: status.current_healthy,
            desired_healthy: status.desired_healthy,
            expected_pods: status.expected_pods,
            disruptions_allowed: status.disruptions_allowed,
            observed_generation: status.observed_generation,
            disrupted,
            condition: allowed.map(|one| (one.status == "True", one.reason, one.message)),
        },
        gone: false,
    };
    let same = |known: &Budget| !known.gone && known.namespace == budget.namespace && known.name == budget.name;
    let known = cluster.budgets().find(|(_, known)| same(known)).map(|(id, _)| id);
    match known {
        Some(id) => cluster.update_budget(id, |known| *known = budget),
        None => {
            cluster.add_budget(budget);
        }
    }
}

/// Adds a Service, or brings one up to date.
pub(super) fn service(cluster: &mut Cluster, raw: &RawService) {
    let spec = &raw.spec;
    let selector = spec.selector.as_ref().filter(|selector| !selector.0.is_empty() && spec.kind != "ExternalName");
    let service = Service {
        namespace: raw.metadata.namespace,
        name: raw.metadata.name,
        selector: selector.map(|pairs| Selector::from_labels(pairs.0.iter().copied())),
        publish_not_ready: spec.publish_not_ready_addresses,
        kind: if spec.kind.is_empty() { Name::new("ClusterIP") } else { spec.kind },
        headless: spec.cluster_ip == "None",
        local_only: spec.external_traffic_policy == "Local",
        gone: false,
    };
    let same = |known: &Service| !known.gone && known.namespace == service.namespace && known.name == service.name;
    let known = cluster.services().find(|(_, known)| same(known)).map(|(id, _)| id);
    match known {
        Some(id) => cluster.update_service(id, |known| *known = service),
        None => {
            cluster.add_service(service);
        }
    }
}

impl RawQuota {
    pub(super) fn read(&self) -> Quota {
        let used = |resource: &Name| self.status.used.get(resource).map_or(0, |quantity| quantity.milli);
        Quota {
            key: ObjectKey::new(self.metadata.namespace, "ResourceQuota", self.metadata.name),
            limits: self.spec.hard.iter().map(|(name, hard)| (*name, hard.milli, used(name))).collect(),
            scoped: !self.spec.scopes.is_empty() || self.spec.scope_selector.is_some(),
        }
    }
}

impl RawAutoscaler {
    pub(super) fn read(&self) -> Autoscaler {
        let (meta, spec) = (&self.metadata, &self.spec);
        Autoscaler {
            key: ObjectKey::new(meta.namespace, "HorizontalPodAutoscaler", meta.name),
            target: ObjectKey {
                namespace: meta.namespace,
                kind: spec.scale_target_ref.kind,
                name: spec.scale_target_ref.name,
            },
            min: spec.min_replicas.map_or(1, |count| count.0),
            max: spec.max_replicas.0,
        }
    }
}

impl RawPriorityClass {
    pub(super) fn read(&self) -> PriorityClass {
        PriorityClass {
            value: self.value,
            global_default: self.global_default,
            never_preempts: self.preemption_policy == "Never",
        }
    }
}

impl RawRuntimeClass {
    pub(super) fn read(&self) -> RuntimeClass {
        RuntimeClass {
            overhead: resources(&self.overhead.pod_fixed),
            node_selector: self.scheduling.node_selector.0.clone(),
            tolerations: self.scheduling.tolerations.iter().filter_map(|toleration| toleration.0).collect(),
        }
    }
}

impl RawNamespace {
    pub(super) fn read(&self) -> Namespace {
        let named = unlabelled_namespace(self.metadata.name);
        Namespace {
            labels: named.labels.iter().chain(self.metadata.labels.0.iter().copied()).collect(),
            terminating: self.status.phase == "Terminating" || self.metadata.deletion_timestamp.is_some(),
        }
    }
}

/// A namespace that is known by name alone: it has the label that the API server gives to each.
pub(super) fn unlabelled_namespace(name: Name) -> Namespace {
    let labels = [(Name::new("kubernetes.io/metadata.name"), name)].into_iter().collect();
    Namespace { labels, terminating: false }
}
