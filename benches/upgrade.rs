//! Whole rolling upgrades in virtual time, judge and forecast included, on one thread.
//!
//! Deployments with budgets (one pod, 25 %) or with a Service, and a DaemonSet, spread over three zones.

use std::path::PathBuf;

use cmsim::check::limits;
use cmsim::explore::Setup;
use cmsim::forecast::{Observed, observe};
use cmsim::simulations::Case;

fn main() {
    divan::main();
}

/// A cluster of so many nodes and applications, with so many pods an application.
fn setup(nodes: usize, applications: usize, replicas: usize) -> Setup {
    let mut text = format!(
        "story: bench\ncluster:\n  nodes: {{count: {nodes}, zones: [a, b, c], all: {{cpu: 8, memory: 32Gi}}}}\n  workloads:\n    \
         - {{name: agent, kind: DaemonSet, cpu: 50m}}\n"
    );
    for number in 0..applications {
        let guard = ["budgets: [{maxUnavailable: 1}]", "budgets: [{maxUnavailable: 25%}]", "service: true"][number % 3];
        text += &format!("    - {{name: app-{number}, replicas: {replicas}, cpu: 100m, {guard}}}\n");
    }
    text += "expect: {verdict: non-disruptive}\n";
    let case = Case::parse("bench", PathBuf::new(), &text).expect("a scenario");
    case.setup().expect("a cluster")
}

/// Walks once; `nodes` says how many had their turn, so that a run that stopped early cannot pass as a fast one.
fn run(bencher: divan::Bencher, nodes: usize, applications: usize, replicas: usize) {
    let setup = setup(nodes, applications, replicas);
    let limits = limits(&setup.goal, &setup.cluster);
    bencher.counter(divan::counter::ItemsCount::new(nodes)).bench_local(|| {
        let observed: Observed = observe(&setup, &limits, 1);
        assert_eq!(observed.nodes.len(), nodes, "every node has its turn");
        assert!(observed.violations.is_empty(), "{:?}", observed.violations.first());
        observed
    });
}

/// Target: under 0.3 s.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn nodes_100_pods_3000(bencher: divan::Bencher) {
    run(bencher, 100, 97, 30);
}

/// Target: under 5 s and 1 GiB.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn nodes_1000_pods_30000(bencher: divan::Bencher) {
    run(bencher, 1000, 967, 30);
}

/// Target: under 60 s and 2 GiB.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn nodes_5000_pods_150000(bencher: divan::Bencher) {
    run(bencher, 5000, 2900, 50);
}
