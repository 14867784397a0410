//! Predictions: each recorded run is foretold from the state before it by walking many times, and what came of it must be
//! among what was foretold: the outcome, the pods that a drain left, and no workload lower than the worst that was foretold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cluster::{Cluster, Detail, NodeId, ObjectKey, Owner, PodId, WorkloadId};
use crate::explore::{End, Setup, walk};
use crate::trace::{Event, Record};
use crate::upgrade::{Action, Outcome, decide};

use super::recording::Run;
use super::{Mismatch, Report};

/// What one walk comes to, in the words of a recording's summary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Foretold {
    outcome: String,
    /// Topmost owners of the pods that drains left, as often as there are pods.
    left: BTreeMap<String, usize>,
    lowest: BTreeMap<String, u32>,
}

/// Compares one run with so many walks.
pub fn check(run: &Run, walks: u64) -> anyhow::Result<Report> {
    let mut setup = Setup::new(run.cluster()?, run.scenario.goal(), decide);
    setup.physics = Arc::new(run.scenario.physics());
    setup.disturbances = Arc::new(run.scenario.disturbances()?);
    let foretold: Vec<Foretold> = (0..walks).map(|seed| foretell(&setup, seed)).collect();
    Ok(compare(run, &foretold))
}

fn foretell(setup: &Setup, seed: u64) -> Foretold {
    let mut foretold = Foretold::default();
    for (id, _) in setup.cluster.pods() {
        note_ready(&setup.cluster, id, &mut foretold.lowest);
    }
    let mut given_up: BTreeSet<NodeId> = BTreeSet::new();
    let walk = walk(setup, seed, &mut |record, world| {
        if let Some(pod) = pod_of(record) {
            note_ready(&world.cluster, pod, &mut foretold.lowest);
        }
        if let Event::Acted(action) = record.event
            && let Some(node) = gives_up(&world.cluster, action)
            && given_up.insert(node)
        {
            for &pod in world.cluster.pods_of_node(node) {
                if !is_of_daemon_set(&world.cluster, pod) {
                    *foretold.left.entry(owner_of(&world.cluster, pod)).or_default() += 1;
                }
            }
        }
    });
    foretold.outcome = match walk.end {
        End::Ended(Outcome::Done, _) if given_up.is_empty() => "ok".to_owned(),
        End::Ended(Outcome::Done, _) => "completed-with-failures".to_owned(),
        End::Ended(Outcome::Stopped(_), _) => "blocked".to_owned(),
        End::Stuck => "stuck".to_owned(),
        End::Endless => "endless".to_owned(),
    };
    foretold
}

fn compare(run: &Run, foretold: &[Foretold]) -> Report {
    let mut report = Report::default();
    let mut state = |kind: &str, fits: bool, model: String, recorded: String| {
        report.count(kind);
        if !fits {
            let (recording, place) = (run.name.clone(), "summary".to_owned());
            report.mismatches.push(Mismatch { recording, place, kind: kind.to_owned(), model, recorded });
        }
    };
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for one in foretold {
        *outcomes.entry(&one.outcome).or_default() += 1;
    }
    let recorded = run.summary.outcome.as_str();
    state("outcome", outcomes.contains_key(recorded), format!("{outcomes:?}"), recorded.to_owned());
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    for pod in &run.summary.blocked_pods {
        *left.entry(pod.owner.clone()).or_default() += 1;
    }
    let found: Vec<_> = foretold.iter().map(|one| without_namespaces(&one.left)).collect();
    state("pods left", found.contains(&left), format!("{:?}", found.first()), format!("{left:?}"));
    for (owner, &recorded) in &run.summary.min_ready {
        let lowest = foretold.iter().filter_map(|one| one.lowest.get(owner)).min().copied();
        let fits = lowest.is_some_and(|lowest| lowest <= recorded);
        state("lowest ready", fits, format!("{owner} {lowest:?}"), recorded.to_string());
    }
    report
}

fn without_namespaces(left: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for (owner, number) in left {
        let bare = owner.split_once('/').map_or(owner.as_str(), |(_, rest)| rest);
        *found.entry(bare.to_owned()).or_default() += number;
    }
    found
}

/// The node that the engine gives up with this action: put back untouched, or touched with pods left on it.
fn gives_up(cluster: &Cluster, action: Action) -> Option<NodeId> {
    let untouched = |node: NodeId| cluster.node(node).marks.host_touched.is_none();
    match action {
        Action::ForceOn(node) => Some(node),
        Action::Uncordon(node) | Action::End { node, .. } if untouched(node) => Some(node),
        Action::Uncordon(_)
        | Action::End { .. }
        | Action::TakeLock
        | Action::BackUp
        | Action::Begin(_)
        | Action::StopRouting(_)
        | Action::Cordon(_)
        | Action::BeginDrain(_)
        | Action::Evict { .. }
        | Action::Delete { .. }
        | Action::UpgradeHost { .. }
        | Action::ResumeRouting(_)
        | Action::NextHop(_)
        | Action::Halt
        | Action::ReleaseLock => None,
    }
}

fn pod_of(record: &Record) -> Option<PodId> {
    if let Event::PodReady(pod) | Event::PodNotReady(pod) | Event::PodDeleting(pod) | Event::PodGone(pod) = record.event
    {
        Some(pod)
    } else {
        None
    }
}

