//! What holds on every cluster: made-up clusters and goals, each from a seed. A failure is shrunk, and names the command that
//! replays it. `CMSIM_CASES` sets how many cases a property gets, `CMSIM_SEED` the seed of the first.

use std::fmt::Debug;

use cmsim::cluster::{Cluster, Millis, Time};
use cmsim::simulator::{Delay, Down};
use cmsim::upgrade::{Decision, Goal, OnBlocked, Pacing, Settle, decide};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestCaseResult, TestRng, TestRunner};

use crate::clusters::{App, Budget, Kind, Sketch};
use crate::run::{Run, Scene, run, run_with_kills};

/// A cluster and a goal.
#[derive(Clone, Debug)]
struct Plan {
    masters: usize,
    workers: usize,
    cordoned: Option<usize>,
    apps: Vec<App>,
    goal: Wishes,
    down: Down,
    /// Seed of the walk.
    seed: u64,
}

/// The part of a goal that varies.
#[derive(Clone, Debug)]
struct Wishes {
    pacing: Pacing,
    on_blocked: OnBlocked,
    settle: Settle,
    nodes_at_once: usize,
    force: bool,
    delete_emptydir_data: bool,
    disable_eviction: bool,
    grace_period: Option<u32>,
    refuse_early: bool,
    max_nodes: Option<usize>,
    backup: bool,
    lock: bool,
    routing: bool,
}

fn wishes() -> impl Strategy<Value = Wishes> {
    let manner = (
        prop_oneof![4 => Just(Pacing::Floors), 2 => Just(Pacing::Budgets), 1 => Just(Pacing::Serial)],
        prop_oneof![3 => Just(OnBlocked::Stop), 2 => Just(OnBlocked::Uncordon), 1 => Just(OnBlocked::Continue)],
        prop_oneof![4 => Just(Settle::Displaced), 1 => Just(Settle::None)],
        prop_oneof![4 => Just(1_usize), 1 => Just(2)],
    );
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.2), any::<bool>());
    let grace = prop_oneof![4 => Just(None), 1 => Just(Some(5))];
    let limits = prop_oneof![5 => Just(None), 1 => (1..3_usize).prop_map(Some)];
    let guards = (prop::bool::weighted(0.8), prop::bool::weighted(0.8), prop::bool::weighted(0.8));
    (manner, flags, grace, limits, guards).prop_map(|(manner, flags, grace_period, max_nodes, guards)| Wishes {
        pacing: manner.0,
        on_blocked: manner.1,
        settle: manner.2,
        nodes_at_once: manner.3,
        force: flags.0,
        delete_emptydir_data: flags.1,
        disable_eviction: flags.2,
        refuse_early: flags.3,
        grace_period,
        max_nodes,
        backup: guards.0,
        lock: guards.1,
        routing: guards.2,
    })
}

fn apps(masters: usize, workers: usize) -> impl Strategy<Value = Vec<App>> {
    let kind = prop_oneof![
        6 => Just(Kind::Deployment),
        3 => Just(Kind::StatefulSet),
        1 => Just(Kind::DaemonSet),
        1 => Just(Kind::KubeProxy),
        1 => (0..3).prop_map(Kind::Job),
        1 => Just(Kind::Bare),
    ];
    let budget = prop_oneof![
        4 => Just(None),
        2 => (1..4).prop_map(|count| Some(Budget::Min(count))),
        3 => (0..3).prop_map(|count| Some(Budget::MaxUnavailable(count))),
        1 => (0..=4).prop_map(|quarter| Some(Budget::MaxPercent(25 * quarter))),
    ];
    let size = (1..=4_usize, 0..workers, prop::bool::weighted(0.7), prop::bool::weighted(0.1));
    let manner = (
        prop_oneof![Just(100_i64), Just(500), Just(1200)],
        prop_oneof![3 => Just(30_i64), 1 => Just(0), 1 => Just(120)],
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.2),
        any::<bool>(),
    );
    let app = (kind, size, budget, manner).prop_map(move |(kind, size, budget, manner)| {
        let (replicas, first, spread, unready) = size;
        let (milli_cpu, grace_seconds, empty_dir, apart, service) = manner;
        let apart = apart && replicas <= workers;
        let step = usize::from(spread || apart);
        let on: Vec<usize> = (0..replicas).map(|place| masters + (first + place * step) % workers).collect();
        let unready = usize::from(unready);
        let budget = budget.filter(|_| matches!(kind, Kind::Deployment | Kind::StatefulSet));
        App { unready, milli_cpu, grace_seconds, empty_dir, apart, budget, service, ..App::new("", kind, &on) }
    });
    prop::collection::vec(app, 1..=5).prop_map(|mut apps| {
        for (number, app) in apps.iter_mut().enumerate() {
            app.name = format!("app{number}");
        }
        apps
    })
}

