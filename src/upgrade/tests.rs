//! Every gate and every reason on small clusters.

use crate::cluster::{
    Backup, BudgetStatus, HostJob, Lock, Millis, Name, NodeOutcome, Owner, PodId, Readiness, Refusal, Routing, Time,
    Version, Volume,
};

use super::fixture::{NEW, OLD, Town, reasons};
use super::{Accepted, Action, Decision, Describe, OnBlocked, Outcome, Pacing, Reason, Settle};

fn evicted(decision: &Decision) -> Vec<PodId> {
    let pod = |action: &Action| match *action {
        Action::Evict { pod, .. } | Action::Delete { pod, .. } => vec![pod],
        Action::TakeLock
        | Action::BackUp
        | Action::Begin(_)
        | Action::StopRouting(_)
        | Action::Cordon(_)
        | Action::BeginDrain(_)
        | Action::ForceOn(_)
        | Action::UpgradeHost { .. }
        | Action::Uncordon(_)
        | Action::ResumeRouting(_)
        | Action::End { .. }
        | Action::NextHop(_)
        | Action::Halt
        | Action::ReleaseLock => Vec::new(),
    };
    decision.actions.iter().flat_map(pod).collect()
}

fn is_evict(action: &Action) -> bool {
    matches!(action, Action::Evict { .. })
}

fn is_upgrade(action: &Action) -> bool {
    matches!(action, Action::UpgradeHost { .. })
}

fn stopped(decision: &Decision) -> &[Reason] {
    match &decision.outcome {
        Some(Outcome::Stopped(reasons)) => reasons,
        other => panic!("not stopped: {other:?} {decision:?}"),
    }
}

/// The eviction of a pod was refused just now, in a drain that has begun.
fn refuse(town: &mut Town, pod: PodId, code: u16, retry_after_seconds: u32) {
    let refusal = Refusal { at: town.now, code, retry_after_seconds, message: "no".into(), count: 1 };
    let node = town.cluster.pod(pod).node.expect("a bound pod");
    town.carry_out(Action::BeginDrain(node));
    town.cluster.run.refusals.push((pod, refusal));
    town.cluster.run.refusals.sort_by_key(|entry| entry.0);
}

/// Three applications with two replicas, nothing special.
fn calm() -> Town {
    let mut town = Town::new(3);
    town.app("web", &["n1", "n2"]);
    town.app("api", &["n2", "n3"]);
    town
}

#[test]
fn one_node_goes_the_whole_way() {
    let mut town = calm();
    let n1 = town.at("n1");
    let decision = town.run_until(|action| matches!(action, Action::Begin(_)));
    assert_eq!(decision.actions, [Action::Begin(n1), Action::StopRouting(n1), Action::Cordon(n1)]);
    assert_eq!((town.cluster.run.lock, town.cluster.run.backup), (Lock::Ours, Backup::Verified));
    let pod = town.find("web-0");
    let decision = town.run_until(is_evict);
    assert_eq!(decision.actions, [Action::BeginDrain(n1), Action::Evict { pod, grace_seconds: None }]);
    assert_eq!(reasons(&town.run()), [&Reason::Terminating(pod)], "accepted is not gone");
    town.let_go();
    let decision = town.run_until(is_upgrade);
    assert_eq!(decision.actions, [Action::UpgradeHost { node: n1, to: NEW }]);
    assert_eq!(reasons(&town.run()), [&Reason::HostBusy(n1)]);
    town.hosts_end(NEW);
    let decision = town.decide();
    assert_eq!(decision.actions, [Action::Uncordon(n1), Action::ResumeRouting(n1)]);
    let settling = town.run();
    assert!(matches!(reasons(&settling)[..], [Reason::Settling { ready: 1, wanted: 2, .. }]), "{settling:?}");
    town.replace("web", "web-2", "n3");
    let decision = town.decide();
    assert_eq!(decision.actions, [Action::End { node: n1, outcome: NodeOutcome::Done },]);
    let _ = town.run_until(|action| *action == Action::Begin(town_node(1)));
}

fn town_node(index: u32) -> crate::cluster::NodeId {
    crate::cluster::NodeId(index)
}

#[test]
fn a_cluster_at_its_target_is_done_at_once() {
    let mut town = calm();
    town.goal.to = OLD;
    town.cluster.api_server = Some(OLD);
    let decision = town.decide();
    assert_eq!(decision, Decision { outcome: Some(Outcome::Done), ..Decision::default() });
}

#[test]
fn the_end_gives_the_lock_back() {
    let mut town = calm();
    town.goal.only = [Name::new("n1")].into();
    town.goal.settle = Settle::None;
    let _ = town.run_until(is_evict);
    let _ = town.run();
    town.let_go();
    let _ = town.run();
    town.hosts_end(NEW);
    let decision = town.run();
    assert_eq!(decision.outcome, Some(Outcome::Done));
    assert_eq!(decision.actions, [Action::ReleaseLock]);
}

#[test]
fn lock() {
    let mut town = calm();
    assert_eq!(town.decide().actions, [Action::TakeLock]);
    town.cluster.run.lock = Lock::Unknown;
    assert_eq!(reasons(&town.decide()), [&Reason::LockUnknown]);
    let (holder, since) = ("host-a".into(), Time(5_000));
    town.cluster.run.lock = Lock::Other { holder, since };
    let decision = town.decide();
    assert_eq!(stopped(&decision), [Reason::LockHeld { holder, since }]);
    assert!(decision.actions.is_empty(), "nothing is written under somebody else's lock");
    let text = stopped(&decision)[0].describe(&town.cluster);
    assert_eq!(text, "host-a holds the upgrade lock of this cluster since 1970-01-01T00:00:05Z");
}

#[test]
fn backup() {
    let mut town = calm();
    town.cluster.run.lock = Lock::Ours;
    assert_eq!(town.decide().actions, [Action::BackUp]);
    town.cluster.run.backup = Backup::Running { since: town.now };
    let decision = town.decide();
    assert_eq!(reasons(&decision), [&Reason::BackupRunning]);
    assert_eq!(decision.waiting[0].deadline, Some(town.now + town.goal.host_timeout));
    town.later(30 * 60);
    assert_eq!(stopped(&town.decide()), [Reason::TimeSpent(Box::new(Reason::BackupRunning))]);
    town.cluster.run.backup = Backup::Failed;
    assert_eq!(stopped(&town.decide()), [Reason::BackupFailed]);
}

