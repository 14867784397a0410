//! A small cluster for the tests of decisions, and somebody who carries them out at once.

use std::sync::Arc;

use crate::cluster::{
    Backup, Budget, BudgetId, BudgetLimit, BudgetStatus, Cluster, DaemonSet, Deletion, Deployment, Detail, HostJob,
    IntOrPercent, Job, Labels, Lock, Marks, Millis, Name, Node, NodeId, NodeInfo, ObjectKey, Owner, Phase, Pod, PodId,
    PodSpec, Readiness, ReplicaSet, Resources, RestartPolicy, Routing, Selector, Service, ServiceId, SpecId, Time,
    Version, Workload, WorkloadId,
};

use super::{Action, Decision, Goal, Reason, decide};

/// The version that everything runs at the start.
pub const OLD: Version = Version::new(36, 2);
/// The target of the tests' goal.
pub const NEW: Version = Version::new(37, 2);

/// A cluster under test with its goal and a clock.
pub struct Town {
    pub cluster: Cluster,
    pub goal: Goal,
    pub now: Time,
}

impl Town {
    /// Nodes `n1`.. of the old version under a control plane of the new one, lock free, goal: the new version.
    pub fn new(nodes: usize) -> Town {
        let mut cluster = Cluster::default();
        cluster.api_server = Some(NEW);
        cluster.run.lock = Lock::Free;
        let mut town = Town { cluster, goal: Goal { to: NEW, ..Goal::default() }, now: Time(1_000_000) };
        for number in 1..=nodes {
            town.node(&format!("n{number}"), false);
        }
        town
    }

    /// One more node.
    pub fn node(&mut self, name: &str, control_plane: bool) -> NodeId {
        self.cluster.add_node(Node {
            info: Arc::new(NodeInfo { name: name.into(), control_plane, ..NodeInfo::default() }),
            allocatable: Resources::default(),
            allocatable_pods: 110,
            taints: Vec::new(),
            unschedulable: false,
            ready: Readiness::Ready,
            ready_since: Time(0),
            pressure: Vec::new(),
            kubelet: Some(OLD),
            control_plane: control_plane.then_some(OLD),
            api_since: None,
            routing: Routing::Routed,
            job: HostJob::Absent,
            marks: Marks::default(),
            gone: false,
        })
    }

    /// A node by name.
    pub fn at(&self, name: &str) -> NodeId {
        self.cluster.find_node(name.into()).unwrap_or_else(|| panic!("node {name}"))
    }

    /// The template of an application's pods.
    pub fn template(&mut self, app: &str, change: impl FnOnce(&mut PodSpec)) -> SpecId {
        let labels: Labels = [(Name::new("app"), Name::new(app))].into_iter().collect();
        let mut spec = PodSpec { namespace: "default".into(), labels, grace_seconds: 30, ..PodSpec::default() };
        change(&mut spec);
        self.cluster.intern_spec(spec)
    }

    fn workload(
        &mut self,
        kind: &str,
        name: &str,
        owner: Option<WorkloadId>,
        count: usize,
        detail: Detail,
    ) -> WorkloadId {
        self.cluster.add_workload(Workload {
            key: ObjectKey::new("default".into(), kind, name.into()),
            api_version: "apps/v1".into(),
            owner,
            missing_owner: None,
            selector: Some(selector(name)),
            template: None,
            replicas: count as i32,
            min_ready_seconds: 0,
            deleted: false,
            detail,
        })
    }

    /// A Deployment with one ready pod on each of these nodes; gives the Deployment.
    pub fn app(&mut self, name: &str, on: &[&str]) -> WorkloadId {
        let one = IntOrPercent::Int(1);
        let detail = Deployment { recreate: false, max_surge: one, max_unavailable: one, paused: false };
        let deployment = self.workload("Deployment", name, None, on.len(), Detail::Deployment(detail));
        let detail = ReplicaSet { revision: 1, created: Time(0), current: true };
        let set = self.workload("ReplicaSet", name, Some(deployment), on.len(), Detail::ReplicaSet(detail));
        let template = self.template(name, |_| {});
        for (number, node) in on.iter().enumerate() {
            let node = Some(self.at(node));
            self.pod(&format!("{name}-{number}"), template, Owner::Workload(set), node);
        }
        deployment
    }

    /// A DaemonSet with a ready pod on each of these nodes.
    pub fn daemon(&mut self, name: &str, on: &[&str], node_service: bool) -> WorkloadId {
        let one = IntOrPercent::Int(1);
        let detail =
            DaemonSet { on_delete: false, max_unavailable: one, max_surge: IntOrPercent::Int(0), node_service };
        let set = self.workload("DaemonSet", name, None, 0, Detail::DaemonSet(detail));
        let template = self.template(name, |_| {});
        for node in on {
            let at = Some(self.at(node));
            self.pod(&format!("{name}-{node}"), template, Owner::Workload(set), at);
        }
        set
    }