fn plans() -> impl Strategy<Value = Plan> {
    let down = prop_oneof![2 => Just(Down::None), 2 => Just(Down::Shutdown), 1 => Just(Down::Silent)];
    (prop_oneof![2 => Just(0_usize), 1 => Just(1), 1 => Just(3)], 2..=5_usize).prop_flat_map(
        move |(masters, workers)| {
            let cordoned = prop_oneof![3 => Just(None), 1 => (1..=workers).prop_map(Some)];
            (Just(masters), Just(workers), cordoned, apps(masters, workers), wishes(), down.clone(), 0..1000_u64)
                .prop_map(|(masters, workers, cordoned, apps, goal, down, seed)| Plan {
                    masters,
                    workers,
                    cordoned,
                    apps,
                    goal,
                    down,
                    seed,
                })
        },
    )
}

impl Plan {
    fn scene(&self) -> Scene {
        let mut sketch = match self.masters {
            0 => Sketch::of_workers(self.workers),
            masters => Sketch::with_control_plane(masters, self.workers),
        };
        if let Some(number) = self.cordoned {
            sketch = sketch.cordoned(&format!("w{number}"));
        }
        for app in &self.apps {
            sketch = sketch.app(app.clone());
        }
        let wishes = &self.goal;
        let scene = Scene::new(sketch.build()).down(self.down).goal(|goal| {
            goal.pacing = wishes.pacing;
            goal.on_blocked = wishes.on_blocked;
            goal.settle = wishes.settle;
            goal.nodes_at_once = wishes.nodes_at_once;
            goal.force = wishes.force;
            goal.delete_emptydir_data = wishes.delete_emptydir_data;
            goal.disable_eviction = wishes.disable_eviction;
            goal.grace_period = wishes.grace_period;
            goal.refuse_early = wishes.refuse_early;
            goal.max_nodes = wishes.max_nodes;
            goal.backup = wishes.backup;
            goal.lock = wishes.lock;
            goal.routing = wishes.routing;
            goal.drain_timeout = Millis::secs(10 * 60);
            goal.settle_timeout = Millis::secs(10 * 60);
        });
        // A silent host is back only after it was noticed to be away.
        scene.takes(Delay::Host, 60, 90)
    }
}

