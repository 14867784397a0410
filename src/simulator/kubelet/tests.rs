use std::sync::Arc;

use super::*;
use crate::cluster::{
    Access, Claim, Container, Detail, Effect, HostJob, Labels, PersistentVolume, PodSpec, PreStop, Probe, Readiness,
    ReplicaSet, Resources, Selector, Service, Taint, Timing, Toleration, Volume, WorkloadId,
};
use crate::simulator::controllers::fixture;
use crate::simulator::{Down, First, Physics, host};

fn container() -> Container {
    Container { name: "c".into(), image: "img:1".into(), ..Container::default() }
}

fn template() -> PodSpec {
    let toleration = |key: &str| Toleration {
        key: key.into(),
        exists: true,
        value: Name::EMPTY,
        effect: Some(Effect::NoExecute),
        seconds: Some(300),
    };
    PodSpec {
        tolerations: ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"].map(toleration).to_vec(),
        namespace: "default".into(),
        labels: Labels::from_iter([("app".into(), "web".into())]),
        containers: vec![container()],
        grace_seconds: 30,
        ..PodSpec::default()
    }
}

/// A cluster of nodes `n0`, `n1` ... with pods of one template, running and Ready, on the nodes given.
fn cluster(spec: PodSpec, nodes: usize, pods_on: &[u32]) -> (Cluster, WorkloadId) {
    let mut cluster = fixture::cluster(36);
    let detail = ReplicaSet { revision: 1, created: Time(0), current: true };
    let replicas = pods_on.len() as i32;
    let set = fixture::workload(&mut cluster, "ReplicaSet", "web", None, replicas, Detail::ReplicaSet(detail));
    let spec = cluster.intern_spec(spec);
    cluster.update_workload(set, |set| set.template = Some(spec));
    for index in 0..nodes {
        let node = fixture::node(&mut cluster, &format!("n{index}"));
        cluster.update_node(node, |node| {
            node.allocatable = Resources { milli_cpu: 1000, memory: 1 << 30, ..Resources::default() };
            node.kubelet = Some(Version::new(36, 3));
        });
    }
    for &node in pods_on {
        let pod = fixture::pod(&mut cluster, set, "web");
        fixture::ready(&mut cluster, pod);
        cluster.update_pod(pod, |pod| {
            pod.node = Some(NodeId(node));
            pod.started = Some(Time(0));
        });
    }
    (cluster, set)
}

fn world(cluster: Cluster, down: Down) -> World {
    let mut physics = Physics::default();
    physics.down = down;
    physics.set(Delay::Cleanup, Millis(1000), Millis(1000));
    World::new(cluster, Time(0), Arc::new(physics), &mut First)
}

fn until(world: &mut World, millis: i64) {
    while world.next().is_some_and(|(due, _)| due <= Time(millis)) {
        world.forget(|task| matches!(task, Task::Schedule));
        world.step(&mut First);
    }
    world.now = world.now.max(Time(millis));
}

const POD: PodId = PodId(0);

/// When the containers had ended and when the object was gone, in milliseconds after the deletion, and the last phase.
fn ends(spec: PodSpec) -> (i64, i64, Phase) {
    let (cluster, _) = cluster(spec, 1, &[0]);
    let mut world = world(cluster, Down::None);
    world.delete_pod(POD, None, &mut First);
    until(&mut world, 200_000);
    let at = |wanted: fn(&Event) -> bool| world.trace.iter().find(|record| wanted(&record.event)).unwrap().at.0;
    let stopped = at(|event| matches!(event, Event::PodStopped { pod: POD, cut_short: false }));
    let gone = at(|event| *event == Event::PodGone(POD));
    (stopped, gone, world.cluster.pod(POD).phase)
}

fn with_hook(seconds: i64, timing: Timing) -> PodSpec {
    let pre_stop = Some(PreStop::Sleep(Millis::secs(seconds)));
    PodSpec { containers: vec![Container { pre_stop, ..container() }], timing, ..template() }
}

#[test]
fn a_hook_consumes_the_grace_period_and_sigkill_ends_it() {
    let ignores = Timing { ignores_term: true, stop_exit_code: Some(0), ..Timing::default() };
    assert_eq!(ends(with_hook(10, ignores)), (30_000, 31_000, Phase::Failed), "E-T1");
    assert_eq!(ends(with_hook(40, ignores)), (32_000, 33_000, Phase::Failed), "E-T2");
}