    /// A Job with one running pod.
    pub fn job(&mut self, name: &str, on: &str) -> PodId {
        let detail = Job {
            completions: Some(1),
            backoff_limit: 6,
            replace_only_failed: false,
            failure_policy: Vec::new(),
            indexed: false,
            suspended: false,
            succeeded: 0,
            failed: 0,
            failures_in_row: 0,
            last_failure: None,
            finished: None,
            completed_indexes: Vec::new(),
        };
        let job = self.workload("Job", name, None, 1, Detail::Job(detail));
        let template = self.template(name, |spec| spec.restart_policy = RestartPolicy::Never);
        let node = Some(self.at(on));
        self.pod(&format!("{name}-0"), template, Owner::Workload(job), node)
    }

    /// A pod that is Running and Ready if it has a node, Pending if not.
    pub fn pod(&mut self, name: &str, spec: SpecId, owner: Owner, node: Option<NodeId>) -> PodId {
        self.cluster.add_pod(Pod {
            name: name.into(),
            spec,
            owner,
            ordinal: None,
            pinned: None,
            node,
            phase: if node.is_some() { Phase::Running } else { Phase::Pending },
            ready: node.is_some(),
            ready_since: Time(0),
            created: Time(0),
            started: node.map(|_| Time(0)),
            deletion: None,
            disruption_target: None,
            nominated: None,
            job_finalizer: false,
            foreign_finalizer: false,
            mirror: false,
            unschedulable: false,
            stuck: Name::EMPTY,
            restarts: 0,
            deletion_cost: 0,
            gone: false,
        })
    }

    /// A pod that nothing brings back.
    pub fn bare(&mut self, name: &str, node: &str) -> PodId {
        let template = self.template(name, |_| {});
        let node = Some(self.at(node));
        self.pod(name, template, Owner::None, node)
    }

    /// A pod by name.
    pub fn find(&self, name: &str) -> PodId {
        let found = self.cluster.pods().find(|(_, pod)| pod.name == name && !pod.gone);
        found.map(|(id, _)| id).unwrap_or_else(|| panic!("pod {name}"))
    }

    /// A budget over an application, with a status that is up to date.
    pub fn budget(&mut self, name: &str, app: &str, desired: i32, healthy: i32, expected: i32) -> BudgetId {
        let id = self.cluster.add_budget(Budget {
            namespace: "default".into(),
            name: name.into(),
            selector: Some(selector(app)),
            selector_error: Name::EMPTY,
            limit: BudgetLimit::MinAvailable(IntOrPercent::Int(desired)),
            always_allow_unhealthy: false,
            generation: 1,
            status: BudgetStatus {
                current_healthy: healthy,
                desired_healthy: desired,
                expected_pods: expected,
                disruptions_allowed: (healthy - desired).max(0),
                observed_generation: 1,
                disrupted: Vec::new(),
                condition: None,
            },
            gone: false,
        });
        self.cluster.reindex();
        id
    }

    /// A Service over an application.
    pub fn service(&mut self, app: &str) -> ServiceId {
        let id = self.cluster.add_service(Service {
            namespace: "default".into(),
            name: app.into(),
            selector: Some(selector(app)),
            publish_not_ready: false,
            kind: "ClusterIP".into(),
            headless: false,
            local_only: false,
            gone: false,
        });
        self.cluster.reindex();
        id
    }

    /// What is decided now. Decides twice: the answer must be the same.
    pub fn decide(&self) -> Decision {
        let decision = decide(&self.goal, &self.cluster, self.now);
        assert_eq!(decision, decide(&self.goal, &self.cluster, self.now), "same cluster, same time, same decision");
        decision
    }

    /// Decides and carries out, again and again, until nothing is to be done at once. Nodes come up, pods end and replacements
    /// come only when a test says so.
    pub fn run(&mut self) -> Decision {
        for _ in 0..100 {
            let decision = self.decide();
            if decision.actions.is_empty() {
                return decision;
            }
            for action in &decision.actions {
                self.carry_out(*action);
            }
            if decision.outcome.is_some() {
                return decision;
            }
        }
        panic!("decisions without end")
    }

    /// As [`Town::run`], until an action of this kind is decided; it is not carried out.
    pub fn run_until(&mut self, wanted: impl Fn(&Action) -> bool) -> Decision {
        for _ in 0..100 {
            let decision = self.decide();
            if decision.actions.iter().any(&wanted) {
                return decision;
            }
            assert!(!decision.actions.is_empty(), "not reached: {decision:?}");
            for action in &decision.actions {
                self.carry_out(*action);
            }
        }
        panic!("decisions without end")
    }

