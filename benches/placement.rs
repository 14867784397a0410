//! Pods waiting for a node, in Deployments of 20 replicas with 100m CPU and 500Mi of memory, until the last one is bound; on
//! one thread. Everything else that the world does meanwhile (kubelets, controllers, endpoint slices) is included.

use std::path::PathBuf;
use std::sync::Arc;

use cmsim::explore::{Dice, Setup};
use cmsim::simulations::Case;
use cmsim::simulator::World;
use cmsim::trace::Event;

/// What the Deployments ask for beside resources.
#[derive(Clone, Copy, Debug)]
enum Rules {
    /// The default profile's own soft spreading.
    Default,
    /// `topologySpreadConstraints` by host name, `DoNotSchedule`.
    HardSpread,
    /// Required anti-affinity of a Deployment's pods by host name.
    AntiAffinity,
}

fn main() {
    divan::main();
}

fn setup(nodes: usize, pods: usize, rules: Rules) -> Setup {
    let rules = match rules {
        Rules::Default => "",
        Rules::HardSpread => ", spread: [{by: hostname, hard: true}]",
        Rules::AntiAffinity => ", apart: {by: hostname, hard: true}",
    };
    let mut text = format!(
        "story: bench\ncluster:\n  settle: 0s\n  nodes: {{count: {nodes}, zones: [a, b, c], all: {{cpu: 32, memory: 64Gi}}}}\n  \
         workloads:\n"
    );
    for number in 0..pods / 20 {
        let form = "replicas: 20, pending: 20, cpu: 100m, memory: 500Mi, service: true";
        text += &format!("    - {{name: app-{number}, {form}{rules}}}\n");
    }
    text += "expect: {verdict: non-disruptive}\n";
    Case::parse("bench", PathBuf::new(), &text).and_then(|case| case.setup()).expect("a cluster")
}

fn place(bencher: divan::Bencher, nodes: usize, pods: usize, rules: Rules) {
    let setup = setup(nodes, pods, rules);
    bencher.counter(divan::counter::ItemsCount::new(pods)).bench_local(|| {
        let mut dice = Dice::new(1);
        let mut world = World::new(setup.cluster.clone(), setup.start, Arc::clone(&setup.physics), &mut dice);
        let mut bound = 0;
        while bound < pods {
            assert!(world.step(&mut dice), "{bound} of {pods} pods are bound and nothing is left to happen");
            bound += world.trace.drain(..).filter(|record| matches!(record.event, Event::PodBound(..))).count();
        }
        world
    });
}

/// Target: under 0.05 s.
#[divan::bench(args = [Rules::Default, Rules::HardSpread, Rules::AntiAffinity], sample_count = 10, sample_size = 1)]
fn pods_1000_nodes_100(bencher: divan::Bencher, rules: Rules) {
    place(bencher, 100, 1_000, rules);
}

/// Target: under 0.2 s.
#[divan::bench(args = [Rules::Default, Rules::HardSpread, Rules::AntiAffinity], sample_count = 5, sample_size = 1)]
fn pods_3000_nodes_300(bencher: divan::Bencher, rules: Rules) {
    place(bencher, 300, 3_000, rules);
}

/// Target: under 1 s.
#[divan::bench(args = [Rules::Default, Rules::HardSpread, Rules::AntiAffinity], sample_count = 3, sample_size = 1)]
fn pods_10000_nodes_1000(bencher: divan::Bencher, rules: Rules) {
    place(bencher, 1_000, 10_000, rules);
}

/// Target: at least 20,000 pods a second.
#[divan::bench(args = [Rules::Default, Rules::HardSpread, Rules::AntiAffinity], sample_count = 2, sample_size = 1)]
fn pods_50000_nodes_5000(bencher: divan::Bencher, rules: Rules) {
    place(bencher, 5_000, 50_000, rules);
}
