//! PodDisruptionBudgets as the API stores them.

use super::{IntOrPercent, Name, Selector, Time};

/// A PodDisruptionBudget.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Budget {
    /// Namespace.
    pub namespace: Name,
    /// Name.
    pub name: Name,
    /// Which pods; `None` matches none, an empty selector all of the namespace (KUBERNETES.md A.4).
    pub selector: Option<Selector>,
    /// The selector cannot be parsed: the eviction handler passes the budget over, the controller fails to sync (B.3).
    pub selector_error: Name,
    /// What it asks for.
    pub limit: BudgetLimit,
    /// `unhealthyPodEvictionPolicy: AlwaysAllow`.
    pub always_allow_unhealthy: bool,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status`.
    pub status: BudgetStatus,
    /// The object is gone.
    pub gone: bool,
}

/// `minAvailable` or `maxUnavailable`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BudgetLimit {
    /// `minAvailable`.
    MinAvailable(IntOrPercent),
    /// `maxUnavailable`.
    MaxUnavailable(IntOrPercent),
    /// Neither: no disruption is ever allowed (B5).
    Neither,
}

/// `status` of a budget.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct BudgetStatus {
    /// `currentHealthy`.
    pub current_healthy: i32,
    /// `desiredHealthy`.
    pub desired_healthy: i32,
    /// `expectedPods`.
    pub expected_pods: i32,
    /// `disruptionsAllowed`.
    pub disruptions_allowed: i32,
    /// `observedGeneration`.
    pub observed_generation: i64,
    /// `disruptedPods`: pod name -> when its eviction was approved; sorted by name.
    pub disrupted: Vec<(Name, Time)>,
    /// Condition DisruptionAllowed: (True, reason, message); `None` before the first sync.
    pub condition: Option<(bool, Name, Name)>,
}
