//! Edge cases of floors and of who is answerable, event by event.

use serde_json::{Value, json};

use super::*;
use crate::cluster::{Deletion, DisruptionReason, JobEnd, Lock, Name, NodeId, Phase, Pod, PodId, Version, WorkloadId};
use crate::import::from_objects;
use crate::trace::Event;
use crate::upgrade::Action;

/// A cluster under the judge's eyes; every method changes it and reports that, as the world does.
struct Bench {
    cluster: Cluster,
    judge: Judge,
    now: Time,
}

impl Bench {
    fn new(objects: impl IntoIterator<Item = Value>) -> Bench {
        Bench::with(objects, |_| {})
    }

    fn with(objects: impl IntoIterator<Item = Value>, change: impl FnOnce(&mut Limits)) -> Bench {
        let mut cluster = from_objects(objects).unwrap();
        cluster.run.lock = Lock::Ours;
        let mut limits = Limits::default();
        change(&mut limits);
        let judge = Judge::new(&cluster, limits);
        let mut bench = Bench { cluster, judge, now: Time(1_000) };
        bench.cluster.update_node(NodeId(0), |node| node.marks.started = Some(Time(0)));
        bench.tell(Event::Acted(Action::Begin(NodeId(0))));
        bench.cluster.update_node(NodeId(0), |node| node.unschedulable = true);
        bench.tell(Event::NodeSchedulable(NodeId(0), false));
        bench.tell(Event::Acted(Action::Cordon(NodeId(0))));
        bench
    }

    fn tell(&mut self, event: Event) {
        self.judge.observe(&Record { at: self.now, event }, &self.cluster);
    }

    fn pod(&self, name: &str) -> PodId {
        self.cluster.pods().rev().find(|(_, pod)| pod.name == name).unwrap().0
    }

    fn workload(&self, name: &str) -> WorkloadId {
        self.cluster.workloads().find(|(_, workload)| workload.key.name == name).unwrap().0
    }

    fn tick(&mut self) {
        self.now = Time(self.now.0 + 100);
    }

    fn evict(&mut self, name: &str) {
        self.tick();
        let pod = self.pod(name);
        let at = self.now;
        self.cluster.update_pod(pod, |pod| {
            pod.disruption_target = Some((DisruptionReason::EvictionByEvictionApi, at));
        });
        self.tell(Event::PodDisruptionTarget(pod, DisruptionReason::EvictionByEvictionApi));
        self.delete_object(pod);
        self.tell(Event::Evict { pod, code: 201, message: Name::EMPTY });
        self.tell(Event::Acted(Action::Evict { pod, grace_seconds: None }));
    }

    fn delete_object(&mut self, pod: PodId) {
        let since = self.now;
        self.cluster.update_pod(pod, |pod| pod.deletion = Some(Deletion { since, grace_seconds: 30 }));
        self.tell(Event::PodDeleting(pod));
    }

    /// Its controller deletes it.
    fn controller_deletes(&mut self, name: &str) {
        self.tick();
        self.delete_object(self.pod(name));
    }

    /// Somebody else deletes it.
    fn other_deletes(&mut self, name: &str) {
        self.tick();
        self.tell(Event::Disturbance("delete-pods".into()));
        self.delete_object(self.pod(name));
    }

    fn gone(&mut self, name: &str) {
        self.tick();
        let pod = self.pod(name);
        self.cluster.update_pod(pod, |pod| {
            pod.gone = true;
            pod.ready = false;
        });
        self.tell(Event::PodGone(pod));
    }

    fn unready(&mut self, name: &str) {
        self.tick();
        let pod = self.pod(name);
        self.cluster.update_pod(pod, |pod| pod.ready = false);
        self.tell(Event::PodNotReady(pod));
    }

    fn ready(&mut self, name: &str) {
        self.tick();
        let pod = self.pod(name);
        self.cluster.update_pod(pod, |pod| {
            pod.phase = Phase::Running;
            pod.ready = true;
        });
        self.tell(Event::PodReady(pod));
    }

    /// A pod like another one is created and becomes Ready.
    fn replace(&mut self, like: &str, name: &str) {
        self.tick();
        let old = self.cluster.pod(self.pod(like)).clone();
        let node = Some(NodeId(1));
        let new =
            Pod { name: name.into(), deletion: None, disruption_target: None, ready: false, gone: false, node, ..old };
        let pod = self.cluster.add_pod(new);
        self.tell(Event::PodCreated(pod));
        self.ready(name);
    }

