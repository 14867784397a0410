//! Facts about hosts that the Kubernetes API does not show. This is the format of the hosts file (`--hosts`), a YAML map
//! from node name to facts; every field may be left out, and what is left out is not judged. `docs/hosts.md` documents it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Facts about one host.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HostFacts {
    /// Content of `/etc/resolv.conf`.
    pub resolv_conf: Option<String>,
    /// Content of `/run/systemd/resolve/resolv.conf`, if the file is there.
    pub systemd_resolv_conf: Option<String>,
    /// systemd-resolved is active.
    pub systemd_resolved_active: Option<bool>,
    /// `ID` of os-release (`debian`, `ubuntu`, `rhel`, ...).
    pub os_id: Option<String>,
    /// `VERSION_ID` of os-release.
    pub os_version: Option<String>,
    /// Kernel release (`uname -r`).
    pub kernel: Option<String>,
    /// Processors.
    pub cpus: Option<u32>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// cgroup version, 1 or 2.
    pub cgroup_version: Option<u8>,
    /// Swap is on.
    pub swap_on: Option<bool>,
    /// File systems.
    pub disks: Vec<Disk>,
    /// Bytes of etcd's data on this host.
    pub etcd_bytes: Option<u64>,
    /// This host's clock minus the operator's, in milliseconds.
    pub time_offset_millis: Option<i64>,
    /// Container runtime and version (`containerd 1.7.27`).
    pub runtime: Option<String>,
    /// Installed versions by package (`kubelet`, `kubeadm`, `kubectl`, `containerd`).
    pub packages_installed: BTreeMap<String, String>,
    /// Versions that the package source offers, by package.
    pub packages_available: BTreeMap<String, Vec<String>>,
    /// The kubelet's configuration.
    pub kubelet: KubeletFacts,
    /// Configuration files that differ from what the package or kubeadm would write (M6).
    pub changed_files: Vec<ChangedFile>,
    /// A reboot is asked for (`/var/run/reboot-required`).
    pub reboot_required: Option<bool>,
    /// Certificates on this host by file: when they end (RFC 3339).
    pub certificates: BTreeMap<String, String>,
    /// Command-line flags of control-plane components by component (`kube-apiserver: [--x=y]`).
    pub component_flags: BTreeMap<String, Vec<String>>,
}

/// The kubelet's default for the resolver file that pods get (KUBERNETES.md G20).
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// What kubeadm writes into the kubelet's configuration where systemd-resolved is active (KUBERNETES.md G21).
const OF_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

impl HostFacts {
    /// Path of the resolver file that the kubelet hands on to pods; `fresh`: kubeadm has written the kubelet's configuration
    /// anew. Empty: none, pods get 127.0.0.1 (KUBERNETES.md G20).
    pub fn resolver(&self, fresh: bool) -> &str {
        let own = self.kubelet.resolv_conf.as_deref().unwrap_or(RESOLV_CONF);
        if !fresh {
            return own;
        }
        // Nothing of the host's own file stays; what the cluster's leaves open kubeadm decides (G21, G22).
        match (&self.kubelet.cluster_resolv_conf, self.systemd_resolved_active) {
            (Some(path), _) => path,
            (None, Some(true)) => OF_RESOLVED,
            (None, Some(false)) => RESOLV_CONF,
            (None, None) => own,
        }
    }

    /// Content of a resolver file, as far as it is known.
    pub fn resolver_text(&self, path: &str) -> Option<&str> {
        match path {
            RESOLV_CONF => self.resolv_conf.as_deref(),
            OF_RESOLVED => self.systemd_resolv_conf.as_deref(),
            _ => None,
        }
    }

    /// The resolver file is known not to be there: no sandbox starts, whatever the pod (KUBERNETES.md G23).
    pub fn lacks_resolver(&self, path: &str) -> bool {
        path == OF_RESOLVED && self.systemd_resolved_active == Some(false) && self.systemd_resolv_conf.is_none()
    }
}

/// Addresses of the name servers that a resolver file gives to pods: at most three (KUBERNETES.md G25).
pub fn name_servers(text: &str) -> impl Iterator<Item = &str> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()).flatten()
    });
    servers.take(3)
}

/// Whether an address is the host's own.
pub fn is_loopback(address: &str) -> bool {
    address.starts_with("127.") || address == "::1"
}

/// A file system.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Disk {
    /// Mount point.
    pub mount: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Free bytes for ordinary users.
    pub free_bytes: u64,
}

/// The kubelet's configuration as far as an upgrade cares.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KubeletFacts {
    /// `resolvConf`; absent means the default `/etc/resolv.conf`.
    pub resolv_conf: Option<String>,
    /// `resolvConf` of the ConfigMap `kubelet-config`, from which kubeadm writes each host's configuration anew; absent: it
    /// sets none, as kubeadm leaves it.
    pub cluster_resolv_conf: Option<String>,
    /// `failCgroupV1`.
    pub fail_cgroup_v1: Option<bool>,
    /// `failSwapOn`.
    pub fail_swap_on: Option<bool>,
    /// `featureGates`.
    pub feature_gates: BTreeMap<String, bool>,
    /// Command-line flags.
    pub flags: Vec<String>,
    /// `shutdownGracePeriod` in seconds.
    pub shutdown_grace_seconds: Option<u32>,
    /// `memoryThrottlingFactor` as written.
    pub memory_throttling_factor: Option<String>,
    /// `staticPodPath` manifests that reference API objects (V41).
    pub static_pods_with_api_references: Vec<String>,
}

/// A configuration file changed by hand.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ChangedFile {
    /// Path.
    pub path: String,
    /// What differs, in a few words.
    pub note: String,
}
