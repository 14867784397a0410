//! Pod templates and the `spec` of pods.

use super::affinity::{Affinity, CheckedToleration, NodeSelector, Spread, add_default_tolerations};
use super::amounts::{Asked, Needs, pod_needs, resources};
use super::container::{RawContainer, millis};
use super::volume::{RawVolume, volumes};
use super::wire::{Amounts, Annotations, Pairs, Present, object};
use crate::cluster::{Catalog, Name, PodSpec, Resources, RestartPolicy, Timing};

object! {
    /// A pod template.
    struct Template {
        metadata: TemplateMeta,
        spec: Spec,
    }

    /// `metadata` of a template.
    struct TemplateMeta {
        labels: Pairs,
        annotations: Annotations,
    }

    /// `spec` of a pod or template.
    struct Spec {
        node_name: Name,
        scheduler_name: Name,
        host_network: bool,
        node_selector: Pairs,
        affinity: Affinity,
        tolerations: Vec<CheckedToleration>,
        topology_spread_constraints: Vec<Spread>,
        containers: Vec<RawContainer>,
        init_containers: Vec<RawContainer>,
        volumes: Vec<RawVolume>,
        priority: Option<i32>,
        priority_class_name: Name,
        preemption_policy: Option<Name>,
        scheduling_gates: Vec<Present>,
        termination_grace_period_seconds: Option<i64>,
        restart_policy: Name,
        dns_policy: Name,
        runtime_class_name: Name,
        readiness_gates: Vec<Present>,
        resource_claims: Vec<Present>,
        overhead: Option<Amounts>,
        resources: Needs,
    }
}

/// A pod spec and what is known of the pod that carries it.
pub(super) struct Source<'a> {
    /// Namespace of the pod.
    pub(super) namespace: Name,
    /// Labels of the pod or template.
    pub(super) labels: &'a Pairs,
    /// Annotations of the pod or template.
    pub(super) annotations: &'a Annotations,
    /// The spec.
    pub(super) spec: &'a Spec,
    /// Resources that containers hold according to the status, by container.
    pub(super) allocated: &'a [(Name, Amounts)],
    /// What the API server has added already.
    pub(super) admission: Admission,
}

/// What the API server's admission plugins have added to pods (priority, default tolerations, what a RuntimeClass says).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Admission {
    /// Everything: the objects are as the API server holds them.
    #[default]
    Done,
    /// Everything, but the default tolerations were left out of the file afterwards (DRAINS.md).
    TolerationsLeftOut,
    /// Nothing yet: pods are as somebody wrote them. Templates always are.
    ToCome,
}

impl Template {
    /// The spec of a pod made from the template.
    pub(super) fn read(&self, catalog: &Catalog, namespace: Name) -> PodSpec {
        let TemplateMeta { labels, annotations } = &self.metadata;
        Source { namespace, labels, annotations, spec: &self.spec, allocated: &[], admission: Admission::ToCome }
            .read(catalog)
    }
}