#[test]
fn an_application_that_follows_sigterm_ends_early() {
    let quick = Timing { stop: Some(Millis(1000)), stop_exit_code: Some(0), ..Timing::default() };
    let spec = PodSpec { timing: quick, ..template() };
    assert_eq!(ends(spec), (1000, 2000, Phase::Succeeded), "E-T3, E-T12");
    let spec = with_hook(10, Timing { stop_exit_code: Some(0), ..quick });
    assert_eq!(ends(spec).0, 11_000);
}

#[test]
fn a_sidecar_ends_after_the_application_within_the_same_grace() {
    let sidecar = Container { name: "proxy".into(), sidecar: true, ..container() };
    let pre_stop = Some(PreStop::Sleep(Millis::secs(28)));
    let containers = vec![Container { pre_stop, ..container() }];
    let spec = PodSpec { init_containers: vec![sidecar], containers, ..template() };
    let (cluster, _) = cluster(spec, 1, &[0]);
    let mut physics = Physics::default();
    physics.set(Delay::Stop, Millis::secs(20), Millis::secs(20));
    let mut world = World::new(cluster, Time(0), Arc::new(physics), &mut First);
    world.delete_pod(POD, None, &mut First);
    until(&mut world, 200_000);
    let stopped = world.trace.iter().find(|record| matches!(record.event, Event::PodStopped { .. })).unwrap();
    // The application uses its grace up at 30 s; the sidecar gets max(2, 0) s.
    assert_eq!(stopped.at, Time(32_000), "E-T10");
}

#[test]
fn grace_0_removes_the_object_at_once() {
    let (cluster, set) = cluster(template(), 1, &[0]);
    let mut world = world(cluster, Down::None);
    world.delete_pod(POD, Some(0), &mut First);
    assert!(world.cluster.pod(POD).gone, "E-T4");
    until(&mut world, 1000);
    assert_eq!(world.cluster.pods_of_workload(set).len(), 1, "its replacement");
}

#[test]
fn a_second_delete_can_only_shorten() {
    let ignores = Timing { ignores_term: true, ..Timing::default() };
    let (cluster, _) = cluster(PodSpec { timing: ignores, ..template() }, 1, &[0]);
    let mut world = world(cluster, Down::None);
    world.delete_pod(POD, None, &mut First);
    until(&mut world, 10_000);
    world.delete_pod(POD, Some(60), &mut First);
    world.delete_pod(POD, None, &mut First);
    assert_eq!(world.cluster.pod(POD).deletion.unwrap().grace_seconds, 30);
    world.delete_pod(POD, Some(5), &mut First);
    until(&mut world, 16_100);
    assert!(world.cluster.pod(POD).gone, "E11");
}

#[test]
fn a_finalizer_keeps_the_object_until_it_is_taken_off() {
    let (mut cluster, _) = cluster(template(), 1, &[0]);
    cluster.update_pod(POD, |pod| pod.foreign_finalizer = true);
    let mut world = world(cluster, Down::None);
    world.delete_pod(POD, None, &mut First);
    until(&mut world, 100_000);
    assert!(!world.cluster.pod(POD).gone && world.cluster.pod(POD).is_terminal(), "E7");
    world.cluster.update_pod(POD, |pod| pod.foreign_finalizer = false);
    world.finalizers_changed(POD, &mut First);
    assert!(world.cluster.pod(POD).gone);
}

#[test]
fn readiness_lasts_until_the_containers_have_ended() {
    let timing = Timing { stop: Some(Millis(3000)), ..Timing::default() };
    let (cluster, _) = cluster(PodSpec { timing, ..template() }, 1, &[0]);
    let mut world = world(cluster, Down::None);
    world.delete_pod(POD, None, &mut First);
    until(&mut world, 2900);
    assert!(world.cluster.pod(POD).ready, "E.10");
    until(&mut world, 3100);
    assert!(!world.cluster.pod(POD).ready && world.cluster.pod(POD).is_terminal());
}

fn probe(delay: i32, period: i32) -> Option<Probe> {
    Some(Probe {
        initial_delay_seconds: delay,
        period_seconds: period,
        success_threshold: 1,
        failure_threshold: 3,
        exec: false,
    })
}

