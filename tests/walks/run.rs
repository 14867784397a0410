//! One run under the eyes of the judge.

use std::sync::Arc;

use cmsim::cluster::{Cluster, Millis, Version};
use cmsim::explore::{Dice, End, Setup, walk};
use cmsim::judge::{Class, Judge, Limits, Violation};
use cmsim::simulator::{Delay, Down, Physics, World};
use cmsim::trace::Line;
use cmsim::upgrade::{Goal, OnBlocked, Outcome, Planner};

/// A cluster, what is wanted of it, and how long things take.
#[derive(Clone)]
pub struct Scene {
    pub cluster: Cluster,
    pub goal: Goal,
    pub physics: Physics,
}

impl Scene {
    /// A plain upgrade of a cluster to v1.37.1.
    pub fn new(cluster: Cluster) -> Scene {
        let goal = Goal { to: Version::new(37, 1), ..Goal::default() };
        Scene { cluster, goal, physics: Physics::default() }
    }

    pub fn goal(mut self, change: impl FnOnce(&mut Goal)) -> Scene {
        change(&mut self.goal);
        self
    }

    pub fn down(mut self, down: Down) -> Scene {
        self.physics.down = down;
        self
    }

    pub fn takes(mut self, delay: Delay, shortest: i64, longest: i64) -> Scene {
        self.physics.set(delay, Millis::secs(shortest), Millis::secs(longest));
        self
    }

    pub fn setup(&self, planner: Planner) -> Setup {
        let mut setup = Setup::new(self.cluster.clone(), self.goal.clone(), planner);
        setup.physics = Arc::new(self.physics.clone());
        setup
    }
}

/// A run that is over.
pub struct Run {
    pub end: End,
    pub violations: Vec<Violation>,
    pub trace: Vec<Line>,
    pub world: World,
    pub happened: Vec<&'static str>,
}

impl Run {
    pub fn codes(&self) -> Vec<&'static str> {
        let mut codes: Vec<&str> = self.violations.iter().map(|violation| violation.code).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    /// Errors of the engine.
    pub fn errors(&self) -> Vec<&Violation> {
        self.violations.iter().filter(|violation| violation.class == Class::Engine).collect()
    }

    /// The worst that the run says of the upgrade: blocked and disruptive, but nothing of how it came to that.
    pub fn classes(&self) -> (bool, bool) {
        let any = |class| self.violations.iter().any(|violation| violation.class == class);
        (any(Class::Disruptive), any(Class::Blocked))
    }

    /// Versions of all nodes, and whether they take pods.
    pub fn nodes(&self) -> Vec<String> {
        let nodes = self.world.cluster.nodes().filter(|(_, node)| !node.gone);
        nodes
            .map(|(_, node)| {
                let cordoned = if node.unschedulable { " cordoned" } else { "" };
                format!("{} {:?} {:?}{cordoned} {:?}", node.name(), node.kubelet, node.control_plane, node.routing)
            })
            .collect()
    }

    /// The trace as it would be written.
    pub fn text(&self) -> String {
        self.trace.iter().map(|line| line.to_json() + "\n").collect()
    }
}

/// Runs a scene once with a seed.
pub fn run(scene: &Scene, planner: Planner, seed: u64) -> Run {
    let setup = scene.setup(planner);
    let mut judge = Judge::new(&setup.cluster, limits(&setup.goal, &setup.cluster));
    let mut trace = Vec::new();
    let walked = walk(&setup, seed, &mut |record, world| {
        judge.observe(record, &world.cluster);
        trace.push(Line::new(record, setup.start, &world.cluster));
    });
    over(judge, walked.end, walked.world, trace)
}

/// Runs a scene once, and kills the engine after every one of these numbers of steps.
pub fn run_with_kills(scene: &Scene, planner: Planner, seed: u64, kills: &[u64]) -> Run {
    let setup = scene.setup(planner);
    let mut dice = Dice::new(seed);
    let mut world = World::new(setup.cluster.clone(), setup.start, Arc::clone(&setup.physics), &mut dice);
    let mut judge = Judge::new(&setup.cluster, limits(&setup.goal, &setup.cluster));
    world.start_engine(Arc::clone(&setup.goal), planner, &mut dice);
    let mut trace = Vec::new();
    let mut ended = None;
    for step in 0..1_000_000 {
        if kills.contains(&step) {
            world.restart_engine(&mut dice);
        }
        for record in std::mem::take(&mut world.trace) {
            judge.observe(&record, &world.cluster);
            trace.push(Line::new(&record, setup.start, &world.cluster));
        }
        let outcome = world.engine.as_ref().and_then(|engine| engine.outcome.clone());
        ended = ended.or(outcome.map(|outcome| (outcome, world.now)));
        let rest = ended.as_ref().map(|(_, at)| *at + Millis::secs(15 * 60));
        match world.next() {
            Some((due, _)) if rest.is_none_or(|rest| due <= rest) => world.step(&mut dice),
            _ => break,
        };
    }
    let end = ended.map_or(End::Stuck, |(outcome, at)| End::Ended(outcome, at));
    over(judge, end, world, trace)
}

fn over(judge: Judge, end: End, world: World, trace: Vec<Line>) -> Run {
    let happened = judge.sometimes().iter().filter(|one| one.happened).map(|one| one.name).collect();
    let done = matches!(end, End::Ended(Outcome::Done, _));
    let violations = judge.finish(world.now, &world.cluster, done);
    Run { end, violations, trace, world, happened }
}

/// What a goal allows.
pub fn limits(goal: &Goal, cluster: &Cluster) -> Limits {
    let meant = cluster.nodes().filter(|(_, node)| !goal.skip.contains(&node.name()));
    let meant = meant.filter(|(_, node)| goal.only.is_empty() || goal.only.contains(&node.name()));
    Limits {
        nodes_at_once: goal.nodes_at_once,
        floors: goal
            .floors
            .iter()
            .map(|(key, floor)| (serde_json::from_value(key.as_str().into()).unwrap(), *floor))
            .collect(),
        backup: goal.backup,
        lock: goal.lock,
        routing: goal.routing,
        to: Some(goal.to),
        nodes: meant.map(|(id, _)| id).collect(),
        max_nodes: goal.max_nodes,
        past_budgets: goal.disable_eviction,
        grace_seconds: goal.grace_period,
        unmanaged: goal.force,
        empty_dirs: goal.delete_emptydir_data,
        leave_pods: goal.on_blocked == OnBlocked::Continue,
        skip_terminating: goal.skip_wait_for_delete,
        retry: goal.retry,
    }
}
