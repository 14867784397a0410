//! What is the same for all pods of a template (and owner): its constraints, with the templates that each of them counts.

use smallvec::SmallVec;

use crate::cluster::{
    AffinityTerm, Cluster, Detail, Labels, Name, Owner, PodId, PodSpec, Selector, ServiceId, SpecId, WorkloadId,
};

use super::Scheduler;
use super::filter::pod_topology_spread::Domains;
use super::topology::TopologyId;

/// A topology spread constraint with what it counts.
#[derive(Clone, Debug)]
pub struct Constraint {
    /// The key.
    pub topology: TopologyId,
    /// The key is `kubernetes.io/hostname`, which scoring treats apart (C.3.6).
    pub hostname: bool,
    /// `maxSkew`.
    pub max_skew: i64,
    /// `minDomains`, 1 when absent.
    pub min_domains: usize,
    /// The selector matches the pod itself.
    pub counts_itself: bool,
    /// An empty selector counts nothing (C.2.4), although it matches everything.
    pub counts_nothing: bool,
    /// `nodeAffinityPolicy: Honor`.
    pub honor_affinity: bool,
    /// `nodeTaintsPolicy: Honor`.
    pub honor_taints: bool,
    /// Templates that match, in the order of their ids.
    pub specs: Vec<SpecId>,
    selectors: SmallVec<[Selector; 1]>,
}

/// A term of the pod's own inter-pod affinity with what it matches.
#[derive(Clone, Debug)]
pub struct Term {
    /// The key.
    pub topology: TopologyId,
    /// Weight of a preference, negative for anti-affinity; 0 for a required term.
    pub weight: i64,
    /// Templates that match.
    pub specs: Vec<SpecId>,
}

/// A term of other pods that matches this pod.
#[derive(Clone, Copy, Debug)]
pub struct Foreign {
    /// Template of the others.
    pub spec: SpecId,
    /// The key.
    pub topology: TopologyId,
    /// Weight of a preference; 0 for required anti-affinity.
    pub weight: i64,
}

/// What is the same for all pods of a template and owner.
#[derive(Clone, Debug)]
pub struct Class {
    /// The template.
    pub spec: SpecId,
    /// Position of its view.
    pub view: usize,
    /// `DoNotSchedule` constraints.
    pub hard: Vec<Constraint>,
    /// `ScheduleAnyway` constraints, or the defaults.
    pub soft: Vec<Constraint>,
    /// The soft constraints are the defaults (C.3.6): nodes without a key still count.
    pub soft_by_default: bool,
    /// Keys of the required affinity terms.
    pub required: Vec<TopologyId>,
    /// Templates that match all required affinity terms.
    pub required_specs: Vec<SpecId>,
    /// The pod matches its own required affinity terms.
    pub required_by_itself: bool,
    /// Required anti-affinity terms.
    pub anti: Vec<Term>,
    /// Preferred terms.
    pub preferred: Vec<Term>,
    /// Required anti-affinity of others against this pod.
    pub foreign_anti: Vec<Foreign>,
    /// Required affinity (weight 1) and preferences of others for or against this pod.
    pub foreign_preferred: Vec<Foreign>,
    /// Domains of the hard constraints.
    pub domains: Vec<Domains>,
    /// How many entries of the scheduler's list of node changes the domains have taken in.
    pub domains_seen: usize,
    services: SmallVec<[ServiceId; 2]>,
    seen: usize,
}

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The owner whose selector takes part in default spreading (C.3.6).
pub fn spreading_owner(cluster: &Cluster, pod: PodId) -> Option<WorkloadId> {
    let Owner::Workload(owner) = cluster.pod(pod).owner else { return None };
    match cluster.workload(owner).detail {
        Detail::ReplicaSet(_) | Detail::ReplicationController | Detail::StatefulSet(_) => Some(owner),
        Detail::Deployment(_) | Detail::DaemonSet(_) | Detail::Job(_) | Detail::CronJob(_) | Detail::Other => None,
    }
}

