//! P030: resolver files that point to the host itself (M12, KUBERNETES.md G.6).

use crate::cluster::{HostFacts, NodeId, is_loopback, name_servers};
use crate::judge::About;
use crate::upgrade::Settle;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P030",
    name: "resolv.conf points to the host itself",
    what: "Hosts whose kubelet hands on a resolver file that is missing, or that names a loopback address. A stub of \
           systemd-resolved in /etc/resolv.conf is fine where the kubelet hands on /run/systemd/resolve/resolv.conf. It is an error where \
           no other address is named and the run waits for displaced pods. What kubeadm will have the kubelet hand on after the \
           upgrade counts, too: what the ConfigMap kubelet-config says, not what was set on the host.",
    why: "In a pod a loopback address is the pod itself: CoreDNS forwards its queries to itself, sees the loop and ends. Pods that \
          run keep the old file, so it shows only when the upgrade starts them anew, half-way through. Without the file no pod \
          starts at all.",
    example: "/etc/resolv.conf of n2 says `nameserver 127.0.0.53`, and nothing else: once CoreDNS has moved there, it crashes.",
    fix: "Name real servers in the file, or set `resolvConf` of the kubelet to a file that does \
          (/run/systemd/resolve/resolv.conf with systemd-resolved).",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    scope.hosts().filter_map(|(node, facts)| found(scope, node, facts)).collect()
}

fn found(scope: &Scope, node: NodeId, facts: &HostFacts) -> Option<Finding> {
    let key = scope.cluster.node_key(node);
    let path = facts.resolver(false);
    if facts.lacks_resolver(path) {
        // The new static pods of the control plane need sandboxes before kubeadm writes the kubelet's configuration anew.
        let fails = scope.takes(node) && scope.cluster.node(node).is_control_plane();
        let severity = if fails { Severity::Error } else { Severity::Warning };
        let message =
            format!("the kubelet hands on {path}, which is not there: systemd-resolved is off; no new pod starts here");
        let fix =
            "start systemd-resolved, or set resolvConf of the kubelet to /etc/resolv.conf and restart it".to_owned();
        return Some(ABOUT.finding(severity, key, message, fix));
    }
    if path.is_empty() {
        let message =
            "resolvConf of the kubelet is empty: pods with dnsPolicy Default, CoreDNS among them, ask themselves";
        let fix = "set resolvConf of the kubelet to a file that names real servers, and restart it".to_owned();
        return Some(ABOUT.finding(stops(scope), key, message.to_owned(), fix));
    }
    let fresh = if scope.takes(node) { facts.resolver(true) } else { path };
    let Some((text, what)) = facts.resolver_text(path).and_then(|text| Some((text, trouble(text)?))) else {
        let text = facts.resolver_text(fresh).filter(|_| fresh != path)?;
        let what = trouble(text)?;
        let message = format!("the upgrade has the kubelet hand on {fresh} in place of {path}, and {fresh} {what}");
        let fix =
            format!("set resolvConf in the ConfigMap kube-system/kubelet-config, or name real servers in {fresh}");
        return Some(ABOUT.finding(crash(scope, text), key, message, fix));
    };
    if fresh != path && facts.resolver_text(fresh).is_none_or(|text| trouble(text).is_none()) {
        let message = format!("{path} {what}; the upgrade has {fresh} handed on in its place");
        let fix = format!(
            "see that resolvConf in /var/lib/kubelet/config.yaml is {fresh} already, or that it says real servers"
        );
        return Some(ABOUT.finding(Severity::Info, key, message, fix));
    }
    let message = format!("{path}, which the kubelet hands on, {what}; CoreDNS crashes when it is started here");
    let real = facts.resolver_text("/run/systemd/resolve/resolv.conf").filter(|text| trouble(text).is_none());
    let fix = match real {
        Some(_) => "set resolvConf of the kubelet to /run/systemd/resolve/resolv.conf, and restart it".to_owned(),
        None => format!("name real servers in {path}"),
    };
    Some(ABOUT.finding(crash(scope, text), key, message, fix))
}

/// How bad a resolver file with a loopback address is. With other servers beside it CoreDNS may come through.
fn crash(scope: &Scope, text: &str) -> Severity {
    if name_servers(text).all(is_loopback) { stops(scope) } else { Severity::Warning }
}

/// How bad it is when CoreDNS crashes: the run waits in vain for a pod of it that was displaced to the host, unless it waits for nothing.
fn stops(scope: &Scope) -> Severity {
    match scope.goal.settle {
        Settle::Displaced => Severity::Error,
        Settle::None => Severity::Warning,
    }
}

