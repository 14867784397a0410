//! What only journals of real runs have: the run's own deeds, hosts at work, static pods, objects as others write them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::{
    Cluster, Effect, Name, NodeId, NodeOutcome, ObjectKey, Owner, PodId, Readiness, Taint, Time, Version, WorkloadId,
};
use crate::import;
use crate::scenario::{Action, Verb};
use crate::simulator::{First, NewPod, controllers};
use crate::trace::Event;

use super::event::Act;
use super::replay::Replay;

/// What a run is up to.
pub(super) struct Real {
    /// Nodes on whose hosts it works, until it gives them back, with the version that they get if that is known: kubelets restart,
    /// report another version or fall silent, hosts reboot, static pods are exchanged.
    work: BTreeMap<Name, Option<Version>>,
}

impl Real {
    /// As the records on the nodes have it.
    pub(super) fn new(cluster: &Cluster) -> Real {
        let at_work = cluster.nodes().filter(|(_, node)| {
            let marks = &node.marks;
            marks.host_touched.is_some() && marks.uncordoned.is_none() && marks.outcome.is_none()
        });
        Real { work: at_work.map(|(_, node)| (node.name(), None)).collect() }
    }
}

/// An instant of a journal, for people.
pub(super) fn time(start: Time, seconds: f64) -> String {
    let time = jiff::Timestamp::from_millisecond(start.0 + (seconds * 1000.0) as i64).unwrap_or_default();
    format!("{time:.3}")
}