impl Class {
    /// The class of a template with an owner.
    pub fn new(scheduler: &mut Scheduler, cluster: &Cluster, id: SpecId, owner: Option<WorkloadId>) -> Class {
        let spec = cluster.catalog.spec(id);
        let topologies = &mut scheduler.topologies;
        let mut hard = Vec::new();
        let mut soft = Vec::new();
        for constraint in &spec.spread {
            let list = if constraint.required { &mut hard } else { &mut soft };
            let selectors: SmallVec<[Selector; 1]> = constraint.selector.iter().cloned().collect();
            list.push(Constraint {
                topology: topologies.intern(cluster, constraint.topology_key),
                hostname: constraint.topology_key == HOSTNAME,
                max_skew: i64::from(constraint.max_skew),
                min_domains: usize::try_from(constraint.min_domains).unwrap_or(1),
                counts_itself: !selectors.is_empty() && selectors[0].matches(&spec.labels),
                counts_nothing: constraint.selector.as_ref().is_none_or(Selector::is_empty),
                honor_affinity: constraint.honor_affinity,
                honor_taints: constraint.honor_taints,
                specs: Vec::new(),
                selectors,
            });
        }
        let soft_by_default = spec.spread.is_empty();
        if soft_by_default {
            let selectors = default_selectors(cluster, id, owner);
            if !selectors.is_empty() {
                for (key, max_skew) in [(HOSTNAME, 3), (ZONE, 5)] {
                    soft.push(Constraint {
                        topology: topologies.intern(cluster, Name::new(key)),
                        hostname: key == HOSTNAME,
                        max_skew,
                        min_domains: 1,
                        counts_itself: true,
                        counts_nothing: false,
                        honor_affinity: true,
                        honor_taints: false,
                        specs: Vec::new(),
                        selectors: selectors.clone(),
                    });
                }
            }
        }
        let mut term = |term: &AffinityTerm, weight: i32| Term {
            topology: topologies.intern(cluster, term.topology_key),
            weight: i64::from(weight),
            specs: Vec::new(),
        };
        let required = spec.affinity.iter().map(|affinity| term(affinity, 0).topology).collect();
        let anti = spec.anti_affinity.iter().map(|anti| term(anti, 0)).collect();
        let mut preferred: Vec<Term> =
            spec.affinity_preferences.iter().map(|(weight, affinity)| term(affinity, *weight)).collect();
        preferred.extend(spec.anti_affinity_preferences.iter().map(|(weight, anti)| term(anti, -*weight)));
        let own_terms = Namespaces::of_own_terms(cluster);
        Class {
            spec: id,
            view: scheduler.view_of(cluster, id),
            hard,
            soft,
            soft_by_default,
            required,
            required_specs: Vec::new(),
            required_by_itself: own_terms.all_match(cluster, spec, &spec.affinity, spec),
            anti,
            preferred,
            foreign_anti: Vec::new(),
            foreign_preferred: Vec::new(),
            domains: Vec::new(),
            domains_seen: usize::MAX,
            services: cluster.matches(id).services.clone(),
            seen: 0,
        }
    }

    /// Whether every template is taken in.
    pub fn knows_all(&self, cluster: &Cluster) -> bool {
        self.seen == cluster.catalog.spec_count()
    }

    /// Whether the Services that select the template are others than when the class was made.
    pub fn is_wrong(&self, cluster: &Cluster) -> bool {
        self.services != cluster.matches(self.spec).services
    }