fn note_ready(cluster: &Cluster, pod: PodId, lowest: &mut BTreeMap<String, u32>) {
    let strong = |&other: &PodId| cluster.pod(other).is_serving_strength();
    let ready = match topmost(cluster, pod) {
        Some(workload) if matches!(cluster.workload(workload).detail, Detail::CronJob(_)) => {
            cluster.owned_workloads(workload).iter().map(|&job| cluster.ready_pods(job)).sum()
        }
        Some(workload) => cluster.ready_pods(workload),
        None => match (cluster.pod(pod).owner, cluster.pod(pod).node) {
            (Owner::Node, Some(node)) => {
                let same = |other: &PodId| owner_of(cluster, *other) == owner_of(cluster, pod);
                cluster.pods_of_node(node).iter().filter(|other| same(other) && strong(other)).count() as u32
            }
            _ => u32::from(strong(&pod)),
        },
    };
    let entry = lowest.entry(owner_of(cluster, pod)).or_insert(ready);
    *entry = ready.min(*entry);
}

fn topmost(cluster: &Cluster, pod: PodId) -> Option<WorkloadId> {
    let top = cluster.top_of_pod(pod)?;
    Some(cluster.workload(top).owner.unwrap_or(top))
}

/// The topmost controller; a mirror pod's is its node, a bare pod is its own owner (DRAINS.md).
fn owner_of(cluster: &Cluster, pod: PodId) -> String {
    let object = cluster.pod(pod);
    match (topmost(cluster, pod), object.owner, object.node) {
        (Some(workload), ..) => cluster.workload(workload).key.to_string(),
        (None, Owner::Node, Some(node)) => {
            ObjectKey::new(cluster.spec(pod).namespace, "Node", cluster.node(node).name()).to_string()
        }
        (None, ..) => cluster.pod_key(pod).to_string(),
    }
}

fn is_of_daemon_set(cluster: &Cluster, pod: PodId) -> bool {
    match cluster.pod(pod).owner {
        Owner::Workload(workload) => matches!(cluster.workload(workload).detail, Detail::DaemonSet(_)),
        Owner::None | Owner::Missing { .. } | Owner::Node => false,
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;
    use crate::conform::recording;

    const WALKS: u64 = 30;

    fn all(folder: &str) -> Report {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(folder);
        let runs = recording::find(&[path]).unwrap_or_else(|error| panic!("{error:#}"));
        let only = std::env::var("CMSIM_ONLY").unwrap_or_default();
        let runs: Vec<Run> = runs.into_iter().filter(|run| run.name.starts_with(&only)).collect();
        let reports: Vec<Report> =
            runs.par_iter().map(|run| check(run, WALKS).unwrap_or_else(|error| panic!("{error:#}"))).collect();
        let mut all = Report::default();
        reports.into_iter().for_each(|report| all.add(report));
        all
    }

    fn assert_foretold(folder: &str) {
        let report = all(folder);
        let lines: String = report.mismatches.iter().map(|mismatch| format!("{mismatch}\n")).collect();
        assert!(report.mismatches.is_empty(), "{} of {:?}\n{lines}", report.mismatches.len(), report.checked);
    }

    #[test]
    fn drains_of_1_36_are_foretold() {
        assert_foretold("drains");
    }

    #[test]
    fn drains_of_1_37_are_foretold() {
        assert_foretold("drains-1.37");
    }

    /// The engine's own pacing on the clusters of the recordings: whatever comes of a run, it ends by itself, also when the
    /// engine is killed and started again in the middle of it.
    #[test]
    fn runs_with_the_engines_own_pacing_end() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/drains");
        let runs = recording::find(&[path]).unwrap_or_else(|error| panic!("{error:#}"));
        let ends: Vec<(String, Vec<String>)> = runs.par_iter().map(|run| (run.name.clone(), own_pacing(run))).collect();
        let open: Vec<_> = ends.iter().filter(|(_, ends)| ends.iter().any(|end| end == "open")).collect();
        assert!(open.is_empty(), "{open:?}");
        let done = ends.iter().flat_map(|(_, ends)| ends).filter(|end| *end == "done").count();
        assert!(done > ends.len(), "most runs finish: {done} of {ends:?}");
    }

    fn own_pacing(run: &Run) -> Vec<String> {
        let cluster = run.cluster().unwrap_or_else(|error| panic!("{error:#}"));
        let goal = crate::upgrade::Goal {
            to: run.scenario.goal().to,
            delete_emptydir_data: true,
            force: true,
            ..crate::upgrade::Goal::default()
        };
        let setup = Setup::new(cluster, goal, decide);
        let word = |outcome: Option<&Outcome>| match outcome {
            Some(Outcome::Done) => "done".to_owned(),
            Some(Outcome::Stopped(_)) => "stopped".to_owned(),
            None => "open".to_owned(),
        };
        let mut ends: Vec<String> = (0..2)
            .map(|seed| match walk(&setup, seed, &mut |_, _| {}).end {
                End::Ended(outcome, _) => word(Some(&outcome)),
                End::Stuck | End::Endless => "open".to_owned(),
            })
            .collect();
        let mut dice = crate::explore::Dice::new(7);
        let mut world =
            crate::simulator::World::new(setup.cluster.clone(), setup.start, Arc::clone(&setup.physics), &mut dice);
        world.start_engine(Arc::clone(&setup.goal), setup.planner, &mut dice);
        for step in 0..400_000 {
            if step % 97 == 96 {
                world.restart_engine(&mut dice);
            }
            let ended = world.engine.as_ref().is_some_and(|engine| engine.outcome.is_some());
            if ended || !world.step(&mut dice) {
                break;
            }
            world.trace.clear();
        }
        ends.push(word(world.engine.as_ref().and_then(|engine| engine.outcome.as_ref())));
        ends
    }
}
