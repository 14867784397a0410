//! Planners that make a known mistake, each of which must be caught by the rule that names it, while the right planner passes
//! on the same cluster with the same goal.

use cmsim::cluster::{
    Cluster, Detail, HostJob, Millis, NodeId, NodeOutcome, Owner, PodId, Readiness, Routing, Time, Version,
};
use cmsim::simulator::{Delay, Down};
use cmsim::upgrade::{Action, Decision, Goal, Outcome, Pacing, Planner, Reason, Settle, decide};

use crate::clusters::{App, Budget, Kind, Sketch};
use crate::run::{Scene, run};

/// A mistake and what must come of it.
struct Case {
    /// The mistake.
    name: &'static str,
    planner: Planner,
    scene: fn() -> Scene,
    /// Code of the rule that names it.
    code: &'static str,
}

const CASES: &[Case] = &[
    Case { name: "deletes instead of evicting", planner: deletes, scene: two_on_one_node_with_budget, code: "J010" },
    Case { name: "evicts past floors", planner: evicts_past_floors, scene: two_on_one_node, code: "J001" },
    Case {
        name: "leaves a Service without endpoints",
        planner: evicts_past_floors,
        scene: service_of_two,
        code: "J002",
    },
    Case {
        name: "goes on before displaced pods are back",
        planner: does_not_settle,
        scene: slow_to_start,
        code: "J001",
    },
    Case { name: "uncordons before Ready", planner: uncordons_early, scene: shutdown, code: "J016" },
    Case { name: "does not wait for the node's proxy", planner: ignores_proxy, scene: slow_proxy, code: "J016" },
    Case { name: "takes two nodes at once", planner: two_at_once, scene: plain, code: "J013" },
    Case { name: "takes the next node before the last is back", planner: hides_open_nodes, scene: plain, code: "J013" },
    Case { name: "forgets the operator's own cordon", planner: forgets_own_cordon, scene: cordoned, code: "J014" },
    Case { name: "takes 'eviction accepted' for gone", planner: accepted_is_gone, scene: plain, code: "J012" },
    Case { name: "touches a host without a backup", planner: no_backup, scene: plain, code: "J018" },
    Case { name: "does not wait for the backup", planner: impatient_backup, scene: plain, code: "J018" },
    Case { name: "acts without the lock", planner: no_lock, scene: plain, code: "J019" },
    Case { name: "upgrades workers first", planner: workers_first, scene: with_masters, code: "J017" },
    Case { name: "skips a minor version", planner: skips_a_minor, scene: two_minors, code: "J017" },
    Case { name: "does not stop routing", planner: no_routing, scene: plain, code: "J006" },
    Case { name: "resumes routing too early", planner: routes_early, scene: plain, code: "J006" },
    Case { name: "gives no grace", planner: no_grace, scene: plain, code: "J005" },
    Case { name: "leaves the last node cordoned", planner: leaves_cordoned, scene: plain, code: "J015" },
    Case { name: "waits for ever", planner: waits_for_ever, scene: plain, code: "J007" },
    Case { name: "waits for a pod that waits for its node", planner: waits_for_all, scene: one_a_node, code: "J007" },
    Case { name: "evicts DaemonSet pods", planner: evicts_daemons, scene: plain, code: "J011" },
    Case { name: "evicts without a cordon", planner: never_cordons, scene: plain, code: "J011" },
    Case { name: "evicts pods that nothing brings back", planner: forces, scene: bare_pod, code: "J011" },
    Case { name: "drops emptyDir data", planner: drops_data, scene: scratch, code: "J011" },
    Case { name: "forgets a node", planner: forgets_a_node, scene: plain, code: "J021" },
    Case { name: "says done after the first node", planner: done_early, scene: plain, code: "J021" },
    Case { name: "asks again without a pause", planner: hot_retries, scene: refused, code: "J020" },
];