    /// Takes templates in that have appeared since the last time.
    pub fn extend(&mut self, scheduler: &mut Scheduler, cluster: &Cluster) {
        let own = cluster.catalog.spec(self.spec);
        let own_terms = Namespaces::of_own_terms(cluster);
        let foreign_terms = Namespaces::OfLabels;
        for (id, spec) in cluster.catalog.specs().skip(self.seen) {
            if spec.namespace == own.namespace {
                for constraint in self.hard.iter_mut().chain(&mut self.soft) {
                    if constraint.matches(&spec.labels) {
                        constraint.specs.push(id);
                    }
                }
            }
            if !own.affinity.is_empty() && own_terms.all_match(cluster, own, &own.affinity, spec) {
                self.required_specs.push(id);
            }
            for (term, anti) in self.anti.iter_mut().zip(&own.anti_affinity) {
                if own_terms.matches(cluster, own, anti, spec) {
                    term.specs.push(id);
                }
            }
            let preferences = own.affinity_preferences.iter().chain(&own.anti_affinity_preferences);
            for (term, (_, preference)) in self.preferred.iter_mut().zip(preferences) {
                if own_terms.matches(cluster, own, preference, spec) {
                    term.specs.push(id);
                }
            }
            let mut foreign = |list: &mut Vec<Foreign>, term: &AffinityTerm, weight: i64| {
                if foreign_terms.matches(cluster, spec, term, own) {
                    let topology = scheduler.topologies.intern(cluster, term.topology_key);
                    list.push(Foreign { spec: id, topology, weight });
                }
            };
            for term in &spec.anti_affinity {
                foreign(&mut self.foreign_anti, term, 0);
            }
            for term in &spec.affinity {
                foreign(&mut self.foreign_preferred, term, 1);
            }
            for (weight, term) in &spec.affinity_preferences {
                foreign(&mut self.foreign_preferred, term, i64::from(*weight));
            }
            for (weight, term) in &spec.anti_affinity_preferences {
                foreign(&mut self.foreign_preferred, term, -i64::from(*weight));
            }
        }
        self.seen = cluster.catalog.spec_count();
    }
}

impl Constraint {
    /// Whether the selector matches.
    pub fn matches(&self, labels: &Labels) -> bool {
        !self.selectors.is_empty() && self.selectors.iter().all(|selector| selector.matches(labels))
    }
}

/// Selectors of the Services that select a template and of the owner: all must hold. Empty: no default spreading.
fn default_selectors(cluster: &Cluster, spec: SpecId, owner: Option<WorkloadId>) -> SmallVec<[Selector; 1]> {
    let services =
        cluster.matches(spec).services.iter().filter_map(|&service| cluster.service(service).selector.as_ref());
    let owner = owner.and_then(|owner| cluster.workload(owner).selector.as_ref());
    services.chain(owner).filter(|selector| !selector.is_empty()).cloned().collect()
}

/// How a `namespaceSelector` is read.
#[derive(Clone, Copy)]
enum Namespaces {
    /// Resolved to the namespaces it selects (the pod's own terms).
    Resolved,
    /// The same, but also held against no labels at all (the pod's own terms up to 1.36, VERSIONS.md V16).
    ResolvedAndEmpty,
    /// Held against the labels of the other pod's namespace (terms of existing pods).
    OfLabels,
}

impl Namespaces {
    fn of_own_terms(cluster: &Cluster) -> Namespaces {
        if super::minor(cluster) <= 36 { Namespaces::ResolvedAndEmpty } else { Namespaces::Resolved }
    }

    /// Whether a term of `owner` matches a pod of template `other`.
    fn matches(self, cluster: &Cluster, owner: &PodSpec, term: &AffinityTerm, other: &PodSpec) -> bool {
        let selector = term.namespace_selector.as_ref();
        let named = if term.namespaces.is_empty() && selector.is_none() {
            owner.namespace == other.namespace
        } else {
            term.namespaces.contains(&other.namespace)
        };
        let selected = || {
            selector.is_some_and(|selector| {
                let labels = cluster.catalog.namespaces.get(&other.namespace).map(|namespace| &namespace.labels);
                match self {
                    Namespaces::Resolved => labels.is_some_and(|labels| selector.matches(labels)),
                    Namespaces::ResolvedAndEmpty => {
                        labels.is_some_and(|labels| selector.matches(labels)) || selector.matches(&Labels::default())
                    }
                    Namespaces::OfLabels => selector.matches(labels.unwrap_or(&Labels::default())),
                }
            })
        };
        (named || selected()) && term.selector.as_ref().is_some_and(|selector| selector.matches(&other.labels))
    }

    fn all_match(self, cluster: &Cluster, owner: &PodSpec, terms: &[AffinityTerm], other: &PodSpec) -> bool {
        terms.iter().all(|term| self.matches(cluster, owner, term, other))
    }
}
