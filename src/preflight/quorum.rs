//! P044: control planes that are not there while one of their nodes is out.

use crate::cluster::{Name, NodeId, Readiness};
use crate::judge::About;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P044",
    name: "no control plane while a node is out",
    what: "Runs that take a control-plane node although it is the only one, or although etcd has no quorum without it.",
    why: "Without API server or etcd's quorum nothing is scheduled, evicted or replaced, and Services do not learn of pods that are \
          lost meanwhile. Pods that run are not touched. Two members are no better than one: both are needed for the quorum.",
    example: "etcd has 3 members, the one on cp2 is not ready, and the run takes cp1.",
    fix: "Have 3 or 5 control-plane nodes, all of them well before the upgrade; or choose a quiet hour.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let cluster = scope.cluster;
    let all: Vec<NodeId> = scope.nodes().filter(|(_, node)| node.is_control_plane()).map(|(id, _)| id).collect();
    let Some(&first) = scope.turns.iter().find(|id| all.contains(id)) else { return Vec::new() };
    let (component, etcd) = (Name::new("component"), Name::new("etcd"));
    let members: Vec<(NodeId, bool)> = all
        .iter()
        .filter_map(|&id| {
            let mut pods = cluster.pods_of_node(id).iter();
            let &pod = pods.find(|&&pod| cluster.spec(pod).labels.get(component) == Some(etcd))?;
            Some((id, cluster.pod(pod).is_serving_strength() && cluster.node(id).ready == Readiness::Ready))
        })
        .collect();
    let sick = listed(members.iter().filter(|(_, well)| !well).map(|(id, _)| scope.node_name(*id)));
    let well = members.iter().filter(|(_, well)| *well).count();
    let takes_well = scope.turns.iter().any(|id| members.contains(&(*id, true)));
    let quorum = members.len() / 2 + 1;
    let (severity, message) = if all.len() == 1 {
        (
            Severity::Info,
            format!("{} is the only control-plane node: no API while it is upgraded", scope.node_name(first)),
        )
    } else if takes_well && well <= quorum {
        let sick = if sick.is_empty() { String::new() } else { format!(" (not ready: {sick})") };
        let count = members.len();
        (
            Severity::Warning,
            format!(
                "{well} of {count} members of etcd are ready{sick}, and {quorum} are needed: no API while one of them is upgraded"
            ),
        )
    } else {
        return Vec::new();
    };
    let fix =
        "have three control-plane nodes, all well; or accept that nothing is scheduled or replaced for some minutes"
            .to_owned();
    vec![ABOUT.finding(severity, cluster.node_key(first), message, fix)]
}

#[cfg(test)]
mod tests {
    use super::super::tests::{named, tells_apart};

    fn masters(count: u32, more: &str) -> String {
        format!("{{version: v1.36.2, nodes: {{count: 2, controlPlane: {count}{more}}}}}")
    }

    #[test]
    fn quorums() {
        let goal = "{to: v1.37.0}";
        tells_apart("P044", &["Warning Node/cp1"], (&masters(2, ""), goal), (&masters(3, ""), goal));
        let sick = masters(3, ", overrides: {cp2: {notReady: true}}");
        tells_apart("P044", &["Warning Node/cp1"], (&sick, goal), (&sick, "{to: v1.37.0, only: [cp2]}"));
        assert_eq!(named("P044", &masters(1, ""), goal), ["Info Node/cp1"]);
        assert_eq!(named("P044", &masters(1, ""), "{to: v1.37.0, skip: [cp1]}"), [""; 0]);
    }
}
