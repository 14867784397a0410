//! The vocabulary: all that is known of a cluster at one instant. Plain compact values, unknown being a value; indexes by
//! node, owner, budget and service are kept up to date by the few methods that change pods.
//!
//! **Invariant:** pods, nodes, budgets and services change only through [`Cluster`]'s methods, so that an index never lies.

mod budget;
mod catalog;
mod demand;
mod host;
mod ids;
mod int_or_percent;
mod labels;
mod name;
mod node;
mod pod;
pub mod quantity;
mod record;
mod resources;
mod run;
mod service;
mod time;
mod version;
mod volume;
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

pub use budget::{Budget, BudgetLimit, BudgetStatus};
pub use catalog::{
    ApiUse, Autoscaler, Catalog, CustomKind, Input, Namespace, PriorityClass, Quota, RuntimeClass, Webhook,
};
pub use demand::{Demand, SYNC_FAILED};
pub use host::{ChangedFile, Disk, HostFacts, KubeletFacts, is_loopback, name_servers};
pub use ids::{BudgetId, ClaimId, NodeId, PodId, ServiceId, SpecId, VolumeId, WorkloadId};
pub use int_or_percent::IntOrPercent;
pub use labels::{Labels, Operator, Requirement, Selector};
pub use name::Name;
pub use node::{HostJob, Marks, Node, NodeInfo, NodeOutcome, Readiness, Routing};
pub use pod::{
    AffinityTerm, Container, Deletion, DisruptionReason, Effect, HostPort, NodeTerm, Owner, Phase, Pod, PodSpec,
    PreStop, Probe, RestartPolicy, SpreadConstraint, Taint, Timing, Toleration, Volume,
};
pub use record::{Attested, EXCLUDED, NODE_RECORD, NodeRecord, RunRecord};
pub use resources::Resources;
pub use run::{Backup, Lock, Refusal, Run, Standing};
pub use service::Service;
pub use time::{Millis, MillisError, Time};
pub use version::{Version, VersionError};
pub use volume::{Access, Claim, PersistentVolume, StorageCapacity, StorageClass};
pub use workload::{
    ClaimTemplate, CronJob, DaemonSet, Deployment, Detail, FailureAction, FailureRule, Job, JobEnd, ObjectKey,
    ObjectKeyError, ReplicaSet, StatefulSet, Workload,
};

/// All that is known of a cluster at one instant.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// What a run does not change.
    pub catalog: Arc<Catalog>,
    /// Version of the API server; `None`: not in the input.
    pub api_server: Option<Version>,
    /// Record of the run.
    pub run: Run,
    /// VolumeAttachments: names of the volumes attached, by name of the node (KUBERNETES.md H.4).
    pub attached: Arc<BTreeMap<Name, Vec<Name>>>,
    nodes: Vec<Node>,
    pods: Vec<Pod>,
    workloads: Vec<Workload>,
    budgets: Vec<Budget>,
    services: Vec<Service>,
    claims: Vec<Claim>,
    volumes: Vec<PersistentVolume>,
    claims_by_name: FxHashMap<(Name, Name), ClaimId>,
    volumes_by_name: FxHashMap<Name, VolumeId>,
    matches: Arc<Vec<Matches>>,
    pods_of_node: Vec<Vec<PodId>>,
    pods_of_workload: Vec<Vec<PodId>>,
    owned_workloads: Vec<Vec<WorkloadId>>,
    pods_of_budget: Vec<Vec<PodId>>,
    owners_of_budget: Vec<Vec<(Owner, u32)>>,
    pods_of_service: Vec<Vec<PodId>>,
    ready_of_workload: Vec<u32>,
    ready_of_budget: Vec<u32>,
    ready_of_service: Vec<u32>,
    under_maintenance: Vec<NodeId>,
    put_back: Vec<NodeId>,
}

/// What selects the pods of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// Budgets whose selector matches, in the order of the table.
    pub budgets: SmallVec<[BudgetId; 2]>,
    /// Services whose selector matches.
    pub services: SmallVec<[ServiceId; 2]>,
}