#[test]
fn probes_find_a_pod_ready_at_their_own_pace() {
    let ready = |works, probe| start::ready_after(Millis::secs(works), None, probe).0 / 1000;
    assert_eq!(ready(0, probe(5, 10)), 10, "E-T9");
    assert_eq!(ready(12, probe(5, 10)), 20, "E-T9, first result bad");
    assert_eq!(ready(3, probe(0, 10)), 10, "E-T9b");
    assert_eq!(ready(0, probe(0, 10)), 0);
    let twice = probe(0, 10).map(|probe| Probe { success_threshold: 2, ..probe });
    assert_eq!(ready(0, twice), 10);
    let started = start::ready_after(Millis::secs(12), probe(0, 5), probe(0, 10));
    assert_eq!(started, Millis::secs(15), "the readiness probe waits for the startup probe");
}

#[test]
fn a_pod_without_probes_is_ready_once_it_runs() {
    let (cluster, set) = cluster(template(), 1, &[]);
    let mut world = world(cluster, Down::None);
    let new = bind_new(&mut world, set, 0);
    until(&mut world, 60_000);
    let at = |wanted: Event| world.trace.iter().find(|record| record.event == wanted).map(|record| record.at);
    assert_eq!(at(Event::PodRunning(new)), at(Event::PodReady(new)), "E.1");
}

/// A new pod of the workload that the scheduler puts on a node.
fn bind_new(world: &mut World, set: WorkloadId, node: u32) -> PodId {
    world.cluster.update_workload(set, |set| set.replicas += 1);
    let pod = fixture::pod(&mut world.cluster, set, "new");
    world.emit(Event::PodCreated(pod), &mut First);
    world.cluster.update_pod(pod, |pod| pod.node = Some(NodeId(node)));
    world.emit(Event::PodBound(pod, NodeId(node)), &mut First);
    pod
}

fn running_at(world: &World, pod: PodId) -> i64 {
    world.trace.iter().find(|record| record.event == Event::PodRunning(pod)).expect("it runs").at.0
}

#[test]
fn images_that_are_there_need_no_pull() {
    let (cluster, set) = cluster(template(), 2, &[0]);
    let mut world = world(cluster, Down::None);
    let (there, elsewhere) = (bind_new(&mut world, set, 0), bind_new(&mut world, set, 1));
    until(&mut world, 60_000);
    assert!(running_at(&world, there) < running_at(&world, elsewhere), "E.1");
    let (again, now) = (bind_new(&mut world, set, 1), world.now.0);
    until(&mut world, 120_000);
    assert_eq!(running_at(&world, again) - now, running_at(&world, there), "the first pod brought the image");
}

#[test]
fn the_node_refuses_what_does_not_fit() {
    let half = Resources { milli_cpu: 600, ..Resources::default() };
    let (cluster, set) = cluster(PodSpec { requests: half, ..template() }, 1, &[]);
    let mut world = world(cluster, Down::None);
    let [first, second] = [0, 0].map(|node| bind_new(&mut world, set, node));
    until(&mut world, 60_000);
    assert_eq!(world.cluster.pod(first).phase, Phase::Running);
    assert_eq!(world.cluster.pod(second).phase, Phase::Failed, "E-T8");
}

#[test]
fn the_node_refuses_pods_that_do_not_tolerate_its_noexecute_taint() {
    for (effect, phase) in [(Effect::NoExecute, Phase::Failed), (Effect::NoSchedule, Phase::Running)] {
        let (mut cluster, set) = cluster(template(), 1, &[]);
        let taint = Taint { key: "x".into(), value: Name::EMPTY, effect };
        cluster.update_node(NodeId(0), |node| node.taints.push(taint));
        let mut world = world(cluster, Down::None);
        let pod = bind_new(&mut world, set, 0);
        world.forget(|task| matches!(task, Task::TaintDelete(_)));
        until(&mut world, 60_000);
        assert_eq!(world.cluster.pod(pod).phase, phase, "E.4");
    }
}

