//! P036: file systems without room for the upgrade (M7).

use crate::cluster::{Disk, HostFacts, NodeId};
use crate::judge::About;

use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P036",
    name: "disk without room",
    what: "File systems of nodes of the run that would be short of space with the new packages, images and backups on them, or \
           under the kubelet's eviction threshold.",
    why: "Packages or images that do not fit stop the host's upgrade half-way; under the threshold (10 % free for the kubelet's \
          files, 15 % for images) the kubelet deletes images and evicts pods past every budget.",
    example: "/var of n3 has 900 MB free of 20 GB.",
    fix: "Free space: unused images (crictl rmi --prune), package caches, journals.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

/// What an upgrade writes, generously: where, bytes on any node, bytes on a control-plane node more, and the share in percent
/// that has to stay free (KUBERNETES.md E.8).
///
/// Packages of kubelet, kubeadm and kubectl unpack to about 200 MB next to the old ones; new images of kube-proxy and CoreDNS
/// to about 250 MB, of the control plane and etcd to about 500 MB more; kubeadm keeps a copy of etcd's data (quota 2 GB) under
/// /etc/kubernetes.
const NEEDS: [(&str, &str, u64, u64, u64); 4] = [
    ("/usr", "packages", 500 * MB, 0, 0),
    ("/etc/kubernetes", "backups of manifests and etcd", 10 * MB, 2_000 * MB, 0),
    ("/var/lib/kubelet", "the kubelet's files", 100 * MB, 0, 10),
    ("/var/lib/containerd", "images", 500 * MB, 1_000 * MB, 15),
];

const MB: u64 = 1_000_000;
/// Neither the new kubelet next to the old one nor the image of kube-proxy fits into less.
const FULL: u64 = 100 * MB;

fn run(scope: &Scope) -> Vec<Finding> {
    scope.taken_hosts().flat_map(|(node, facts)| short(scope, node, facts)).collect()
}

fn short(scope: &Scope, id: NodeId, facts: &HostFacts) -> Vec<Finding> {
    let master = scope.cluster.node(id).is_control_plane();
    let found = facts.disks.iter().filter_map(|disk| {
        let here = || NEEDS.iter().filter(|(path, ..)| holder(&facts.disks, path) == Some(disk));
        let need: u64 = here().map(|(_, _, any, more, _)| any + if master { *more } else { 0 }).sum();
        let share = here().map(|(.., share)| *share).max()?;
        let threshold = disk.size_bytes / 100 * share;
        if disk.free_bytes >= need + threshold {
            return None;
        }
        let uses: Vec<&str> = here().map(|(_, what, ..)| *what).collect();
        let (free, size) = (disk.free_bytes / MB, disk.size_bytes / MB);
        let mut message =
            format!("{} has {free} MB free of {size} MB; {} may take {} MB", disk.mount, uses.join(", "), need / MB);
        if share > 0 {
            message += &format!(", and under {share} % free ({} MB) the kubelet evicts pods", threshold / MB);
        }
        let fix = format!(
            "free at least {} MB on {}: unused images, package caches, journals",
            (need + threshold - disk.free_bytes) / MB + 1,
            disk.mount
        );
        let full = disk.free_bytes < FULL && (uses.contains(&"packages") || uses.contains(&"images"));
        let severity = if full { Severity::Error } else { Severity::Warning };
        Some(ABOUT.finding(severity, scope.cluster.node_key(id), message, fix))
    });
    found.collect()
}

/// The file system that holds a path: the one with the longest mount point above it.
fn holder<'a>(disks: &'a [Disk], path: &str) -> Option<&'a Disk> {
    let above = |disk: &&Disk| {
        let mount = disk.mount.trim_end_matches('/');
        path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    disks.iter().filter(above).max_by_key(|disk| disk.mount.trim_end_matches('/').len())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, host, named, tells_apart};

    fn disks(disks: &[(&str, u64, u64)]) -> String {
        let one = |(mount, size, free): &(&str, u64, u64)| {
            format!("{{mount: {mount}, sizeBytes: {size}000000, freeBytes: {free}000000}}")
        };
        host(&format!("disks: [{}]", disks.iter().map(one).collect::<Vec<_>>().join(", ")))
    }

    #[test]
    fn room_is_judged_where_the_files_are() {
        let goal = "{to: v1.37.0}";
        let (full, roomy) = (disks(&[("/", 20_000, 3_500)]), disks(&[("/", 20_000, 8_000)]));
        tells_apart("P036", &["Warning Node/n1"], (&full, goal), (&roomy, goal));
        let of_rule = found(&full, goal).into_iter().find(|finding| finding.code == "P036").unwrap();
        assert!(of_rule.message.contains("under 15 % free (3000 MB)"), "{}", of_rule.message);
        let apart = disks(&[("/", 20_000, 800), ("/var", 50_000, 20_000)]);
        assert_eq!(named("P036", &apart, goal), [""; 0], "images are not on /");
        let images = disks(&[("/", 20_000, 9_000), ("/var/lib/containerd", 50_000, 1_000)]);
        assert_eq!(named("P036", &images, goal), ["Warning Node/n1"]);
        let kubelets = disks(&[("/", 20_000, 9_000), ("/var/lib/kubelet", 5_000, 10)]);
        assert_eq!(named("P036", &kubelets, goal), ["Warning Node/n1"]);
        assert_eq!(
            named("P036", &disks(&[("/", 20_000, 40)]), goal),
            ["Error Node/n1"],
            "no room for a single package"
        );
        let elsewhere = disks(&[("/srv", 20_000, 1), ("/var/lib/containerd-old", 100, 1)]);
        assert_eq!(named("P036", &elsewhere, goal), [""; 0], "nothing of the upgrade is there");
    }
}
