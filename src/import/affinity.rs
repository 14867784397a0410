//! Where a pod may and would rather run: node selectors, pod affinity, spreading, tolerations and taints
//! (KUBERNETES.md C.2.1, C.2.4, C.2.5).

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::wire::{CheckedSelector, Expression, Pairs, object};
use crate::cluster::{
    AffinityTerm, Effect, Name, NodeTerm, Operator, Requirement, Selector, SpreadConstraint, Taint, Toleration,
};

object! {
    /// `spec.affinity`.
    struct Affinity {
        node_affinity: NodeAffinity,
        pod_affinity: PodAffinity,
        pod_anti_affinity: PodAffinity,
    }

    /// `nodeAffinity`.
    struct NodeAffinity {
        #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
        required: Option<NodeSelector>,
        #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
        preferred: Vec<PreferredNodes>,
    }

    /// `core.NodeSelector`: alternatives.
    struct NodeSelector {
        node_selector_terms: Vec<CheckedTerm>,
    }

    /// A weighted node selector term.
    struct PreferredNodes {
        weight: i32,
        preference: CheckedTerm,
    }

    /// `podAffinity` and `podAntiAffinity`.
    struct PodAffinity {
        #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
        required: Vec<PodTerm>,
        #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution")]
        preferred: Vec<PreferredPods>,
    }

    /// A weighted pod affinity term.
    struct PreferredPods {
        weight: i32,
        pod_affinity_term: PodTerm,
    }

    /// A pod affinity term.
    struct PodTerm {
        label_selector: Option<CheckedSelector>,
        namespaces: Vec<Name>,
        namespace_selector: Option<CheckedSelector>,
        topology_key: Name,
        match_label_keys: Vec<Name>,
        mismatch_label_keys: Vec<Name>,
    }

    /// An entry of `topologySpreadConstraints`.
    struct Spread {
        max_skew: i32,
        topology_key: Name,
        when_unsatisfiable: Name,
        label_selector: Option<CheckedSelector>,
        match_label_keys: Vec<Name>,
        min_domains: Option<i32>,
        node_affinity_policy: Name,
        node_taints_policy: Name,
    }

    /// A node selector term.
    struct RawTerm {
        match_expressions: Vec<Expression>,
        match_fields: Vec<Expression>,
    }

    /// A toleration.
    struct RawToleration {
        key: Name,
        operator: Name,
        value: Name,
        effect: Name,
        toleration_seconds: Option<i64>,
    }

    /// A taint.
    struct RawTaint {
        key: Name,
        value: Name,
        effect: Name,
    }
}

/// A node selector term that has been checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct CheckedTerm(pub(super) NodeTerm);

impl<'de> Deserialize<'de> for CheckedTerm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <RawTerm as Deserialize>::deserialize(deserializer)?;
        let read = |list: &[Expression]| list.iter().map(node_requirement).collect::<Result<_, String>>();
        let expressions = read(&raw.match_expressions).map_err(D::Error::custom)?;
        let fields = read(&raw.match_fields).map_err(D::Error::custom)?;
        Ok(CheckedTerm(NodeTerm { expressions, fields }))
    }
}

fn node_requirement(expression: &Expression) -> Result<Requirement, String> {
    let values = || match expression.values[..] {
        [] => Err(format!("operator {} of key {:?} needs `values`", expression.operator, expression.key)),
        [..] => Ok(expression.values.clone()),
    };
    let bound = || match expression.values[..] {
        [value] => value.parse::<i64>().map_err(|_| format!("{value:?} is no whole number")),
        [..] => Err(format!("operator {} of key {:?} needs one value", expression.operator, expression.key)),
    };
    let operator = match &*expression.operator {
        "In" => Operator::In(values()?),
        "NotIn" => Operator::NotIn(values()?),
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::Gt(bound()?),
        "Lt" => Operator::Lt(bound()?),
        other => return Err(format!("{other:?} is no operator (In, NotIn, Exists, DoesNotExist, Gt, Lt)")),
    };
    Ok(Requirement { key: expression.key, operator })
}

/// A taint that has been checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CheckedTaint(pub(super) Taint);

impl<'de> Deserialize<'de> for CheckedTaint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <RawTaint as Deserialize>::deserialize(deserializer)?;
        match effect(raw.effect) {
            Some(effect) => Ok(CheckedTaint(Taint { key: raw.key, value: raw.value, effect })),
            None => Err(D::Error::custom(unknown_effect(raw.effect))),
        }
    }
}

/// A toleration that has been checked. `None`: its operator compares numbers, which the model does not play.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CheckedToleration(pub(super) Option<Toleration>);

impl<'de> Deserialize<'de> for CheckedToleration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <RawToleration as Deserialize>::deserialize(deserializer)?;
        let exists = match &*raw.operator {
            "Exists" => true,
            "" | "Equal" => false,
            "Lt" | "Gt" => return Ok(CheckedToleration(None)),
            other => return Err(D::Error::custom(format!("{other:?} is no operator of a toleration (Exists, Equal)"))),
        };
        let effect = match (&*raw.effect, effect(raw.effect)) {
            ("", _) => None,
            (_, Some(effect)) => Some(effect),
            (_, None) => return Err(D::Error::custom(unknown_effect(raw.effect))),
        };
        let seconds = raw.toleration_seconds;
        Ok(CheckedToleration(Some(Toleration { key: raw.key, exists, value: raw.value, effect, seconds })))
    }
}