    fn scale(&mut self, name: &str, replicas: i32) {
        self.tick();
        let workload = self.workload(name);
        self.cluster.update_workload(workload, |workload| workload.replicas = replicas);
        self.tell(Event::Scaled(workload, replicas));
    }

    fn broken(self) -> Vec<(&'static str, String)> {
        let violations = self.judge.finish(self.now, &self.cluster, true);
        let interesting = violations.into_iter().filter(|violation| violation.class == Class::Disruptive);
        interesting.map(|violation| (violation.code, format!("{}: {}", violation.object, violation.message))).collect()
    }

    fn codes(self) -> Vec<&'static str> {
        self.broken().into_iter().map(|(code, _)| code).collect()
    }
}

fn nodes() -> Vec<Value> {
    let node = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
            "status": {
                "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.36.2"},
            },
        })
    };
    vec![node("n1"), node("n2")]
}

fn set(kind: &str, name: &str, replicas: usize, labels: Value) -> Vec<Value> {
    let spec = json!({"containers": [{"name": "c", "image": "app"}]});
    let mut objects = vec![json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "shop"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": spec,
        }},
    })];
    for place in 0..replicas {
        objects.push(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": format!("{name}-{place}"), "namespace": "shop", "labels": labels,
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": kind, "name": name, "controller": true}],
            },
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "app"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }));
    }
    objects
}

fn budget(name: &str, min: i32, expected: i32, labels: Value) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"minAvailable": min, "selector": {"matchLabels": labels}},
        "status": {"desiredHealthy": min, "currentHealthy": expected, "expectedPods": expected},
    })
}

fn service(name: &str, labels: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": labels},
    })
}

fn web(replicas: usize) -> Vec<Value> {
    let mut objects = nodes();
    objects.extend(set("StatefulSet", "web", replicas, json!({"app": "web"})));
    objects
}

fn with(mut objects: Vec<Value>, more: impl IntoIterator<Item = Value>) -> Vec<Value> {
    objects.extend(more);
    objects
}

#[test]
fn one_ready_pod_is_the_floor_without_a_budget() {
    let mut bench = Bench::new(web(2));
    bench.evict("web-0");
    bench.replace("web-0", "web-0b");
    bench.evict("web-1");
    bench.replace("web-1", "web-1b");
    assert_eq!(bench.broken(), []);

    let mut bench = Bench::new(web(2));
    bench.evict("web-0");
    bench.evict("web-1");
    bench.replace("web-0", "web-0b");
    bench.replace("web-1", "web-1b");
    let expected = "shop/StatefulSet/web: only 0 ready, its floor is 1".to_owned();
    assert_eq!(bench.broken(), [("J001", expected)]);
}

#[test]
fn a_budget_takes_the_place_of_the_floor_and_covers_all_that_it_selects() {
    // Two workloads of one pod behind a budget that asks for one of the two.
    let labels = json!({"tier": "front"});
    let pair = || {
        let objects = with(nodes(), set("StatefulSet", "a", 1, labels.clone()));
        let objects = with(objects, set("StatefulSet", "b", 1, labels.clone()));
        with(objects, [budget("front", 1, 2, labels.clone())])
    };
    let mut bench = Bench::new(pair());
    bench.evict("a-0");
    bench.replace("a-0", "a-0b");
    assert_eq!(bench.codes(), [""; 0]);

    let mut bench = Bench::new(pair());
    bench.evict("a-0");
    bench.evict("b-0");
    bench.replace("a-0", "a-0b");
    bench.replace("b-0", "b-0b");
    let expected = "shop/StatefulSet/b: only 0 ready, its budget front asks for 1".to_owned();
    assert_eq!(bench.broken(), [("J001", expected)]);
}

#[test]
fn a_budget_that_asks_for_nothing_lets_a_workload_but_not_its_service_go() {
    let labels = json!({"app": "web"});
    let mut bench = Bench::new(with(web(1), [budget("web", 0, 1, labels.clone()), service("web", labels)]));
    bench.evict("web-0");
    bench.replace("web-0", "web-0b");
    assert_eq!(bench.codes(), ["J002"]);
}

#[test]
fn a_stated_floor_takes_the_place_of_the_others() {
    let key = || ObjectKey::new("shop".into(), "StatefulSet", "web".into());
    let mut bench = Bench::with(web(3), |limits| {
        limits.floors.insert(key(), 3);
    });
    bench.evict("web-0");
    bench.replace("web-0", "web-0b");
    assert_eq!(bench.codes(), ["J001"]);

    let mut bench = Bench::with(web(1), |limits| {
        limits.floors.insert(key(), 0);
    });
    bench.evict("web-0");
    bench.replace("web-0", "web-0b");
    assert_eq!(bench.codes(), [""; 0]);
}

