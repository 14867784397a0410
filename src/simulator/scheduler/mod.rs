//! The default scheduler (KUBERNETES.md C): one pod at a time gets the best node, or waits for the event that may change the
//! verdict. Caches are sums per node and per template, kept up to date pod by pod, so that an attempt costs what the pod
//! looks at.

mod class;
pub mod cycle;
mod evaluation;
mod filter;
mod hints;
mod node_order;
mod node_state;
mod places;
pub mod preemption;
mod queue;
mod run;
mod score;
mod sync;
mod topology;
mod view;
pub mod volume;

use std::sync::Arc;

use smallvec::SmallVec;

use crate::cluster::{Cluster, NodeId, PodId, SpecId, Time, WorkloadId};

use super::Chooser;

pub use evaluation::{Cause, Code, Evaluation, Plugin, Plugins, PreFilter, Rejection, Sampling, Shortage};
pub use node_state::NodeState;
pub use preemption::{Candidate, Nomination, PostFilter, Unhelpful};
pub(super) use run::run;

use class::Class;
use cycle::Cycle;
use hints::Before;
use node_order::NodeOrder;
use places::Places;
use queue::Queue;
use score::image_locality::Images;
use topology::Topologies;
use view::View;

/// Minor version that the rules of KUBERNETES.md are written for, taken where the input does not tell.
const REFERENCE_MINOR: u16 = 36;

/// The control plane's minor version.
fn minor(cluster: &Cluster) -> u16 {
    cluster.api_server.map_or(REFERENCE_MINOR, |version| version.minor)
}

/// What a pod is booked as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Booked {
    node: NodeId,
    spec: SpecId,
    live: bool,
    /// Its overhead counts twice (VERSIONS.md V24).
    twice: bool,
}

/// Classes of one template: owner, where it matters, and position of the class.
type ClassesOfSpec = SmallVec<[(Option<WorkloadId>, u32); 1]>;

/// The scheduler's queue and caches.
#[derive(Clone, Debug, Default)]
pub struct Scheduler {
    queue: Queue,
    nodes: Vec<NodeState>,
    before: Vec<Arc<Before>>,
    order: NodeOrder,
    start: usize,
    booked: Vec<Option<Booked>>,
    places: Places,
    /// Pods that are nominated, with their node, in the order of their ids.
    nominations: Vec<(PodId, NodeId)>,
    topologies: Topologies,
    views: Vec<View>,
    /// Nodes in the order in which they changed; views remember how far they have read.
    changes: Vec<NodeId>,
    images: Images,
    classes: Vec<Arc<Class>>,
    /// By template: the classes of it, by owner where the owner matters.
    class_of: Vec<ClassesOfSpec>,
    minor: u16,
}

impl Scheduler {
    /// Caches and queue for what stands in a cluster. Pods that wait for a node are queued by their age.
    pub fn new(cluster: &Cluster) -> Scheduler {
        let mut scheduler = Scheduler::started(cluster, NodeOrder::new(cluster));
        let mut waiting: Vec<PodId> = cluster.pods().filter(|(_, pod)| !pod.gone).map(|(id, _)| id).collect();
        waiting.sort_by_key(|&pod| (cluster.pod(pod).created, pod));
        for pod in waiting {
            scheduler.sync_pod(cluster, pod, cluster.pod(pod).created);
        }
        scheduler
    }

    /// The sums over a node's pods.
    pub fn node_state(&self, node: NodeId) -> &NodeState {
        &self.nodes[node.index()]
    }

    /// The scheduler's node list: zones taken in turn, nodes of a zone in the order they were added (C17).
    pub fn node_order(&self) -> &[NodeId] {
        self.order.list()
    }

    /// Index in the node list where the next attempt begins (C19).
    pub fn start(&self) -> usize {
        self.start
    }

    /// Sets where the next attempt begins.
    pub fn set_start(&mut self, start: usize) {
        self.start = start;
    }

    /// When the next pod of the queue may be tried; `None`: the queue is empty or nothing in it can go yet.
    pub fn next_due(&self, now: Time) -> Option<Time> {
        self.queue.next_due(now, self.minor >= 33)
    }

