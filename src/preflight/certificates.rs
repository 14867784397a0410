//! P043: certificates that end soon.

use crate::cluster::{Millis, Time};
use crate::judge::About;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P043",
    name: "certificate ends soon",
    what: "Certificates on hosts that have ended or end within 30 days.",
    why: "kubeadm renews the certificates of API server, controller manager and scheduler with the upgrade of their host, but \
          neither authorities, nor the kubelet's own, nor etcd's where etcd stays; one that ends during the upgrade stops the \
          node or the whole control plane.",
    example: "/var/lib/kubelet/pki/kubelet-client-current.pem of n2 ends in 3 days: its rotation does not work.",
    fix: "Renew it before the upgrade (kubeadm certs renew; for kubelets see why the rotation does not work).",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

const DAY: i64 = 86_400_000;
const SOON: Millis = Millis(30 * DAY);
/// A run is over by then, and what it renews is new.
const RUN: Millis = Millis(7 * DAY);

/// Below /etc/kubernetes, what `kubeadm upgrade` renews on every control-plane host (`--certificate-renewal` is on by default).
const RENEWED: [&str; 7] = [
    "pki/apiserver.crt",
    "pki/apiserver-kubelet-client.crt",
    "pki/apiserver-etcd-client.crt",
    "pki/front-proxy-client.crt",
    "admin.conf",
    "controller-manager.conf",
    "scheduler.conf",
];

fn run(scope: &Scope) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (node, facts) in scope.hosts() {
        let key = scope.cluster.node_key(node);
        let upgraded = scope.takes(node) && scope.cluster.node(node).is_control_plane();
        let mut unreadable = Vec::new();
        for (file, text) in &facts.certificates {
            let Ok(end) = text.parse::<jiff::Timestamp>() else {
                unreadable.push(format!("{file} ({text:?})"));
                continue;
            };
            let left = Time(end.as_millisecond()) - scope.now;
            if left >= SOON {
                continue;
            }
            let renewed = file.strip_prefix("/etc/kubernetes/").is_some_and(|file| RENEWED.contains(&file));
            let (severity, what, fix) = if upgraded && renewed && left >= RUN {
                let fix = "nothing, as long as the upgrade does renew certificates (--certificate-renewal)";
                (Severity::Info, "; the upgrade renews it", fix)
            } else if file.ends_with("ca.crt") {
                let fix = "replace the authority before the upgrade: a new one beside the old, then all that it signed (kubeadm \
                           renews none)";
                // Nothing that an ended authority has signed is accepted any more.
                (if left.0 < 0 { Severity::Error } else { Severity::Warning }, "", fix)
            } else {
                (
                    Severity::Warning,
                    "",
                    "renew it before the upgrade (kubeadm certs renew, or the rotation of the kubelet)",
                )
            };
            let message = match left.0 {
                ..0 => format!("{file} has ended at {end}"),
                _ => format!("{file} ends at {end}, in {} days{what}", left.0 / DAY),
            };
            findings.push(ABOUT.finding(severity, key, message, fix.to_owned()));
        }
        if !unreadable.is_empty() {
            let message = format!("the ends of certificates are no times: {}", listed(unreadable));
            let fix = "write them as 2027-01-31T12:00:00Z in the hosts file".to_owned();
            findings.push(ABOUT.finding(Severity::Info, key, message, fix));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::tests::{host, named, tells_apart};

    /// The cluster in short form stands in January 2026.
    #[test]
    fn ends_of_certificates() {
        let ends = |when: &str| host(&format!("certificates: {{/etc/kubernetes/pki/ca.crt: '{when}'}}"));
        let (soon, late) = (ends("2026-01-20T00:00:00Z"), ends("2026-11-20T00:00:00Z"));
        tells_apart("P043", &["Warning Node/n1"], (&soon, "{}"), (&late, "{}"));
        tells_apart("P043", &["Error Node/n1"], (&ends("2025-12-31T00:00:00Z"), "{}"), (&late, "{}"));
        assert_eq!(named("P043", &ends("next year"), "{}"), ["Info Node/n1"]);
    }

    #[test]
    fn what_the_upgrade_renews_is_no_trouble() {
        let master = |file: &str, when: &str| {
            format!(
                "{{version: v1.36.2, nodes: {{count: 1, controlPlane: 1}}, hosts: {{cp1: {{certificates: {{{file}: '{when}'}}}}}}}}"
            )
        };
        let found = |file: &str, when: &str, goal: &str| named("P043", &master(file, when), goal);
        let (api_server, soon, goal) = ("/etc/kubernetes/pki/apiserver.crt", "2026-01-20T00:00:00Z", "{to: v1.37.0}");
        assert_eq!(found(api_server, soon, goal), ["Info Node/cp1"]);
        assert_eq!(found(api_server, soon, "{to: v1.37.0, skip: [cp1]}"), ["Warning Node/cp1"], "left out");
        assert_eq!(found(api_server, "2025-12-31T00:00:00Z", goal), ["Warning Node/cp1"], "kubeadm cannot even ask");
        assert_eq!(found("/etc/kubernetes/pki/ca.crt", soon, goal), ["Warning Node/cp1"], "authorities stay");
    }
}