#[test]
fn degraded_before_must_not_get_worse() {
    let degraded = || {
        let mut objects = with(web(3), [budget("web", 3, 2, json!({"app": "web"}))]);
        let sick = objects.iter_mut().find(|object| object["metadata"]["name"] == "web-2").unwrap();
        sick["status"]["conditions"][0]["status"] = json!("False");
        objects
    };
    let mut bench = Bench::new(degraded());
    bench.evict("web-2");
    bench.replace("web-2", "web-2b");
    assert_eq!(bench.codes(), [""; 0]);

    let mut bench = Bench::new(degraded());
    bench.evict("web-0");
    bench.replace("web-0", "web-0b");
    let expected = "shop/StatefulSet/web: only 1 ready, its budget web asks for 3 and 2 would be without the upgrade";
    assert_eq!(bench.broken(), [("J001", expected.to_owned())]);
}

#[test]
fn what_others_do_breaks_no_floor_by_itself() {
    // Somebody deletes both pods; the application fails by itself; a rollout; a scale-down to nothing.
    let mut bench = Bench::new(web(2));
    bench.other_deletes("web-0");
    bench.other_deletes("web-1");
    assert_eq!(bench.codes(), [""; 0]);

    let mut bench = Bench::new(web(1));
    bench.unready("web-0");
    bench.ready("web-0");
    assert_eq!(bench.codes(), [""; 0]);

    let mut bench = Bench::new(web(2));
    bench.controller_deletes("web-0");
    bench.controller_deletes("web-1");
    assert_eq!(bench.codes(), [""; 0]);

    let mut bench = Bench::new(with(web(2), [service("web", json!({"app": "web"}))]));
    bench.evict("web-0");
    bench.scale("web", 0);
    bench.controller_deletes("web-1");
    bench.gone("web-0");
    bench.gone("web-1");
    assert_eq!(bench.codes(), [""; 0]);
}

#[test]
fn a_loss_by_others_on_top_of_a_taken_pod_counts() {
    let mut bench = Bench::new(web(2));
    bench.evict("web-0");
    bench.unready("web-1");
    bench.ready("web-1");
    bench.replace("web-0", "web-0b");
    assert_eq!(bench.codes(), ["J001"]);
}

#[test]
fn a_workload_without_replicas_has_no_floor() {
    let mut bench = Bench::new(web(2));
    bench.scale("web", 0);
    bench.evict("web-0");
    bench.evict("web-1");
    bench.gone("web-0");
    bench.gone("web-1");
    assert_eq!(bench.codes(), [""; 0]);
}

#[test]
fn a_pod_that_is_lost_twice_is_counted_once() {
    let mut bench = Bench::new(web(2));
    bench.evict("web-0");
    bench.unready("web-0");
    bench.gone("web-0");
    bench.replace("web-0", "web-0b");
    bench.evict("web-1");
    bench.unready("web-1");
    bench.gone("web-1");
    bench.replace("web-1", "web-1b");
    assert_eq!(bench.codes(), [""; 0]);
}

#[test]
fn displaced_pods_must_come_back_unless_fewer_are_wanted() {
    let mut bench = Bench::new(web(3));
    bench.evict("web-0");
    bench.gone("web-0");
    let expected = "shop/StatefulSet/web: 2 ready at the end, 3 before".to_owned();
    assert_eq!(bench.broken(), [("J003", expected)]);

    let mut bench = Bench::new(web(3));
    bench.evict("web-0");
    bench.gone("web-0");
    bench.scale("web", 2);
    assert_eq!(bench.codes(), [""; 0]);

    // Another pod that nobody touched has become unready: that one is not the upgrade's to bring back.
    let mut bench = Bench::new(web(3));
    bench.evict("web-0");
    bench.gone("web-0");
    bench.replace("web-0", "web-0b");
    bench.unready("web-1");
    assert_eq!(bench.codes(), [""; 0]);
}

