//! P045: what the cluster runs besides Kubernetes and what this upgrade does not touch (M20).

use crate::cluster::{Cluster, Detail, ObjectKey, Workload, WorkloadId};
use crate::judge::About;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P045",
    name: "not part of this upgrade",
    what: "Overlay networks, ingress controllers, DNS caches, storage drivers and metrics that run in the cluster beside Kubernetes.",
    why: "They have versions of their own and their own lists of Kubernetes versions that they support. The upgrade leaves them as \
          they are; whether the target is on the list is to be looked up.",
    example: "kube-flannel/DaemonSet/kube-flannel-ds, an overlay network.",
    fix: "See whether the version in use supports the target, and update it separately.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

/// What parts of an image's name (without registry) tell.
const KNOWN: &[(&str, &[&str])] = &[
    (
        "overlay network",
        &[
            "flannel",
            "calico/",
            "cilium/",
            "weave-kube",
            "antrea/",
            "kube-router",
            "kube-ovn",
            "ovn-kube",
            "kindnetd",
            "amazon-k8s-cni",
        ],
    ),
    (
        "ingress controller",
        &[
            "ingress-nginx/",
            "nginx-ingress",
            "traefik",
            "haproxy-ingress",
            "kubernetes-ingress",
            "kong/",
            "contour",
            "envoy-gateway",
            "istio/",
        ],
    ),
    ("load balancer", &["metallb/", "kube-vip"]),
    (
        "storage driver",
        &["csi-node-driver-registrar", "csi-provisioner", "local-path-provisioner", "longhorn", "rook/"],
    ),
    ("node DNS cache", &["k8s-dns-node-cache"]),
    ("metrics", &["metrics-server"]),
];

fn run(scope: &Scope) -> Vec<Finding> {
    let findings = scope.cluster.workloads().filter(|(_, workload)| lives(workload)).filter_map(|(id, workload)| {
        let (what, images) = recognise(scope.cluster, id)?;
        let key: ObjectKey = workload.key;
        let message = format!("{what} ({}); this upgrade does not touch it", listed(images));
        let fix = format!("see whether this version supports 1.{}, and update it separately", scope.goal.to.minor);
        Some(ABOUT.finding(Severity::Info, key, message, fix))
    });
    findings.collect()
}

/// Topmost workloads of the kinds that addons come as.
fn lives(workload: &Workload) -> bool {
    let kind = matches!(workload.detail, Detail::DaemonSet(_) | Detail::Deployment(_) | Detail::StatefulSet(_));
    kind && !workload.deleted
}

/// What a workload is, by its images, and those of them that tell.
fn recognise(cluster: &Cluster, id: WorkloadId) -> Option<(&'static str, Vec<&'static str>)> {
    let template = cluster.workload(id).template?;
    let spec = cluster.catalog.spec(template);
    let images = || spec.containers.iter().map(|container| short(container.image.as_str()));
    KNOWN.iter().find_map(|(what, parts)| {
        let telling: Vec<&str> = images().filter(|image| parts.iter().any(|part| image.contains(part))).collect();
        (!telling.is_empty()).then_some((*what, telling))
    })
}

/// An image without its registry and digest.
fn short(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.split_once('/') {
        Some((registry, rest)) if registry.contains(['.', ':']) => rest,
        Some(_) | None => image,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tells_apart;

    #[test]
    fn addons_are_told_by_their_images() {
        let agent = |image: &str| {
            format!(
                "{{nodes: {{count: 2}}, workloads: [{{name: agent, kind: DaemonSet, podSpec: {{containers: [{{name: main, image: '{image}'}}]}}}}]}}"
            )
        };
        let (network, own) = (agent("ghcr.io/flannel-io/flannel:v0.27.4"), agent("flannel.example.org/shop/web:1"));
        tells_apart("P045", &["Info default/DaemonSet/agent"], (&network, "{}"), (&own, "{}"));
    }
}