impl Source<'_> {
    /// The part of a pod that never changes.
    pub(super) fn read(&self, catalog: &Catalog) -> PodSpec {
        let spec = self.spec;
        let new = self.admission == Admission::ToCome;
        let runtime = catalog.runtime_classes.get(&spec.runtime_class_name).filter(|_| new);
        let overhead = match (&spec.overhead, runtime) {
            (Some(overhead), _) => resources(overhead),
            (None, Some(runtime)) => runtime.overhead.clone(),
            (None, None) => Resources::default(),
        };
        let asked =
            |list: &[RawContainer]| -> Vec<Asked> { list.iter().map(|one| one.asked(self.allocated(one))).collect() };
        let needs = pod_needs(&asked(&spec.containers), &asked(&spec.init_containers), &spec.resources, &overhead);
        let all = spec.containers.iter().chain(spec.init_containers.iter().filter(|container| container.is_sidecar()));
        let mut tolerations: Vec<_> = spec.tolerations.iter().filter_map(|toleration| toleration.0).collect();
        let mut node_selector = spec.node_selector.0.clone();
        if let Some(runtime) = runtime {
            let missing = runtime.node_selector.iter().filter(|pair| spec.node_selector.get(&pair.0).is_none());
            node_selector.extend(missing);
            node_selector.sort();
            tolerations.extend(runtime.tolerations.iter().filter(|toleration| !spec.tolerates(toleration)));
        }
        if self.admission != Admission::Done {
            add_default_tolerations(&mut tolerations);
        }
        let (priority, never_preempts) = self.priority(catalog);
        let affinity = &spec.affinity;
        PodSpec {
            namespace: self.namespace,
            labels: self.labels.labels(),
            requests: needs.requests,
            nonzero_requests: needs.nonzero,
            scored_requests: needs.scored,
            overhead,
            host_ports: all.flat_map(|container| container.host_ports(spec.host_network)).collect(),
            host_network: spec.host_network,
            node_selector,
            node_affinity: affinity.node_affinity.required.as_ref().map(NodeSelector::terms),
            node_preferences: affinity.node_affinity.preferences(),
            affinity: affinity.pod_affinity.terms(self.labels),
            affinity_preferences: affinity.pod_affinity.preferences(self.labels),
            anti_affinity: affinity.pod_anti_affinity.terms(self.labels),
            anti_affinity_preferences: affinity.pod_anti_affinity.preferences(self.labels),
            tolerations,
            spread: spec.topology_spread_constraints.iter().map(|constraint| constraint.read(self.labels)).collect(),
            containers: spec.containers.iter().map(|container| container.read(false)).collect(),
            init_containers: spec.init_containers.iter().map(|container| container.read(true)).collect(),
            volumes: volumes(&spec.volumes),
            priority,
            priority_class: spec.priority_class_name,
            never_preempts,
            node_name: spec.node_name,
            scheduler_name: if spec.scheduler_name == "default-scheduler" { Name::EMPTY } else { spec.scheduler_name },
            gated: !spec.scheduling_gates.is_empty(),
            grace_seconds: spec.grace_seconds(),
            restart_policy: match &*spec.restart_policy {
                "OnFailure" => RestartPolicy::OnFailure,
                "Never" => RestartPolicy::Never,
                _ => RestartPolicy::Always,
            },
            dns_policy: if spec.dns_policy == "ClusterFirst" { Name::EMPTY } else { spec.dns_policy },
            runtime_class: spec.runtime_class_name,
            readiness_gates: !spec.readiness_gates.is_empty(),
            resource_claims: !spec.resource_claims.is_empty(),
            timing: timing(self.annotations),
        }
    }

    fn allocated(&self, container: &RawContainer) -> Option<&Amounts> {
        self.allocated.iter().find(|(name, _)| *name == container.name).map(|(_, amounts)| amounts)
    }

    /// The priority and whether the pod never preempts (admission plugin Priority).
    fn priority(&self, catalog: &Catalog) -> (i32, bool) {
        let spec = self.spec;
        let never = |class_says: bool| spec.preemption_policy.map_or(class_says, |policy| policy == "Never");
        if let Some(priority) = spec.priority {
            return (priority, never(false));
        }
        let class = match &*spec.priority_class_name {
            "" if self.admission == Admission::ToCome => {
                catalog.priority_classes.values().filter(|class| class.global_default).max_by_key(|c| c.value)
            }
            "" => None,
            name => catalog.priority_classes.get(&Name::new(name)),
        };
        match (class, &*spec.priority_class_name) {
            (Some(class), _) => (class.value, never(class.never_preempts)),
            // The two classes that every API server has.
            (None, "system-node-critical") => (2_000_001_000, never(false)),
            (None, "system-cluster-critical") => (2_000_000_000, never(false)),
            (None, _) => (0, never(false)),
        }
    }
}

impl Spec {
    /// `terminationGracePeriodSeconds`; the kubelet takes negative values as 1.
    pub(super) fn grace_seconds(&self) -> u32 {
        match self.termination_grace_period_seconds {
            None => 30,
            Some(seconds) if seconds < 0 => 1,
            Some(seconds) => u32::try_from(seconds).unwrap_or(u32::MAX),
        }
    }

    fn tolerates(&self, toleration: &crate::cluster::Toleration) -> bool {
        self.tolerations.iter().any(|own| own.0 == Some(*toleration))
    }

    /// What no part of the model covers.
    pub(super) fn not_modelled(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !self.scheduler_name.is_empty() && self.scheduler_name != "default-scheduler" {
            found.push(format!("placed by another scheduler ({})", self.scheduler_name));
        }
        if !self.resource_claims.is_empty() {
            found.push("resource claims (dynamic resource allocation)".to_owned());
        }
        if !self.readiness_gates.is_empty() {
            found.push("readiness gates: readiness depends on something outside the kubelet".to_owned());
        }
        if self.tolerations.iter().any(|toleration| toleration.0.is_none()) {
            found.push("tolerations that compare numbers (Lt, Gt)".to_owned());
        }
        found
    }
}

/// Durations that `sim/*` annotations fix.
fn timing(annotations: &Annotations) -> Timing {
    let get = |key: &str| annotations.get(key);
    let seconds = |key: &str| get(key).and_then(|text| millis(&text, 1.0));
    let number = |key: &str| get(key).and_then(|text| text.parse::<i32>().ok());
    Timing {
        start: seconds("sim/start-seconds"),
        ready: seconds("sim/ready-seconds"),
        never_ready: get("sim/ready-seconds").is_some_and(|text| text == "never"),
        stop: seconds("sim/stop-seconds"),
        ignores_term: get("sim/stop-seconds").is_some_and(|text| text == "ignore"),
        run: seconds("sim/run-seconds"),
        exit_code: number("sim/exit-code").unwrap_or(0),
        stop_exit_code: number("sim/stop-exit-code"),
    }
}