#[test]
fn a_pod_that_nothing_brings_back_is_lost() {
    let mut bare = set("StatefulSet", "lonely", 1, json!({"app": "lonely"}));
    bare[1]["metadata"]["ownerReferences"] = json!([]);
    let objects = || with(nodes(), [bare[1].clone()]);
    let mut bench = Bench::with(objects(), |limits| limits.unmanaged = true);
    bench.evict("lonely-0");
    bench.gone("lonely-0");
    assert_eq!(bench.broken(), [("J003", "shop/Pod/lonely-0: nothing brings this pod back".to_owned())]);
}

#[test]
fn a_host_that_goes_away_takes_what_is_on_it() {
    let mut bench = Bench::with(web(1), |limits| {
        limits.leave_pods = true;
        limits.backup = false;
        limits.routing = false;
    });
    bench.tell(Event::HostStarted(NodeId(0)));
    bench.unready("web-0");
    assert_eq!(bench.judge.broken[0].node, Some(NodeId(0)));
    bench.ready("web-0");
    assert_eq!(bench.codes(), ["J001"]);
}

#[test]
fn a_job_fails_by_the_upgrade_only_if_that_took_its_pods() {
    let job = || {
        with(
            nodes(),
            [
                json!({
                    "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "import", "namespace": "shop"},
                    "spec": {"backoffLimit": 0, "template": {"spec": {
                        "restartPolicy": "Never", "containers": [{"name": "c", "image": "app"}],
                    }}},
                }),
                json!({
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": {"name": "import-0", "namespace": "shop", "ownerReferences": [
                        {"apiVersion": "batch/v1", "kind": "Job", "name": "import", "controller": true},
                    ]},
                    "spec": {"nodeName": "n1", "restartPolicy": "Never", "containers": [{"name": "c", "image": "app"}]},
                    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
                }),
            ],
        )
    };
    for taken in [true, false] {
        let mut bench = Bench::new(job());
        if taken {
            bench.evict("import-0");
        }
        let id = bench.workload("import");
        bench.cluster.update_workload(id, |workload| {
            if let crate::cluster::Detail::Job(job) = &mut workload.detail {
                job.finished = Some(JobEnd::Failed);
            }
        });
        bench.tell(Event::JobStatus(id));
        bench.tell(Event::JobStatus(id));
        assert_eq!(bench.codes(), if taken { vec!["J004"] } else { vec![] });
    }
}

#[test]
fn floors_at_the_start_are_told() {
    let labels = json!({"app": "web"});
    let objects = with(web(2), [budget("web", 2, 2, labels.clone()), service("web", labels)]);
    let objects = with(objects, set("StatefulSet", "none", 0, json!({"app": "none"})));
    let objects = with(objects, [service("dangling", json!({"app": "nobody"}))]);
    let bench = Bench::new(objects);
    let floors = Floors::of(&bench.cluster, &Limits::default());
    assert_eq!(floors.workload(bench.workload("web")), Some(2));
    assert_eq!(floors.workload(bench.workload("none")), Some(0));
    let services: Vec<Option<u32>> = bench.cluster.services().map(|(id, _)| floors.service(id)).collect();
    assert_eq!(services, [Some(1), None]);
}

#[test]
fn a_kubelet_of_another_version_is_held_against_its_api_server() {
    let mut bench = Bench::new(web(1));
    bench.cluster.api_server = Some(Version::new(36, 2));
    bench.tell(Event::NodeVersion(NodeId(0), Version::new(36, 9)));
    assert!(bench.judge.broken.is_empty());
    bench.tell(Event::NodeVersion(NodeId(0), Version::new(37, 0)));
    bench.cluster.update_node(NodeId(1), |node| node.kubelet = Some(Version::new(33, 0)));
    bench.tell(Event::ControlPlaneVersion(NodeId(0), Version::new(36, 3)));
    bench.tell(Event::ControlPlaneVersion(NodeId(0), Version::new(37, 0)));
    bench.tell(Event::ControlPlaneVersion(NodeId(0), Version::new(36, 5)));
    let messages: Vec<&str> = bench.judge.broken.iter().map(|violation| violation.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "its kubelet v1.37.0 is newer than the API server v1.36.2",
            "its kubelet v1.33.0 is 4 minor versions older than the API server v1.37.0",
            "its control plane goes back from v1.37.0 to v1.36.5",
        ]
    );
}

#[test]
fn codes_are_stable_and_unlike() {
    let codes: Vec<&str> = abouts().iter().map(|about| about.code).collect();
    let mut unlike = codes.clone();
    unlike.dedup();
    assert_eq!(codes, unlike);
    assert!(codes.is_sorted());
    assert_eq!(codes.len(), 25);
}