macro_rules! table {
    ($one:ident, $all:ident, $push:ident, $field:ident, $id:ident, $item:ty, $what:literal) => {
        #[doc = concat!("The ", $what, " with this id.")]
        pub fn $one(&self, id: $id) -> &$item {
            &self.$field[id.index()]
        }

        #[doc = concat!("Every ", $what, " with its id, objects that are gone included.")]
        pub fn $all(&self) -> impl DoubleEndedIterator<Item = ($id, &$item)> + ExactSizeIterator {
            self.$field.iter().enumerate().map(|(index, item)| ($id(index as u32), item))
        }
    };
}

impl Cluster {
    table!(node, nodes, add_node, nodes, NodeId, Node, "node");
    table!(pod, pods, add_pod, pods, PodId, Pod, "pod");
    table!(workload, workloads, add_workload, workloads, WorkloadId, Workload, "workload");
    table!(budget, budgets, add_budget, budgets, BudgetId, Budget, "budget");
    table!(service, services, add_service, services, ServiceId, Service, "service");
    table!(claim, claims, add_claim, claims, ClaimId, Claim, "claim");
    table!(volume, volumes, add_volume, volumes, VolumeId, PersistentVolume, "volume");

    /// What all pods of this pod's template share.
    pub fn spec(&self, pod: PodId) -> &PodSpec {
        self.catalog.spec(self.pod(pod).spec)
    }

    /// `namespace/Pod/name`.
    pub fn pod_key(&self, pod: PodId) -> ObjectKey {
        ObjectKey::new(self.spec(pod).namespace, "Pod", self.pod(pod).name)
    }

    /// `Node/name`.
    pub fn node_key(&self, node: NodeId) -> ObjectKey {
        ObjectKey::cluster_wide("Node", self.node(node).name())
    }

    /// `namespace/PodDisruptionBudget/name`.
    pub fn budget_key(&self, budget: BudgetId) -> ObjectKey {
        let budget = self.budget(budget);
        ObjectKey::new(budget.namespace, "PodDisruptionBudget", budget.name)
    }

    /// `namespace/Service/name`.
    pub fn service_key(&self, service: ServiceId) -> ObjectKey {
        let service = self.service(service);
        ObjectKey::new(service.namespace, "Service", service.name)
    }

    /// The node of this name that is not gone.
    pub fn find_node(&self, name: Name) -> Option<NodeId> {
        self.nodes().rev().find(|(_, node)| node.name() == name && !node.gone).map(|(id, _)| id)
    }

    /// The workload with this key that is not deleted.
    pub fn find_workload(&self, key: &ObjectKey) -> Option<WorkloadId> {
        self.workloads().find(|(_, workload)| workload.key == *key && !workload.deleted).map(|(id, _)| id)
    }

    /// The claim of this name that is not gone.
    pub fn find_claim(&self, namespace: Name, name: Name) -> Option<ClaimId> {
        self.claims_by_name.get(&(namespace, name)).copied().filter(|&id| !self.claim(id).gone)
    }

    /// The volume of this name that is not gone.
    pub fn find_volume(&self, name: Name) -> Option<VolumeId> {
        self.volumes_by_name.get(&name).copied().filter(|&id| !self.volume(id).gone)
    }

    /// The topmost workload above a workload: the Deployment of a ReplicaSet, the CronJob of a Job's pods stays the Job.
    pub fn top(&self, workload: WorkloadId) -> WorkloadId {
        match self.workload(workload).owner {
            Some(owner) if matches!(self.workload(owner).detail, Detail::Deployment(_) | Detail::Other) => owner,
            _ => workload,
        }
    }

    /// The topmost workload that owns a pod.
    pub fn top_of_pod(&self, pod: PodId) -> Option<WorkloadId> {
        match self.pod(pod).owner {
            Owner::Workload(workload) => Some(self.top(workload)),
            Owner::None | Owner::Missing { .. } | Owner::Node => None,
        }
    }

    /// Pods bound to a node, in the order of their ids; terminal and terminating ones included.
    pub fn pods_of_node(&self, node: NodeId) -> &[PodId] {
        &self.pods_of_node[node.index()]
    }

