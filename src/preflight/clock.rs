//! P040: clocks that differ.

use crate::judge::About;

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P040",
    name: "clocks apart",
    what: "Hosts whose clock is more than a second away from that of the automation host.",
    why: "Certificates and tokens that were just issued are not valid yet on a host that is minutes behind; etcd's members warn \
          from a second on; and the order of events in logs is wrong when it is needed.",
    example: "The clock of n3 is 42 s behind.",
    fix: "Have chrony or systemd-timesyncd synchronise all hosts.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

/// etcd warns about members that are further apart.
const NOTICED: u64 = 1_000;
/// A clock that nobody synchronises; what is signed now is still valid on it, as signers and verifiers allow for a minute or
/// more, but not for long.
const ADRIFT: u64 = 10_000;

fn run(scope: &Scope) -> Vec<Finding> {
    let findings = scope.hosts().filter_map(|(node, facts)| {
        let offset = facts.time_offset_millis?;
        let apart = offset.unsigned_abs();
        if apart <= NOTICED {
            return None;
        }
        let severity = if apart >= ADRIFT { Severity::Warning } else { Severity::Info };
        let (tenths, side) = (apart / 100, if offset < 0 { "behind" } else { "ahead" });
        let message = format!("the clock is {}.{} s {side}", tenths / 10, tenths % 10);
        let fix = "have the host's clock synchronised (chronyc makestep, timedatectl set-ntp true)".to_owned();
        Some(ABOUT.finding(severity, scope.cluster.node_key(node), message, fix))
    });
    findings.collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{host, named, tells_apart};

    #[test]
    fn clocks() {
        let off = |millis: i64| host(&format!("timeOffsetMillis: {millis}"));
        tells_apart("P040", &["Warning Node/n1"], (&off(-42_000), "{}"), (&off(400), "{}"));
        assert_eq!(named("P040", &off(1_500), "{}"), ["Info Node/n1"]);
    }
}
