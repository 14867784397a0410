//! P017: room for the pods of a node that is out (M9).

use rustc_hash::FxHashMap;

use crate::cluster::quantity::{bytes, cores};
use crate::cluster::{Name, NodeId, NodeTerm, PodId, PodSpec, Resources, SpecId, Toleration};
use crate::judge::About;

use super::places::is_selected;
use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P017",
    name: "no room while a node is out",
    what: "Whether CPU, memory and pod slots that are free on the nodes that stay hold all pods of the nodes that are out at once, \
           and each single pod on one of them. Pods that can only be on their node are P011's.",
    why: "What finds no room stays Pending until the node is back, or pushes out pods of lower priority (M9).",
    example: "4 nodes of 4 CPU with 15 pods of 1 CPU: without one node there are 12 places for 15 pods.",
    fix: "Add a node, scale something down, or lower requests that are not used; `cmsim capacity` shows the room step by step.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

/// CPU (milli), memory (bytes), pods.
type Amounts = [i64; 3];

/// Everything of a template that says which nodes take it.
type Placement<'a> = (Name, &'a [(Name, Name)], &'a Option<Vec<NodeTerm>>, &'a [Toleration]);

/// Free room of all nodes, and which of them each template may use.
struct Room<'a> {
    free: Vec<Amounts>,
    pools: Vec<Vec<NodeId>>,
    pool_of: FxHashMap<Placement<'a>, usize>,
}

fn run(scope: &Scope) -> Vec<Finding> {
    let room = Room::of(scope);
    let mut short: Vec<(NodeId, usize, Amounts, Amounts)> = Vec::new();
    for out in scope.turns.windows(scope.goal.nodes_at_once.clamp(1, scope.turns.len().max(1))) {
        if let Some((resource, needed, free)) = room.shortage(scope, out) {
            short.push((out[0], resource, needed, free));
        }
    }
    let mut findings: Vec<Finding> = aggregate(scope, &short).into_iter().collect();
    let flagged: Vec<NodeId> = short.iter().map(|entry| entry.0).collect();
    findings.extend(too_big(scope, &room, &flagged));
    findings
}

/// One finding for all turns that lack room: the worst is shown, the others are named.
fn aggregate(scope: &Scope, short: &[(NodeId, usize, Amounts, Amounts)]) -> Option<Finding> {
    let lack = |entry: &&(NodeId, usize, Amounts, Amounts)| {
        let (_, resource, needed, free) = **entry;
        (needed[resource] - free[resource]).saturating_mul(1000) / needed[resource].max(1)
    };
    let worst = short.iter().max_by_key(lack)?;
    let &(node, resource, needed, free) = worst;
    let names = ["CPU", "memory", "pod slots"];
    let show = |amount: i64| match resource {
        0 => cores(amount),
        1 => bytes(amount),
        _ => amount.to_string(),
    };
    let others = short.iter().filter(|entry| entry.0 != node).map(|entry| scope.node_name(entry.0));
    let others: Vec<Name> = others.collect();
    let alike = if others.is_empty() { String::new() } else { format!("; as well for {}", listed(others)) };
    let message = format!(
        "while it is out its {} pods need {} {}, and the nodes that may take them have {} free: {} short{alike}",
        needed[2],
        show(needed[resource]),
        names[resource],
        show(free[resource]),
        show(needed[resource] - free[resource])
    );
    let fix =
        format!("add a node, or free {} of {} on the others", show(needed[resource] - free[resource]), names[resource]);
    Some(ABOUT.finding(Severity::Warning, scope.cluster.node_key(node), message, fix))
}

/// Workloads whose pods fit on no single other node and that cannot do without them.
fn too_big(scope: &Scope, room: &Room, flagged: &[NodeId]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (workload, places) in scope.moved() {
        let stuck = places.iter().find(|(node, pods)| {
            let fits = |id: &NodeId| id != node && fits(need(scope, pods[0]), room.free[id.index()]);
            !flagged.contains(node)
                && !room.pool(scope, pods[0]).iter().any(fits)
                && room.pool(scope, pods[0]).iter().any(|id| id != node)
                && scope.cannot_spare(workload, pods)
                && scope.allowed(pods[0]).len() > 1
        });
        let Some((node, pods)) = stuck else { continue };
        let [cpu, memory, _] = need(scope, pods[0]);
        let others = || room.pool(scope, pods[0]).iter().filter(|id| *id != node);
        let most = others().max_by_key(|id| room.free[id.index()][0]);
        let free = most.map_or(String::new(), |id| {
            let [cpu, memory, slots] = room.free[id.index()];
            format!("; {} has {} CPU, {} and {slots} pod slots", scope.node_name(*id), cores(cpu), bytes(memory))
        });
        let message = format!(
            "a pod asks for {} CPU and {}, which no node other than {} has free{free}",
            cores(cpu),
            bytes(memory),
            scope.node_name(*node)
        );
        let fix = format!("free {} CPU and {} on one other node, or add a node", cores(cpu), bytes(memory));
        findings.push(ABOUT.finding(Severity::Warning, scope.key(workload), message, fix));
    }
    findings
}

