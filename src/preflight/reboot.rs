//! P042: hosts that wait for a reboot.

use crate::judge::About;

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P042",
    name: "reboot is due",
    what: "Nodes of the run whose operating system asks for a reboot.",
    why: "While the node is out and empty a reboot costs nothing; afterwards it takes another drain. Services that the package \
          manager restarts on its own may do so in the middle of the upgrade.",
    example: "/var/run/reboot-required is there on n5 since the last kernel update.",
    fix: "Reboot the host during its turn.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let due = scope.taken_hosts().filter(|(_, facts)| facts.reboot_required == Some(true));
    let findings = due.map(|(node, _)| {
        let message = "the operating system asks for a reboot".to_owned();
        let fix = "reboot it during its turn, while it is empty".to_owned();
        ABOUT.finding(Severity::Info, scope.cluster.node_key(node), message, fix)
    });
    findings.collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{host, tells_apart};

    #[test]
    fn reboots() {
        let (due, not) = (host("rebootRequired: true"), host("rebootRequired: false"));
        tells_apart("P042", &["Info Node/n1"], (&due, "{to: v1.37.0}"), (&not, "{to: v1.37.0}"));
    }
}
