//! A real cluster as the engine's [`Port`]: observation, and each action as a request with its precondition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};

use super::certificates;
use super::client::Connection;
use super::hook::Visit;
use super::journal::Journal;
use super::kinds::KINDS;
use super::lock::Lease;
use super::record::Record;
use super::routing::Routing;
use super::store::Store;
use crate::cluster::{
    Backup, Cluster, EXCLUDED, HostJob, Millis, NODE_RECORD, Name, Node, NodeId, NodeOutcome, NodeRecord, PodId,
    Refusal, Time, Version,
};
use crate::engine::{Port, Trouble};
use crate::upgrade::Action;

/// How old what is known of a host's job may be.
const JOB_AGE: Millis = Millis::secs(2);

/// How a supervised job on a host stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobState {
    /// Never started.
    Absent,
    /// Started, not ended.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended with an error: the step, and the end of its log.
    Failed(String),
}

/// A job on the host of a node.
#[derive(Clone, Debug)]
pub struct HostTask {
    /// Name of the job: the same name is the same job, which is started once.
    pub id: String,
    /// Name of the node.
    pub node: Name,
    /// InternalIP of the node, empty when unknown.
    pub address: Name,
    /// What is to be done.
    pub what: Task,
}

/// What is to be done on a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// Upgrade to this version.
    Upgrade {
        /// The target.
        to: Version,
        /// What the node runs.
        from: Option<Version>,
        /// Its part in the cluster.
        role: Role,
    },
    /// Take a backup and verify it.
    BackUp,
}

/// Part of a node in the cluster, as far as its upgrade is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The control-plane node that takes the control plane to the version.
    FirstControlPlane,
    /// A further one.
    ControlPlane,
    /// Any other.
    Worker,
}

/// Means to work on hosts.
pub trait HostWork: Send {
    /// Makes sure that a job has been started.
    fn ensure<'a>(&'a mut self, task: &'a HostTask) -> BoxFuture<'a, Result<(), Trouble>>;
    /// How it stands.
    fn state<'a>(&'a mut self, task: &'a HostTask) -> BoxFuture<'a, Result<JobState, Trouble>>;
}

/// A live cluster.
pub struct Live {
    connection: Connection,
    store: Store,
    journal: Journal,
    lock: Lease,
    record: Record,
    hosts: Box<dyn HostWork>,
    routing: Routing,
    /// uid of each pod at the last look: an action is about that very pod.
    uids: BTreeMap<(Name, Name), Name>,
    /// Last refusals that still stand, by uid.
    refusals: BTreeMap<Name, Refusal>,
    /// What was last heard of each job, and when.
    jobs: BTreeMap<String, (JobState, Time)>,
    /// Nodes whose hosts are not asked: the operator leaves them out.
    left_out: BTreeSet<Name>,
    /// Requests for serving certificates of which the operator has been told.
    told: BTreeSet<String>,
    /// Lowest number of ready pods seen so far, by workload: whoever counts shares it, so that it is recorded while the run goes on.
    seen: Seen,
}

/// Lowest number of ready pods by workload, shared with whoever counts.
pub type Seen = Arc<Mutex<BTreeMap<String, u32>>>;

/// What is changed on a node besides the run's record, in the same write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Also {
    /// Nothing.
    Nothing,
    /// Whether it takes pods.
    Schedulable(bool),
    /// Whether it carries the label [`EXCLUDED`].
    Excluded(bool),
}

impl Live {
    /// Begins to watch a cluster; what is seen and done stands in the journal.
    pub fn new(
        connection: Connection,
        lock: Lease,
        record: Record,
        hosts: Box<dyn HostWork>,
        routing: Routing,
        seen: Seen,
        journal: Journal,
    ) -> Live {
        let store = Store::start(&connection, journal.clone());
        let (uids, refusals, jobs) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (left_out, told) = (BTreeSet::new(), BTreeSet::new());
        Live { connection, store, journal, lock, record, hosts, routing, uids, refusals, jobs, left_out, told, seen }
    }

    /// Leaves nodes out whose host may not answer any more (`Goal::skip`).
    pub fn leave_out(&mut self, nodes: impl IntoIterator<Item = Name>) {
        self.left_out.extend(nodes);
    }