#[test]
fn versions() {
    let problem = |town: &Town| match stopped(&town.decide()) {
        [Reason::VersionPath { problem, .. }] => problem.to_string(),
        other => panic!("{other:?}"),
    };
    let mut town = calm();
    town.goal.lock = false;
    town.cluster.api_server = Some(OLD);
    assert_eq!(problem(&town), "the control plane is older, and its nodes are not taken");
    town.cluster.api_server = Some(Version::new(41, 0));
    assert_eq!(problem(&town), "kubelets would be too old for the control plane");
    town.cluster.api_server = Some(Version::new(38, 0));
    assert_eq!(town.decide().actions, [Action::BackUp], "workers may stay behind a newer control plane");
    let m1 = town.node("m1", true);
    town.cluster.update_node(m1, |node| (node.control_plane, node.kubelet) = (Some(Version::new(38, 0)), Some(NEW)));
    assert_eq!(problem(&town), "a rolling upgrade does not go back to an older minor");
    town.goal.skip = [Name::new("m1")].into();
    town.cluster.update_node(m1, |node| node.control_plane = Some(NEW));
    let n2 = town.at("n2");
    town.cluster.update_node(n2, |node| node.kubelet = Some(Version::new(38, 1)));
    assert_eq!(problem(&town), "the kubelet of node n2 already runs v1.38.1");
    town.cluster.update_node(n2, |node| node.kubelet = None);
    town.goal.order = vec!["n2".into()];
    let decision = town.run();
    assert!(matches!(reasons(&decision)[..], [Reason::Unknown { node: Some(_), .. }]), "{decision:?}");
}

/// Takes every node through its maintenance and notes what its host was asked for.
fn upgrades(town: &mut Town) -> Vec<(String, Version)> {
    let mut upgrades = Vec::new();
    for _ in 0..500 {
        let decision = town.decide();
        for action in &decision.actions {
            town.carry_out(*action);
            if let Action::UpgradeHost { node, to } = *action {
                upgrades.push((town.cluster.node(node).name().to_string(), to));
                town.hosts_end(to);
            }
        }
        if let Some(outcome) = decision.outcome {
            assert_eq!(outcome, Outcome::Done);
            return upgrades;
        }
        town.let_go();
        assert!(!decision.actions.is_empty(), "{decision:?}");
    }
    panic!("no end: {upgrades:?}");
}

#[test]
fn the_control_plane_goes_first_and_minor_by_minor() {
    let mut town = Town::new(1);
    town.node("m2", true);
    town.node("m1", true);
    town.goal.to = Version::new(38, 1);
    town.goal.via = vec![NEW];
    let expected = [("m1", NEW), ("m2", NEW), ("m1", town.goal.to), ("m2", town.goal.to), ("n1", town.goal.to)];
    assert_eq!(upgrades(&mut town), expected.map(|(name, version)| (name.to_owned(), version)));
    assert_eq!(town.cluster.run.hop, Some(Version::new(38, 1)));
    assert_eq!((town.goal.way(OLD), town.goal.way(NEW)), (vec![NEW], Vec::new()));
}

#[test]
fn kubelets_that_are_too_old_go_in_between() {
    let mut town = Town::new(2);
    town.node("m1", true);
    let n2 = town.at("n2");
    town.cluster.update_node(n2, |node| node.kubelet = Some(Version::new(33, 0)));
    let expected = [("n2", OLD), ("m1", NEW), ("n1", NEW), ("n2", NEW)];
    assert_eq!(upgrades(&mut town), expected.map(|(name, version)| (name.to_owned(), version)));
    let mut town = Town::new(2);
    town.node("m1", true);
    town.cluster.update_node(n2, |node| node.kubelet = Some(Version::new(33, 0)));
    town.goal.skip = [Name::new("n2")].into();
    town.goal.lock = false;
    let decision = town.decide();
    let [Reason::VersionPath { problem, .. }] = stopped(&decision) else { panic!("{decision:?}") };
    assert_eq!(*problem, "the kubelet of node n2 is too old for v1.37.2, and the node is not taken");
}

#[test]
fn members_of_the_control_plane_go_one_by_one() {
    let mut town = Town::new(3);
    town.node("m1", true);
    town.node("m2", true);
    town.goal.nodes_at_once = 2;
    let begins =
        |decision: &Decision| decision.actions.iter().filter(|action| matches!(action, Action::Begin(_))).count();
    assert_eq!(begins(&town.run_until(|action| matches!(action, Action::Begin(_)))), 1);
    for _ in 0..2 {
        let _ = town.run();
        town.hosts_end(NEW);
    }
    assert_eq!(begins(&town.run_until(|action| matches!(action, Action::Begin(id) if id.0 < 3))), 2, "workers");
}

#[test]
fn order_selection_and_number_of_nodes() {
    let names = |town: &mut Town| upgrades(town).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let mut town = Town::new(4);
    town.goal.order = vec!["n3".into()];
    assert_eq!(names(&mut town), ["n3", "n1", "n2", "n4"]);
    let mut town = Town::new(4);
    town.goal.skip = [Name::new("n2")].into();
    town.goal.max_nodes = Some(2);
    assert_eq!(names(&mut town), ["n1", "n3"]);
}

#[test]
fn pause_and_batches() {
    let mut town = Town::new(4);
    town.goal.pause = Millis::secs(60);
    town.goal.only = ["n1", "n2"].map(Name::new).into();
    let _ = town.run();
    town.hosts_end(NEW);
    let decision = town.run();
    assert_eq!(reasons(&decision), [&Reason::Pause]);
    assert_eq!(decision.waiting[0].until, Some(town.now + Millis::secs(60)));
    town.later(60);
    assert!(matches!(town.decide().actions[0], Action::Begin(_)));

    let mut town = Town::new(4);
    town.goal.nodes_at_once = 2;
    town.goal.batches = true;
    let _ = town.run();
    assert_eq!(town.cluster.nodes_under_maintenance().len(), 2);
    let n1 = town.at("n1");
    town.cluster.update_node(n1, |node| {
        node.job = HostJob::Succeeded;
        node.kubelet = Some(NEW);
    });
    let decision = town.run();
    assert_eq!(town.cluster.nodes_under_maintenance().len(), 1, "a place is free, the batch is not over: {decision:?}");
    town.goal.batches = false;
    assert!(town.decide().actions.iter().any(|action| matches!(action, Action::Begin(_))));
}