/// Tries a property on made-up plans.
fn holds(name: &str, property: impl Fn(Plan) -> TestCaseResult) {
    let number = |variable, default| std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (first, cases): (u64, u64) = (number("CMSIM_SEED", 0), number("CMSIM_CASES", 48));
    let strategy = plans();
    for seed in first..first + cases {
        let config = Config { failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let tree = strategy.new_tree(&mut runner).expect("the strategy filters nothing");
        let drawn = tree.current();
        if let Err(error) = runner.run_one(tree, &property) {
            panic!(
                "{error}\nreplay with: CMSIM_SEED={seed} CMSIM_CASES=1 cargo test --test walks {name}\ndrawn: {drawn:#?}"
            );
        }
    }
}

fn ensure(condition: bool, message: impl FnOnce() -> String) -> TestCaseResult {
    if condition { Ok(()) } else { Err(TestCaseError::fail(message())) }
}

fn same<T: PartialEq + Debug>(what: &str, one: &T, other: &T) -> TestCaseResult {
    ensure(one == other, || format!("{what}: {one:#?}\nagainst {other:#?}"))
}

fn end_of_trace(run: &Run) -> String {
    let from = run.trace.len().saturating_sub(40);
    run.trace[from..].iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_right_planner_breaks_no_rule_of_the_engine() {
    holds("the_right_planner_breaks_no_rule_of_the_engine", |plan| {
        let run = run(&plan.scene(), decide, plan.seed);
        ensure(run.errors().is_empty(), || format!("{:#?}\n{}", run.errors(), end_of_trace(&run)))
    });
}

/// Every run comes to an end by itself.
#[test]
fn every_run_ends() {
    holds("every_run_ends", |plan| {
        let run = run(&plan.scene(), decide, plan.seed);
        let ended = matches!(run.end, cmsim::explore::End::Ended(..));
        ensure(ended, || {
            format!(
                "{:?}: {:#?}\n{}",
                run.end,
                run.world.engine.as_ref().map(|engine| &engine.last),
                end_of_trace(&run)
            )
        })
    });
}

#[test]
fn the_same_cluster_at_the_same_time_is_decided_alike() {
    fn decides_twice(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
        let (first, second) = (decide(goal, cluster, now), decide(&goal.clone(), &cluster.clone(), now));
        assert_eq!(first, second);
        first
    }
    holds("the_same_cluster_at_the_same_time_is_decided_alike", |plan| {
        let scene = plan.scene();
        same("the run differs", &run(&scene, decides_twice, plan.seed).text(), &run(&scene, decide, plan.seed).text())
    });
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    holds("the_same_seed_gives_the_same_bytes", |plan| {
        let [one, other] = [(); 2].map(|()| run(&plan.scene(), decide, plan.seed));
        same("the trace differs", &one.text(), &other.text())?;
        same("the judge differs", &one.violations, &other.violations)
    });
}

#[test]
fn an_engine_that_is_killed_between_any_two_steps_comes_to_the_same_end() {
    let name = "an_engine_that_is_killed_between_any_two_steps_comes_to_the_same_end";
    holds(name, |plan| {
        let scene = plan.scene();
        let undisturbed = run(&scene, decide, plan.seed);
        let kills: Vec<u64> = (0..400).map(|kill| kill * 7 + plan.seed % 7).collect();
        let killed = run_with_kills(&scene, decide, plan.seed, &kills);
        ensure(killed.errors().is_empty(), || format!("{:#?}\n{}", killed.errors(), end_of_trace(&killed)))?;
        same("the nodes differ", &undisturbed.nodes(), &killed.nodes())?;
        same("blocked differs", &undisturbed.classes().1, &killed.classes().1)
    });
}

/// The properties are worth something only if the made-up clusters are of all kinds.
#[test]
fn made_up_clusters_meet_everything_that_matters() {
    let mut happened = std::collections::BTreeSet::new();
    let mut ends = std::collections::BTreeSet::new();
    let seen = std::cell::RefCell::new((&mut happened, &mut ends));
    holds("made_up_clusters_meet_everything_that_matters", |plan| {
        let run = run(&plan.scene(), decide, plan.seed);
        let mut seen = seen.borrow_mut();
        seen.0.extend(run.happened.iter().copied());
        seen.1.insert(run.classes());
        Ok(())
    });
    if std::env::var("CMSIM_CASES").is_err() {
        assert_eq!(happened.len(), 6, "only {happened:?}");
        assert_eq!(ends.len(), 4, "only {ends:?} as (disruptive, blocked)");
    }
}