    /// One attempt in full detail, without carrying out what it leads to: filters of all nodes that the scheduler would look
    /// at, scores, and, if no node fits, preemption. The start index moves on as upstream's.
    pub fn evaluate(
        &mut self,
        cluster: &Cluster,
        pod: PodId,
        chooser: &mut dyn Chooser,
    ) -> (Evaluation, Option<PostFilter>) {
        let attempt = self.attempt(cluster, pod, None, true, chooser);
        (attempt.evaluation, attempt.post_filter)
    }

    /// As [`Scheduler::evaluate`], looking at all these nodes, in their order, and at no other: with several workers, which nodes
    /// are looked at before enough of them fit is left to chance (C22).
    pub fn evaluate_among(
        &mut self,
        cluster: &Cluster,
        pod: PodId,
        nodes: &[NodeId],
        chooser: &mut dyn Chooser,
    ) -> (Evaluation, Option<PostFilter>) {
        let attempt = self.attempt(cluster, pod, Some(nodes), true, chooser);
        (attempt.evaluation, attempt.post_filter)
    }

    /// One attempt. Without `detail` only what decides is found out.
    fn attempt(
        &mut self,
        cluster: &Cluster,
        pod: PodId,
        among: Option<&[NodeId]>,
        detail: bool,
        chooser: &mut dyn Chooser,
    ) -> Attempt {
        let class = self.prepare(cluster, pod);
        let mut cycle = Cycle::new(self, cluster, pod, &class);
        let (evaluation, looked_at) = cycle.evaluate(among, detail);
        let post_filter = if evaluation.feasible.is_empty() && evaluation.all_nodes > 0 {
            Some(preemption::post_filter(&mut cycle, &evaluation, chooser))
        } else {
            None
        };
        let volumes = cycle.volumes;
        if evaluation.all_nodes > 0 {
            self.start = (self.start + looked_at) % evaluation.all_nodes;
        }
        Attempt { evaluation, post_filter, volumes }
    }

    /// The class of a pod, with everything that has changed since the last pod of the class taken in.
    fn prepare(&mut self, cluster: &Cluster, pod: PodId) -> Arc<Class> {
        let spec = cluster.pod(pod).spec;
        let by_default = cluster.catalog.spec(spec).spread.is_empty();
        let owner = if by_default { class::spreading_owner(cluster, pod) } else { None };
        if self.class_of.len() <= spec.index() {
            self.class_of.resize_with(cluster.catalog.spec_count(), SmallVec::new);
        }
        let known = self.class_of[spec.index()].iter().find(|entry| entry.0 == owner).map(|entry| entry.1 as usize);
        let position = match known {
            Some(position) if !self.classes[position].is_wrong(cluster) => position,
            Some(position) => {
                self.classes[position] = Arc::new(Class::new(self, cluster, spec, owner));
                position
            }
            None => {
                let class = Class::new(self, cluster, spec, owner);
                self.classes.push(Arc::new(class));
                self.class_of[spec.index()].push((owner, self.classes.len() as u32 - 1));
                self.classes.len() - 1
            }
        };
        let view = self.classes[position].view;
        self.views[view].refresh(cluster, &self.changes);
        if !self.classes[position].knows_all(cluster) {
            let mut class = Arc::clone(&self.classes[position]);
            Arc::make_mut(&mut class).extend(self, cluster);
            self.classes[position] = class;
        }
        let class = &self.classes[position];
        if !class.hard.is_empty() && class.domains_seen != self.changes.len() {
            let domains = filter::pod_topology_spread::domains(self, class, &self.views[view].facts);
            let seen = self.changes.len();
            let class = Arc::make_mut(&mut self.classes[position]);
            class.domains = domains;
            class.domains_seen = seen;
        }
        Arc::clone(&self.classes[position])
    }

    /// Position of the view of a template.
    fn view_of(&mut self, cluster: &Cluster, spec: SpecId) -> usize {
        let template = cluster.catalog.spec(spec);
        self.views.iter().position(|view| view.serves(cluster, template)).unwrap_or_else(|| {
            self.views.push(View::new(cluster, spec, self.changes.len()));
            self.views.len() - 1
        })
    }

    /// Whether a pod's overhead is booked twice on its node.
    fn books_twice(&self, pod: PodId) -> bool {
        self.booked.get(pod.index()).copied().flatten().is_some_and(|booked| booked.twice)
    }
}

/// What one attempt came to.
struct Attempt {
    evaluation: Evaluation,
    post_filter: Option<PostFilter>,
    volumes: Option<volume::Volumes>,
}
