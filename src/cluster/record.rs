//! What a run writes into the cluster about itself, so that any machine can continue it: an annotation on each node that it has
//! taken in hand, and one ConfigMap. The words are read by people, too (`kubectl describe node`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cluster, Marks, Name, NodeId, NodeOutcome, Routing, Standing, Time, Version};

/// Annotation of a node that holds a [`NodeRecord`] as JSON.
pub const NODE_RECORD: &str = "cmsim.dev/run";

/// Label that takes a node out of the load balancers of a cloud (KEP-1143; whatever its value).
pub const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// [`Marks`] of a node, its routing, and what stood on it when its drain began.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeRecord {
    /// [`Marks::started`].
    #[serde(with = "stamp", skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// What the kubelet ran when the run took the node in hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Version>,
    /// [`Marks::was_cordoned`].
    #[serde(skip_serializing_if = "is_false")]
    pub was_cordoned: bool,
    /// [`Marks::was_unrouted`].
    #[serde(skip_serializing_if = "is_false")]
    pub was_unrouted: bool,
    /// When the run began to stop routing to the node; `None` again once it was resumed.
    #[serde(with = "stamp", skip_serializing_if = "Option::is_none")]
    pub unrouting: Option<Time>,
    /// The run has stopped routing to the node and not resumed it.
    #[serde(skip_serializing_if = "is_false")]
    pub unrouted: bool,
    /// The label [`EXCLUDED`] is the run's own, to be taken away again.
    #[serde(skip_serializing_if = "is_false")]
    pub excluded: bool,
    /// [`Marks::drain_started`].
    #[serde(with = "stamp", skip_serializing_if = "Option::is_none")]
    pub drain_started: Option<Time>,
    /// [`Marks::forced`].
    #[serde(with = "stamp", skip_serializing_if = "Option::is_none")]
    pub forced: Option<Time>,
    /// [`Marks::host_touched`].
    #[serde(with = "stamp", skip_serializing_if = "Option::is_none")]
    pub host_touched: Option<Time>,
    /// The version that the host's job brings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_target: Option<Version>,
    /// What the node is to its upgrade: `firstControlPlane`, `controlPlane`, `worker`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How often the host's job was begun anew after it failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// [`Marks::uncordoned`].
    #[serde(with = "stamp", skip_serializing_if = "Option::is_none")]
    pub uncordoned: Option<Time>,
    /// How the run ended for the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<NodeOutcome>,
    /// And when.
    #[serde(with = "stamp", skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// Ready pods of each workload that had pods on the node when its drain began (`namespace/Kind/name`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub standing: BTreeMap<String, u32>,
}

impl NodeRecord {
    /// The record as it is written.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What the cluster holds of what stands on a node ([`Cluster::record_standing`]).
    pub fn standing_on(cluster: &Cluster, node: NodeId) -> BTreeMap<String, u32> {
        let standing = cluster.run.standing_on(node).iter();
        standing.map(|one| (cluster.workload(one.workload).key.to_string(), one.ready)).collect()
    }

    /// Puts the record onto a node. Workloads that are not there any more are left out of what must be back.
    pub fn put(&self, cluster: &mut Cluster, id: NodeId) {
        let marks = Marks {
            started: self.started,
            was_cordoned: self.was_cordoned,
            was_unrouted: self.was_unrouted,
            drain_started: self.drain_started,
            forced: self.forced,
            host_touched: self.host_touched,
            uncordoned: self.uncordoned,
            outcome: self.outcome.zip(self.ended),
        };
        cluster.update_node(id, |node| {
            node.marks = marks;
            node.routing = match (self.unrouted, self.unrouting) {
                (true, _) => Routing::Stopped,
                (false, Some(_)) => Routing::Stopping,
                (false, None) => Routing::Routed,
            };
        });
        let known = self.standing.iter().filter_map(|(object, &ready)| {
            let workload = cluster.find_workload(&object.parse().ok()?)?;
            Some(Standing { node: id, workload, ready })
        });
        let mut standing: Vec<Standing> = known.collect();
        cluster.run.standing.retain(|entry| entry.node != id);
        cluster.run.standing.append(&mut standing);
        cluster.run.standing.sort_unstable();
        cluster.run.started = [cluster.run.started, self.started].into_iter().flatten().min();
        cluster.run.last_ended = cluster.run.last_ended.max(self.ended);
    }
}

/// What the run's ConfigMap holds.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RunRecord {
    /// Name of the run: its jobs on hosts and its journal carry it.
    pub id: Name,
    /// Target version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Version>,
    /// What the operator wants, as `cmsim status` needs it to tell what the run waits for.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub goal: serde_json::Value,
    /// When the run was begun.
    #[serde(with = "stamp", skip_serializing_if = "Option::is_none")]
    pub begun: Option<Time>,
    /// Who runs it, and where.
    pub by: String,
    /// [`super::Run::hop`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop: Option<Version>,
    /// [`super::Run::stopped`].
    #[serde(skip_serializing_if = "is_false")]
    pub stopped: bool,
    /// Why it stopped, or what it waits for, for people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What only people know, as they confirmed it for this run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attested: Vec<Attested>,
    /// When the backup was begun.
    #[serde(with = "stamp", skip_serializing_if = "Option::is_none")]
    pub backup_begun: Option<Time>,
    /// When the backup was taken and verified.
    #[serde(with = "stamp", skip_serializing_if = "Option::is_none")]
    pub backup_verified: Option<Time>,
    /// How often the backup was begun anew after it failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub backup_attempt: u32,
    /// Where the copy of the cluster's objects is, as `host:file`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub backup: String,
    /// Every node of the goal is at its target.
    #[serde(with = "stamp", skip_serializing_if = "Option::is_none")]
    pub done: Option<Time>,
    /// Lowest number of ready pods that `check` predicted, by workload.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub predicted: BTreeMap<String, u32>,
    /// Lowest number of ready pods seen so far, by workload.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub seen: BTreeMap<String, u32>,
}

/// Something that only people know, and who confirmed it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Attested {
    /// Its name: a value of `--attest`.
    pub what: String,
    /// `user@host`.
    pub by: String,
    /// When.
    #[serde(with = "stamp", skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Times as RFC 3339 with milliseconds.
mod stamp {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::Time;

    pub(super) fn serialize<S: Serializer>(time: &Option<Time>, serializer: S) -> Result<S::Ok, S::Error> {
        let text =
            time.and_then(|time| jiff::Timestamp::from_millisecond(time.0).ok()).map(|time| format!("{time:.3}"));
        match text {
            Some(text) => serializer.serialize_str(&text),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let time: jiff::Timestamp = text.parse().map_err(de::Error::custom)?;
        Ok(Some(Time(time.as_millisecond())))
    }
}