    /// Pods whose controller reference names this workload, terminating ones included.
    pub fn pods_of_workload(&self, workload: WorkloadId) -> &[PodId] {
        &self.pods_of_workload[workload.index()]
    }

    /// Workloads whose controller reference names this one, deleted ones included, in the order of their ids.
    pub fn owned_workloads(&self, workload: WorkloadId) -> &[WorkloadId] {
        &self.owned_workloads[workload.index()]
    }

    /// Pods that a budget's selector matches, all phases, terminating ones included.
    pub fn pods_of_budget(&self, budget: BudgetId) -> &[PodId] {
        &self.pods_of_budget[budget.index()]
    }

    /// Who owns the pods that a budget's selector matches, with the number of pods, in the order of the owners.
    pub fn owners_of_budget(&self, budget: BudgetId) -> &[(Owner, u32)] {
        &self.owners_of_budget[budget.index()]
    }

    /// Pods that a Service's selector matches, all phases, terminating ones included.
    pub fn pods_of_service(&self, service: ServiceId) -> &[PodId] {
        &self.pods_of_service[service.index()]
    }

    /// Ready pods without deletionTimestamp of a workload, those of its ReplicaSets included.
    pub fn ready_pods(&self, workload: WorkloadId) -> u32 {
        self.ready_of_workload[workload.index()]
    }

    /// Ready pods without deletionTimestamp that a budget's selector matches.
    pub fn ready_of_budget(&self, budget: BudgetId) -> u32 {
        self.ready_of_budget[budget.index()]
    }

    /// Ready endpoints of a Service: pods that are Ready and not being deleted (with `publishNotReadyAddresses`: that run).
    pub fn ready_endpoints(&self, service: ServiceId) -> u32 {
        self.ready_of_service[service.index()]
    }

    /// What selects the pods of a template.
    pub fn matches(&self, spec: SpecId) -> &Matches {
        &self.matches[spec.index()]
    }

    /// Budgets that match a pod.
    pub fn budgets_of_pod(&self, pod: PodId) -> &[BudgetId] {
        &self.matches(self.pod(pod).spec).budgets
    }

    /// What a budget asks for now, or why the controllers of its pods cannot be counted (KUBERNETES.md B.1).
    pub fn demand(&self, budget: BudgetId) -> Result<Demand, Name> {
        demand::demand(self, budget)
    }

    /// Services that match a pod.
    pub fn services_of_pod(&self, pod: PodId) -> &[ServiceId] {
        &self.matches(self.pod(pod).spec).services
    }

    /// Nodes that the run has taken in hand and not ended with, in the order of their ids.
    pub fn nodes_under_maintenance(&self) -> &[NodeId] {
        &self.under_maintenance
    }

    /// Nodes that the run ended with as [`NodeOutcome::Blocked`], in the order of their ids.
    pub fn nodes_put_back(&self) -> &[NodeId] {
        &self.put_back
    }

    /// Records what stands on a node now that its drain begins: every workload with its ready pods (see [`Standing`]).
    pub fn record_standing(&mut self, node: NodeId) {
        let mut standing: Vec<Standing> = self
            .pods_of_node(node)
            .iter()
            .filter(|&&pod| !self.pod(pod).is_terminal())
            .filter_map(|&pod| self.top_of_pod(pod))
            .map(|workload| Standing { node, workload, ready: self.ready_pods(workload) })
            .collect();
        self.run.standing.retain(|entry| entry.node != node);
        self.run.standing.append(&mut standing);
        self.run.standing.sort_unstable();
        self.run.standing.dedup();
    }

    /// Drops what the run remembers of a node's drain, and refusals of pods that are gone.
    pub fn forget_drain(&mut self, node: NodeId) {
        let mut run = std::mem::take(&mut self.run);
        run.standing.retain(|entry| entry.node != node);
        run.refusals.retain(|(pod, _)| !self.pod(*pod).gone);
        self.run = run;
    }

