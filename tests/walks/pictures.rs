//! Pictures of a few runs: one line an event, without what only repeats it. A change of these pictures is a change of what
//! `cmsim` predicts, and must be meant.

use cmsim::simulator::Down;
use cmsim::upgrade::{OnBlocked, decide};

use crate::clusters::{App, Budget, Kind, Sketch};
use crate::run::{Run, Scene, run};

/// The run without status writes, containers that run, and requests that are also answers.
fn picture(run: &Run) -> String {
    let repeats =
        |ev: &str| matches!(ev, "act" | "pdb.status" | "endpoints" | "node.taints" | "pod.running" | "pod.failed");
    let lines = run.trace.iter().filter(|line| !repeats(&line.ev)).map(|line| format!("{line}\n"));
    let judged = run.violations.iter().map(|violation| {
        format!("{} {:?} {}: {}\n", violation.code, violation.class, violation.object, violation.message)
    });
    lines.chain(judged).collect()
}

#[test]
fn a_deployment_and_a_database_move_around() {
    let web = App { service: true, ..App::new("web", Kind::Deployment, &[0, 1]) };
    let db = App { budget: Some(Budget::MaxUnavailable(1)), ..App::new("db", Kind::StatefulSet, &[0, 1]) };
    let scene = Scene::new(Sketch::of_workers(2).app(web).app(db).build());
    insta::assert_snapshot!(picture(&run(&scene, decide, 1)));
}

#[test]
fn a_single_pod_is_interrupted_twice() {
    let web = App { service: true, ..App::new("web", Kind::Deployment, &[0]) };
    let scene = Scene::new(Sketch::of_workers(2).app(web).build()).down(Down::Shutdown);
    insta::assert_snapshot!(picture(&run(&scene, decide, 1)));
}

#[test]
fn a_budget_without_room_stops_the_run() {
    let web = App { budget: Some(Budget::MaxUnavailable(0)), ..App::new("web", Kind::Deployment, &[0, 1]) };
    let scene = Scene::new(Sketch::of_workers(2).app(web).build()).goal(|goal| goal.on_blocked = OnBlocked::Stop);
    insta::assert_snapshot!(picture(&run(&scene, decide, 1)));
}
