//! The disruption controller (KUBERNETES.md B).

use crate::cluster::{BudgetId, PodId};

use super::{Chooser, World};

/// A pod changed: one of the budgets that match it is looked at (B.6).
pub(super) fn pod_changed(_world: &mut World, _pod: PodId, _chooser: &mut dyn Chooser) {}

/// Brings a budget's status up to date.
pub(super) fn sync(_world: &mut World, _budget: BudgetId, _chooser: &mut dyn Chooser) {}