#[test]
fn containers_that_end_again_and_again_wait_longer_each_time() {
    let timing = Timing { run: Some(Millis(1000)), exit_code: 1, ready: Some(Millis(0)), ..Timing::default() };
    let (cluster, _) = cluster(PodSpec { timing, ..template() }, 1, &[0]);
    let mut world = world(cluster, Down::None);
    until(&mut world, 2_000_000);
    let restarts: Vec<i64> = world
        .trace
        .iter()
        .filter(|record| record.event == Event::PodRestarted(POD))
        .map(|record| record.at.0)
        .take(8)
        .collect();
    let waits: Vec<i64> = restarts.windows(2).map(|pair| (pair[1] - pair[0] - 1500) / 1000).collect();
    assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300], "E.1");
}

fn host_job(world: &mut World, millis: i64) {
    let mut physics = (*world.physics).clone();
    physics.set(Delay::Host, Millis(millis), Millis(millis));
    world.physics = Arc::new(physics);
    host::start(world, NodeId(0), Version::new(37, 0), &mut First);
}

fn told(world: &World, event: &Event) -> bool {
    world.trace.iter().any(|record| record.event == *event)
}

#[test]
fn a_kubelet_restart_changes_nothing() {
    let (cluster, _) = cluster(template(), 2, &[0]);
    let mut world = world(cluster, Down::None);
    host_job(&mut world, 20_000);
    until(&mut world, 600_000);
    assert_eq!(world.cluster.node(NodeId(0)).kubelet, Some(Version::new(37, 0)));
    assert!(!told(&world, &Event::PodNotReady(POD)) && !told(&world, &Event::PodRestarted(POD)), "E-T5, E21, E22");
    assert!(!told(&world, &Event::NodeReady(NodeId(0), Readiness::NotReady)));
}

#[test]
fn a_kubelet_before_1_35_forgets_readiness_for_a_period() {
    let containers = vec![Container { readiness: probe(0, 10), ..container() }];
    let (cluster, _) = cluster(PodSpec { containers, ..template() }, 2, &[0]);
    let mut world = world(cluster, Down::None);
    host::start(&mut world, NodeId(0), Version::new(34, 0), &mut First);
    until(&mut world, 600_000);
    assert!(told(&world, &Event::PodNotReady(POD)) && world.cluster.pod(POD).ready, "E22");
}

#[test]
fn static_pods_restart_with_another_kubelet_minor() {
    for (version, restarts) in [(Version::new(37, 0), true), (Version::new(36, 4), false)] {
        let (mut cluster, _) = cluster(template(), 1, &[0]);
        cluster.update_pod(POD, |pod| {
            pod.mirror = true;
            pod.owner = Owner::Node;
        });
        let mut world = world(cluster, Down::None);
        host::start(&mut world, NodeId(0), version, &mut First);
        until(&mut world, 600_000);
        assert_eq!(told(&world, &Event::PodRestarted(POD)), restarts, "E.5, V42b");
        assert!(world.cluster.pod(POD).ready);
    }
}

#[test]
fn manifests_of_a_control_plane_change_with_its_patch_release() {
    let (mut cluster, _) = cluster(template(), 1, &[0]);
    cluster.update_pod(POD, |pod| {
        pod.mirror = true;
        pod.owner = Owner::Node;
    });
    cluster.update_node(NodeId(0), |node| {
        let info = crate::cluster::NodeInfo { control_plane: true, ..(*node.info).clone() };
        node.info = Arc::new(info);
        node.control_plane = Some(Version::new(36, 3));
    });
    let mut world = world(cluster, Down::None);
    host::start(&mut world, NodeId(0), Version::new(36, 4), &mut First);
    until(&mut world, 600_000);
    assert!(told(&world, &Event::PodRestarted(POD)), "E.10");
    assert_eq!(world.cluster.api_server, Some(Version::new(36, 4)));
}

#[test]
fn a_short_reboot_restarts_pods_in_place() {
    let (cluster, _) = cluster(template(), 2, &[0]);
    let mut world = world(cluster, Down::Silent);
    host_job(&mut world, 43_000);
    until(&mut world, 600_000);
    assert!(!told(&world, &Event::NodeReady(NodeId(0), Readiness::Unknown)), "E-T6");
    assert!(told(&world, &Event::PodRestarted(POD)) && world.cluster.pod(POD).ready);
    assert_eq!(world.cluster.pod(POD).restarts, 1, "E26");
}

