//! Labels and label selectors with Kubernetes' exact meaning (`metav1.LabelSelectorAsSelector`, KUBERNETES.md A.4).

use std::fmt;
use std::sync::Arc;

use super::Name;

/// A set of labels, sorted by key, shared between the objects that carry the same set.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Labels(Arc<[(Name, Name)]>);

impl Default for Labels {
    fn default() -> Self {
        Labels(Arc::from([]))
    }
}

impl FromIterator<(Name, Name)> for Labels {
    fn from_iter<I: IntoIterator<Item = (Name, Name)>>(pairs: I) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by_key(|pair| pair.0);
        pairs.dedup_by_key(|pair| pair.0);
        Labels(pairs.into())
    }
}

impl Labels {
    /// The value of a key.
    pub fn get(&self, key: Name) -> Option<Name> {
        self.0.iter().find(|pair| pair.0 == key).map(|pair| pair.1)
    }

    /// All pairs in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (Name, Name)> + '_ {
        self.0.iter().copied()
    }

    /// No label at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// This set with one label added or replaced.
    pub fn with(&self, key: Name, value: Name) -> Labels {
        self.iter().filter(|pair| pair.0 != key).chain([(key, value)]).collect()
    }
}

/// How one key is tested.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Operator {
    /// The key is there with one of the values.
    In(Vec<Name>),
    /// The key is absent or has none of the values.
    NotIn(Vec<Name>),
    /// The key is there.
    Exists,
    /// The key is absent.
    DoesNotExist,
    /// Node affinity only: the value is an integer greater than this.
    Gt(i64),
    /// Node affinity only: the value is an integer less than this.
    Lt(i64),
}

/// One requirement of a selector.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Requirement {
    /// The label's key.
    pub key: Name,
    /// What must hold for it.
    pub operator: Operator,
}

impl Requirement {
    /// Whether a set of labels satisfies the requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(self.key);
        match (&self.operator, value) {
            (Operator::In(values), Some(value)) => values.contains(&value),
            (Operator::NotIn(values), Some(value)) => !values.contains(&value),
            (Operator::NotIn(_) | Operator::DoesNotExist, None) | (Operator::Exists, Some(_)) => true,
            (Operator::Gt(bound), Some(value)) => value.parse::<i64>().is_ok_and(|value| value > *bound),
            (Operator::Lt(bound), Some(value)) => value.parse::<i64>().is_ok_and(|value| value < *bound),
            (Operator::In(_) | Operator::Exists | Operator::Gt(_) | Operator::Lt(_), None)
            | (Operator::DoesNotExist, Some(_)) => false,
        }
    }
}

/// A label selector: all requirements must hold. Without requirements it matches everything; "no selector at all", which
/// matches nothing, is the `None` of an `Option<Selector>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Selector {
    /// The requirements, `matchLabels` first as `In` with one value.
    pub requirements: Vec<Requirement>,
}

impl Selector {
    /// The selector of a plain map of labels (Services, ReplicationControllers, `nodeSelector`).
    pub fn from_labels(pairs: impl IntoIterator<Item = (Name, Name)>) -> Selector {
        let requirements =
            pairs.into_iter().map(|(key, value)| Requirement { key, operator: Operator::In(vec![value]) }).collect();
        Selector { requirements }
    }

    /// Whether a set of labels satisfies every requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// Whether there is no requirement.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

impl fmt::Display for Selector {
    /// As `kubectl` prints selectors: `app=web,tier in (a,b),!legacy`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Requirement { key, operator }) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            let list = |values: &[Name]| values.iter().map(Name::as_str).collect::<Vec<_>>().join(",");
            match operator {
                Operator::In(values) if values.len() == 1 => write!(f, "{key}={}", values[0])?,
                Operator::In(values) => write!(f, "{key} in ({})", list(values))?,
                Operator::NotIn(values) => write!(f, "{key} notin ({})", list(values))?,
                Operator::Exists => write!(f, "{key}")?,
                Operator::DoesNotExist => write!(f, "!{key}")?,
                Operator::Gt(bound) => write!(f, "{key}>{bound}")?,
                Operator::Lt(bound) => write!(f, "{key}<{bound}")?,
            }
        }
        Ok(())
    }
}