/// What is wrong with a resolver file, with its lines.
fn trouble(text: &str) -> Option<String> {
    if name_servers(text).next().is_none() {
        return Some("names no server, which means the host itself".to_owned());
    }
    let own = name_servers(text).filter(|server| is_loopback(server)).count();
    let lines =
        text.lines().map(str::trim).filter(|line| line.starts_with("nameserver")).map(|line| format!("`{line}`"));
    match name_servers(text).count() - own {
        _ if own == 0 => None,
        0 => Some(format!("names only the host itself ({})", listed(lines))),
        _ => Some(format!("names the host itself among others ({})", listed(lines))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, named, tells_apart};

    fn cluster(n1: &str) -> String {
        format!("{{nodes: {{count: 2}}, hosts: {{n1: {{{n1}}}}}}}")
    }

    #[test]
    fn loopback_only_is_told_from_real_servers() {
        let stub = cluster(r#"resolvConf: "search x\nnameserver 127.0.0.53\n""#);
        let real = cluster(r#"resolvConf: "nameserver 10.0.0.2\n""#);
        tells_apart("P030", &["Error Node/n1"], (&stub, "{}"), (&real, "{}"));
        assert_eq!(named("P030", &stub, "{settle: none}"), ["Warning Node/n1"]);
        let none = cluster("kubelet: {resolvConf: ''}");
        assert_eq!(named("P030", &none, "{}"), ["Error Node/n1"]);
        let finding = found(&stub, "{}").into_iter().find(|finding| finding.code == "P030").unwrap();
        assert!(
            finding.message.contains("names only the host itself (`nameserver 127.0.0.53`)"),
            "{}",
            finding.message
        );
        let mixed = cluster(r#"resolvConf: "nameserver ::1\nnameserver 10.0.0.2\n""#);
        tells_apart("P030", &["Warning Node/n1"], (&mixed, "{}"), (&cluster("cpus: 2"), "{}"));
    }

    #[test]
    fn systemd_resolved_and_the_kubelets_setting_count() {
        let with = |more: &str| {
            cluster(&format!(
                r#"resolvConf: "nameserver 127.0.0.53\n", systemdResolvConf: "nameserver 10.0.0.2\n", {more}"#
            ))
        };
        let set = with("systemdResolvedActive: true, kubelet: {resolvConf: /run/systemd/resolve/resolv.conf}");
        let kept = "kubelet: {resolvConf: /etc/resolv.conf, clusterResolvConf: /etc/resolv.conf}";
        let kept = with(&format!("systemdResolvedActive: true, {kept}"));
        tells_apart("P030", &["Error Node/n1"], (&kept, "{}"), (&set, "{}"));
        let unset = with("systemdResolvedActive: true");
        assert_eq!(named("P030", &unset, "{}"), ["Info Node/n1"], "kubeadm sets it");
    }

    #[test]
    fn what_was_set_on_the_host_alone_does_not_stay() {
        let with = |kubelet: &str| {
            cluster(&format!(
                r#"resolvConf: "nameserver 127.0.0.1\n", systemdResolvedActive: false, kubelet: {{{kubelet}}}"#
            ))
        };
        let by_hand = with("resolvConf: /etc/upstream.conf");
        let of_all = with("resolvConf: /etc/upstream.conf, clusterResolvConf: /etc/upstream.conf");
        tells_apart("P030", &["Error Node/n1"], (&by_hand, "{}"), (&of_all, "{}"));
        assert_eq!(named("P030", &by_hand, "{skip: [n1]}"), [""; 0], "it is not upgraded");
    }

    #[test]
    fn a_missing_file_stops_a_control_plane_node() {
        let gone = "systemdResolvedActive: false, kubelet: {resolvConf: /run/systemd/resolve/resolv.conf}";
        let master = format!("{{version: v1.36.2, nodes: {{count: 1, controlPlane: 1}}, hosts: {{cp1: {{{gone}}}}}}}");
        let (taken, left) = ("{to: v1.37.0}", "{to: v1.37.0, skip: [cp1]}");
        assert_eq!(named("P030", &master, taken), ["Error Node/cp1"]);
        assert_eq!(named("P030", &master, left), ["Warning Node/cp1"]);
        tells_apart("P030", &["Warning Node/n1"], (&cluster(gone), "{}"), (&cluster("cpus: 2"), "{}"));
    }
}