#[test]
fn a_long_reboot_makes_the_node_unknown_and_deletes_nothing() {
    let (cluster, _) = cluster(template(), 2, &[0]);
    let mut world = world(cluster, Down::Silent);
    host_job(&mut world, 120_000);
    until(&mut world, 100_000);
    assert_eq!(world.cluster.node(NodeId(0)).ready, Readiness::Unknown, "E-T7");
    assert!(!world.cluster.pod(POD).ready);
    until(&mut world, 600_000);
    assert_eq!(world.cluster.node(NodeId(0)).ready, Readiness::Ready);
    assert!(world.cluster.pod(POD).is_serving_strength() && !told(&world, &Event::PodDeleting(POD)));
}

#[test]
fn a_pod_that_never_restarts_fails_with_its_host() {
    let spec = PodSpec { restart_policy: RestartPolicy::Never, ..template() };
    let (cluster, _) = cluster(spec, 2, &[0]);
    let mut world = world(cluster, Down::Silent);
    host_job(&mut world, 43_000);
    until(&mut world, 600_000);
    assert_eq!(world.cluster.pod(POD).phase, Phase::Failed);
}

#[test]
fn a_deletion_waits_for_the_kubelet() {
    let (cluster, set) = cluster(template(), 2, &[0]);
    let mut world = world(cluster, Down::Silent);
    host_job(&mut world, 200_000);
    world.delete_pod(POD, None, &mut First);
    until(&mut world, 150_000);
    assert!(!world.cluster.pod(POD).gone && world.cluster.pod(POD).deletion.is_some(), "E-T11, E10");
    assert_eq!(world.cluster.pods_of_workload(set).len(), 2, "its replacement exists");
    until(&mut world, 600_000);
    assert!(world.cluster.pod(POD).gone);
}

#[test]
fn a_host_that_goes_down_cuts_ending_pods_short() {
    let timing = Timing { ignores_term: true, ..Timing::default() };
    let (cluster, _) = cluster(PodSpec { timing, ..template() }, 2, &[0]);
    let mut world = world(cluster, Down::Shutdown);
    world.delete_pod(POD, None, &mut First);
    until(&mut world, 5_000);
    host_job(&mut world, 60_000);
    assert!(told(&world, &Event::PodStopped { pod: POD, cut_short: true }), "S21");
}

#[test]
fn a_failed_or_hanging_job_leaves_the_version() {
    for hangs in [false, true] {
        let (cluster, _) = cluster(template(), 1, &[]);
        let mut world = world(cluster, Down::None);
        world.hosts[0].fails = !hangs;
        world.hosts[0].hangs = hangs;
        host_job(&mut world, 60_000);
        until(&mut world, 10_000_000);
        let node = world.cluster.node(NodeId(0));
        assert_eq!(node.kubelet, Some(Version::new(36, 3)));
        assert_eq!(node.job == HostJob::Failed, !hangs);
        assert_eq!(matches!(node.job, HostJob::Running { .. }), hangs);
    }
}

#[test]
fn a_node_that_is_built_anew_keeps_the_pods_bound_to_its_name() {
    let (cluster, _) = cluster(template(), 2, &[0]);
    let mut world = world(cluster, Down::Delete);
    host_job(&mut world, 5_000);
    assert!(world.cluster.node(NodeId(0)).gone);
    until(&mut world, 5_100);
    let new = NodeId(2);
    assert_eq!(world.cluster.node(new).ready, Readiness::NotReady, "D20");
    assert!(!world.cluster.node(new).taints.is_empty());
    until(&mut world, 60_000);
    let pod = world.cluster.pod(POD);
    assert!(pod.node == Some(new) && pod.is_serving_strength() && pod.restarts == 1);
    assert_eq!(world.cluster.node(new).kubelet, Some(Version::new(37, 0)));
    assert!(world.cluster.node(new).taints.is_empty());
}

#[test]
fn the_mirror_of_a_static_pod_comes_back() {
    let (mut cluster, _) = cluster(template(), 1, &[0]);
    cluster.update_pod(POD, |pod| {
        pod.mirror = true;
        pod.owner = Owner::Node;
    });
    for grace in [None, Some(0)] {
        let mut world = world(cluster.clone(), Down::None);
        world.delete_pod(POD, grace, &mut First);
        until(&mut world, 60_000);
        let there = world.cluster.pods_of_node(NodeId(0)).to_vec();
        assert!(there.len() == 1 && there[0] != POD && world.cluster.pod(there[0]).ready, "E.5");
        assert!(!told(&world, &Event::PodStopped { pod: POD, cut_short: false }), "its containers run on");
    }
}