    /// The operator gives the command again (M19): what made the run stop is looked at anew. Nodes that were put back, host
    /// jobs and backups that failed, and refusals are forgotten; what was done stays done.
    pub fn begin_again(&mut self) {
        self.run.stopped = false;
        self.run.refusals.clear();
        if self.run.backup == Backup::Failed {
            self.run.backup = Backup::Absent;
        }
        for node in std::mem::take(&mut self.put_back) {
            self.update_node(node, |node| node.marks = Marks::default());
        }
        for node in self.under_maintenance.clone() {
            self.update_node(node, |node| {
                if node.job == HostJob::Failed {
                    node.job = HostJob::Absent;
                }
            });
        }
    }

    /// Adds a node.
    pub fn add_node(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        if under_maintenance(&node) {
            self.under_maintenance.push(id);
        }
        if put_back(&node) {
            self.put_back.push(id);
        }
        self.nodes.push(node);
        self.pods_of_node.push(Vec::new());
        id
    }

    /// Changes a node. Its name stays.
    pub fn update_node(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        let node = &mut self.nodes[id.index()];
        change(node);
        let (under_maintenance, put_back) = (under_maintenance(node), put_back(node));
        note(&mut self.under_maintenance, id, under_maintenance);
        note(&mut self.put_back, id, put_back);
    }

    /// Adds a workload. Its owner, if any, must have been added before or be set later by [`Cluster::update_workload`].
    pub fn add_workload(&mut self, workload: Workload) -> WorkloadId {
        let id = WorkloadId(self.workloads.len() as u32);
        if let Some(owner) = workload.owner {
            self.owned_workloads[owner.index()].push(id);
        }
        self.workloads.push(workload);
        self.owned_workloads.push(Vec::new());
        self.pods_of_workload.push(Vec::new());
        self.ready_of_workload.push(0);
        id
    }

    /// Changes a workload. Not for its `owner` once it has pods.
    pub fn update_workload(&mut self, id: WorkloadId, change: impl FnOnce(&mut Workload)) {
        let before = self.workload(id).owner;
        change(&mut self.workloads[id.index()]);
        let after = self.workload(id).owner;
        if before != after {
            if let Some(owner) = before {
                self.owned_workloads[owner.index()].retain(|&owned| owned != id);
            }
            if let Some(owner) = after {
                let owned = &mut self.owned_workloads[owner.index()];
                let position = owned.partition_point(|&other| other < id);
                owned.insert(position, id);
            }
        }
    }

    /// Adds a claim; one of the same name that is gone is replaced.
    pub fn add_claim(&mut self, claim: Claim) -> ClaimId {
        let id = ClaimId(self.claims.len() as u32);
        self.claims_by_name.insert((claim.namespace, claim.name), id);
        self.claims.push(claim);
        id
    }

    /// Changes a claim. Its name stays.
    pub fn update_claim(&mut self, id: ClaimId, change: impl FnOnce(&mut Claim)) {
        change(&mut self.claims[id.index()]);
    }

    /// Adds a volume; one of the same name that is gone is replaced.
    pub fn add_volume(&mut self, volume: PersistentVolume) -> VolumeId {
        let id = VolumeId(self.volumes.len() as u32);
        self.volumes_by_name.insert(volume.name, id);
        self.volumes.push(volume);
        id
    }

    /// Changes a volume. Its name stays.
    pub fn update_volume(&mut self, id: VolumeId, change: impl FnOnce(&mut PersistentVolume)) {
        change(&mut self.volumes[id.index()]);
    }

    /// Adds a budget. Call [`Cluster::reindex`] when all objects of a batch are added.
    pub fn add_budget(&mut self, budget: Budget) -> BudgetId {
        self.budgets.push(budget);
        self.pods_of_budget.push(Vec::new());
        self.owners_of_budget.push(Vec::new());
        self.ready_of_budget.push(0);
        BudgetId(self.budgets.len() as u32 - 1)
    }

    /// Changes the status of a budget.
    pub fn update_budget_status(&mut self, id: BudgetId, change: impl FnOnce(&mut BudgetStatus)) {
        change(&mut self.budgets[id.index()].status);
    }

    /// Changes a budget's specification, or removes it (`gone`), and finds its pods anew.
    pub fn update_budget(&mut self, id: BudgetId, change: impl FnOnce(&mut Budget)) {
        change(&mut self.budgets[id.index()]);
        self.reindex();
    }

