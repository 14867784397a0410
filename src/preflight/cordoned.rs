//! P015: nodes that are cordoned already.

use crate::cluster::quantity::{bytes, cores};
use crate::judge::About;

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P015",
    name: "node cordoned before the start",
    what: "Nodes that are unschedulable although no upgrade has taken them in hand.",
    why: "Somebody meant it, or forgot it: the node takes none of the pods that have to move. The upgrade leaves such a cordon as \
          it found it.",
    example: "n4 has been cordoned since a disk was exchanged.",
    fix: "Uncordon the node if its room is needed.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let own = |node: &crate::cluster::Node| node.marks.started.is_some() && !node.marks.was_cordoned;
    let cordoned = scope.nodes().filter(|(_, node)| node.unschedulable && !own(node));
    let found = cordoned.map(|(id, node)| {
        let room = &node.allocatable;
        let message = format!(
            "is cordoned: its {} CPU and {} take no pods, and it stays cordoned after the upgrade",
            cores(room.milli_cpu),
            bytes(room.memory)
        );
        let fix = format!("kubectl uncordon {}, if its room is needed", node.name());
        ABOUT.finding(Severity::Info, scope.cluster.node_key(id), message, fix)
    });
    found.collect()
}