impl Replay<'_> {
    /// The run does something. Cordons are looked for where their events are; evictions have lines of their own.
    pub(super) fn act(&mut self, act: &Act) {
        if !self.lines[self.at].earlier {
            self.report.count("acts of the run");
        }
        let node = act.node.as_deref().map(Name::new);
        let Some(real) = &mut self.real else { return };
        match (act.what.as_str(), node) {
            ("upgrade-host", Some(node)) => {
                real.work.insert(node, act.version);
            }
            ("end", Some(node)) if act.outcome == Some(NodeOutcome::Done) => {
                real.work.remove(&node);
            }
            ("delete", _) => {
                self.deleted_by_recorder.extend(self.pods.get(&(Name::new(&act.ns), Name::new(&act.pod))));
            }
            _ => {}
        }
    }

    /// The node takes pods again. That the run asked for it would not do: the API server may be away.
    pub(super) fn given_back(&mut self, node: NodeId) {
        let name = self.world.cluster.node(node).name();
        if let Some(real) = &mut self.real {
            real.work.remove(&name);
        }
    }

    /// Whether the run works on the host of a node.
    pub(super) fn works_on(&self, node: Name) -> bool {
        self.real.as_ref().is_some_and(|real| real.work.contains_key(&node))
    }

    /// Work on a host begins or ends.
    pub(super) fn host(&mut self, node: &str, kind: &str) {
        self.report.count(kind);
        if !self.works_on(Name::new(node)) {
            self.mismatch(kind, node, "nobody works on its host".to_owned(), kind.to_owned());
        }
    }

    /// Condition Ready of a real node.
    pub(super) fn real_node_ready(&mut self, node: NodeId, ready: Readiness) {
        let name = self.world.cluster.node(node).name();
        if ready != Readiness::Ready && !self.works_on(name) {
            self.report.pass_over("nodes that fail by themselves");
        }
        let now = self.world.now;
        self.world.cluster.update_node(node, |node| {
            node.ready = ready;
            node.ready_since = now;
        });
        self.emit(Event::NodeReady(node, ready));
    }

    /// Only the run brings another version, and only the one that it was asked for.
    pub(super) fn may_change_version(&mut self, kind: &str, node: NodeId, version: Version) {
        let Some(real) = &self.real else { return };
        let name = self.world.cluster.node(node).name();
        let model = match real.work.get(&name) {
            None => "nobody works on its host".to_owned(),
            Some(Some(target)) if *target != version => format!("it gets {target}"),
            Some(_) => return,
        };
        self.mismatch(kind, &name, model, version.to_string());
    }

    /// Taints that are not of Kubernetes' own controllers: whoever sets them is no part of the model.
    pub(super) fn take_foreign_taints(&mut self, present: &mut Vec<Taint>, wanted: &[Taint]) {
        if self.real.is_none() {
            return;
        }
        let foreign = |taints: &[Taint]| -> Vec<Taint> {
            let foreign = |taint: &&Taint| {
                !taint.key.starts_with("node.kubernetes.io/") || taint.effect == Effect::PreferNoSchedule
            };
            let mut found: Vec<Taint> = taints.iter().filter(foreign).copied().collect();
            found.sort();
            found
        };
        let (before, after) = (foreign(present), foreign(wanted));
        if before != after {
            self.report.pass_over("taints that somebody sets or removes");
            present.retain(|taint| !before.contains(taint));
            present.extend(after);
            present.sort();
        }
    }

    /// A static pod whose kubelet puts another one in its place.
    pub(super) fn is_exchanged(&mut self, id: PodId) -> bool {
        let pod = self.world.cluster.pod(id);
        let Some(node) = pod.node.filter(|_| self.real.is_some() && pod.owner == Owner::Node) else { return false };
        if !self.works_on(self.world.cluster.node(node).name()) {
            self.report.pass_over("static pods that change although nobody works on their host");
        }
        true
    }

    /// A pod that no template tells of: of a kubelet, of a controller that the model does not know, or somebody's own.
    pub(super) fn foreign_pod(&mut self, key: (Name, Name), controller: Option<&str>, object: Value) {
        let node = object.pointer("/spec/nodeName").and_then(Value::as_str).map(Name::new);
        match controller {
            Some(controller) if controller.starts_with("Node/") => {
                if !node.is_some_and(|node| self.works_on(node)) {
                    self.report.pass_over("static pods that change although nobody works on their host");
                }
            }
            Some(_) => self.report.pass_over("pods of controllers that the model does not know"),
            None => self.report.pass_over("pods that somebody creates"),
        }
        let version = import::api_server_version(&object);
        if let Err(problem) = import::apply(&mut self.world.cluster, object) {
            self.mismatch("pod.created", &key.1, "a pod".to_owned(), problem.to_string());
            return;
        }
        let of_name = |(id, pod): &(PodId, &crate::cluster::Pod)| {
            !pod.gone && pod.name == key.1 && self.world.cluster.spec(*id).namespace == key.0
        };
        let Some(id) = self.world.cluster.pods().rev().find(of_name).map(|(id, _)| id) else { return };
        self.pods.insert(key, id);
        self.since.insert(id, self.seconds());
        self.emit(Event::PodCreated(id));
        if let (Some(version), Some(node)) = (version, node.and_then(|node| self.world.cluster.find_node(node))) {
            self.api_server(node, version);
        }
    }

    /// The API server of a node runs a version; the cluster is as old as its oldest one.
    fn api_server(&mut self, node: NodeId, version: Version) {
        if self.world.cluster.node(node).control_plane == Some(version) {
            return;
        }
        self.report.count("version of an API server");
        self.may_change_version("version of an API server", node, version);
        self.world.cluster.update_node(node, |node| node.control_plane = Some(version));
        let oldest =
            self.world.cluster.nodes().filter(|(_, node)| !node.gone).filter_map(|(_, node)| node.control_plane).min();
        self.world.cluster.api_server = oldest;
        self.emit(Event::ControlPlaneVersion(node, version));
    }

    /// A pod that the model does not allow is there nevertheless: what follows is looked at as of any other.
    pub(super) fn take_in(&mut self, owner: WorkloadId, key: (Name, Name)) {
        let Some(spec) = self.world.cluster.workload(owner).template.filter(|_| self.real.is_some()) else { return };
        let new = NewPod {
            owner,
            spec,
            name: Some(key.1),
            ordinal: None,
            pinned: None,
            job_finalizer: false,
            foreign_finalizer: false,
        };
        let id = self.world.create_pod(new, &mut First);
        self.pods.insert(key, id);
        self.since.insert(id, self.seconds());
    }

    /// Somebody, a client or a controller, writes an object: it is taken as it is.
    pub(super) fn object(&mut self, object: Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, namespace, name) = (text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
        let key = ObjectKey::new(Name::new(&namespace), &kind, Name::new(&name));
        let is_new = self.world.cluster.find_workload(&key).is_none();
        let nodes = self.world.cluster.nodes().len();
        if let Err(problem) = import::apply(&mut self.world.cluster, object) {
            self.report.pass_over(&format!("objects that cannot be read: {key}: {problem}"));
            return;
        }
        self.report.pass_over(&format!("objects taken as somebody has written them: {kind}"));
        let known = self.world.cluster.nodes().len();
        for index in nodes..known {
            self.world.hosts.push(Default::default());
            self.emit(Event::NodeCreated(NodeId(index as u32)));
        }
        if let Some(id) = self.world.cluster.find_workload(&key) {
            if is_new {
                controllers::meet(&mut self.world, id);
            }
            self.workload_told(id);
        }
    }

    /// Somebody deletes an object; what it owns may go.
    pub(super) fn gone(&mut self, kind: &str, ns: &str, name: &str) -> anyhow::Result<()> {
        self.report.pass_over(&format!("objects that somebody deletes: {kind}"));
        let action = Action {
            at: None,
            delay: 0.0,
            verb: Verb::Delete,
            node: None,
            kind: Some(kind.to_owned()),
            namespace: Some(ns.to_owned()),
            name: Some(name.to_owned()),
            propagation: None,
            grace: None,
            pods: None,
            body: None,
            seconds: None,
        };
        let disturbance = action.compile()?;
        self.deletion(&action, &disturbance);
        Ok(())
    }
}
