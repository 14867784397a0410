//! The engine inside the world: it observes, decides by the planner it was given, and carries its actions out one by one.

use std::sync::Arc;

use crate::trace::Event;
use crate::upgrade::{Action, Goal, Planner};

use super::{Chooser, World};

/// An engine with its goal.
#[derive(Clone)]
pub struct Engine {
    /// What it is to reach.
    pub goal: Arc<Goal>,
    /// How it decides.
    pub planner: Planner,
}

impl Engine {
    /// An engine that has not looked yet.
    pub fn new(goal: Arc<Goal>, planner: Planner) -> Engine {
        Engine { goal, planner }
    }
}

pub(super) fn turn(_world: &mut World, _chooser: &mut dyn Chooser) {}

pub(super) fn act(_world: &mut World, _action: Action, _chooser: &mut dyn Chooser) {}

pub(super) fn backup_done(_world: &mut World, _chooser: &mut dyn Chooser) {}

pub(super) fn disturb(_world: &mut World, _number: u32, _chooser: &mut dyn Chooser) {}

pub(super) fn observe(_world: &mut World, _event: &Event, _chooser: &mut dyn Chooser) {}
