//! One seeded run of the whole upgrade in virtual time. Same setup and seed, same bytes.

use std::sync::Arc;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use crate::cluster::{Cluster, Millis, Time};
use crate::simulator::{Choice, Chooser, Delay, Disturbance, Physics, World};
use crate::trace::Record;
use crate::upgrade::{Goal, Outcome, Planner};

/// How long the world is watched after the engine has ended, so that pods that are still on their way come back.
const REST: Millis = Millis::secs(15 * 60);

/// What all walks of a forecast have in common.
#[derive(Clone)]
pub struct Setup {
    /// The cluster at the start.
    pub cluster: Cluster,
    /// Virtual time of the start.
    pub start: Time,
    /// What the engine is to reach.
    pub goal: Arc<Goal>,
    /// How the engine decides.
    pub planner: Planner,
    /// How long things take.
    pub physics: Arc<Physics>,
    /// What somebody else does during the run.
    pub disturbances: Arc<Vec<Disturbance>>,
}

impl Setup {
    /// An engine on a cluster as it was read, with the start-up times of its own history.
    pub fn new(cluster: Cluster, goal: Goal, planner: Planner) -> Setup {
        let physics = Physics::default().with_history_of(&cluster);
        Setup {
            start: cluster.catalog.input.taken_at,
            cluster,
            goal: Arc::new(goal),
            planner,
            physics: Arc::new(physics),
            disturbances: Arc::default(),
        }
    }

    /// A walk whose engine runs longer than this will not end: every node had all its allowances, several times over.
    fn horizon(&self) -> Millis {
        let goal = &self.goal;
        let per_node = goal.drain_timeout.0 + goal.host_timeout.0 + goal.settle_timeout.0 + goal.pause.0;
        let nodes = self.cluster.nodes().len() as i64 + 1;
        Millis(per_node.saturating_mul(nodes).saturating_mul(4).saturating_add(Millis::secs(3600).0))
    }

    /// No honest walk needs so many steps; one that does is stopped as endless.
    fn most_steps(&self) -> u64 {
        2_000_000 + 2_000 * (self.cluster.pods().len() + self.cluster.nodes().len()) as u64
    }
}

/// How a walk ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// The engine came to an end at this time, and the world came to rest after it.
    Ended(Outcome, Time),
    /// Nothing is left to happen, and the engine still waits.
    Stuck,
    /// The engine went on beyond every allowance.
    Endless,
}

/// A walk that is over.
#[derive(Clone)]
pub struct Walk {
    /// Its seed.
    pub seed: u64,
    /// How it ended.
    pub end: End,
    /// The world at the end; its trace was handed to the watcher.
    pub world: World,
}

/// Runs the upgrade once. `watch` is shown every record in order, with the world as it is after the step it belongs to.
pub fn walk(setup: &Setup, seed: u64, watch: &mut dyn FnMut(&Record, &World)) -> Walk {
    let mut dice = Dice::new(seed);
    let mut world = World::new(setup.cluster.clone(), setup.start, Arc::clone(&setup.physics), &mut dice);
    world.disturbances = Arc::clone(&setup.disturbances);
    world.start_engine(Arc::clone(&setup.goal), setup.planner, &mut dice);
    let end = drive(setup, &mut world, &mut dice, watch);
    Walk { seed, end, world }
}

fn drive(setup: &Setup, world: &mut World, dice: &mut Dice, watch: &mut dyn FnMut(&Record, &World)) -> End {
    let horizon = setup.start + setup.horizon();
    let mut records = Vec::new();
    let mut ended = None;
    for _ in 0..setup.most_steps() {
        std::mem::swap(&mut records, &mut world.trace);
        for record in records.drain(..) {
            watch(&record, world);
        }
        if ended.is_none() {
            ended = world.engine.as_ref().and_then(|engine| engine.outcome.clone()).map(|outcome| (outcome, world.now));
        }
        let limit = ended.as_ref().map_or(horizon, |(_, at)| *at + REST);
        match world.next() {
            Some((due, _)) if due <= limit => {
                world.step(dice);
            }
            next => {
                return match (ended, next) {
                    (Some((outcome, at)), _) => End::Ended(outcome, at),
                    (None, Some(_)) => End::Endless,
                    (None, None) => End::Stuck,
                };
            }
        }
    }
    match ended {
        Some((outcome, at)) => End::Ended(outcome, at),
        None => End::Endless,
    }
}

/// A chooser that samples evenly from a seeded generator.
#[derive(Clone, Debug)]
pub struct Dice(Xoshiro256PlusPlus);

impl Dice {
    /// Dice that roll the same for the same seed, on every machine.
    pub fn new(seed: u64) -> Dice {
        Dice(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    fn below(&mut self, bound: u64) -> u64 {
        // The bias of the multiplication is below bound / 2^64.
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

impl Chooser for Dice {
    fn pick(&mut self, _: Choice, among: usize) -> usize {
        self.below(among.max(1) as u64) as usize
    }

    fn between(&mut self, _: Delay, shortest: Millis, longest: Millis) -> Millis {
        let span = (longest.0 - shortest.0).max(0) as u64;
        Millis(shortest.0 + self.below(span + 1) as i64)
    }
}