#[test]
fn pods_that_nothing_brings_back_refuse_before_anything_is_changed() {
    let mut town = calm();
    let solo = town.bare("solo", "n3");
    let n3 = town.at("n3");
    let _ = town.decide();
    town.cluster.run.lock = Lock::Ours;
    let decision = town.decide();
    assert_eq!(stopped(&decision), [Reason::Unmanaged(n3, vec![solo])]);
    assert_eq!(decision.actions, [Action::Halt, Action::ReleaseLock]);
    let text = stopped(&decision)[0].describe(&town.cluster);
    assert_eq!(
        text,
        "cannot delete Pods that declare no controller (use --force to override) on node n3: solo in default"
    );
    town.goal.force = true;
    assert_eq!(town.decide().actions, [Action::BackUp]);
}

#[test]
fn refusals_of_the_filters() {
    let mut town = calm();
    town.goal.refuse_early = false;
    let n1 = town.at("n1");
    let missing = Owner::Missing { kind: "ReplicaSet".into(), name: "lost".into() };
    let template = town.template("lost", |_| {});
    let lost = town.pod("lost-0", template, missing, Some(n1));
    let template = town.template("cache", |spec| spec.volumes.push(Volume::EmptyDir));
    let other = Owner::Missing { kind: "Rollout".into(), name: "cache".into() };
    let cache = town.pod("cache-0", template, other, Some(n1));
    let daemon = town.daemon("agent", &["n1", "n2"], false);
    town.goal.ignore_daemonsets = false;
    let decision = town.run();
    let expected = [
        Reason::Unmanaged(n1, vec![lost]),
        Reason::EmptyDir(n1, vec![cache]),
        Reason::DaemonSetPods(n1, vec![town.find("agent-n1")]),
    ];
    assert_eq!(stopped(&decision), expected);
    assert!(evicted(&decision).is_empty());
    assert!(!town.cluster.node(n1).unschedulable, "the node was put back");
    town.cluster.update_workload(daemon, |workload| workload.deleted = true);
    town.goal.delete_emptydir_data = true;
    town.goal.ignore_daemonsets = true;
    town.cluster.begin_again();
    let decision = town.run();
    let orphans = Reason::OrphanedDaemonSetPods(n1, vec![town.find("agent-n1")]);
    assert_eq!(stopped(&decision), [Reason::Unmanaged(n1, vec![lost]), orphans]);
    town.goal.force = true;
    town.cluster.begin_again();
    assert_eq!(evicted(&town.run_until(is_evict)).len(), 4);
}

#[test]
fn daemon_set_and_mirror_pods_stay_and_finished_pods_go() {
    let mut town = calm();
    town.daemon("agent", &["n1"], false);
    let mirror = town.bare("kube-proxy-n1", "n1");
    town.cluster.update_pod(mirror, |pod| {
        pod.mirror = true;
        pod.owner = Owner::Node;
    });
    let finished = town.bare("done", "n1");
    town.cluster.update_pod(finished, |pod| {
        pod.phase = crate::cluster::Phase::Succeeded;
        pod.ready = false;
    });
    assert_eq!(evicted(&town.run_until(is_evict)), [finished, town.find("web-0")]);
}

#[test]
fn two_budgets_are_named_before_anything_is_evicted() {
    let mut town = calm();
    town.budget("one", "web", 1, 2, 2);
    town.budget("two", "web", 1, 2, 2);
    town.goal.lock = false;
    let pod = town.find("web-0");
    let decision = town.decide();
    assert_eq!(stopped(&decision)[0], Reason::SeveralBudgets { pod, message: Name::EMPTY });
    let text = stopped(&decision)[0].describe(&town.cluster);
    assert!(text.ends_with("does not support (one, two)"), "{text}");
    town.goal.pacing = Pacing::Budgets;
    assert_eq!(evicted(&town.run_until(is_evict)), [pod], "kubectl asks");
    refuse(&mut town, pod, 500, 0);
    assert!(matches!(stopped(&town.decide())[..], [Reason::SeveralBudgets { .. }]), "kubectl gives the pod up");
}

#[test]
fn never_two_pods_past_a_budget() {
    let mut town = Town::new(2);
    town.app("web", &["n1", "n1", "n1", "n2"]);
    let budget = town.budget("web", "web", 3, 4, 4);
    let decision = town.run_until(is_evict);
    assert_eq!(evicted(&decision), [town.find("web-0")], "one is allowed, one is asked for");
    for action in &decision.actions {
        town.carry_out(*action);
    }
    town.cluster.update_budget_status(budget, |status| status.disruptions_allowed = 0);
    let decision = town.run();
    let [web_0, web_1, web_2] = ["web-0", "web-1", "web-2"].map(|name| town.find(name));
    let refused = |pod| Reason::Budget { pod, budget: Some(budget), message: Name::EMPTY };
    assert_eq!(reasons(&decision), [&Reason::Terminating(web_0), &refused(web_1), &refused(web_2)]);
    town.cluster.update_budget_status(budget, |status| {
        *status = BudgetStatus { current_healthy: 3, desired_healthy: 3, ..status.clone() };
    });
    assert_eq!(
        refused(web_1).describe(&town.cluster),
        "pod default/Pod/web-1 cannot be evicted now: The disruption budget web needs 3 healthy pods and has 3 currently"
    );
}

