//! The two pacings side by side: from the state before each recorded drain, what the lowest ready count of every application
//! would be when all pods of a node are evicted at once (`budgets`, as `kubectl drain` does) and when an eviction that would
//! take an application under its floor waits as long as waiting can help (`floors`).

use std::sync::Arc;

use crate::check::limits;
use crate::cluster::{Cluster, Millis, ObjectKey};
use crate::explore::Setup;
use crate::forecast::{Forecast, Verdict, forecast};
use crate::upgrade::{Goal, Pacing, decide};

use super::recording::Run;

/// Neither pacing is to be cut short by the few seconds that a recorded drain was given.
const DRAIN_TIMEOUT: Millis = Millis::secs(600);

/// One recorded drain under both pacings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compared {
    /// The recording.
    pub recording: String,
    /// Verdict with `budgets`.
    pub budgets: Verdict,
    /// Verdict with `floors`.
    pub floors: Verdict,
    /// Applications whose lowest ready count differs.
    pub differing: Vec<Lowest>,
}

/// The lowest ready count of a workload, or lowest number of ready endpoints of a Service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lowest {
    /// The workload or Service.
    pub object: ObjectKey,
    /// With `budgets`, over all walks.
    pub budgets: u32,
    /// With `floors`, over all walks.
    pub floors: u32,
}

/// Forecasts one run with both pacings, with the same seeds.
///
/// # Errors
///
/// A recording that cannot be read.
pub fn compare(run: &Run, walks: usize) -> anyhow::Result<Compared> {
    let cluster = run.cluster()?;
    let budgets = foretell(run, &cluster, Pacing::Budgets, walks)?;
    let floors = foretell(run, &cluster, Pacing::Floors, walks)?;
    let all = budgets.workloads.iter().chain(&budgets.services).zip(floors.workloads.iter().chain(&floors.services));
    let differing = all
        .filter(|(one, other)| one.lowest != other.lowest)
        .map(|(one, other)| Lowest { object: one.key, budgets: one.lowest, floors: other.lowest })
        .collect();
    Ok(Compared { recording: run.name.clone(), budgets: budgets.verdict, floors: floors.verdict, differing })
}

fn foretell(run: &Run, cluster: &Cluster, pacing: Pacing, walks: usize) -> anyhow::Result<Forecast> {
    let goal = Goal { pacing, drain_timeout: DRAIN_TIMEOUT, ..run.scenario.goal() };
    let mut setup = Setup::new(cluster.clone(), goal, decide);
    setup.physics = Arc::new(run.scenario.physics());
    setup.disturbances = Arc::new(run.scenario.disturbances()?);
    let limits = limits(&setup.goal, &setup.cluster);
    Ok(forecast(&setup, &limits, 1, walks, &|| ()))
}
