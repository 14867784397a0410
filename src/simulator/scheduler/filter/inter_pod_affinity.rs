//! InterPodAffinity as a filter (KUBERNETES.md C12, C.2.5).

use crate::cluster::{NodeId, SpecId};

use crate::simulator::scheduler::class::Class;
use crate::simulator::scheduler::topology::{NONE, TopologyId};
use crate::simulator::scheduler::{Plugin, Rejection, Scheduler};

const NO_AFFINITY: Rejection =
    Rejection::unresolvable(Plugin::InterPodAffinity, &["node(s) didn't match pod affinity rules"]);
const ANTI_AFFINITY: Rejection =
    Rejection::unschedulable(Plugin::InterPodAffinity, &["node(s) didn't match pod anti-affinity rules"]);
const FOREIGN: Rejection =
    Rejection::unschedulable(Plugin::InterPodAffinity, &["node(s) didn't satisfy existing pods anti-affinity rules"]);

/// Counts by domain of one topology key.
type Counts = Vec<i32>;

/// What the pods of the cluster mean for one pod.
#[derive(Clone, Debug)]
pub struct Affinity {
    /// Per required affinity term: pods that match all terms.
    required: Vec<Counts>,
    /// Sum of `required`: zero means that no pod matches anywhere.
    matching: i64,
    /// Per required anti-affinity term: pods that match it.
    anti: Vec<Counts>,
    /// Per topology key: terms of existing pods against this one.
    foreign: Vec<(TopologyId, Counts)>,
}

impl Affinity {
    /// The counts for a class; `None`: neither the pod nor any other has something to say.
    pub fn new(scheduler: &Scheduler, class: &Class) -> Option<Affinity> {
        // A nominated pod may bring its terms with it.
        let nobody = scheduler.nominations.is_empty()
            && class.foreign_anti.iter().all(|foreign| scheduler.places.of(foreign.spec).is_empty());
        if class.required.is_empty() && class.anti.is_empty() && nobody {
            return None;
        }
        let zeros = |topology: TopologyId| vec![0; scheduler.topologies.get(topology).len()];
        let mut affinity = Affinity {
            required: class.required.iter().map(|&topology| zeros(topology)).collect(),
            matching: 0,
            anti: class.anti.iter().map(|term| zeros(term.topology)).collect(),
            foreign: Vec::new(),
        };
        for foreign in &class.foreign_anti {
            if affinity.foreign.iter().all(|entry| entry.0 != foreign.topology) {
                affinity.foreign.push((foreign.topology, zeros(foreign.topology)));
            }
        }
        let mut count = |spec: SpecId, what: What| {
            for place in scheduler.places.of(spec) {
                affinity.count(scheduler, class, what, place.node, place.all as i32);
            }
        };
        class.required_specs.iter().for_each(|&spec| count(spec, What::Required));
        for (index, term) in class.anti.iter().enumerate() {
            term.specs.iter().for_each(|&spec| count(spec, What::Anti(index)));
        }
        class.foreign_anti.iter().for_each(|foreign| count(foreign.spec, What::Foreign(foreign.topology)));
        Some(affinity)
    }

    fn count(&mut self, scheduler: &Scheduler, class: &Class, what: What, node: NodeId, by: i32) {
        let domain = |topology: TopologyId| scheduler.topologies.get(topology).of(node);
        match what {
            What::Required => {
                for (&topology, counts) in class.required.iter().zip(&mut self.required) {
                    if domain(topology) != NONE {
                        counts[domain(topology) as usize] += by;
                        self.matching += i64::from(by);
                    }
                }
            }
            What::Anti(index) => {
                let domain = domain(class.anti[index].topology);
                if domain != NONE {
                    self.anti[index][domain as usize] += by;
                }
            }
            What::Foreign(topology) => {
                let domain = domain(topology);
                if let Some((_, counts)) = self.foreign.iter_mut().find(|entry| entry.0 == topology)
                    && domain != NONE
                {
                    counts[domain as usize] += by;
                }
            }
        }
    }

    /// Whether the pod may come to a node.
    pub fn filter(&self, scheduler: &Scheduler, class: &Class, node: NodeId) -> Option<Rejection> {
        let domain = |topology: TopologyId| scheduler.topologies.get(topology).of(node);
        let mut everywhere = true;
        for (&topology, counts) in class.required.iter().zip(&self.required) {
            let domain = domain(topology);
            if domain == NONE {
                return Some(NO_AFFINITY);
            }
            everywhere &= counts[domain as usize] > 0;
        }
        // The first of a group that wants to be together may go anywhere.
        let first_of_its_kind = self.matching == 0 && class.required_by_itself;
        if !everywhere && !first_of_its_kind {
            return Some(NO_AFFINITY);
        }
        let any = |topology: TopologyId, counts: &Counts| {
            let domain = domain(topology);
            domain != NONE && counts[domain as usize] > 0
        };
        if class.anti.iter().zip(&self.anti).any(|(term, counts)| any(term.topology, counts)) {
            return Some(ANTI_AFFINITY);
        }
        if self.foreign.iter().any(|(topology, counts)| any(*topology, counts)) {
            return Some(FOREIGN);
        }
        None
    }

    /// Supposes that a pod of a template came to a node (1) or left it (-1).
    pub fn shift(&mut self, scheduler: &Scheduler, class: &Class, spec: SpecId, node: NodeId, by: i32) {
        if class.required_specs.binary_search(&spec).is_ok() {
            self.count(scheduler, class, What::Required, node, by);
        }
        for (index, term) in class.anti.iter().enumerate() {
            if term.specs.binary_search(&spec).is_ok() {
                self.count(scheduler, class, What::Anti(index), node, by);
            }
        }
        for foreign in class.foreign_anti.iter().filter(|foreign| foreign.spec == spec) {
            self.count(scheduler, class, What::Foreign(foreign.topology), node, by);
        }
    }
}

/// Which counts are meant.
#[derive(Clone, Copy)]
enum What {
    Required,
    Anti(usize),
    Foreign(TopologyId),
}