/// Requests at risk when a pod behind a Service is deleted.
fn at_risk(spec: PodSpec, headless: bool) -> Vec<i64> {
    at_risk_beside(spec, headless, None, &mut First)
}

/// The same, while the API server is back since then.
fn at_risk_beside(spec: PodSpec, headless: bool, api_since: Option<Time>, chooser: &mut dyn Chooser) -> Vec<i64> {
    let (mut cluster, _) = cluster(spec, 1, &[0]);
    cluster.update_node(NodeId(0), |node| node.api_since = api_since);
    cluster.add_service(Service {
        namespace: "default".into(),
        name: "web".into(),
        selector: Some(Selector::from_labels([(Name::new("app"), Name::new("web"))])),
        publish_not_ready: false,
        kind: "ClusterIP".into(),
        headless,
        local_only: false,
        gone: false,
    });
    cluster.reindex();
    let mut world = world(cluster, Down::None);
    world.delete_pod(POD, None, chooser);
    let millis = world.trace.iter().filter_map(|record| match record.event {
        Event::RequestsAtRisk { millis, .. } => Some(millis),
        _ => None,
    });
    millis.collect()
}

#[test]
fn requests_are_at_risk_until_the_last_proxy_knows() {
    assert_eq!(at_risk(template(), false), [110], "E.10: pods that exit at once");
    let serves = Timing { stop: Some(Millis::secs(2)), ..Timing::default() };
    assert!(at_risk(PodSpec { timing: serves, ..template() }, false).is_empty(), "E.10: pods that serve on");
    let ignores = Timing { ignores_term: true, ..Timing::default() };
    assert!(at_risk(PodSpec { timing: ignores, ..template() }, false).is_empty());
    assert!(at_risk(with_hook(5, Timing::default()), false).is_empty(), "a preStop delay");
    assert!(at_risk(template(), true).is_empty(), "no proxy stands before a headless Service");
}

/// Always the longest delay.
struct Longest;

impl Chooser for Longest {
    fn pick(&mut self, _: crate::simulator::Choice, _: usize) -> usize {
        0
    }

    fn between(&mut self, _: Delay, _: Millis, longest: Millis) -> Millis {
        longest
    }
}

#[test]
fn proxies_that_lost_the_api_server_hear_late() {
    let hook = || with_hook(5, Timing::default());
    assert!(at_risk_beside(hook(), false, None, &mut Longest).is_empty());
    let fresh = at_risk_beside(hook(), false, Some(Time(-10_000)), &mut Longest);
    assert!(fresh.iter().all(|millis| (40_000..50_000).contains(millis)) && fresh.len() == 1, "{fresh:?}");
    assert!(at_risk_beside(hook(), false, Some(Time(-60_000)), &mut Longest).is_empty(), "all are back by then");
}

#[test]
fn a_hook_of_another_container_does_not_help() {
    let serving = Container { ports: [8080].into_iter().collect(), ..container() };
    let helper = Container { pre_stop: Some(PreStop::Sleep(Millis::secs(10))), ..container() };
    let spec = PodSpec { containers: vec![serving, helper], ..template() };
    assert_eq!(at_risk(spec, false), [110]);
}

#[test]
fn a_hook_that_cannot_be_read_takes_its_time_and_is_not_judged() {
    let containers = vec![Container { pre_stop: Some(PreStop::Unknown), ..container() }];
    let spec = PodSpec { containers, timing: Timing { stop: Some(Millis(0)), ..Timing::default() }, ..template() };
    assert!(at_risk(spec.clone(), false).is_empty());
    let (cluster, _) = cluster(spec, 1, &[0]);
    let mut physics = Physics::default();
    physics.set(Delay::PreStop, Millis(7000), Millis(7000));
    let mut world = World::new(cluster, Time(0), Arc::new(physics), &mut First);
    world.delete_pod(POD, None, &mut First);
    until(&mut world, 60_000);
    let stopped = world.trace.iter().find(|record| matches!(record.event, Event::PodStopped { .. })).unwrap();
    assert_eq!(stopped.at, Time(7000));
}