#[test]
fn a_stale_budget_means_wait_and_an_unready_pod_may_go_past_a_met_one() {
    let mut town = Town::new(2);
    town.app("web", &["n1", "n2"]);
    let budget = town.budget("web", "web", 1, 2, 2);
    town.cluster.update_budget(budget, |budget| budget.generation = 2);
    let decision = town.run();
    let [reason] = reasons(&decision)[..] else { panic!("{decision:?}") };
    assert!(reason.describe(&town.cluster).ends_with("is still being processed by the server."));
    let pod = town.find("web-0");
    town.cluster.update_pod(pod, |pod| pod.ready = false);
    town.cluster.update_budget_status(budget, |status| (status.current_healthy, status.disruptions_allowed) = (1, 0));
    assert_eq!(evicted(&town.decide()), [pod], "KUBERNETES.md A9");
    town.cluster.update_budget_status(budget, |status| status.current_healthy = 0);
    assert!(evicted(&town.decide()).is_empty(), "KUBERNETES.md A10");
    town.cluster.update_budget(budget, |budget| budget.always_allow_unhealthy = true);
    assert_eq!(evicted(&town.decide()), [pod], "KUBERNETES.md A8");
}

#[test]
fn a_refused_eviction_is_asked_for_again_after_its_time() {
    for (pacing, retry_after, seconds) in
        [(Pacing::Floors, 0, 5), (Pacing::Floors, 10, 10), (Pacing::Budgets, 0, 5), (Pacing::Serial, 0, 5)]
    {
        let mut town = calm();
        town.goal.pacing = pacing;
        let _ = town.run_until(is_evict);
        let pod = town.find("web-0");
        refuse(&mut town, pod, 429, retry_after);
        let decision = town.decide();
        assert!(evicted(&decision).is_empty());
        let waiting = decision.waiting.iter().find(|waiting| waiting.until.is_some()).expect("a time to look again");
        assert_eq!(waiting.until, Some(town.now + Millis::secs(seconds)));
        assert_eq!(waiting.reason, Reason::Budget { pod, budget: None, message: "no".into() });
        town.later(seconds);
        assert!(evicted(&town.decide()).contains(&pod));
    }
}

#[test]
fn other_answers() {
    let mut town = calm();
    let pod = town.find("web-0");
    let _ = town.run_until(is_evict);
    refuse(&mut town, pod, 504, 0);
    let decision = town.decide();
    assert_eq!(reasons(&decision), [&Reason::EvictionError { pod, code: 504, message: "no".into() }]);
    town.goal.pacing = Pacing::Budgets;
    let decision = town.decide();
    assert_eq!(stopped(&decision), [Reason::EvictionError { pod, code: 504, message: "no".into() }], "F.5");
}

#[test]
fn one_after_the_other_where_both_replicas_share_a_node() {
    let mut town = Town::new(2);
    let web = town.app("web", &["n1", "n1"]);
    let decision = town.run_until(is_evict);
    let (first, second) = (town.find("web-0"), town.find("web-1"));
    assert_eq!(evicted(&decision), [first]);
    let decision = town.run();
    let floor = Reason::Floor { pod: second, workload: web, ready: 1, floor: 1 };
    assert_eq!(reasons(&decision), [&Reason::Terminating(first), &floor]);
    assert_eq!(
        floor.describe(&town.cluster),
        "evicting pod default/Pod/web-1 would leave default/Deployment/web with 0 ready pods, its floor is 1; a replacement \
         is on its way"
    );
    town.let_go();
    let decision = town.run();
    assert_eq!(reasons(&decision), [&floor], "its controller is about to create the replacement");
    let pending = town.replace("web", "web-2", "n2");
    town.cluster
        .update_pod(pending, |pod| (pod.node, pod.phase, pod.ready) = (None, crate::cluster::Phase::Pending, false));
    assert_eq!(reasons(&town.run()), [&floor], "the scheduler has not tried yet");
    let n2 = town.at("n2");
    let now = town.now;
    town.cluster.update_pod(pending, |pod| {
        (pod.node, pod.phase, pod.started) = (Some(n2), crate::cluster::Phase::Running, Some(now));
    });
    let decision = town.run();
    assert_eq!(reasons(&decision), [&floor], "it starts");
    assert_eq!(decision.waiting[0].until, Some(now + Millis::secs(600)), "but not for ever");
    town.cluster.update_pod(pending, |pod| pod.ready = true);
    assert_eq!(evicted(&town.decide()), [second]);
}

#[test]
fn where_waiting_cannot_help_the_operator_decides() {
    let mut town = Town::new(2);
    let web = town.app("web", &["n1"]);
    let pod = town.find("web-0");
    town.goal.accepted_disruptions = Accepted::Named(Default::default());
    let decision = town.run();
    assert_eq!(stopped(&decision), [Reason::NotAccepted { pod, workload: Some(web) }]);
    town.cluster.begin_again();
    town.goal.accepted_disruptions = Accepted::Named(["default/Deployment/web".to_owned()].into());
    assert_eq!(evicted(&town.run_until(is_evict)), [pod]);

    // Two replicas; the replacement of the first fits nowhere, or crashes.
    for stuck in [false, true] {
        let mut town = Town::new(2);
        let web = town.app("web", &["n1", "n1"]);
        let _ = town.run();
        town.let_go();
        town.later(60);
        let pending = town.replace("web", "web-2", "n2");
        town.cluster.update_pod(pending, |pod| {
            pod.ready = false;
            if stuck {
                pod.stuck = "CrashLoopBackOff".into();
            } else {
                (pod.node, pod.phase, pod.unschedulable) = (None, crate::cluster::Phase::Pending, true);
            }
        });
        let second = town.find("web-1");
        assert_eq!(evicted(&town.decide()), [second], "check goes on and sees the whole sequence");
        town.goal.accepted_disruptions = Accepted::Named(Default::default());
        assert_eq!(stopped(&town.decide()), [Reason::NotAccepted { pod: second, workload: Some(web) }]);
    }
}