fn effect(text: Name) -> Option<Effect> {
    match &*text {
        "NoSchedule" => Some(Effect::NoSchedule),
        "PreferNoSchedule" => Some(Effect::PreferNoSchedule),
        "NoExecute" => Some(Effect::NoExecute),
        _ => None,
    }
}

fn unknown_effect(effect: Name) -> String {
    format!("{:?} is no effect (NoSchedule, PreferNoSchedule, NoExecute)", &*effect)
}

impl NodeSelector {
    pub(super) fn terms(&self) -> Vec<NodeTerm> {
        self.node_selector_terms.iter().map(|term| term.0.clone()).collect()
    }
}

impl NodeAffinity {
    /// Preferred terms; those that say nothing are passed over, as the scheduler does.
    pub(super) fn preferences(&self) -> Vec<(i32, NodeTerm)> {
        let terms = self.preferred.iter().map(|term| (term.weight, term.preference.0.clone()));
        terms
            .filter(|(weight, term)| *weight != 0 && !(term.expressions.is_empty() && term.fields.is_empty()))
            .collect()
    }
}

impl PodAffinity {
    pub(super) fn terms(&self, labels: &Pairs) -> Vec<AffinityTerm> {
        self.required.iter().map(|term| term.read(labels)).collect()
    }

    pub(super) fn preferences(&self, labels: &Pairs) -> Vec<(i32, AffinityTerm)> {
        self.preferred.iter().map(|term| (term.weight, term.pod_affinity_term.read(labels))).collect()
    }
}

impl PodTerm {
    fn read(&self, labels: &Pairs) -> AffinityTerm {
        let mut selector = self.label_selector.clone().map(|selector| selector.0);
        if let Some(selector) = &mut selector {
            merge(selector, &self.match_label_keys, labels, Operator::In);
            merge(selector, &self.mismatch_label_keys, labels, Operator::NotIn);
        }
        AffinityTerm {
            selector,
            namespaces: self.namespaces.clone(),
            namespace_selector: self.namespace_selector.clone().map(|selector| selector.0),
            topology_key: self.topology_key,
        }
    }
}

/// `matchLabelKeys` and `mismatchLabelKeys`: the API server adds the pod's own values to the selector when the pod is created;
/// what it has added already is not added again.
fn merge(selector: &mut Selector, keys: &[Name], labels: &Pairs, operator: fn(Vec<Name>) -> Operator) {
    for &key in keys {
        if let Some(value) = labels.get(&key) {
            let requirement = Requirement { key, operator: operator(vec![value]) };
            if !selector.requirements.contains(&requirement) {
                selector.requirements.push(requirement);
            }
        }
    }
}

impl Spread {
    pub(super) fn read(&self, labels: &Pairs) -> SpreadConstraint {
        let mut selector = self.label_selector.clone().map(|selector| selector.0);
        if let Some(selector) = &mut selector {
            merge(selector, &self.match_label_keys, labels, Operator::In);
        }
        SpreadConstraint {
            max_skew: self.max_skew,
            topology_key: self.topology_key,
            required: self.when_unsatisfiable != "ScheduleAnyway",
            selector,
            min_domains: self.min_domains.unwrap_or(1),
            honor_affinity: self.node_affinity_policy != "Ignore",
            honor_taints: self.node_taints_policy == "Honor",
        }
    }
}

/// The tolerations of 300 s for unreachable and not-ready nodes that the admission plugin DefaultTolerationSeconds adds to a
/// pod that has none of its own (KUBERNETES.md D.8).
pub(super) fn add_default_tolerations(tolerations: &mut Vec<Toleration>) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covers = |toleration: &Toleration| {
            (toleration.key.is_empty() || toleration.key == key)
                && matches!(toleration.effect, None | Some(Effect::NoExecute))
        };
        if !tolerations.iter().any(covers) {
            tolerations.push(exists(key, Effect::NoExecute, Some(300)));
        }
    }
}

/// The tolerations that the DaemonSet controller adds to its pods (KUBERNETES.md D.4).
pub(super) fn add_daemon_tolerations(tolerations: &mut Vec<Toleration>, host_network: bool) {
    let always = [
        ("node.kubernetes.io/not-ready", Effect::NoExecute),
        ("node.kubernetes.io/unreachable", Effect::NoExecute),
        ("node.kubernetes.io/disk-pressure", Effect::NoSchedule),
        ("node.kubernetes.io/memory-pressure", Effect::NoSchedule),
        ("node.kubernetes.io/pid-pressure", Effect::NoSchedule),
        ("node.kubernetes.io/unschedulable", Effect::NoSchedule),
    ];
    let network = host_network.then_some(("node.kubernetes.io/network-unavailable", Effect::NoSchedule));
    for (key, effect) in always.into_iter().chain(network) {
        let toleration = exists(key, effect, None);
        let same = |other: &Toleration| other.key == key && other.effect == Some(effect) && other.exists;
        match tolerations.iter_mut().find(|other| same(other)) {
            Some(other) => *other = toleration,
            None => tolerations.push(toleration),
        }
    }
}

fn exists(key: &str, effect: Effect, seconds: Option<i64>) -> Toleration {
    Toleration { key: Name::new(key), exists: true, value: Name::EMPTY, effect: Some(effect), seconds }
}