/// A pod with a volume of a storage driver on `n0`, and its replacement bound to `node`.
fn with_volume(access: Access, local: bool, node: u32, down: bool) -> (World, PodId) {
    let volume = Volume::Claim { name: "data".into(), read_only: false };
    let timing = Timing { stop: Some(Millis::secs(5)), ..Timing::default() };
    let (mut cluster, set) = cluster(PodSpec { volumes: vec![volume], timing, ..template() }, 2, &[0]);
    cluster.add_claim(Claim {
        namespace: "default".into(),
        name: "data".into(),
        volume: "pv".into(),
        bound: true,
        lost: false,
        class: None,
        access,
        block: false,
        bytes: 1,
        selected_node: Name::EMPTY,
        selector: None,
        deleting: false,
        owner: None,
        gone: false,
    });
    cluster.add_volume(PersistentVolume {
        name: "pv".into(),
        node_affinity: None,
        labels: Labels::default(),
        class: Name::EMPTY,
        access,
        block: false,
        bytes: 1,
        claim: Some(("default".into(), "data".into())),
        phase: "Bound".into(),
        driver: "disk.example.com".into(),
        handle: "1".into(),
        local,
        deleting: false,
        gone: false,
    });
    let mut world = world(cluster, if down { Down::Silent } else { Down::None });
    if down {
        host_job(&mut world, 100_000_000);
    }
    world.delete_pod(POD, None, &mut First);
    let new = bind_new(&mut world, set, node);
    (world, new)
}

const RWO: Access = Access { rwo: true, rox: false, rwx: false, rwop: false };

#[test]
fn a_volume_is_waited_for_until_its_old_pod_has_ended() {
    let (mut world, new) = with_volume(RWO, false, 1, false);
    until(&mut world, 100_000);
    let running = running_at(&world, new);
    assert!((10_000..15_000).contains(&running), "H-T3: 5 s to end, 5 s to attach, not {running} ms");
}

#[test]
fn a_volume_on_the_same_node_is_not_waited_for() {
    let (mut world, new) = with_volume(RWO, false, 0, false);
    until(&mut world, 100_000);
    assert_eq!(running_at(&world, new), 500, "H-T4");
}

#[test]
fn a_shared_volume_is_attached_to_both() {
    let (mut world, new) = with_volume(Access { rwx: true, ..RWO }, false, 1, false);
    until(&mut world, 100_000);
    let running = running_at(&world, new);
    assert!(running <= 6_500, "{running}");
}

#[test]
fn a_dead_node_keeps_the_volume_until_its_pod_is_removed_by_force() {
    let (mut world, new) = with_volume(RWO, false, 1, true);
    until(&mut world, 2_000_000);
    assert_eq!(world.cluster.pod(new).phase, Phase::Pending, "H-T5");
    world.delete_pod(POD, Some(0), &mut First);
    until(&mut world, 4_000_000);
    let running = running_at(&world, new);
    assert!((2_360_000..2_380_000).contains(&running), "H5: 6 min after, not {running} ms");
}

#[test]
fn pods_of_a_hopeless_template_never_start() {
    let (mut cluster, set) = cluster(template(), 1, &[0]);
    cluster.update_pod(POD, |pod| {
        pod.ready = false;
        pod.stuck = "ImagePullBackOff".into();
    });
    let mut world = world(cluster, Down::None);
    let new = bind_new(&mut world, set, 0);
    until(&mut world, 1_000_000);
    assert_eq!(world.cluster.pod(new).phase, Phase::Pending);
}

#[test]
fn a_replacement_exists_before_the_old_container_has_stopped() {
    let detail_of = |world: &World, set: WorkloadId| world.cluster.pods_of_workload(set).len();
    let timing = Timing { stop: Some(Millis::secs(2)), ..Timing::default() };
    let (cluster, set) = cluster(PodSpec { timing, ..template() }, 2, &[0]);
    let mut world = world(cluster, Down::None);
    world.delete_pod(POD, None, &mut First);
    until(&mut world, 100);
    assert_eq!(detail_of(&world, set), 2, "L.1, E.10");
    until(&mut world, 2_100);
    assert!(world.cluster.pod(POD).is_terminal() && !world.cluster.pod(POD).gone, "L.1: 2 s");
    until(&mut world, 3_100);
    assert!(world.cluster.pod(POD).gone, "L.1: about 3 s");
}
