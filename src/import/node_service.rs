//! Recognises DaemonSets whose pods carry the network, the proxy or the storage of a node (M20).

use super::workload::RawWorkload;
use crate::cluster::Effect;

/// Parts of names of network plugins, proxies and storage agents.
const NAMES: [&str; 29] = [
    "kube-proxy",
    "flannel",
    "calico",
    "canal",
    "cilium",
    "weave-net",
    "kindnet",
    "antrea",
    "kube-router",
    "multus",
    "ovn",
    "ovs-node",
    "aws-node",
    "azure-cni",
    "azure-ip-masq",
    "anetd",
    "netd",
    "kube-ovn",
    "romana",
    "spiderpool",
    "terway",
    "tungsten",
    "sdn",
    "cni",
    "csi-node",
    "csi-plugin",
    "nodeplugin",
    "node-driver",
    "longhorn-manager",
];

/// Whether the pods must be Ready before their node takes other pods. Either the name is that of a known network plugin or proxy
/// and the pods use the host's network; or a container of it is a CSI driver's registrar; or it looks like a service that no
/// node does without: host network, critical to the node, tolerating everything, in `kube-system`.
pub(super) fn is_node_service(set: &RawWorkload) -> bool {
    let spec = &set.spec.template.spec;
    let name = set.metadata.name.as_str();
    let images = || spec.containers.iter().map(|container| image_name(&container.image));
    let named = NAMES.iter().any(|known| name.contains(known)) || images().any(|image| NAMES.contains(&image));
    let registers_driver = images().any(|image| image == "csi-node-driver-registrar");
    let tolerates_all = spec.tolerations.iter().filter_map(|toleration| toleration.0).any(|toleration| {
        toleration.key.is_empty() && toleration.exists && matches!(toleration.effect, None | Some(Effect::NoSchedule))
    });
    let critical = spec.priority_class_name == "system-node-critical";
    let system = set.metadata.namespace == "kube-system" && critical && tolerates_all;
    registers_driver || (spec.host_network && (named || system)) || (named && system)
}

/// The last part of an image's path, without tag and digest.
fn image_name(image: &str) -> &str {
    let path = image.split('@').next().unwrap_or(image);
    let last = path.rsplit('/').next().unwrap_or(path);
    last.split(':').next().unwrap_or(last)
}