#[test]
fn floors_of_services_and_of_the_plan() {
    // Two applications with a replica each behind one Service, both on n1.
    let mut town = Town::new(2);
    let spec = town.template("shop", |_| {});
    for (name, owner) in [("a", "shop-a"), ("b", "shop-b")] {
        let other = Owner::Missing { kind: "Rollout".into(), name: owner.into() };
        let n1 = Some(town.at("n1"));
        town.pod(name, spec, other, n1);
    }
    let service = town.service("shop");
    let decision = town.run_until(is_evict);
    assert_eq!(evicted(&decision), [town.find("a")]);
    let decision = town.run();
    let (pod, ready, floor) = (town.find("b"), 1, 1);
    assert!(reasons(&decision).contains(&&Reason::ServiceFloor { pod, service, ready, floor }), "{decision:?}");

    let mut town = Town::new(3);
    let web = town.app("web", &["n1", "n1", "n2", "n3"]);
    town.goal.floors = [("default/Deployment/web".to_owned(), 3)].into();
    let decision = town.run_until(is_evict);
    assert_eq!(evicted(&decision), [town.find("web-0")]);
    let decision = town.run();
    let floor = Reason::Floor { pod: town.find("web-1"), workload: web, ready: 3, floor: 3 };
    assert!(reasons(&decision).contains(&&floor), "{decision:?}");
}

#[test]
fn an_unready_pod_of_a_degraded_workload_takes_nothing_away() {
    let mut town = Town::new(2);
    town.app("web", &["n1", "n2"]);
    town.goal.accepted_disruptions = Accepted::Named(Default::default());
    for name in ["web-0", "web-1"] {
        let pod = town.find(name);
        town.cluster.update_pod(pod, |pod| (pod.ready, pod.stuck) = (false, "ImagePullBackOff".into()));
    }
    assert_eq!(evicted(&town.run_until(is_evict)), [town.find("web-0")]);
}

#[test]
fn jobs_have_no_floor() {
    let mut town = Town::new(2);
    let pod = town.job("import", "n1");
    town.goal.accepted_disruptions = Accepted::Named(Default::default());
    assert_eq!(evicted(&town.run_until(is_evict)), [pod]);
}

#[test]
fn pacings() {
    let mut town = Town::new(2);
    town.app("web", &["n1", "n1"]);
    town.goal.pacing = Pacing::Budgets;
    assert_eq!(evicted(&town.run_until(is_evict)).len(), 2, "all pods of the node at once");
    let mut town = Town::new(2);
    town.app("web", &["n1", "n1", "n1"]);
    town.goal.pacing = Pacing::Serial;
    assert_eq!(evicted(&town.run_until(is_evict)), [town.find("web-0")]);
    let decision = town.run();
    let turns = [Reason::Terminating(town.find("web-0")), Reason::Turn(town.find("web-1"))];
    assert_eq!(reasons(&decision)[..2], turns.iter().collect::<Vec<_>>());
    town.let_go();
    assert_eq!(evicted(&town.decide()), [town.find("web-1")]);
}

#[test]
fn grace_period_disable_eviction_and_skip_wait() {
    let mut town = calm();
    town.goal.grace_period = Some(10);
    town.goal.disable_eviction = true;
    let pod = town.find("web-0");
    assert!(
        town.run_until(|action| matches!(action, Action::Delete { .. }))
            .actions
            .contains(&Action::Delete { pod, grace_seconds: Some(10) })
    );
    // Somebody else deleted it with a longer grace period: it is hurried, once.
    let since = town.now;
    town.cluster.update_pod(pod, |pod| pod.deletion = Some(crate::cluster::Deletion { since, grace_seconds: 30 }));
    assert_eq!(evicted(&town.decide()), [pod]);
    let decision = town.run();
    assert_eq!(reasons(&decision), [&Reason::Terminating(pod)]);
    town.goal.skip_wait_for_delete = Some(Millis::secs(5));
    let decision = town.decide();
    let until = decision.waiting[0].until.expect("a time to look again");
    assert_eq!(until, since + Millis::secs(15) + Millis(1), "deletionTimestamp lies a grace period ahead (F.3)");
    town.now = until;
    assert!(town.decide().actions.iter().any(is_upgrade), "not waited for any more");
}

#[test]
fn drain_timeout() {
    for on_blocked in [OnBlocked::Stop, OnBlocked::Uncordon, OnBlocked::Continue] {
        let mut town = calm();
        town.goal.on_blocked = on_blocked;
        town.goal.settle = Settle::None;
        let (n1, pod) = (town.at("n1"), town.find("web-0"));
        let decision = town.run();
        let deadline = town.now + town.goal.drain_timeout;
        assert_eq!(decision.waiting[0].deadline, Some(deadline));
        town.now = deadline - Millis(1);
        assert!(town.decide().actions.is_empty());
        town.now = deadline;
        let decision = town.decide();
        let put_back = [Action::Uncordon(n1), Action::ResumeRouting(n1)];
        let end = Action::End { node: n1, outcome: NodeOutcome::Blocked };
        match on_blocked {
            OnBlocked::Stop => {
                assert_eq!(stopped(&decision), [Reason::DrainTimeout(n1), Reason::Terminating(pod)]);
                assert_eq!(decision.actions, [&put_back[..], &[end, Action::Halt, Action::ReleaseLock]].concat());
            }
            OnBlocked::Uncordon => {
                assert_eq!(decision.actions, put_back);
                put_back.into_iter().for_each(|action| town.carry_out(action));
                assert_eq!(town.decide().actions, [end]);
                town.carry_out(end);
                assert_eq!(town.decide().actions[0], Action::Begin(town.at("n2")));
            }
            OnBlocked::Continue => {
                assert_eq!(decision.actions, [Action::ForceOn(n1)]);
                town.carry_out(Action::ForceOn(n1));
                assert_eq!(town.decide().actions, [Action::UpgradeHost { node: n1, to: NEW }]);
            }
        }
    }
    let mut town = calm();
    town.goal.drain_timeout = Millis(0);
    let decision = town.run();
    assert_eq!(decision.waiting[0].deadline, None, "for ever");
}

