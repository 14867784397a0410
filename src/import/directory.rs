//! Who is who: finds objects by name, and owners by their references.

use std::collections::BTreeSet;

use rustc_hash::{FxHashMap, FxHashSet};

use super::node::unknown_node;
use super::wire::OwnerReference;
use crate::cluster::{Cluster, Detail, Name, NodeId, ObjectKey, Owner, PodId, Workload, WorkloadId};

/// Finds what a cluster holds by name.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Nodes.
    pub(super) nodes: FxHashMap<Name, NodeId>,
    /// Pods by namespace and name.
    pub(super) pods: FxHashMap<(Name, Name), PodId>,
    /// Workloads with their uids, which are empty where the input has none.
    workloads: FxHashMap<ObjectKey, (WorkloadId, Name)>,
    /// Kinds that the input holds.
    kinds: FxHashSet<Name>,
    /// Owners that were taken to exist although they are not in the input, since none of their kind is.
    pub(super) assumed: BTreeSet<WorkloadId>,
    /// Nodes that were named and are not in the input.
    pub(super) unknown_nodes: BTreeSet<Name>,
    /// Labels for zone and region, if no budget or Service selects by them.
    pub(super) unselected_topology: Vec<Name>,
    /// Owner references that name nothing: (object of the reference, whether only the uid differs).
    pub(super) missing: BTreeSet<(ObjectKey, bool)>,
}

/// Kinds of the API server's own controllers.
const BUILT_IN: [&str; 7] =
    ["ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController", "Deployment", "CronJob"];

/// The group of an `apiVersion`.
pub(super) fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// What a kind is called in keys: with its group where it would be taken for another one of the same name.
pub(super) fn kind_name(api_version: &str, kind: Name) -> Name {
    let group = group(api_version);
    if BUILT_IN.contains(&kind.as_str()) && !matches!(group, "" | "apps" | "batch" | "extensions") {
        Name::new(&format!("{kind}.{group}"))
    } else {
        kind
    }
}

/// Where a reference leads.
enum Found {
    Workload(WorkloadId),
    Missing,
    /// Nothing of its kind is in the input.
    Unknown,
}

impl Directory {
    /// The directory of a cluster that is complete.
    pub(super) fn of(cluster: &Cluster) -> Directory {
        let mut directory = Directory::default();
        for (id, node) in cluster.nodes().filter(|(_, node)| !node.gone) {
            directory.nodes.insert(node.name(), id);
        }
        for (id, pod) in cluster.pods().filter(|(_, pod)| !pod.gone) {
            directory.pods.insert((cluster.spec(id).namespace, pod.name), id);
        }
        for (id, workload) in cluster.workloads().filter(|(_, workload)| !workload.deleted) {
            directory.workloads.insert(workload.key, (id, Name::EMPTY));
            directory.kinds.insert(workload.key.kind);
        }
        directory.kinds.extend(cluster.catalog.input.kinds.keys().copied());
        directory
    }

    /// Notes that the input holds this kind.
    pub(super) fn add_kind(&mut self, kind: Name) {
        self.kinds.insert(kind);
    }

    /// Notes which topology labels budgets and Services select by.
    pub(super) fn look_at_selectors(&mut self, cluster: &Cluster) {
        let budgets = cluster.budgets().filter_map(|(_, budget)| budget.selector.as_ref());
        let services = cluster.services().filter_map(|(_, service)| service.selector.as_ref());
        let keys =
            budgets.chain(services).flat_map(|selector| &selector.requirements).map(|requirement| requirement.key);
        let selected: FxHashSet<Name> = keys.collect();
        let labels = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"].map(Name::new);
        self.unselected_topology = labels.into_iter().filter(|label| !selected.contains(label)).collect();
    }

    /// Notes a workload.
    pub(super) fn add_workload(&mut self, key: ObjectKey, id: WorkloadId, uid: Name) {
        self.workloads.insert(key, (id, uid));
    }

    /// The workload of a key.
    pub(super) fn workload(&self, key: &ObjectKey) -> Option<WorkloadId> {
        self.workloads.get(key).map(|found| found.0)
    }

    /// The node of a name; one that is not in the input is added as a node that is gone, or, if no node is, as one of which
    /// nothing else is known.
    pub(super) fn node(&mut self, cluster: &mut Cluster, name: Name) -> NodeId {
        if let Some(&id) = self.nodes.get(&name) {
            return id;
        }
        let gone = self.kinds.contains(&Name::new("Node"));
        let id = unknown_node(cluster, name, gone);
        self.nodes.insert(name, id);
        self.unknown_nodes.insert(name);
        id
    }

    /// The owner of a pod.
    pub(super) fn owner_of_pod(&mut self, cluster: &mut Cluster, namespace: Name, reference: &OwnerReference) -> Owner {
        if reference.kind == "Node" && group(&reference.api_version).is_empty() {
            return Owner::Node;
        }
        match self.owner(cluster, namespace, reference) {
            Some(id) => Owner::Workload(id),
            None => Owner::Missing { kind: reference.kind, name: reference.name },
        }
    }

    /// The workload that a reference names. Where no object of the kind is in the input the owner is taken to exist: kinds that
    /// were not asked for, custom resources. Where others of its kind are there and it is not, nothing brings its pods
    /// back (M14).
    pub(super) fn owner(
        &mut self,
        cluster: &mut Cluster,
        namespace: Name,
        reference: &OwnerReference,
    ) -> Option<WorkloadId> {
        match self.find(namespace, reference) {
            Found::Workload(id) => Some(id),
            Found::Missing => None,
            Found::Unknown => {
                let key = ObjectKey {
                    namespace,
                    kind: kind_name(&reference.api_version, reference.kind),
                    name: reference.name,
                };
                let id = cluster.add_workload(other(key, reference.api_version));
                self.add_workload(key, id, reference.uid);
                self.assumed.insert(id);
                Some(id)
            }
        }
    }

    fn find(&mut self, namespace: Name, reference: &OwnerReference) -> Found {
        let kind = kind_name(&reference.api_version, reference.kind);
        let key = ObjectKey { namespace, kind, name: reference.name };
        // The owner of a namespaced object may be an object of the whole cluster.
        let cluster_wide = ObjectKey { namespace: Name::EMPTY, ..key };
        match self.workloads.get(&key).or_else(|| self.workloads.get(&cluster_wide)) {
            // Another object has taken the name (KUBERNETES.md D1).
            Some((_, uid)) if !uid.is_empty() && !reference.uid.is_empty() && *uid != reference.uid => {
                self.missing.insert((key, true));
                Found::Missing
            }
            Some((id, _)) => Found::Workload(*id),
            None if self.kinds.contains(&kind) => {
                self.missing.insert((key, false));
                Found::Missing
            }
            None => Found::Unknown,
        }
    }
}

/// A workload of a kind that the model does not play.
pub(super) fn other(key: ObjectKey, api_version: Name) -> Workload {
    Workload {
        key,
        api_version,
        owner: None,
        missing_owner: None,
        selector: None,
        template: None,
        replicas: 0,
        min_ready_seconds: 0,
        deleted: false,
        detail: Detail::Other,
    }
}
