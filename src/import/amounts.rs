//! What a pod asks of its node (`k8s.io/component-helpers/resource`, KUBERNETES.md C.2.2 and C.3.1).

use super::wire::{Amounts, Quantity, object};
use crate::cluster::{Name, Resources};

object! {
    /// `resources` of a container or pod.
    struct Needs {
        requests: Option<Amounts>,
        limits: Option<Amounts>,
    }
}

/// CPU that is assumed for a container without a CPU request, in thousandths.
const ASSUMED_CPU: i64 = 100;
/// Memory that is assumed for a container without a memory request.
const ASSUMED_MEMORY: i64 = 200 * 1024 * 1024;

/// The requests of one container with what decides how they count.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Requests by resource; a resource that is not there is not asked for.
    pub(super) amounts: Amounts,
    /// Init container that keeps running.
    pub(super) sidecar: bool,
}

/// What a pod asks for in each of the ways that the scheduler counts it.
#[derive(Clone, Debug, Default)]
pub(super) struct PodNeeds {
    /// What is booked.
    pub(super) requests: Resources,
    /// CPU and memory with assumed amounts for containers that ask for none.
    pub(super) nonzero: (i64, i64),
    /// The same without pod-level resources.
    pub(super) scored: (i64, i64),
}

impl Needs {
    /// Requests, those left out taken from the limits (`SetDefaults_Pod`).
    pub(super) fn requests(&self) -> Amounts {
        let mut requests = self.requests.clone().unwrap_or_default();
        for (&resource, &limit) in self.limits.iter().flatten() {
            requests.entry(resource).or_insert(limit);
        }
        requests
    }
}

/// The requests of a whole pod.
pub(super) fn pod_needs(containers: &[Asked], init: &[Asked], pod_level: &Needs, overhead: &Resources) -> PodNeeds {
    let plain = aggregate(containers, init, (false, false));
    let level = pod_level_requests(pod_level, &plain);
    let with = |aggregate: &Amounts, level: &Amounts| {
        let mut amounts = aggregate.clone();
        amounts.extend(level.iter().map(|(&resource, &quantity)| (resource, quantity)));
        let mut total = resources(&amounts);
        total.add(overhead);
        total
    };
    // With pod-level requests only what they and the overhead leave open is assumed per container.
    let open = |resource: &str| {
        let resource = Name::new(resource);
        level.is_empty() || !(plain.contains_key(&resource) || level.contains_key(&resource))
    };
    let assumed = (
        open("cpu") && (level.is_empty() || overhead.milli_cpu == 0),
        open("memory") && (level.is_empty() || overhead.memory == 0),
    );
    PodNeeds {
        nonzero: cpu_and_memory(&with(&aggregate(containers, init, assumed), &level)),
        scored: cpu_and_memory(&with(&aggregate(containers, init, (true, true)), &Amounts::new())),
        requests: with(&plain, &level),
    }
}

/// Containers together, or the largest moment of the init containers if that is more. `assumed`: whether CPU and memory
/// that a container does not ask for are assumed.
fn aggregate(containers: &[Asked], init: &[Asked], assumed: (bool, bool)) -> Amounts {
    let amounts_of = |asked: &Asked| {
        let mut amounts = asked.amounts.clone();
        if assumed.0 {
            amounts.entry(Name::new("cpu")).or_insert(Quantity { milli: ASSUMED_CPU, whole: 1 });
        }
        if assumed.1 {
            let quantity = Quantity { milli: ASSUMED_MEMORY * 1000, whole: ASSUMED_MEMORY };
            amounts.entry(Name::new("memory")).or_insert(quantity);
        }
        amounts
    };
    let mut total = Amounts::new();
    for container in containers {
        add(&mut total, &amounts_of(container));
    }
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in init {
        let own = amounts_of(container);
        if container.sidecar {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            raise(&mut starting, &sidecars);
        } else {
            let mut moment = own;
            add(&mut moment, &sidecars);
            raise(&mut starting, &moment);
        }
    }
    raise(&mut total, &starting);
    total
}

/// `spec.resources` with the API server's defaults: what the containers ask for together, then the pod's limits.
fn pod_level_requests(needs: &Needs, aggregate: &Amounts) -> Amounts {
    if needs.requests.is_none() && needs.limits.is_none() {
        return Amounts::new();
    }
    let supported = |resource: &Name| *resource == "cpu" || *resource == "memory" || resource.starts_with("hugepages-");
    let mut requests = needs.requests.clone().unwrap_or_default();
    let from_containers = aggregate.iter().filter(|(resource, _)| !resource.starts_with("hugepages-"));
    for (&resource, &quantity) in from_containers.chain(needs.limits.iter().flatten()) {
        requests.entry(resource).or_insert(quantity);
    }
    requests.retain(|resource, _| supported(resource));
    requests
}

fn add(total: &mut Amounts, other: &Amounts) {
    for (&resource, quantity) in other {
        let sum = total.entry(resource).or_default();
        sum.milli = sum.milli.saturating_add(quantity.milli);
        sum.whole = sum.whole.saturating_add(quantity.whole);
    }
}

/// Raises each amount to at least the other's.
pub(super) fn raise(total: &mut Amounts, other: &Amounts) {
    for (&resource, quantity) in other {
        let most = total.entry(resource).or_default();
        most.milli = most.milli.max(quantity.milli);
        most.whole = most.whole.max(quantity.whole);
    }
}

fn cpu_and_memory(resources: &Resources) -> (i64, i64) {
    (resources.milli_cpu, resources.memory)
}

/// The amounts that the scheduler books. Besides CPU, memory and ephemeral storage these are extended resources, huge pages
/// and attachable volumes; other names (`storage`, `pods`, quota names) are none.
pub(super) fn resources(amounts: &Amounts) -> Resources {
    let mut resources = Resources::default();
    for (&resource, quantity) in amounts {
        match &*resource {
            "cpu" => resources.milli_cpu = quantity.milli,
            "memory" => resources.memory = quantity.whole,
            "ephemeral-storage" => resources.ephemeral = quantity.whole,
            name if name.contains('/') || name.starts_with("hugepages-") || name.starts_with("attachable-volumes-") => {
                resources.set_scalar(resource, quantity.whole);
            }
            _ => {}
        }
    }
    resources
}