#[test]
fn a_stopped_run_stays_stopped_until_the_command_is_given_again() {
    let mut town = calm();
    let n1 = town.at("n1");
    let _ = town.run();
    town.later(30 * 60);
    let _ = town.run();
    assert!(town.cluster.run.stopped);
    assert_eq!(town.cluster.nodes_put_back(), [n1]);
    let decision = town.decide();
    assert!(stopped(&decision).contains(&Reason::DrainTimeout(n1)));
    assert!(decision.actions.is_empty());
    // The application is corrected, the same command runs again (M19).
    town.let_go();
    town.replace("web", "web-2", "n1");
    town.cluster.begin_again();
    town.cluster.run.lock = Lock::Free;
    assert_eq!(town.run_until(|action| matches!(action, Action::Begin(_))).actions[0], Action::Begin(n1));
}

#[test]
fn a_crash_while_putting_back_ends_in_the_same_stop() {
    let mut town = calm();
    let n1 = town.at("n1");
    let _ = town.run();
    town.later(30 * 60);
    town.carry_out(town.decide().actions[0]);
    let decision = town.decide();
    assert_eq!(decision.actions, [Action::ResumeRouting(n1)]);
    town.goal.settle = Settle::None;
    let decision = town.run();
    assert!(stopped(&decision).contains(&Reason::DrainTimeout(n1)), "{decision:?}");
}

#[test]
fn the_operators_own_cordon_and_routing_stay() {
    let mut town = calm();
    town.goal.settle = Settle::None;
    let n1 = town.at("n1");
    town.cluster.update_node(n1, |node| (node.unschedulable, node.routing) = (true, Routing::Stopped));
    let decision = town.run_until(|action| matches!(action, Action::Begin(_)));
    assert_eq!(decision.actions, [Action::Begin(n1)]);
    let _ = town.run();
    town.let_go();
    let _ = town.run();
    town.hosts_end(NEW);
    assert_eq!(town.decide().actions, [Action::End { node: n1, outcome: NodeOutcome::Done }]);
}

#[test]
fn somebody_uncordons_in_mid_drain() {
    let mut town = calm();
    let n1 = town.at("n1");
    let _ = town.run();
    town.cluster.update_node(n1, |node| node.unschedulable = false);
    assert_eq!(town.decide().actions, [Action::Cordon(n1)]);
    town.let_go();
    let _ = town.run();
    town.hosts_end(NEW);
    town.carry_out(Action::Uncordon(n1));
    town.cluster.update_node(n1, |node| node.unschedulable = true);
    let decision = town.decide();
    assert_eq!(decision.actions, [Action::ResumeRouting(n1)], "cordoned after the run uncordoned it: left as it is");
}

#[test]
fn hosts() {
    let mut town = calm();
    let n1 = town.at("n1");
    let _ = town.run();
    town.let_go();
    let decision = town.run();
    assert_eq!(decision.waiting[0].deadline, Some(town.now + town.goal.host_timeout));
    let mut failed = town.cluster.clone();
    failed.update_node(n1, |node| node.job = HostJob::Failed);
    let decision = super::decide(&town.goal, &failed, town.now);
    assert_eq!(stopped(&decision), [Reason::HostFailed(n1)]);
    assert_eq!(decision.actions, [Action::Halt, Action::ReleaseLock], "a host that was touched is not put back");
    failed.run.stopped = true;
    assert_eq!(stopped(&super::decide(&town.goal, &failed, town.now)), [Reason::HostFailed(n1)]);
    failed.begin_again();
    let decision = super::decide(&town.goal, &failed, town.now);
    assert_eq!(decision.actions, [Action::UpgradeHost { node: n1, to: NEW }]);
    town.later(30 * 60);
    assert_eq!(stopped(&town.decide()), [Reason::TimeSpent(Box::new(Reason::HostBusy(n1)))]);
}

#[test]
fn a_node_is_back_when_it_and_its_services_are_ready() {
    let mut town = calm();
    let proxy = town.daemon("kube-proxy", &["n1", "n2"], true);
    town.daemon("logs", &["n1"], false);
    let n1 = town.at("n1");
    let _ = town.run();
    town.let_go();
    let _ = town.run();
    town.hosts_end(NEW);
    let coming = Reason::NodeComingUp(n1);
    for change in [
        |node: &mut crate::cluster::Node| node.ready = Readiness::NotReady,
        |node: &mut crate::cluster::Node| node.kubelet = Some(OLD),
        |node: &mut crate::cluster::Node| {
            node.taints.push(crate::cluster::Taint {
                key: "node.kubernetes.io/not-ready".into(),
                value: Name::EMPTY,
                effect: crate::cluster::Effect::NoExecute,
            });
        },
    ] {
        let mut cluster = town.cluster.clone();
        cluster.update_node(n1, change);
        let decision = super::decide(&town.goal, &cluster, town.now);
        assert_eq!(reasons(&decision), [&coming]);
        let late = town.now + town.goal.host_timeout;
        assert_eq!(stopped(&super::decide(&town.goal, &cluster, late)), [Reason::TimeSpent(Box::new(coming.clone()))]);
    }
    let pod = town.find("kube-proxy-n1");
    let logs = town.find("logs-n1");
    town.cluster.update_pod(logs, |pod| pod.ready = false);
    for change in [|pod: &mut crate::cluster::Pod| pod.ready = false, |pod: &mut crate::cluster::Pod| pod.gone = true] {
        let mut cluster = town.cluster.clone();
        cluster.update_pod(pod, change);
        let decision = super::decide(&town.goal, &cluster, town.now);
        assert_eq!(reasons(&decision), [&Reason::NodeServiceNotReady { node: n1, workload: proxy }]);
    }
    assert_eq!(town.decide().actions[0], Action::Uncordon(n1));
}

#[test]
fn settling() {
    let mut town = calm();
    let n1 = town.at("n1");
    let _ = town.run();
    town.let_go();
    let _ = town.run();
    town.hosts_end(NEW);
    let decision = town.run();
    let settling = reasons(&decision)[0].clone();
    assert_eq!(
        settling.describe(&town.cluster),
        "default/Deployment/web has 1 of 2 ready pods back after the drain of node n1"
    );
    let mut smaller = town.cluster.clone();
    let web = smaller.top_of_pod(town.find("web-1")).expect("an owner");
    smaller.update_workload(web, |workload| workload.replicas = 1);
    let decision = super::decide(&town.goal, &smaller, town.now);
    assert_eq!(decision.actions, [Action::End { node: n1, outcome: NodeOutcome::Done }], "scaled down meanwhile");
    town.later(30 * 60);
    assert_eq!(stopped(&town.decide()), [Reason::TimeSpent(Box::new(settling))]);
    town.goal.settle = Settle::None;
    assert_eq!(town.decide().actions, [Action::End { node: n1, outcome: NodeOutcome::Done }]);
}

