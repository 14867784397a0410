//! P046: hosts that nothing is known about.

use crate::judge::About;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P046",
    name: "hosts not looked at",
    what: "Nodes of the run whose hosts the hosts file says nothing about.",
    why: "What the API does not show is not judged there: resolv.conf, package sources, disks, cgroups, swap, clocks, certificates, \
          files changed by hand. Each of them has stopped upgrades half-way.",
    example: "No hosts file was given.",
    fix: "Give the facts with --hosts; docs/hosts.md describes the file.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let hosts = &scope.cluster.catalog.hosts;
    let unknown: Vec<_> =
        scope.turns.iter().map(|&id| scope.node_name(id)).filter(|name| !hosts.contains_key(name)).collect();
    if unknown.is_empty() {
        return Vec::new();
    }
    let message = if hosts.is_empty() {
        "no facts about hosts were given: resolv.conf, packages, disks, swap, clocks and certificates are not judged"
            .to_owned()
    } else {
        format!("no facts about {} of {} hosts were given: {}", unknown.len(), scope.turns.len(), listed(&unknown))
    };
    let fix = "give them with --hosts (docs/hosts.md)".to_owned();
    vec![ABOUT.finding(Severity::Info, scope.whole(), message, fix)]
}

#[cfg(test)]
mod tests {
    use super::super::tests::{host, tells_apart};

    #[test]
    fn unknown_hosts() {
        let partly = host("cpus: 2");
        let (all, first) = ("{to: v1.37.0}", "{to: v1.37.0, only: [n1]}");
        tells_apart("P046", &["Info Cluster/cluster"], (&partly, all), (&partly, first));
        let none = "{version: v1.36.2, nodes: {count: 2}}";
        tells_apart("P046", &["Info Cluster/cluster"], (none, all), (none, "{to: v1.37.0, skip: [n1, n2]}"));
    }
}