#[test]
fn each_mistake_is_caught_by_the_rule_that_names_it() {
    let mut problems = Vec::new();
    for case in CASES {
        let wrong = run(&(case.scene)(), case.planner, 1);
        if !wrong.codes().contains(&case.code) {
            problems.push(format!("{}: not caught, found {:#?}", case.name, wrong.violations));
        }
        let others = wrong.errors().into_iter().filter(|error| error.code != case.code);
        problems.extend(others.map(|error| format!("{}: another rule speaks too: {error:?}", case.name)));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_right_planner_passes_where_the_wrong_ones_fail() {
    for case in CASES {
        for seed in 1..=3 {
            let right = run(&(case.scene)(), decide, seed);
            assert!(!right.codes().contains(&case.code), "{}, seed {seed}: {:#?}", case.name, right.violations);
            assert!(right.errors().is_empty(), "{}, seed {seed}: {:#?}", case.name, right.errors());
        }
    }
}

/// S08: two drains that know nothing of each other give one pod of each application away, and then neither can go on.
#[test]
fn drains_that_cross_never_finish() {
    for seed in 1..=3 {
        let crossed = run(&two_nodes_at_once(), crosses, seed);
        assert!(crossed.classes() == (false, true), "seed {seed}: {:#?}", crossed.violations);
        let right = run(&two_nodes_at_once(), decide, seed);
        assert!(right.violations.is_empty(), "seed {seed}: {:#?}", right.violations);
    }
}

// The clusters.

fn plain_sketch() -> Sketch {
    Sketch::of_workers(3)
        .app(App::new("kube-proxy", Kind::KubeProxy, &[]))
        .app(App { service: true, ..App::new("web", Kind::Deployment, &[0, 1, 2]) })
        .app(App { budget: Some(Budget::MaxUnavailable(1)), ..App::new("db", Kind::StatefulSet, &[0, 1, 2]) })
}

fn plain() -> Scene {
    Scene::new(plain_sketch().build())
}

fn shutdown() -> Scene {
    plain().down(Down::Shutdown)
}

fn slow_proxy() -> Scene {
    let times = vec![("ready-seconds", "60".to_owned())];
    let proxy = App { times, ..App::new("kube-proxy", Kind::KubeProxy, &[]) };
    let sketch = Sketch::of_workers(3).app(proxy).app(App::new("web", Kind::Deployment, &[0, 1, 2]));
    Scene::new(sketch.build()).down(Down::Shutdown)
}

fn cordoned() -> Scene {
    Scene::new(plain_sketch().cordoned("w2").build())
}

fn with_masters() -> Scene {
    let sketch = Sketch::with_control_plane(3, 2);
    Scene::new(sketch.app(App::new("web", Kind::Deployment, &[3, 4])).build())
}

fn two_minors() -> Scene {
    with_masters().goal(|goal| goal.to = Version::new(38, 0))
}

/// S06: a displaced pod finds no node but its own.
fn one_a_node() -> Scene {
    let budget = Some(Budget::MaxUnavailable(1));
    let web = App { apart: true, budget, ..App::new("web", Kind::Deployment, &[0, 1, 2]) };
    Scene::new(Sketch::of_workers(3).app(web).build())
}

fn two_nodes_at_once() -> Scene {
    let app = |name| App { budget: Some(Budget::MaxUnavailable(1)), ..App::new(name, Kind::Deployment, &[0, 1]) };
    let scene = Scene::new(Sketch::of_workers(2).app(app("a")).app(app("b")).build());
    scene.goal(|goal| {
        (goal.pacing, goal.settle, goal.nodes_at_once) = (Pacing::Budgets, Settle::None, 2);
    })
}

/// Two of three pods on the first node; all pods of a node are asked at once, so that only the budget holds back.
fn two_on_one_node_with_budget() -> Scene {
    let web = App { budget: Some(Budget::Min(2)), ..App::new("web", Kind::Deployment, &[0, 0, 1]) };
    Scene::new(Sketch::of_workers(3).app(web).build()).goal(|goal| goal.pacing = Pacing::Budgets)
}

fn two_on_one_node() -> Scene {
    Scene::new(Sketch::of_workers(3).app(App::new("web", Kind::Deployment, &[0, 0])).build())
}

/// Two workloads of one pod each behind one Service would break their own floors, so both have a budget that lets them go.
fn service_of_two() -> Scene {
    let web =
        App { service: true, budget: Some(Budget::MaxPercent(100)), ..App::new("web", Kind::Deployment, &[0, 0]) };
    Scene::new(Sketch::of_workers(3).app(web).build())
}

/// Hosts are quick and pods are slow, so that the next node's turn comes before the pods are back.
fn slow_to_start() -> Scene {
    let sketch = Sketch::of_workers(3).app(App::new("web", Kind::Deployment, &[0, 1]));
    let scene = Scene::new(sketch.build()).goal(|goal| goal.pacing = Pacing::Budgets);
    scene.takes(Delay::Host, 1, 2).takes(Delay::Start, 100, 120).takes(Delay::Stop, 1, 2)
}

fn bare_pod() -> Scene {
    Scene::new(plain_sketch().app(App::new("lonely", Kind::Bare, &[1])).build())
}

fn scratch() -> Scene {
    let cache = App { empty_dir: true, ..App::new("cache", Kind::Deployment, &[0, 1]) };
    Scene::new(plain_sketch().app(cache).build())
}

/// A budget without room: every request is refused.
fn refused() -> Scene {
    let web = App { budget: Some(Budget::MaxUnavailable(0)), ..App::new("web", Kind::Deployment, &[0, 1]) };
    let scene = Scene::new(Sketch::of_workers(3).app(web).app(App::new("api", Kind::Deployment, &[0, 1])).build());
    scene.goal(|goal| {
        goal.pacing = Pacing::Budgets;
        goal.drain_timeout = Millis::secs(120);
    })
}

// The planners.

fn deletes(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    change_actions(decide(goal, cluster, now), |action| match action {
        Action::Evict { pod, grace_seconds } => Some(Action::Delete { pod, grace_seconds }),
        action => Some(action),
    })
}

fn evicts_past_floors(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    decide(&Goal { pacing: Pacing::Budgets, ..goal.clone() }, cluster, now)
}

fn does_not_settle(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    decide(&Goal { settle: Settle::None, ..goal.clone() }, cluster, now)
}

fn uncordons_early(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    let too_early = |id: NodeId| {
        let node = cluster.node(id);
        node.ready != Readiness::Ready && node.marks.host_touched.is_some() && node.marks.uncordoned.is_none()
    };
    match cluster.nodes_under_maintenance().iter().copied().find(|&id| too_early(id)) {
        Some(node) => act(Action::Uncordon(node)),
        None => decide(goal, cluster, now),
    }
}

/// Takes every DaemonSet for one that no node needs.
fn ignores_proxy(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    let mut seen = cluster.clone();
    for id in workloads_of_kind(cluster, |detail| matches!(detail, Detail::DaemonSet(_))) {
        seen.update_workload(id, |workload| {
            if let Detail::DaemonSet(set) = &mut workload.detail {
                set.node_service = false;
            }
        });
    }
    decide(goal, &seen, now)
}

fn two_at_once(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    decide(&Goal { nodes_at_once: 2, ..goal.clone() }, cluster, now)
}

/// Ends a node's turn as soon as its host's job runs.
fn hides_open_nodes(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    let at_work = |id: NodeId| matches!(cluster.node(id).job, HostJob::Running { .. });
    match cluster.nodes_under_maintenance().iter().copied().find(|&id| at_work(id)) {
        Some(node) => act(Action::End { node, outcome: NodeOutcome::Done }),
        None => decide(goal, cluster, now),
    }
}

fn forgets_own_cordon(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    decide(goal, &with_nodes(cluster, |node| node.marks.was_cordoned = false), now)
}

fn accepted_is_gone(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    let decision = decide(goal, cluster, now);
    let only_endings = decision.waiting.iter().all(|waiting| matches!(waiting.reason, Reason::Terminating(_)));
    match (&decision.actions[..], cluster.nodes_under_maintenance()) {
        ([], &[node, ..]) if only_endings && !decision.waiting.is_empty() => {
            act(Action::UpgradeHost { node, to: goal.to })
        }
        _ => decision,
    }
}

fn no_backup(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    decide(&Goal { backup: false, ..goal.clone() }, cluster, now)
}

/// Takes a backup that has been started for one that is verified.
fn impatient_backup(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    use cmsim::cluster::Backup;
    let mut seen = cluster.clone();
    if matches!(seen.run.backup, Backup::Running { .. }) {
        seen.run.backup = Backup::Verified;
    }
    decide(goal, &seen, now)
}

fn no_lock(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    decide(&Goal { lock: false, ..goal.clone() }, cluster, now)
}

/// Does not see that there is a control plane until all workers are done.
fn workers_first(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    let behind = |node: &cmsim::cluster::Node| !node.is_control_plane() && node.kubelet < Some(goal.to);
    let in_hand = |node: &cmsim::cluster::Node| node.marks.started.is_some() && node.marks.outcome.is_none();
    if !cluster.nodes().any(|(_, node)| behind(node) || (!node.is_control_plane() && in_hand(node))) {
        return decide(goal, cluster, now);
    }
    let mut seen = with_nodes(cluster, |node| node.gone |= node.is_control_plane());
    seen.api_server = Some(goal.to);
    decide(goal, &seen, now)
}

/// Takes the control plane for newer than it is.
fn skips_a_minor(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    let almost = Version::new(goal.to.minor - 1, 0);
    let seen = with_nodes(cluster, |node| {
        node.control_plane = node.control_plane.map(|version| version.max(almost));
    });
    decide(goal, &seen, now)
}

fn no_routing(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    decide(&Goal { routing: false, ..goal.clone() }, cluster, now)
}

fn routes_early(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    let at_work = |id: NodeId| {
        let node = cluster.node(id);
        matches!(node.job, HostJob::Running { .. }) && node.routing == Routing::Stopped
    };
    match cluster.nodes_under_maintenance().iter().copied().find(|&id| at_work(id)) {
        Some(node) => act(Action::ResumeRouting(node)),
        None => decide(goal, cluster, now),
    }
}

fn no_grace(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    change_actions(decide(goal, cluster, now), |action| match action {
        Action::Evict { pod, .. } => Some(Action::Evict { pod, grace_seconds: Some(0) }),
        action => Some(action),
    })
}

/// Takes the cordon of the last node for the operator's.
fn leaves_cordoned(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    let seen = with_nodes(cluster, |node| node.marks.was_cordoned |= node.name() == "w3");
    decide(goal, &seen, now)
}

fn waits_for_ever(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    let decision = decide(goal, cluster, now);
    let uncordons = decision.actions.iter().any(|action| matches!(action, Action::Uncordon(_)));
    if uncordons { Decision::default() } else { decision }
}

/// Uncordons a node only when every workload is at strength.
fn waits_for_all(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    let whole = cluster.pods().all(|(_, pod)| pod.gone || pod.ready);
    change_actions(decide(goal, cluster, now), |action| match action {
        Action::Uncordon(_) if !whole => None,
        action => Some(action),
    })
}

/// Asks the first node for `a` before `b`, and the second one for `b` before `a`.
fn crosses(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    change_actions(decide(goal, cluster, now), |action| match action {
        Action::Evict { pod, .. } => {
            let pod = cluster.pod(pod);
            let (first, of_a) = (pod.node == Some(NodeId(0)), pod.name.starts_with("a-"));
            let asked = cluster.pods().any(|(_, other)| {
                other.node == pod.node
                    && other.name.starts_with(if first { "a-" } else { "b-" })
                    && (other.gone || other.deletion.is_some())
            });
            (first == of_a || asked).then_some(action)
        }
        action => Some(action),
    })
}

fn evicts_daemons(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    let mut decision = decide(goal, cluster, now);
    let drains = decision.actions.iter().find_map(|action| match action {
        Action::BeginDrain(node) => Some(*node),
        _ => None,
    });
    if let Some(node) = drains {
        let daemons = cluster.pods_of_node(node).iter().filter(|&&pod| is_of_daemon_set(cluster, pod));
        decision.actions.extend(daemons.map(|&pod| Action::Evict { pod, grace_seconds: None }));
    }
    decision
}

/// Takes every node in hand for cordoned.
fn never_cordons(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    let decision = decide(goal, &with_nodes(cluster, |node| node.unschedulable |= node.marks.started.is_some()), now);
    change_actions(decision, |action| match action {
        Action::Cordon(_) => None,
        action => Some(action),
    })
}

fn forces(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    decide(&Goal { force: true, ..goal.clone() }, cluster, now)
}

fn drops_data(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    decide(&Goal { delete_emptydir_data: true, ..goal.clone() }, cluster, now)
}

fn forgets_a_node(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    let mut goal = goal.clone();
    goal.skip.insert("w2".into());
    decide(&goal, cluster, now)
}

fn done_early(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    if cluster.nodes().any(|(_, node)| matches!(node.marks.outcome, Some((NodeOutcome::Done, _)))) {
        return Decision { outcome: Some(Outcome::Done), ..Decision::default() };
    }
    decide(goal, cluster, now)
}

/// Remembers no refusal.
fn hot_retries(goal: &Goal, cluster: &Cluster, now: Time) -> Decision {
    let mut seen = cluster.clone();
    seen.run.refusals.clear();
    decide(goal, &seen, now)
}

fn act(action: Action) -> Decision {
    Decision { actions: vec![action], ..Decision::default() }
}

fn change_actions(mut decision: Decision, change: impl FnMut(Action) -> Option<Action>) -> Decision {
    decision.actions = decision.actions.into_iter().filter_map(change).collect();
    decision
}

/// The cluster as a planner with a wrong idea of its nodes sees it.
fn with_nodes(cluster: &Cluster, change: impl Fn(&mut cmsim::cluster::Node)) -> Cluster {
    let mut seen = cluster.clone();
    for index in 0..cluster.nodes().len() {
        seen.update_node(NodeId(index as u32), &change);
    }
    seen
}

fn workloads_of_kind(cluster: &Cluster, is: impl Fn(&Detail) -> bool) -> Vec<cmsim::cluster::WorkloadId> {
    cluster.workloads().filter(|(_, workload)| is(&workload.detail)).map(|(id, _)| id).collect()
}

fn is_of_daemon_set(cluster: &Cluster, pod: PodId) -> bool {
    matches!(cluster.pod(pod).owner, Owner::Workload(owner) if cluster.workload(owner).as_daemon_set().is_some())
}