#[test]
fn nodes_that_are_not_ready() {
    // Not Ready when its turn comes: waited for, then the run stops, or goes on without it.
    let mut town = calm();
    let n1 = town.at("n1");
    let now = town.now;
    town.cluster.update_node(n1, |node| (node.ready, node.ready_since) = (Readiness::NotReady, now));
    let decision = town.run();
    assert_eq!(reasons(&decision), [&Reason::NodeNotReady(n1)]);
    town.now = decision.waiting[0].deadline.expect("an allowance");
    assert_eq!(stopped(&town.decide()), [Reason::TimeSpent(Box::new(Reason::NodeNotReady(n1)))]);
    town.goal.on_blocked = OnBlocked::Uncordon;
    assert_eq!(town.decide().actions[0], Action::End { node: n1, outcome: NodeOutcome::Blocked });

    // Another node, not Ready since before the run: how the operator keeps the cluster. Since then: waited for.
    let mut town = Town::new(3);
    let n3 = town.at("n3");
    town.cluster.update_node(n3, |node| node.ready = Readiness::Unknown);
    let _ = town.run();
    town.hosts_end(NEW);
    town.later(10);
    let now = town.now;
    let mut fallen = town.cluster.clone();
    let decision = town.run_until(|action| matches!(action, Action::Begin(_)));
    assert_eq!(decision.actions[0], Action::Begin(town.at("n2")));
    fallen.update_node(n3, |node| node.ready_since = now);
    town.cluster = fallen;
    assert_eq!(reasons(&town.run()), [&Reason::NodeNotReady(n3)]);
}

#[test]
fn nodes_that_go_and_come() {
    // Deleted before its host is touched: not the run's business any more.
    let mut town = calm();
    let n1 = town.at("n1");
    let _ = town.run();
    town.cluster.update_node(n1, |node| node.gone = true);
    assert_eq!(town.run_until(|action| matches!(action, Action::Begin(_))).actions[0], Action::Begin(town.at("n2")));

    // Deleted while its host is built anew: waited for, and no other node is taken.
    let mut town = calm();
    town.goal.settle = Settle::None;
    let _ = town.run();
    town.let_go();
    let _ = town.run();
    town.cluster.update_node(n1, |node| node.gone = true);
    assert_eq!(reasons(&town.run()), [&Reason::HostBusy(n1)]);
    let new = town.node("n1", false);
    town.cluster.update_node(new, |node| node.kubelet = Some(NEW));
    assert_eq!(town.decide().actions, [Action::End { node: n1, outcome: NodeOutcome::Done }]);

    // Added during the run: taken when its turn comes.
    let mut town = Town::new(1);
    let _ = town.run();
    town.node("n0", false);
    town.hosts_end(NEW);
    assert_eq!(town.run_until(|action| matches!(action, Action::Begin(_))).actions[0], Action::Begin(town.at("n0")));
}

#[test]
fn pods_that_come_to_a_cordoned_node() {
    let mut town = calm();
    let _ = town.run();
    town.let_go();
    town.later(5);
    let now = town.now;
    let n1 = Some(town.at("n1"));
    let template = town.template("tough", |spec| {
        spec.tolerations.push(crate::cluster::Toleration {
            key: Name::EMPTY,
            exists: true,
            value: Name::EMPTY,
            effect: None,
            seconds: None,
        });
    });
    let owner = Owner::Missing { kind: "Rollout".into(), name: "tough".into() };
    let tough = town.pod("tough-1", template, owner, n1);
    town.cluster.update_pod(tough, |pod| pod.created = now);
    assert!(town.decide().actions.iter().any(is_upgrade), "it would only come back");
    let late = town.replace("web", "web-2", "n1");
    town.cluster.update_pod(late, |pod| pod.created = now);
    town.replace("web", "web-3", "n3");
    assert_eq!(evicted(&town.decide()), [late], "bound just before the cordon was seen");
}

#[test]
fn a_pod_that_loses_its_controller_in_mid_drain() {
    let mut town = Town::new(2);
    town.app("web", &["n1", "n1"]);
    let _ = town.run();
    let left = town.find("web-1");
    town.cluster.update_pod(left, |pod| pod.owner = Owner::None);
    let _ = town.run();
    town.let_go();
    let n1 = town.at("n1");
    assert_eq!(stopped(&town.run()), [Reason::Unmanaged(n1, vec![left])]);
}

#[test]
fn the_others_are_finished_before_a_stop() {
    let mut town = Town::new(3);
    town.app("web", &["n1", "n3", "n3"]);
    town.goal.nodes_at_once = 2;
    town.goal.settle = Settle::None;
    let (n1, n2) = (town.at("n1"), town.at("n2"));
    let _ = town.run();
    assert!(town.cluster.node(n2).marks.host_touched.is_some(), "n2 is empty and goes ahead");
    let deadline = town.cluster.node(n1).marks.drain_started.expect("begun") + town.goal.drain_timeout;
    town.now = deadline - Millis::secs(60);
    town.cluster.update_node(n2, |node| node.job = HostJob::Running { since: deadline });
    town.now = deadline;
    let decision = town.run();
    assert_eq!(reasons(&decision), [&Reason::HostBusy(n2)], "n1 was put back, n2 is brought to its end");
    assert_eq!(town.cluster.nodes_put_back(), [n1]);
    town.hosts_end(NEW);
    let decision = town.run();
    assert!(stopped(&decision).contains(&Reason::DrainTimeout(n1)));
    assert_eq!(town.cluster.node(n2).marks.outcome.map(|(outcome, _)| outcome), Some(NodeOutcome::Done));
}

