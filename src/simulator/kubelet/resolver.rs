//! What the resolv.conf of a host does to pods that are started there (KUBERNETES.md G.6), as far as facts about the host are
//! known. Pods that run keep what they got at their start (G26).

use crate::cluster::{Cluster, HostFacts, HostJob, Name, PodId};

/// The kubelet's default (G20).
const DEFAULT: &str = "/etc/resolv.conf";
/// What kubeadm writes where systemd-resolved is active (G21).
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// False: the file that the kubelet hands on is not there, and no sandbox starts, whatever the pod (G23).
pub(super) fn sandbox_starts(cluster: &Cluster, id: PodId) -> bool {
    let Some((facts, path)) = handed_on(cluster, id) else { return true };
    let missing =
        path == RESOLVED && facts.systemd_resolved_active == Some(false) && facts.systemd_resolv_conf.is_none();
    !missing
}

/// CoreDNS with a loopback address as its upstream sees its own query come back and ends (G24).
pub(super) fn forwards_to_itself(cluster: &Cluster, id: PodId) -> bool {
    let spec = cluster.spec(id);
    let is_dns = spec.dns_policy == "Default"
        && spec.labels.get(Name::new("k8s-app")).is_some_and(|label| label == "kube-dns" || label == "coredns");
    let Some((facts, path)) = handed_on(cluster, id).filter(|_| is_dns) else { return false };
    let content = match path {
        "" => return true,
        DEFAULT => &facts.resolv_conf,
        RESOLVED => &facts.systemd_resolv_conf,
        _ => return false,
    };
    let servers = content.iter().flat_map(|text| text.lines()).filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()
    });
    let mut servers = servers.take(3).peekable();
    // Without any server the resolver asks the host itself.
    content.is_some()
        && (servers.peek().is_none() || servers.any(|server| server.starts_with("127.") || server == "::1"))
}

/// The facts about a pod's host and the path that its kubelet hands on.
fn handed_on(cluster: &Cluster, id: PodId) -> Option<(&HostFacts, &str)> {
    let node = cluster.node(cluster.pod(id).node?);
    let facts = cluster.catalog.hosts.get(&node.name())?;
    let path = match &facts.kubelet.resolv_conf {
        Some(path) => path,
        // kubeadm fills it in when it writes the configuration.
        None if node.job == HostJob::Succeeded && facts.systemd_resolved_active == Some(true) => RESOLVED,
        None => DEFAULT,
    };
    Some((facts, path))
}