    /// Waits until everything has been read.
    ///
    /// # Errors
    ///
    /// What is wrong, if it takes more than a minute.
    pub async fn wait_until_known(&mut self) -> Result<(), Trouble> {
        let end = self.now() + Millis::secs(60);
        loop {
            match self.observe().await {
                Ok(_) => return Ok(()),
                Err(Trouble::Unreachable(_)) if self.now() < end => self.changed(end).await,
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Gives the lock back if it is held: the run ends here without an end of its own.
    pub async fn let_go(&mut self) {
        // If it cannot be reached, the lock ends by itself.
        let _ = self.lock.release().await;
    }

    /// What the run has written about itself.
    pub fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// The operator gives the command again: what made the run stop is looked at anew ([`Cluster::begin_again`]).
    ///
    /// # Errors
    ///
    /// As of any other action.
    pub async fn begin_again(&mut self) -> Result<(), Trouble> {
        let before = self.observe().await?;
        let mut after = before.clone();
        after.begin_again();
        for (id, node) in before.nodes() {
            let name = node.name();
            let failed = node.job == HostJob::Failed;
            let touched = node.marks.host_touched.is_some() && node.marks.outcome.is_none();
            if after.node(id).marks != node.marks {
                self.insist(name, |record| *record = NodeRecord::default()).await?;
            } else if touched && !self.left_out.contains(&name) {
                // The host gets its time anew, too.
                let now = self.now();
                self.insist(name, |record| {
                    record.host_touched = Some(now);
                    record.attempt += u32::from(failed);
                })
                .await?;
            }
        }
        let failed = before.run.backup == Backup::Failed;
        self.record
            .change(|record| {
                record.stopped = false;
                record.reasons.clear();
                if failed {
                    record.backup_begun = None;
                    record.backup_attempt += 1;
                }
            })
            .await
    }

    /// Removes what the run has written on the nodes: it is over. A node that it did not end with (`--skip-node`) keeps its record,
    /// so that another run goes on with it.
    ///
    /// # Errors
    ///
    /// As of any other action.
    pub async fn clear(&mut self) -> Result<(), Trouble> {
        let cluster = self.observe().await?;
        for (_, node) in cluster.nodes() {
            let unfinished = node.marks.started.is_some() && node.marks.outcome.is_none();
            if self.known(node.name()).is_some() && !unfinished {
                self.insist(node.name(), |record| *record = NodeRecord::default()).await?;
            }
        }
        Ok(())
    }

    fn nodes(&self) -> Api<DynamicObject> {
        Api::all_with(self.connection.client.clone(), &KINDS[0].resource())
    }

    /// The record that stands on a node.
    fn known(&self, node: Name) -> Option<NodeRecord> {
        let annotations = self.store.field("Node", "", &node, "/metadata/annotations")?;
        serde_json::from_str(annotations.get(NODE_RECORD)?.as_str()?).ok()
    }

    /// Changes the record on a node, however often its kubelet writes it meanwhile: nothing was decided from it.
    async fn insist(&mut self, node: Name, change: impl Fn(&mut NodeRecord)) -> Result<(), Trouble> {
        let mut tries = 0;
        loop {
            match self.edit(node, Also::Nothing, &change).await {
                Err(Trouble::Stale(_)) if tries < 20 => tries += 1,
                result => return result,
            }
        }
    }

    /// Changes the record on a node and, in the same write, something else.
    async fn edit(&mut self, node: Name, also: Also, change: impl FnOnce(&mut NodeRecord)) -> Result<(), Trouble> {
        let mut record = self.known(node).unwrap_or_default();
        change(&mut record);
        let text = if record == NodeRecord::default() { Value::Null } else { json!(record.to_json()) };
        let version = self.store.field("Node", "", &node, "/metadata/resourceVersion");
        let mut patch = json!({"metadata": {"resourceVersion": version, "annotations": {NODE_RECORD: text}}});
        match also {
            Also::Nothing => {}
            Also::Schedulable(schedulable) => patch["spec"] = json!({"unschedulable": !schedulable}),
            Also::Excluded(true) => patch["metadata"]["labels"] = json!({EXCLUDED: ""}),
            Also::Excluded(false) => patch["metadata"]["labels"] = json!({EXCLUDED: null}),
        }
        let what = || format!("patching node {node}");
        match self.nodes().patch(&node, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(object) => {
                self.store.put("Node", ("", &node), Some(&object));
                Ok(())
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                let object = self.nodes().get_opt(&node).await.map_err(|error| trouble(&error, &what()))?;
                self.store.put("Node", ("", &node), object.as_ref());
                Err(Trouble::Stale(format!("{}: {}", what(), status.message)))
            }
            Err(error) => Err(trouble(&error, &what())),
        }
    }

    async fn begin(&mut self, cluster: &Cluster, id: NodeId) -> Result<(), Trouble> {
        let node = cluster.node(id);
        self.routing.before(&self.visit(cluster, id)).await?;
        let now = self.now();
        let (was_cordoned, was_unrouted) = (node.unschedulable, !self.routing.is_routed(node.name()).await?);
        self.edit(node.name(), Also::Nothing, |record| {
            *record = NodeRecord {
                started: Some(now),
                from: node.kubelet,
                was_cordoned,
                was_unrouted,
                unrouted: was_unrouted,
                ..NodeRecord::default()
            };
        })
        .await?;
        self.routing.forget(node.name());
        Ok(())
    }

    /// A node, as hooks are told of it.
    fn visit(&self, cluster: &Cluster, id: NodeId) -> Visit {
        let (node, record) = (cluster.node(id), self.known(cluster.node(id).name()).unwrap_or_default());
        let run = self.record.get();
        // As `upgrade` decides it: members of the control plane go minor by minor, workers as far as the API server is.
        let api = cluster.nodes().filter_map(|(_, node)| node.control_plane).min().or(cluster.api_server);
        let next = match (node.is_control_plane(), run.to, api) {
            (true, to, _) => run.hop.or(to),
            (false, Some(to), Some(api)) if api.minor < to.minor => Some(api),
            (false, to, _) => to,
        };
        let to = record.host_target.or(next);
        let role = match record.role.as_deref() {
            Some(word) => Role::named(word),
            None => to.map_or(Role::Worker, |to| role(cluster, id, to)),
        };
        Visit {
            node: node.name(),
            address: node.info.address,
            from: record.from.or(node.kubelet),
            runs: node.kubelet,
            to,
            role,
        }
    }

    /// Stops routing to a node. Recorded first: from now on some places may send to it no more, and what was stopped is resumed.
    async fn stop_routing(&mut self, cluster: &Cluster, id: NodeId) -> Result<(), Trouble> {
        let (now, node) = (self.now(), cluster.node(id).name());
        let record = self.known(node).unwrap_or_default();
        let has_label = cluster.node(id).info.labels.get(Name::new(EXCLUDED)).is_some();
        let label = self.routing.around().exclude_label && !has_label;
        if label || record.unrouting.is_none() {
            let also = if label { Also::Excluded(true) } else { Also::Nothing };
            self.edit(node, also, |record| {
                record.unrouting = record.unrouting.or(Some(now));
                record.excluded |= label;
            })
            .await?;
        }
        let labelled = self.known(node).filter(|record| record.excluded).and_then(|record| record.unrouting);
        let visit = self.visit(cluster, id);
        self.tell_others(self.routing.asks_to_stop(&visit)).await?;
        let stopped = self.routing.stop(&visit, labelled, now).await;
        self.tell_others(stopped.as_ref().err().map(ToString::to_string)).await?;
        stopped?;
        // Hooks may have taken their time.
        self.lock.check()?;
        self.edit(node, Also::Nothing, |record| record.unrouted = true).await?;
        self.routing.forget(node);
        Ok(())
    }

    /// Resumes routing to a node; the label goes if it was the run that set it, whatever this command was told to do.
    async fn resume_routing(&mut self, cluster: &Cluster, id: NodeId) -> Result<(), Trouble> {
        let node = cluster.node(id).name();
        let visit = self.visit(cluster, id);
        self.tell_others(self.routing.asks_to_resume(&visit)).await?;
        let resumed = self.routing.resume(&visit).await;
        self.tell_others(resumed.as_ref().err().map(ToString::to_string)).await?;
        resumed?;
        self.lock.check()?;
        let ours = self.known(node).is_some_and(|record| record.excluded);
        let also = if ours { Also::Excluded(false) } else { Also::Nothing };
        self.edit(node, also, |record| {
            (record.unrouting, record.unrouted, record.excluded) = (None, false, false);
        })
        .await?;
        self.routing.forget(node);
        Ok(())
    }

    /// Writes down what the run waits for that nobody else could know (`cmsim status`).
    async fn tell_others(&mut self, reason: Option<String>) -> Result<(), Trouble> {
        self.record.change(|record| record.reasons = reason.into_iter().collect()).await
    }

    /// Looks for requests of a node's kubelet for its serving certificate: those that are sound are approved if the operator wants
    /// it so; of the others he is told once.
    async fn certificates(&mut self, cluster: &Cluster, id: NodeId) -> Result<(), Trouble> {
        let (node, approve) = (cluster.node(id).name(), self.routing.around().approve_certificates);
        let pending = match certificates::pending(&self.connection).await {
            Ok(pending) => pending,
            Err(trouble) if approve => return Err(trouble),
            // Looking is no right that a run needs.
            Err(_) => return Ok(()),
        };
        let addresses = self.store.field("Node", "", &node, "/status/addresses");
        let addresses: Vec<String> = addresses
            .iter()
            .filter_map(Value::as_array)
            .flatten()
            .filter_map(|one| Some(one.get("address")?.as_str()?.to_owned()))
            .collect();
        for request in pending.iter().filter(|request| request.node == node.as_str()) {
            let name = &request.name;
            let what = format!("{name} of node {node} (kubelet serving certificate)");
            let text = match request.flaw(&addresses) {
                None if approve => {
                    request.approve(&self.connection).await?;
                    format!("approved {what}")
                }
                None => format!(
                    "{what} waits for approval: kubectl certificate approve {name}, or give --approve-serving-certificates"
                ),
                Some(flaw) => format!("{what} is not approved: {flaw}; look at it: kubectl get csr {name} -o yaml"),
            };
            if self.told.insert(name.clone()) {
                self.routing.operator().tell(&text);
            }
        }
        Ok(())
    }

    async fn end(&mut self, cluster: &Cluster, id: NodeId, outcome: NodeOutcome) -> Result<(), Trouble> {
        let (now, node) = (self.now(), cluster.node(id));
        if node.marks.started.is_some() {
            if outcome == NodeOutcome::Done {
                self.certificates(cluster, id).await?;
            }
            self.routing.after(&self.visit(cluster, id), outcome).await?;
            self.lock.check()?;
        }
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.record.change(|record| record.seen = seen).await?;
        self.edit(node.name(), Also::Nothing, |record| {
            (record.outcome, record.ended) = (Some(outcome), Some(now));
            record.standing.clear();
        })
        .await?;
        self.routing.forget(node.name());
        Ok(())
    }

    async fn evict(&mut self, cluster: &Cluster, pod: PodId, grace: Option<u32>) -> Result<(), Trouble> {
        let key = cluster.pod_key(pod);
        let (namespace, name) = (key.namespace, key.name);
        let Some(uid) = self.uids.get(&(namespace, name)).copied() else { return Ok(()) };
        let mut options = json!({"preconditions": {"uid": uid}});
        if let Some(seconds) = grace {
            options["gracePeriodSeconds"] = json!(seconds);
        }
        let body = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace}, "deleteOptions": options,
        });
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction");
        let revision = self.journal.revision();
        let answer = super::client::post(&self.connection, &path, &body)
            .await
            .map_err(|error| Trouble::Unreachable(format!("evicting {namespace}/{name}: {error}")))?;
        let looked = self.look_at_pod(namespace, name).await;
        self.journal.evicted((&namespace, &name), &answer, revision, looked.as_ref().ok().copied());
        match answer.code {
            200 | 201 | 404 => {
                self.refusals.remove(&uid);
            }
            // Another pod of that name, or the budget changed under the eviction's feet: look again.
            409 => return Err(Trouble::Stale(format!("evicting {namespace}/{name}: {}", answer.text()))),
            429 | 500 => {
                let count = self.refusals.get(&uid).map_or(0, |refusal| refusal.count) + 1;
                let refusal = Refusal {
                    at: self.now(),
                    code: answer.code,
                    retry_after_seconds: answer.retry_after_seconds,
                    message: Name::new(&answer.text()),
                    count,
                };
                self.refusals.insert(uid, refusal);
            }
            code @ (502..=504) => {
                return Err(Trouble::Unreachable(format!("evicting {namespace}/{name}: {code} {}", answer.text())));
            }
            code => return Err(Trouble::Refused(format!("evicting {namespace}/{name}: {code} {}", answer.text()))),
        }
        looked.map(|_| ())
    }