    /// Adds a Service. Call [`Cluster::reindex`] when all objects of a batch are added.
    pub fn add_service(&mut self, service: Service) -> ServiceId {
        self.services.push(service);
        self.pods_of_service.push(Vec::new());
        self.ready_of_service.push(0);
        ServiceId(self.services.len() as u32 - 1)
    }

    /// Changes a Service and finds its pods anew.
    pub fn update_service(&mut self, id: ServiceId, change: impl FnOnce(&mut Service)) {
        change(&mut self.services[id.index()]);
        self.reindex();
    }

    /// The id of a template, added if it is new.
    pub fn intern_spec(&mut self, spec: PodSpec) -> SpecId {
        if let Some(id) = self.catalog.find_spec(&spec) {
            return id;
        }
        let matches = self.find_matches(&spec);
        let id = Arc::make_mut(&mut self.catalog).intern_spec(spec);
        Arc::make_mut(&mut self.matches).push(matches);
        id
    }

    /// Adds a pod object.
    pub fn add_pod(&mut self, pod: Pod) -> PodId {
        let id = PodId(self.pods.len() as u32);
        let place = Place::of(&pod);
        self.pods.push(pod);
        self.enter(id, place);
        id
    }

    /// Changes a pod and keeps the indexes right. Its name stays.
    pub fn update_pod(&mut self, id: PodId, change: impl FnOnce(&mut Pod)) {
        let before = Place::of(self.pod(id));
        change(&mut self.pods[id.index()]);
        let after = Place::of(self.pod(id));
        if before.spec == after.spec && before.owner == after.owner && before.gone == after.gone {
            if !after.gone {
                self.move_node(id, before.node, after.node);
                self.recount(before, after);
            }
        } else {
            self.leave(id, before);
            self.enter(id, after);
        }
    }

    /// Computes every index anew; needed after budgets or services were added or changed.
    pub fn reindex(&mut self) {
        let matches = self.catalog.specs().map(|(_, spec)| self.find_matches(spec)).collect();
        self.matches = Arc::new(matches);
        self.pods_of_node.iter_mut().for_each(Vec::clear);
        self.pods_of_workload.iter_mut().for_each(Vec::clear);
        self.pods_of_budget.iter_mut().for_each(Vec::clear);
        self.owners_of_budget.iter_mut().for_each(Vec::clear);
        self.ready_of_budget.iter_mut().for_each(|count| *count = 0);
        self.pods_of_service.iter_mut().for_each(Vec::clear);
        self.ready_of_workload.iter_mut().for_each(|count| *count = 0);
        self.ready_of_service.iter_mut().for_each(|count| *count = 0);
        for index in 0..self.pods.len() {
            let place = Place::of(&self.pods[index]);
            self.enter(PodId(index as u32), place);
        }
    }

    fn find_matches(&self, spec: &PodSpec) -> Matches {
        let budgets = self
            .budgets()
            .filter(|(_, budget)| {
                !budget.gone
                    && budget.namespace == spec.namespace
                    && budget.selector.as_ref().is_some_and(|selector| selector.matches(&spec.labels))
            })
            .map(|(id, _)| id)
            .collect();
        let services = self
            .services()
            .filter(|(_, service)| {
                !service.gone
                    && service.namespace == spec.namespace
                    && service
                        .selector
                        .as_ref()
                        .is_some_and(|selector| !selector.is_empty() && selector.matches(&spec.labels))
            })
            .map(|(id, _)| id)
            .collect();
        Matches { budgets, services }
    }

    fn enter(&mut self, id: PodId, place: Place) {
        if place.gone {
            return;
        }
        self.move_node(id, None, place.node);
        if let Owner::Workload(workload) = place.owner {
            insert(&mut self.pods_of_workload[workload.index()], id);
        }
        let matches = &self.matches[place.spec.index()];
        for budget in &matches.budgets {
            insert(&mut self.pods_of_budget[budget.index()], id);
            let owners = &mut self.owners_of_budget[budget.index()];
            match owners.binary_search_by_key(&place.owner, |entry| entry.0) {
                Ok(position) => owners[position].1 += 1,
                Err(position) => owners.insert(position, (place.owner, 1)),
            }
        }
        for service in &matches.services {
            insert(&mut self.pods_of_service[service.index()], id);
        }
        self.recount(Place { strong: false, running: false, ..place }, place);
    }

