//! What an upgrade touches: which nodes it takes, in which order, and which pods have to leave them.

use std::collections::BTreeMap;

use crate::cluster::{BudgetId, Cluster, Name, NodeId, ObjectKey, Owner, Phase, PodId, Time, WorkloadId};
use crate::judge::About;
use crate::upgrade::{Fate, Goal, Ground, fate, turns};

use super::{Finding, Severity};

/// What the checks look at.
pub struct Scope<'a> {
    /// What the operator wants.
    pub goal: &'a Goal,
    /// The cluster as it is.
    pub cluster: &'a Cluster,
    /// When the upgrade begins.
    pub now: Time,
    /// Nodes that the run takes, in the order of their turns.
    pub turns: Vec<NodeId>,
    leaving: Vec<Leaving>,
    places: BTreeMap<PodId, usize>,
    groups: BTreeMap<WorkloadId, Vec<(NodeId, Vec<PodId>)>>,
}

/// A pod that has to leave its node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaving {
    /// The node.
    pub node: NodeId,
    /// The pod.
    pub pod: PodId,
    /// Why it refuses the drain, if it does.
    pub ground: Option<Ground>,
}

impl<'a> Scope<'a> {
    /// The upgrade of this cluster that begins now.
    pub fn new(goal: &'a Goal, cluster: &'a Cluster, now: Time) -> Scope<'a> {
        let turns = turns(goal, cluster, now);
        let mut leaving = Vec::new();
        let mut positions = BTreeMap::new();
        let mut groups: BTreeMap<WorkloadId, Vec<(NodeId, Vec<PodId>)>> = BTreeMap::new();
        for &node in &turns {
            for &pod in cluster.pods_of_node(node) {
                let ground = match fate(goal, cluster, now, pod) {
                    Fate::Stays => continue,
                    Fate::Leaves => None,
                    Fate::Refused(ground) => Some(ground),
                };
                positions.insert(pod, leaving.len());
                leaving.push(Leaving { node, pod, ground });
                let Some(top) = cluster.top_of_pod(pod).filter(|_| cluster.pod(pod).is_active()) else { continue };
                let places = groups.entry(top).or_default();
                match places.last_mut() {
                    Some((last, pods)) if *last == node => pods.push(pod),
                    _ => places.push((node, vec![pod])),
                }
            }
        }
        Scope { goal, cluster, now, turns, leaving, places: positions, groups }
    }

    /// Whether the run takes this node.
    pub fn takes(&self, node: NodeId) -> bool {
        self.turns.contains(&node)
    }

    /// Pods that have to leave the nodes of the run, in the order of the turns. Pods of DaemonSets and mirror pods stay and
    /// are not among them, unless they refuse the drain.
    pub fn leaving(&self) -> impl Iterator<Item = Leaving> + '_ {
        self.leaving.iter().copied()
    }

    /// Whether a pod has to leave.
    pub fn is_leaving(&self, pod: PodId) -> bool {
        self.places.contains_key(&pod)
    }

    /// Workloads (the topmost ones) with active pods that have to leave: the pods by node, in the order of the turns.
    pub fn moved(&self) -> impl Iterator<Item = (WorkloadId, &[(NodeId, Vec<PodId>)])> {
        self.groups.iter().map(|(&workload, places)| (workload, places.as_slice()))
    }

    /// Whether the eviction API asks the budgets of this pod (KUBERNETES.md A.2): it runs and nobody deletes it, and the goal
    /// evicts at all.
    pub fn asks_budgets(&self, pod: PodId) -> bool {
        let pod = self.cluster.pod(pod);
        !self.goal.disable_eviction && pod.deletion.is_none() && !pod.is_terminal() && pod.phase != Phase::Pending
    }

    /// Pods that have to leave and for which this budget alone is asked.
    pub(super) fn pays(&self, budget: BudgetId) -> impl Iterator<Item = Leaving> + '_ {
        let alone = move |&pod: &PodId| self.cluster.budgets_of_pod(pod) == [budget] && self.asks_budgets(pod);
        let pods = self.cluster.pods_of_budget(budget).iter().copied().filter(alone);
        pods.filter_map(|pod| self.places.get(&pod).map(|&place| self.leaving[place]))
    }

    /// Where in the run each object is met first: the turn of the first node that carries it or a pod of it.
    pub(super) fn first_turns(&self) -> BTreeMap<ObjectKey, usize> {
        let cluster = self.cluster;
        let mut first = BTreeMap::new();
        for (turn, &node) in self.turns.iter().enumerate() {
            first.entry(cluster.node_key(node)).or_insert(turn);
            for &pod in cluster.pods_of_node(node) {
                let mut met = |key: ObjectKey| {
                    first.entry(key).or_insert(turn);
                };
                met(cluster.pod_key(pod));
                if let Owner::Workload(owner) = cluster.pod(pod).owner {
                    met(cluster.workload(owner).key);
                    met(cluster.workload(cluster.top(owner)).key);
                }
                cluster.budgets_of_pod(pod).iter().for_each(|&budget| met(cluster.budget_key(budget)));
                cluster.services_of_pod(pod).iter().for_each(|&service| met(cluster.service_key(service)));
            }
        }
        first
    }

    /// A turn as results say it.
    pub(super) fn step(&self, turn: usize) -> String {
        let node = self.cluster.node(self.turns[turn]).name();
        format!("turn of node {node} ({} of {})", turn + 1, self.turns.len())
    }

    /// The name of a node.
    pub(super) fn node_name(&self, node: NodeId) -> Name {
        self.cluster.node(node).name()
    }

    /// The cluster as a whole.
    pub(super) fn whole(&self) -> ObjectKey {
        ObjectKey::cluster_wide("Cluster", Name::new("cluster"))
    }

    /// The key of a workload.
    pub(super) fn key(&self, workload: WorkloadId) -> ObjectKey {
        self.cluster.workload(workload).key
    }
}

impl About {
    /// A finding of the rule with this text.
    pub(super) fn finding(&self, severity: Severity, object: ObjectKey, message: String, fix: String) -> Finding {
        Finding { code: self.code, severity, object, message, fix, step: None }
    }
}

/// The first few of a list, and how many more there are: `a, b and 3 more`.
pub(super) fn listed(items: impl IntoIterator<Item = impl ToString>) -> String {
    const MOST: usize = 4;
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    let shown = items.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