impl<'a> Room<'a> {
    fn of(scope: &Scope<'a>) -> Room<'a> {
        let cluster = scope.cluster;
        let mut free = vec![[0; 3]; cluster.nodes().len()];
        for (id, node) in scope.nodes() {
            let mut booked = [0; 3];
            for &pod in cluster.pods_of_node(id).iter().filter(|&&pod| !cluster.pod(pod).is_terminal()) {
                add(&mut booked, need(scope, pod));
            }
            let Resources { milli_cpu, memory, .. } = node.allocatable;
            let all = [milli_cpu, memory, node.allocatable_pods];
            free[id.index()] = std::array::from_fn(|resource| (all[resource] - booked[resource]).max(0));
        }
        let mut room = Room { free, pools: Vec::new(), pool_of: FxHashMap::default() };
        let mut seen: Vec<bool> = vec![false; cluster.catalog.spec_count()];
        for leaving in scope.leaving() {
            let spec: SpecId = cluster.pod(leaving.pod).spec;
            if !std::mem::replace(&mut seen[spec.index()], true) {
                room.add_pool(scope, cluster.catalog.spec(spec));
            }
        }
        room
    }

    fn add_pool(&mut self, scope: &Scope<'a>, spec: &'a PodSpec) {
        let placement = placement(spec);
        if self.pool_of.contains_key(&placement) {
            return;
        }
        let takes = |id: &NodeId| is_selected(scope.cluster, spec, *id) && scope.takes_pods(spec, *id);
        let pool: Vec<NodeId> = scope.nodes().map(|(id, _)| id).filter(takes).collect();
        let index = self.pools.iter().position(|known| *known == pool).unwrap_or_else(|| {
            self.pools.push(pool);
            self.pools.len() - 1
        });
        self.pool_of.insert(placement, index);
    }

    /// Nodes that take pods like this one.
    fn pool(&self, scope: &Scope<'a>, pod: PodId) -> &[NodeId] {
        let placement = placement(scope.cluster.catalog.spec(scope.cluster.pod(pod).spec));
        self.pool_of.get(&placement).map_or(&[], |&index| self.pools[index].as_slice())
    }

    /// The resource of which the pods of these nodes need more than their pool has without them: (which, needed, free).
    fn shortage(&self, scope: &Scope<'a>, out: &[NodeId]) -> Option<(usize, Amounts, Amounts)> {
        let cluster = scope.cluster;
        let mut needed = vec![[0; 3]; self.pools.len()];
        for &node in out {
            for &pod in cluster.pods_of_node(node) {
                let moves = scope.is_leaving(pod) && cluster.pod(pod).is_active();
                if !moves || !self.pool(scope, pod).iter().any(|id| !out.contains(id)) || scope.allowed(pod) == [node] {
                    continue;
                }
                let placement = placement(cluster.catalog.spec(cluster.pod(pod).spec));
                if let Some(&pool) = self.pool_of.get(&placement) {
                    add(&mut needed[pool], need(scope, pod));
                }
            }
        }
        for (pool, needed) in self.pools.iter().zip(needed).filter(|(_, needed)| needed[2] > 0) {
            let mut free = [0; 3];
            pool.iter().filter(|id| !out.contains(id)).for_each(|id| add(&mut free, self.free[id.index()]));
            if let Some(resource) = (0..3).find(|&resource| needed[resource] > free[resource]) {
                return Some((resource, needed, free));
            }
        }
        None
    }
}

fn placement(spec: &PodSpec) -> Placement<'_> {
    (spec.node_name, &spec.node_selector, &spec.node_affinity, &spec.tolerations)
}

fn need(scope: &Scope, pod: PodId) -> Amounts {
    let requests = &scope.cluster.spec(pod).requests;
    [requests.milli_cpu, requests.memory, 1]
}

fn fits(need: Amounts, free: Amounts) -> bool {
    (0..3).all(|resource| need[resource] <= free[resource])
}

fn add(sum: &mut Amounts, amounts: Amounts) {
    sum.iter_mut().zip(amounts).for_each(|(sum, amount)| *sum += amount);
}