#[test]
fn proxies_hear_of_what_is_evicted_next() {
    let mut town = Town::new(2);
    town.node("cp1", true);
    (town.cluster.run.lock, town.cluster.run.backup) = (Lock::Ours, Backup::Verified);
    let proxy = town.daemon("kube-proxy", &["cp1", "n1", "n2"], true);
    let pods = town.cluster.pods_of_workload(proxy).to_vec();
    let revise = |town: &mut Town, pod: PodId, revision: &str| {
        let mut spec = town.cluster.spec(pod).clone();
        spec.labels = spec.labels.with("controller-revision-hash".into(), revision.into());
        let spec = town.cluster.intern_spec(spec);
        town.cluster.update_pod(pod, |pod| pod.spec = spec);
    };
    pods.iter().for_each(|&pod| revise(&mut town, pod, "old"));
    let (first, now) = (town.at("cp1"), town.now);
    town.cluster.update_node(first, |node| {
        (node.kubelet, node.control_plane, node.api_since) = (Some(NEW), Some(NEW), Some(now));
        (node.marks.started, node.marks.outcome) = (Some(now), Some((NodeOutcome::Done, now)));
    });
    town.cluster.api_server = Some(NEW);
    (town.cluster.run.started, town.cluster.run.last_ended) = (Some(now), Some(now));
    revise(&mut town, pods[1], "new");
    let rolls = |decision: &Decision| reasons(decision)[..] == [&Reason::NodeServiceRolls(proxy)];
    assert!(rolls(&town.decide()), "{:?}", town.decide());
    pods.iter().for_each(|&pod| revise(&mut town, pod, "new"));
    town.cluster.update_pod(pods[2], |pod| (pod.ready, pod.created) = (false, now));
    assert!(rolls(&town.decide()), "the last one starts: {:?}", town.decide());
    town.cluster.update_pod(pods[2], |pod| pod.ready = true);
    let fresh = town.decide();
    assert_eq!(reasons(&fresh)[..], [&Reason::ApiServerFresh]);
    assert_eq!(fresh.waiting[0].until, Some(now + Millis::secs(60)));
    town.goal.settle = Settle::None;
    assert_eq!(town.decide().actions[0], Action::Begin(town.at("n1")));
    town.goal.settle = Settle::Displaced;
    town.now = now + Millis::secs(60);
    assert_eq!(town.decide().actions[0], Action::Begin(town.at("n1")));
    // A rollout that does not come to its end stops the run.
    revise(&mut town, pods[1], "old");
    town.now = now + town.goal.settle_timeout;
    assert!(matches!(town.decide().outcome, Some(Outcome::Stopped(_))), "{:?}", town.decide());
}

#[test]
fn codes_are_unique() {
    let (node, pod) = (town_node(0), PodId(0));
    let reasons = [
        Reason::LockUnknown,
        Reason::BackupRunning,
        Reason::BackupFailed,
        Reason::NodeNotReady(node),
        Reason::Terminating(pod),
        Reason::Turn(pod),
        Reason::HostBusy(node),
        Reason::HostFailed(node),
        Reason::NodeComingUp(node),
        Reason::Pause,
        Reason::DrainTimeout(node),
        Reason::TimeSpent(Box::new(Reason::Pause)),
    ];
    let codes: std::collections::BTreeSet<&str> = reasons.iter().map(Describe::code).collect();
    assert_eq!(codes.len(), reasons.len());
    assert!(codes.iter().all(|code| code.starts_with('W')));
    let mut town = calm();
    town.budget("web", "web", 1, 2, 2);
    assert!(reasons.iter().all(|reason| !reason.describe(&town.cluster).is_empty()));
}

#[test]
fn routing_that_was_stopped_in_part_is_stopped_and_resumed() {
    let mut town = calm();
    let n1 = town.at("n1");
    let _ = town.run_until(|action| matches!(action, Action::Begin(_)));
    town.carry_out(Action::Begin(n1));
    town.cluster.update_node(n1, |node| node.routing = Routing::Stopping);
    assert_eq!(town.decide().actions[0], Action::StopRouting(n1), "the rest of it is still to be done");
    // The run ends before that: what was stopped is resumed.
    town.goal.drain_timeout = Millis::secs(60);
    town.carry_out(Action::Cordon(n1));
    town.carry_out(Action::BeginDrain(n1));
    town.cluster.update_node(n1, |node| node.marks.uncordoned = Some(town.now));
    assert_eq!(town.decide().actions, [Action::ResumeRouting(n1)]);
}

#[test]
fn a_host_that_does_not_come_back_can_be_left_out() {
    let mut town = Town::new(3);
    let (n1, n2) = (town.at("n1"), town.at("n2"));
    let _ = town.run();
    town.cluster.update_node(n1, |node| (node.ready, node.ready_since) = (Readiness::Unknown, town.now));
    town.later(60 * 60);
    let decision = town.decide();
    let lost: Vec<_> = stopped(&decision).iter().filter_map(Reason::lost_node).collect();
    assert_eq!(lost, [n1], "{decision:?}");
    town.goal.skip.insert("n1".into());
    let decision = town.decide();
    assert_eq!(decision.actions[0], Action::Begin(n2), "{decision:?}");
    for _ in 0..2 {
        let _ = town.run();
        // Only hosts that the run still looks at.
        for node in ["n2", "n3"].map(|name| town.at(name)) {
            if matches!(town.cluster.node(node).job, HostJob::Running { .. }) {
                town.cluster.update_node(node, |node| (node.job, node.kubelet) = (HostJob::Succeeded, Some(NEW)));
            }
        }
    }
    let decision = town.run();
    assert_eq!(decision.outcome, Some(Outcome::Done), "{decision:?}");
    let left = town.cluster.node(n1);
    assert!(left.unschedulable && left.routing == Routing::Stopped && left.marks.outcome.is_none());
    // Wanted again, the run goes on with it.
    town.goal.skip.clear();
    town.cluster.update_node(n1, |node| {
        (node.ready, node.kubelet, node.job) = (Readiness::Ready, Some(NEW), HostJob::Succeeded)
    });
    town.carry_out(Action::TakeLock);
    assert_eq!(town.decide().actions, [Action::Uncordon(n1), Action::ResumeRouting(n1)]);
}