    /// As the shell does it.
    pub fn carry_out(&mut self, action: Action) {
        let now = self.now;
        let cluster = &mut self.cluster;
        match action {
            Action::TakeLock => cluster.run.lock = Lock::Ours,
            Action::ReleaseLock => cluster.run.lock = Lock::Free,
            Action::BackUp => cluster.run.backup = Backup::Verified,
            Action::Begin(node) => {
                cluster.run.started.get_or_insert(now);
                cluster.update_node(node, |node| {
                    node.job = HostJob::Absent;
                    node.marks = Marks {
                        started: Some(now),
                        was_cordoned: node.unschedulable,
                        was_unrouted: node.routing == Routing::Stopped,
                        ..Marks::default()
                    };
                });
            }
            Action::StopRouting(node) => cluster.update_node(node, |node| node.routing = Routing::Stopped),
            Action::ResumeRouting(node) => cluster.update_node(node, |node| node.routing = Routing::Routed),
            Action::Cordon(node) => cluster.update_node(node, |node| node.unschedulable = true),
            Action::Uncordon(node) => cluster.update_node(node, |node| {
                node.unschedulable = false;
                node.marks.uncordoned = Some(now);
            }),
            Action::BeginDrain(node) => {
                cluster.record_standing(node);
                cluster.update_node(node, |node| node.marks.drain_started = Some(now));
            }
            Action::ForceOn(node) => cluster.update_node(node, |node| node.marks.forced = Some(now)),
            Action::Evict { pod, grace_seconds } | Action::Delete { pod, grace_seconds } => {
                let grace_seconds = grace_seconds.unwrap_or(cluster.spec(pod).grace_seconds);
                cluster.update_pod(pod, |pod| pod.deletion = Some(Deletion { since: now, grace_seconds }));
            }
            Action::UpgradeHost { node, .. } => cluster.update_node(node, |node| {
                node.job = HostJob::Running { since: now };
                node.marks.host_touched = Some(now);
            }),
            Action::End { node, outcome } => {
                cluster.update_node(node, |node| node.marks.outcome = Some((outcome, now)));
                cluster.forget_drain(node);
                cluster.run.last_ended = Some(now);
            }
            Action::NextHop(version) => {
                cluster.run.hop = Some(version);
                let done: Vec<NodeId> = cluster
                    .nodes()
                    .filter(|(_, node)| matches!(node.marks.outcome, Some((crate::cluster::NodeOutcome::Done, _))))
                    .map(|(id, _)| id)
                    .collect();
                for node in done {
                    cluster.update_node(node, |node| {
                        node.marks = Marks::default();
                        node.job = HostJob::Absent;
                    });
                }
            }
            Action::Halt => cluster.run.stopped = true,
        }
    }

    /// Pods that end are gone.
    pub fn let_go(&mut self) {
        let ending: Vec<PodId> =
            self.cluster.pods().filter(|(_, pod)| pod.is_terminating()).map(|(id, _)| id).collect();
        for pod in ending {
            self.cluster.update_pod(pod, |pod| pod.gone = true);
        }
    }

    /// A ready replacement for a pod of an application.
    pub fn replace(&mut self, app: &str, name: &str, node: &str) -> PodId {
        let node = Some(self.at(node));
        let set = self.cluster.find_workload(&ObjectKey::new("default".into(), "ReplicaSet", app.into()));
        let set = set.unwrap_or_else(|| panic!("application {app}"));
        let template = self.template(app, |_| {});
        self.pod(name, template, Owner::Workload(set), node)
    }

    /// The hosts that work on their upgrade are done: kubelet and control plane have the version.
    pub fn hosts_end(&mut self, version: Version) {
        for node in self.cluster.nodes_under_maintenance().to_vec() {
            if matches!(self.cluster.node(node).job, HostJob::Running { .. }) {
                self.cluster.update_node(node, |node| {
                    node.job = HostJob::Succeeded;
                    node.kubelet = Some(version);
                    node.control_plane = node.control_plane.map(|_| version);
                });
            }
        }
        let control_plane = self.cluster.nodes().filter_map(|(_, node)| node.control_plane).min();
        self.cluster.api_server = control_plane.or(self.cluster.api_server);
    }

    /// So much later.
    pub fn later(&mut self, seconds: i64) {
        self.now = self.now + Millis::secs(seconds);
    }
}

fn selector(app: &str) -> Selector {
    Selector::from_labels([(Name::new("app"), Name::new(app))])
}

/// The reasons that a decision waits for.
pub fn reasons(decision: &Decision) -> Vec<&Reason> {
    decision.waiting.iter().map(|waiting| &waiting.reason).collect()
}
