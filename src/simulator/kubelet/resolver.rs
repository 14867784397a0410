//! What the resolv.conf of a host does to pods that are started there (KUBERNETES.md G.6), as far as facts about the host are
//! known. Pods that run keep what they got at their start (G26).

use crate::cluster::{Cluster, HostFacts, HostJob, Name, PodId, is_loopback, name_servers};

/// False: the file that the kubelet hands on is not there, and no sandbox starts, whatever the pod (G23).
pub(super) fn sandbox_starts(cluster: &Cluster, id: PodId) -> bool {
    handed_on(cluster, id).is_none_or(|(facts, path)| !facts.lacks_resolver(path))
}

/// CoreDNS with a loopback address as its upstream sees its own query come back and ends (G24).
pub(super) fn forwards_to_itself(cluster: &Cluster, id: PodId) -> bool {
    let spec = cluster.spec(id);
    let is_dns = spec.dns_policy == "Default"
        && spec.labels.get(Name::new("k8s-app")).is_some_and(|label| label == "kube-dns" || label == "coredns");
    let Some((facts, path)) = handed_on(cluster, id).filter(|_| is_dns) else { return false };
    if path.is_empty() {
        return true;
    }
    facts.resolver_text(path).is_some_and(|text| {
        // Without any server the resolver asks the host itself.
        name_servers(text).next().is_none() || name_servers(text).any(is_loopback)
    })
}

/// The facts about a pod's host and the path that its kubelet hands on.
fn handed_on(cluster: &Cluster, id: PodId) -> Option<(&HostFacts, &str)> {
    let node = cluster.node(cluster.pod(id).node?);
    let facts = cluster.catalog.hosts.get(&node.name())?;
    Some((facts, facts.resolver(node.job == HostJob::Succeeded)))
}
