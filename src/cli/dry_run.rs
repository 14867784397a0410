//! What `apply --dry-run` shows: what would be done, node by node, and what the API server says to the first steps now.

use serde_json::{Value, json};

use crate::cluster::{Cluster, Node, NodeId, PodId, Time, Version};
use crate::live::{Connection, rehearse_cordon, rehearse_eviction};
use crate::upgrade::{Fate, Goal, fate, turns};

use super::output::{self, Format};

/// What the run would do outside of the cluster, in words.
pub struct Means {
    /// How a host is upgraded.
    pub hosts: String,
    /// How the backup is taken.
    pub backup: String,
}

/// Prints it.
///
/// # Errors
///
/// The result cannot be written.
pub async fn show(
    connection: &Connection,
    goal: &Goal,
    cluster: &Cluster,
    now: Time,
    means: &Means,
    format: Format,
) -> anyhow::Result<()> {
    let nodes = turns(goal, cluster, now);
    let pods = |node: NodeId| -> Vec<PodId> {
        let on_node = cluster.pods_of_node(node).iter().copied();
        on_node.filter(|&pod| fate(goal, cluster, now, pod) == Fate::Leaves).collect()
    };
    let name = |pod: PodId| {
        let key = cluster.pod_key(pod);
        format!("{}/{}", key.namespace, key.name)
    };
    let way = |node: &Node| {
        let from = node.control_plane.or(node.kubelet).filter(|_| node.is_control_plane());
        from.map_or_else(Vec::new, |from| goal.way(from))
    };
    let answers = match nodes.first() {
        Some(&first) => answers(connection, goal, cluster, first, &pods(first)).await,
        None => Vec::new(),
    };
    if format == Format::Json {
        let of_node = |&id: &NodeId| {
            let node = cluster.node(id);
            let pods: Vec<String> = pods(id).into_iter().map(name).collect();
            let versions = |of: &[Version]| of.iter().map(Version::to_string).collect::<Vec<_>>();
            json!({
                "name": node.name().as_str(), "from": node.kubelet.map(|one| one.to_string()),
                "via": versions(&way(node)), "to": goal.to.to_string(), "pods": pods,
            })
        };
        let answers: Vec<Value> =
            answers.iter().map(|(what, answer)| json!({"request": what, "answer": answer})).collect();
        return output::line(&serde_json::to_string(&json!({
            "apiVersion": "cmsim.dev/v1", "kind": "ApplyPlan",
            "nodes": nodes.iter().map(of_node).collect::<Vec<_>>(), "answersNow": answers,
        }))?);
    }
    let mut text = String::from("\nWOULD BE DONE\n");
    if goal.lock {
        text.push_str("  take the lock\n");
    }
    if goal.backup && !nodes.is_empty() {
        text.push_str(&format!("  back up: {}; the cluster's objects on this machine\n", means.backup));
    }
    for &id in &nodes {
        let node = cluster.node(id);
        let from = node.kubelet.map_or("?".to_owned(), |version| version.to_string());
        let to: String = way(node).into_iter().chain([goal.to]).map(|version| format!(" -> {version}")).collect();
        text.push_str(&format!("  {} ({}) {from}{to}\n", node.name(), node.info.address));
        let going: Vec<String> = pods(id).into_iter().map(name).collect();
        let verb = if goal.disable_eviction { "delete" } else { "evict" };
        let going = if going.is_empty() { "nothing".to_owned() } else { going.join(", ") };
        let mut steps = Vec::new();
        if goal.routing {
            steps.push("stop routing to it".to_owned());
        }
        if !node.unschedulable {
            steps.push("cordon".to_owned());
        }
        steps.push(format!("{verb}: {going}"));
        steps.push(format!("upgrade the host: {}", means.hosts));
        steps.push("wait until the node is Ready at its version with the pods of its DaemonSets".to_owned());
        if !node.unschedulable {
            steps.push("uncordon".to_owned());
        }
        if goal.routing {
            steps.push("resume routing to it".to_owned());
        }
        steps.iter().for_each(|step| text.push_str(&format!("    {step}\n")));
    }
    if nodes.is_empty() {
        text.push_str("  nothing: all nodes of the run are at the target, or in hand already\n");
    } else {
        text.push_str("  Pods that move meanwhile are evicted again at the turn of their new node.\n");
    }
    if !answers.is_empty() {
        text.push_str("\nTHE API SERVER'S ANSWERS NOW (dry run, each pod as if it were the only one)\n");
        answers.iter().for_each(|(what, answer)| text.push_str(&format!("  {what}: {answer}\n")));
    }
    output::text(&text)
}

/// What the API server says to the first node's cordon and evictions.
async fn answers(
    connection: &Connection,
    goal: &Goal,
    cluster: &Cluster,
    node: NodeId,
    pods: &[PodId],
) -> Vec<(String, String)> {
    let mut answers = Vec::new();
    let name = cluster.node(node).name();
    if !cluster.node(node).unschedulable {
        let answer = rehearse_cordon(connection, &name).await;
        answers
            .push((format!("cordon {name}"), answer.map_or_else(|trouble| trouble.to_string(), |()| "yes".to_owned())));
    }
    for &pod in pods.iter().filter(|_| !goal.disable_eviction) {
        let key = cluster.pod_key(pod);
        let answer = match rehearse_eviction(connection, &key.namespace, &key.name, goal.grace_period).await {
            Ok((200 | 201, _)) => "yes".to_owned(),
            Ok((code, message)) => format!("{code} {message}"),
            Err(trouble) => trouble.to_string(),
        };
        answers.push((format!("evict {}/{}", key.namespace, key.name), answer));
    }
    answers
}