    async fn delete(&mut self, cluster: &Cluster, pod: PodId, grace: Option<u32>) -> Result<(), Trouble> {
        let key = cluster.pod_key(pod);
        let (namespace, name) = (key.namespace, key.name);
        let Some(uid) = self.uids.get(&(namespace, name)) else { return Ok(()) };
        let options = DeleteParams {
            grace_period_seconds: grace,
            preconditions: Some(Preconditions { uid: Some(uid.to_string()), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.pods(namespace).delete(&name, &options).await {
            Ok(_) => self.look_at_pod(namespace, name).await.map(|_| ()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                self.look_at_pod(namespace, name).await.map(|_| ())
            }
            Err(error) => Err(trouble(&error, &format!("deleting pod {namespace}/{name}"))),
        }
    }

    fn pods(&self, namespace: Name) -> Api<DynamicObject> {
        Api::namespaced_with(self.connection.client.clone(), &namespace, &KINDS[2].resource())
    }

    /// The pod as it is now, before the watch tells it, and the revision of that. A list tells the cluster's revision, a single
    /// object only its own.
    async fn look_at_pod(&mut self, namespace: Name, name: Name) -> Result<u64, Trouble> {
        let what = || format!("getting pod {namespace}/{name}");
        let only = ListParams::default().fields(&format!("metadata.name={name}"));
        let list = self.pods(namespace).list(&only).await.map_err(|error| trouble(&error, &what()))?;
        self.store.put("Pod", (&namespace, &name), list.items.first());
        Ok(list.metadata.resource_version.and_then(|version| version.parse().ok()).unwrap_or(0))
    }

    /// The control plane goes for its next minor version. The nodes are first: should the engine die on the way, it is decided
    /// once more.
    async fn next_hop(&mut self, cluster: &Cluster, version: Version) -> Result<(), Trouble> {
        for (_, node) in cluster.nodes() {
            if node.marks.outcome.is_some_and(|(outcome, _)| outcome == crate::cluster::NodeOutcome::Done) {
                self.edit(node.name(), Also::Nothing, |record| *record = NodeRecord::default()).await?;
            }
        }
        self.record.change(|record| record.hop = Some(version)).await
    }

    async fn upgrade(&mut self, cluster: &Cluster, id: NodeId, to: Version) -> Result<(), Trouble> {
        let (now, node) = (self.now(), cluster.node(id));
        // Recorded first: from now on the node is not simply put back.
        self.edit(node.name(), Also::Nothing, |record| {
            record.host_touched = record.host_touched.or(Some(now));
            record.host_target = Some(to);
            record.role.get_or_insert_with(|| role(cluster, id, to).as_str().to_owned());
        })
        .await?;
        let Some(task) = self.upgrade_task(cluster, id) else { return Ok(()) };
        self.jobs.remove(&task.id);
        self.hosts.ensure(&task).await
    }

    /// The job of a node's upgrade, if the host was touched.
    fn upgrade_task(&self, cluster: &Cluster, id: NodeId) -> Option<HostTask> {
        let node = cluster.node(id);
        let record = self.known(node.name())?;
        let to = record.host_target?;
        let role = record.role.as_deref().map_or(Role::Worker, Role::named);
        let what = Task::Upgrade { to, from: node.kubelet, role };
        let id = format!("{}-{}-{to}-{}", self.record.get().id, node.name(), record.attempt);
        Some(HostTask { id, node: node.name(), address: node.info.address, what })
    }

    /// The job of the backup: on the first control-plane node.
    fn backup_task(&self, cluster: &Cluster) -> Option<HostTask> {
        let first = cluster.nodes().filter(|(_, node)| node.is_control_plane() && !node.gone);
        let (_, node) = first.min_by_key(|(_, node)| node.name())?;
        let record = self.record.get();
        let id = format!("{}-backup-{}", record.id, record.backup_attempt);
        Some(HostTask { id, node: node.name(), address: node.info.address, what: Task::BackUp })
    }

    /// How a job stands: what ended stays ended, and what is on its way is asked again after a while. A host that does not answer
    /// is busy.
    async fn job(&mut self, task: &HostTask) -> JobState {
        let now = self.now();
        if let Some((state, at)) = self.jobs.get(&task.id) {
            let ended = matches!(state, JobState::Succeeded | JobState::Failed(_));
            if ended || now - *at < JOB_AGE {
                return state.clone();
            }
        }
        let state = match self.hosts.state(task).await {
            Ok(state) => state,
            Err(Trouble::Refused(why)) => JobState::Failed(why),
            Err(Trouble::Stale(_) | Trouble::Unreachable(_) | Trouble::NotYet(_) | Trouble::LockLost(_)) => {
                JobState::Running
            }
        };
        self.jobs.insert(task.id.clone(), (state.clone(), now));
        state
    }

    async fn observe_hosts(&mut self, cluster: &mut Cluster) {
        for id in cluster.nodes_under_maintenance().to_vec() {
            if self.left_out.contains(&cluster.node(id).name()) {
                continue;
            }
            let Some(since) = cluster.node(id).marks.host_touched else { continue };
            let Some(task) = self.upgrade_task(cluster, id) else { continue };
            let job = match self.job(&task).await {
                JobState::Absent => HostJob::Absent,
                JobState::Running => HostJob::Running { since },
                JobState::Succeeded => HostJob::Succeeded,
                JobState::Failed(_) => HostJob::Failed,
            };
            cluster.update_node(id, |node| node.job = job);
        }
    }

    async fn observe_backup(&mut self, cluster: &mut Cluster) -> Result<(), Trouble> {
        let record = self.record.get();
        cluster.run.backup = match (record.backup_verified, record.backup_begun) {
            (Some(_), _) => Backup::Verified,
            (None, None) => Backup::Absent,
            (None, Some(since)) => {
                let state = match self.backup_task(cluster) {
                    Some(task) => self.job(&task).await,
                    None => JobState::Failed("no control-plane node".to_owned()),
                };
                match state {
                    JobState::Absent => Backup::Absent,
                    JobState::Running => Backup::Running { since },
                    JobState::Failed(_) => Backup::Failed,
                    JobState::Succeeded => {
                        let now = self.now();
                        self.record.change(|record| record.backup_verified = Some(now)).await?;
                        Backup::Verified
                    }
                }
            }
        };
        Ok(())
    }

    /// Why the last job of a node, or the backup's, failed.
    pub fn why_failed(&self) -> Vec<String> {
        let failed = self.jobs.iter().filter_map(|(id, (state, _))| match state {
            JobState::Failed(why) => Some(format!("{id}: {why}")),
            JobState::Absent | JobState::Running | JobState::Succeeded => None,
        });
        failed.collect()
    }
}

impl Port for Live {
    fn now(&self) -> Time {
        Time(jiff::Timestamp::now().as_millisecond())
    }

    async fn observe(&mut self) -> Result<Cluster, Trouble> {
        let now = self.now();
        let (mut cluster, uids) = self.store.cluster(&self.connection, now).map_err(Trouble::Unreachable)?;
        let standing: Vec<(PodId, Refusal)> = cluster
            .pods()
            .filter_map(|(id, _)| {
                let key = cluster.pod_key(id);
                Some((id, *self.refusals.get(uids.get(&(key.namespace, key.name))?)?))
            })
            .collect();
        let there: BTreeSet<Name> = uids.values().copied().collect();
        self.refusals.retain(|uid, _| there.contains(uid));
        self.uids = uids;
        cluster.run.refusals = standing;
        cluster.run.lock = self.lock.state();
        let record = self.record.get();
        (cluster.run.hop, cluster.run.stopped) = (record.hop, record.stopped);
        self.observe_backup(&mut cluster).await?;
        self.observe_hosts(&mut cluster).await;
        Ok(cluster)
    }

    async fn carry_out(&mut self, cluster: &Cluster, action: Action) -> Result<(), Trouble> {
        if !matches!(action, Action::TakeLock) {
            self.lock.check()?;
        }
        let now = self.now();
        let name = |node: NodeId| cluster.node(node).name();
        match action {
            Action::TakeLock => self.lock.take().await,
            Action::ReleaseLock => self.lock.release().await,
            Action::BackUp => {
                self.record.change(|record| record.backup_begun = record.backup_begun.or(Some(now))).await?;
                match self.backup_task(cluster) {
                    Some(task) => self.hosts.ensure(&task).await,
                    None => Err(Trouble::Refused("no control-plane node to take a backup of".to_owned())),
                }
            }
            Action::Begin(node) => self.begin(cluster, node).await,
            Action::StopRouting(node) => self.stop_routing(cluster, node).await,
            Action::ResumeRouting(node) => self.resume_routing(cluster, node).await,
            Action::Cordon(node) => self.edit(name(node), Also::Schedulable(false), |_| ()).await,
            Action::Uncordon(node) => {
                if cluster.node(node).marks.host_touched.is_some() {
                    self.certificates(cluster, node).await?;
                }
                let also = Also::Schedulable(true);
                self.edit(name(node), also, |record| record.uncordoned = record.uncordoned.or(Some(now))).await
            }
            Action::BeginDrain(node) => {
                let mut standing = cluster.clone();
                standing.record_standing(node);
                let standing = NodeRecord::standing_on(&standing, node);
                self.edit(name(node), Also::Nothing, |record| {
                    (record.drain_started, record.standing) = (Some(now), standing);
                })
                .await
            }
            Action::ForceOn(node) => self.edit(name(node), Also::Nothing, |record| record.forced = Some(now)).await,
            Action::Evict { pod, grace_seconds } => self.evict(cluster, pod, grace_seconds).await,
            Action::Delete { pod, grace_seconds } => self.delete(cluster, pod, grace_seconds).await,
            Action::UpgradeHost { node, to } => self.upgrade(cluster, node, to).await,
            Action::End { node, outcome } => self.end(cluster, node, outcome).await,
            Action::NextHop(version) => self.next_hop(cluster, version).await,
            Action::Halt => self.record.change(|record| record.stopped = true).await,
        }
    }

    async fn changed(&mut self, until: Time) {
        let span = std::time::Duration::from_millis(u64::try_from((until - self.now()).0).unwrap_or(0));
        // Changes come in bundles: one look for all of them.
        let pause = std::time::Duration::from_millis(100);
        let change = async {
            self.store.changed().await;
            tokio::time::sleep(pause).await;
        };
        let _ = tokio::time::timeout(span.max(pause), change).await;
    }
}

/// Part of a node in its upgrade: the first of the control plane takes it to the version.
fn role(cluster: &Cluster, id: NodeId, to: Version) -> Role {
    if !cluster.node(id).is_control_plane() {
        return Role::Worker;
    }
    let ahead =
        |(other, node): (NodeId, &Node)| other != id && node.is_control_plane() && node.control_plane == Some(to);
    if cluster.nodes().any(ahead) { Role::ControlPlane } else { Role::FirstControlPlane }
}

/// What an error of the API server means for the engine.
pub(super) fn trouble(error: &kube::Error, what: &str) -> Trouble {
    match error {
        kube::Error::Api(status) if matches!(status.code, 429 | 500..=599) => {
            Trouble::Unreachable(format!("{what}: {}", status.message))
        }
        kube::Error::Api(status) if status.code == 409 => Trouble::Stale(format!("{what}: {}", status.message)),
        kube::Error::Api(status) => Trouble::Refused(format!("{what}: {}", status.message)),
        other => Trouble::Unreachable(format!("{what}: {}", super::store::reason(other))),
    }
}
