//! What all Kubernetes objects share on the wire: metadata, maps of labels, quantities, times, selectors. As the API server
//! does, `null` is read as "left out", and fields that nobody needs are passed over.

use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, de};

use crate::cluster::{
    IntOrPercent, Labels, NODE_RECORD, Name, NodeRecord, Operator, Requirement, Selector, Time, quantity,
};

/// Declares the part of an object that is read: every field may be left out or `null`. What is no map is refused by the trait's
/// `deserialize`, not by the function of the same name that serde derives for the type.
macro_rules! object {
    ($($(#[$doc:meta])* struct $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
            #[serde(rename_all = "camelCase", default, remote = "Self")]
            pub(super) struct $name {
                $($(#[$meta])* #[serde(deserialize_with = "crate::import::wire::nullable")] pub(super) $field: $type,)*
            }

            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    struct Reader;
                    impl<'de> serde::de::Visitor<'de> for Reader {
                        type Value = $name;

                        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                            f.write_str("an object")
                        }

                        // Only maps: what serde derives would take lists, too.
                        fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<$name, A::Error> {
                            $name::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                        }
                    }
                    deserializer.deserialize_map(Reader)
                }
            }
        )*
    };
}
pub(super) use object;

/// A value, or its default for `null`.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

object! {
    /// `metadata`.
    struct Meta {
        name: Name,
        namespace: Name,
        uid: Name,
        labels: Pairs,
        annotations: Annotations,
        generation: i64,
        creation_timestamp: Option<Stamp>,
        deletion_timestamp: Option<Stamp>,
        deletion_grace_period_seconds: Option<Count>,
        finalizers: Vec<Name>,
        owner_references: Vec<OwnerReference>,
        managed_fields: Vec<ManagedFields>,
    }

    /// An entry of `metadata.ownerReferences`.
    struct OwnerReference {
        api_version: Name,
        kind: Name,
        name: Name,
        uid: Name,
        controller: bool,
    }

    /// An entry of `metadata.managedFields`: only when something was last written.
    struct ManagedFields {
        time: Option<Stamp>,
    }

    /// `metav1.LabelSelector`.
    struct LabelSelector {
        match_labels: Pairs,
        match_expressions: Vec<Expression>,
    }

    /// One requirement of a label or node selector.
    struct Expression {
        key: Name,
        operator: Name,
        values: Vec<Name>,
    }

    /// A condition of any status.
    struct Condition {
        #[serde(rename = "type")]
        kind: Name,
        status: Name,
        reason: Name,
        message: Name,
        last_transition_time: Option<Stamp>,
        last_heartbeat_time: Option<Stamp>,
        last_update_time: Option<Stamp>,
    }
}

impl Meta {
    /// The owner reference with `controller: true`.
    pub(super) fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|reference| reference.controller)
    }

    pub(super) fn created(&self) -> Time {
        self.creation_timestamp.map_or(Time(0), |stamp| stamp.0)
    }

    /// The latest time that the metadata knows of.
    pub(super) fn latest(&self) -> Option<Time> {
        let written = self.managed_fields.iter().filter_map(|entry| entry.time);
        written.chain(self.creation_timestamp).map(|stamp| stamp.0).max()
    }
}

/// The condition of a type.
pub(super) fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// A map of strings in the order of its keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pairs(pub(super) Vec<(Name, Name)>);

impl Pairs {
    pub(super) fn get(&self, key: &str) -> Option<Name> {
        self.0.iter().find(|pair| pair.0 == key).map(|pair| pair.1)
    }

