//! `IntOrString` fields that mean a count or a percentage (`k8s.io/apimachinery/pkg/util/intstr`).

use std::fmt;

/// A count, or a percentage of a total that is known later.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IntOrPercent {
    /// A plain number.
    Int(i32),
    /// A percentage.
    Percent(i32),
}

impl IntOrPercent {
    /// The count for `total`, a percentage rounded up (KUBERNETES.md B1-B4, Deployment surge).
    pub fn round_up(self, total: i32) -> i32 {
        match self {
            IntOrPercent::Int(count) => count,
            IntOrPercent::Percent(percent) => {
                let product = i64::from(percent) * i64::from(total);
                clamp(product.div_euclid(100) + i64::from(product.rem_euclid(100) != 0))
            }
        }
    }

    /// The count for `total`, a percentage rounded down (Deployment maxUnavailable).
    pub fn round_down(self, total: i32) -> i32 {
        match self {
            IntOrPercent::Int(count) => count,
            IntOrPercent::Percent(percent) => clamp((i64::from(percent) * i64::from(total)).div_euclid(100)),
        }
    }

    /// Reads `"30%"`. A string without the sign is no valid value.
    pub fn parse_percent(text: &str) -> Option<IntOrPercent> {
        text.strip_suffix('%')?.parse().ok().map(IntOrPercent::Percent)
    }
}

fn clamp(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}

impl fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IntOrPercent::Int(count) => write!(f, "{count}"),
            IntOrPercent::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}