    fn leave(&mut self, id: PodId, place: Place) {
        if place.gone {
            return;
        }
        self.recount(place, Place { strong: false, running: false, ..place });
        self.move_node(id, place.node, None);
        if let Owner::Workload(workload) = place.owner {
            remove(&mut self.pods_of_workload[workload.index()], id);
        }
        let matches = &self.matches[place.spec.index()];
        for budget in &matches.budgets {
            remove(&mut self.pods_of_budget[budget.index()], id);
            let owners = &mut self.owners_of_budget[budget.index()];
            if let Ok(position) = owners.binary_search_by_key(&place.owner, |entry| entry.0) {
                owners[position].1 -= 1;
                if owners[position].1 == 0 {
                    owners.remove(position);
                }
            }
        }
        for service in &matches.services {
            remove(&mut self.pods_of_service[service.index()], id);
        }
    }

    fn move_node(&mut self, id: PodId, from: Option<NodeId>, to: Option<NodeId>) {
        if from == to {
            return;
        }
        if let Some(node) = from {
            remove(&mut self.pods_of_node[node.index()], id);
        }
        if let Some(node) = to {
            insert(&mut self.pods_of_node[node.index()], id);
        }
    }

    /// Adjusts the counts of ready pods and endpoints for a change of one pod.
    fn recount(&mut self, before: Place, after: Place) {
        if before.strong == after.strong && before.running == after.running {
            return;
        }
        if let Owner::Workload(workload) = after.owner {
            step(&mut self.ready_of_workload[workload.index()], before.strong, after.strong);
            let top = self.top(workload);
            if top != workload {
                step(&mut self.ready_of_workload[top.index()], before.strong, after.strong);
            }
        }
        for budget in &self.matches[after.spec.index()].budgets {
            step(&mut self.ready_of_budget[budget.index()], before.strong, after.strong);
        }
        for service in &self.matches[after.spec.index()].services {
            let published = self.services[service.index()].publish_not_ready;
            let endpoint = |place: Place| if published { place.running } else { place.strong && place.running };
            step(&mut self.ready_of_service[service.index()], endpoint(before), endpoint(after));
        }
    }
}

fn step(count: &mut u32, was: bool, is: bool) {
    match (was, is) {
        (false, true) => *count += 1,
        (true, false) => *count -= 1,
        (false, false) | (true, true) => {}
    }
}

/// The part of a pod that indexes depend on.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    spec: SpecId,
    owner: Owner,
    node: Option<NodeId>,
    gone: bool,
    strong: bool,
    running: bool,
}

impl Place {
    fn of(pod: &Pod) -> Place {
        Place {
            spec: pod.spec,
            owner: pod.owner,
            node: pod.node,
            gone: pod.gone,
            strong: pod.is_serving_strength(),
            running: pod.phase == Phase::Running && !pod.gone,
        }
    }
}

/// A Node object that goes away while its host is being worked on is still the run's business.
fn under_maintenance(node: &Node) -> bool {
    node.marks.started.is_some() && node.marks.outcome.is_none() && (!node.gone || node.marks.host_touched.is_some())
}

fn put_back(node: &Node) -> bool {
    !node.gone && matches!(node.marks.outcome, Some((NodeOutcome::Blocked, _)))
}

fn note(list: &mut Vec<NodeId>, id: NodeId, belongs: bool) {
    match (list.binary_search(&id), belongs) {
        (Err(position), true) => list.insert(position, id),
        (Ok(position), false) => {
            list.remove(position);
        }
        (Ok(_), true) | (Err(_), false) => {}
    }
}

fn insert(list: &mut Vec<PodId>, id: PodId) {
    match list.last() {
        Some(last) if *last >= id => {
            if let Err(position) = list.binary_search(&id) {
                list.insert(position, id);
            }
        }
        _ => list.push(id),
    }
}

fn remove(list: &mut Vec<PodId>, id: PodId) {
    if let Ok(position) = list.binary_search(&id) {
        list.remove(position);
    }
}