    pub(super) fn labels(&self) -> Labels {
        self.0.iter().copied().collect()
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::with_capacity(map.size_hint().unwrap_or(0).min(64));
                while let Some(key) = map.next_key::<Name>()? {
                    pairs.push((key, map.next_value::<Option<Name>>()?.unwrap_or_default()));
                }
                pairs.sort();
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// What the last-applied annotation of kubectl is called.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The annotations that mean something here; the others are passed over without keeping them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Annotations {
    known: Vec<(&'static str, Name)>,
    /// `apiVersion` of the manifest that kubectl applied last; empty when there is none.
    pub(super) last_applied_version: Name,
    /// What a run has written on a node about itself.
    pub(super) record: Option<Box<NodeRecord>>,
}

pub(super) const KNOWN_ANNOTATIONS: [&str; 17] = [
    "kubernetes.io/config.mirror",
    "deployment.kubernetes.io/revision",
    "controller.kubernetes.io/pod-deletion-cost",
    "deprecated.daemonset.template.generation",
    "pv.kubernetes.io/bind-completed",
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
    "volume.beta.kubernetes.io/storage-class",
    "volume.kubernetes.io/selected-node",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/cronjob-scheduled-timestamp",
    "sim/start-seconds",
    "sim/ready-seconds",
    "sim/stop-seconds",
    "sim/run-seconds",
    "sim/exit-code",
    "sim/stop-exit-code",
];

impl Annotations {
    pub(super) fn get(&self, key: &str) -> Option<Name> {
        self.known.iter().find(|pair| pair.0 == key).map(|pair| pair.1)
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Key(Option<&'static str>);
        impl<'de> Deserialize<'de> for Key {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;
                impl Visitor<'_> for Reader {
                    type Value = Key;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("the key of an annotation")
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<Key, E> {
                        let known = KNOWN_ANNOTATIONS.iter().chain([&LAST_APPLIED, &NODE_RECORD]);
                        Ok(Key(known.copied().find(|&known| known == text)))
                    }
                }
                deserializer.deserialize_str(Reader)
            }
        }
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Annotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
                let mut annotations = Annotations::default();
                while let Some(Key(key)) = map.next_key()? {
                    match key {
                        None => {
                            map.next_value::<IgnoredAny>()?;
                        }
                        Some(LAST_APPLIED) => {
                            let manifest = map.next_value::<Option<String>>()?.unwrap_or_default();
                            annotations.last_applied_version = applied_version(&manifest);
                        }
                        Some(NODE_RECORD) => {
                            let text = map.next_value::<Option<String>>()?.unwrap_or_default();
                            let record = serde_json::from_str(&text).map_err(|error| {
                                A::Error::custom(format!("{NODE_RECORD} is no record of a run: {error}"))
                            })?;
                            annotations.record = Some(Box::new(record));
                        }
                        Some(key) => {
                            annotations.known.push((key, map.next_value::<Option<Name>>()?.unwrap_or_default()))
                        }
                    }
                }
                Ok(annotations)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// `apiVersion` of a manifest in JSON; empty when it cannot be read.
fn applied_version(manifest: &str) -> Name {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Manifest {
        #[serde(default)]
        api_version: Name,
    }
    serde_json::from_str::<Manifest>(manifest).map(|manifest| manifest.api_version).unwrap_or_default()
}

/// A number that must not be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count(pub(super) i32);

impl Count {
    pub(super) fn unsigned(self) -> u32 {
        self.0.unsigned_abs()
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        match i32::try_from(number) {
            Ok(count) if count >= 0 => Ok(Count(count)),
            Ok(_) | Err(_) => {
                Err(D::Error::invalid_value(Unexpected::Signed(number), &"a number from 0 to 2147483647"))
            }
        }
    }
}

/// An RFC 3339 time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(pub(super) Time);

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Stamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as \"2026-11-23T09:20:09Z\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Stamp, E> {
                let time = text.parse::<jiff::Timestamp>();
                let time = time.map_err(|_| E::invalid_value(Unexpected::Str(text), &self))?;
                Ok(Stamp(Time(time.as_millisecond())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

/// A resource quantity as written; it is known to be one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quantity {
    /// In thousandths, rounded up.
    pub(super) milli: i64,
    /// In whole units, rounded up.
    pub(super) whole: i64,
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity from 0 such as 500m, 2 or 64Mi")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
                match (quantity::milli(text), quantity::whole(text)) {
                    (Ok(milli), Ok(whole)) if milli >= 0 && whole >= 0 => Ok(Quantity { milli, whole }),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Quantity, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Quantity, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Quantity, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// Quantities by resource.
pub(super) type Amounts = std::collections::BTreeMap<Name, Quantity>;

/// A count or a percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portion(pub(super) IntOrPercent);

impl Portion {
    /// What is wrong with a percentage of more than everything, where that is not allowed (`IsNotMoreThan100Percent`).
    pub(super) fn over_all(self) -> Option<String> {
        match self.0 {
            IntOrPercent::Percent(percent) if percent > 100 => Some(format!("{percent}% is more than 100%")),
            IntOrPercent::Percent(_) | IntOrPercent::Int(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Portion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Portion;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of 0 or more, or a percentage such as \"25%\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Portion, E> {
                let digits = text.strip_suffix('%').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
                match IntOrPercent::parse_percent(text) {
                    Some(portion) if digits => Ok(Portion(portion)),
                    Some(_) | None => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Portion, E> {
                match i32::try_from(number) {
                    Ok(count) => Ok(Portion(IntOrPercent::Int(count))),
                    Err(_) => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
                }
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Portion, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
                }
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// A label selector that has been checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct CheckedSelector(pub(super) Selector);

impl<'de> Deserialize<'de> for CheckedSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let selector = <LabelSelector as Deserialize>::deserialize(deserializer)?.selector();
        selector.map(CheckedSelector).map_err(D::Error::custom)
    }
}

impl LabelSelector {
    /// The selector, or why it is none (`metav1.LabelSelectorAsSelector`).
    pub(super) fn selector(&self) -> Result<Selector, String> {
        let mut selector = Selector::from_labels(self.match_labels.0.iter().copied());
        for expression in &self.match_expressions {
            let values = || {
                if expression.values.is_empty() {
                    Err(format!("operator {} of key {:?} needs `values`", expression.operator, expression.key))
                } else {
                    Ok(expression.values.clone())
                }
            };
            let operator = match &*expression.operator {
                "In" => Operator::In(values()?),
                "NotIn" => Operator::NotIn(values()?),
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(format!("{other:?} is no operator (In, NotIn, Exists, DoesNotExist)")),
            };
            let takes_none = matches!(operator, Operator::Exists | Operator::DoesNotExist);
            if takes_none && !expression.values.is_empty() {
                return Err(format!("operator {} takes no `values`", expression.operator));
            }
            selector.requirements.push(Requirement { key: expression.key, operator });
        }
        for requirement in &selector.requirements {
            check_key(&requirement.key)?;
            if let Operator::In(values) | Operator::NotIn(values) = &requirement.operator {
                values.iter().try_for_each(|value| check_value(value))?;
            }
        }
        Ok(selector)
    }
}

/// `metav1.LabelSelector` where the API server stores what it cannot parse: the selector, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LenientSelector(pub(super) Result<Selector, String>);

impl Default for LenientSelector {
    fn default() -> Self {
        LenientSelector(Ok(Selector::default()))
    }
}

impl<'de> Deserialize<'de> for LenientSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <LabelSelector as Deserialize>::deserialize(deserializer).map(|selector| LenientSelector(selector.selector()))
    }
}

/// A key is `[prefix/]name`: the name has up to 63 characters of `[A-Za-z0-9_.-]`, the first and last alphanumeric.
fn check_key(key: &str) -> Result<(), String> {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    if name.is_empty() || !is_label_value(name) || key.len() > 317 {
        return Err(format!("{key:?} is no label key"));
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), String> {
    if is_label_value(value) { Ok(()) } else { Err(format!("{value:?} is no label value")) }
}

fn is_label_value(text: &str) -> bool {
    let (first, last) = (text.bytes().next(), text.bytes().last());
    let ends = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(first)
        && ends(last)
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// A number, or a text that holds one (ports).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Port(pub(super) u16);

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        u16::try_from(number)
            .map(Port)
            .map_err(|_| de::Error::invalid_value(Unexpected::Signed(number), &"a port number from 0 to 65535"))
    }
}

/// Something whose content does not matter: only that it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Present;

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Present)
    }
}
