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

/// What is written somewhere.
struct Need {
    path: &'static str,
    what: &'static str,
    /// Bytes, generously.
    bytes: u64,
    /// Bytes without which it fails for sure.
    least: u64,
    /// The share in percent that has to stay free (KUBERNETES.md E.8).
    share: u64,
}

const MB: u64 = 1_000_000;
/// Neither the new kubelet next to the old one nor the image of kube-proxy fits into less.
const FULL: u64 = 100 * MB;
/// Where the recipe `backup-kubeadm` keeps backups, unless it is told otherwise.
const BACKUPS: &str = "/var/backups/cmsim";
const ETCD: &str = "/var/lib/etcd";

/// What the upgrade of a node writes.
///
/// Packages of kubelet, kubeadm and kubectl unpack to about 200 MB next to the old ones; new images of kube-proxy and CoreDNS
/// to about 250 MB, of the control plane and etcd to about 500 MB more; kubeadm keeps a copy of etcd's data (quota 2 GB) under
/// /etc/kubernetes.
fn of_upgrade(master: bool, etcd: Option<u64>) -> Vec<Need> {
    let need = |path, what, bytes, least, share| Need { path, what, bytes, least, share };
    let (copy, least_copy, images) =
        if master { (etcd.unwrap_or(2_000 * MB), etcd.unwrap_or(0), 1_500 * MB) } else { (0, 0, 500 * MB) };
    vec![
        need("/usr", "packages", 500 * MB, FULL, 0),
        need("/etc/kubernetes", "backups of manifests and etcd", 10 * MB + copy, least_copy, 0),
        need("/var/lib/kubelet", "the kubelet's files", 100 * MB, 0, 10),
        need("/var/lib/containerd", "images", images, FULL, 15),
    ]
}

/// What the recipe `backup-kubeadm` asks for before it begins, twice etcd's data and 100 MiB: where the backup is kept, and where
/// etcd writes the snapshot first.
fn of_backup(disks: &[Disk], etcd: u64) -> Vec<Need> {
    let bytes = 2 * etcd + (100 << 20);
    let need = |path| Need { path, what: "the run's backup", bytes, least: bytes, share: 0 };
    let apart = holder(disks, BACKUPS) != holder(disks, ETCD);
    [BACKUPS].into_iter().chain(apart.then_some(ETCD)).map(need).collect()
}

fn run(scope: &Scope) -> Vec<Finding> {
    scope.hosts().flat_map(|(node, facts)| short(scope, node, facts)).collect()
}

/// The backup is taken on the first control-plane node, whether the run takes it or not.
fn has_backup(scope: &Scope, id: NodeId) -> bool {
    let masters = scope.cluster.nodes().filter(|(_, node)| node.is_control_plane() && !node.gone);
    scope.goal.backup
        && !scope.turns.is_empty()
        && masters.min_by_key(|(_, node)| node.name()).is_some_and(|(first, _)| first == id)
}

fn short(scope: &Scope, id: NodeId, facts: &HostFacts) -> Vec<Finding> {
    let master = scope.cluster.node(id).is_control_plane();
    let mut needs = if scope.takes(id) { of_upgrade(master, facts.etcd_bytes) } else { Vec::new() };
    if let Some(etcd) = facts.etcd_bytes.filter(|_| has_backup(scope, id)) {
        needs.extend(of_backup(&facts.disks, etcd));
    }
    let found = facts.disks.iter().filter_map(|disk| {
        let here = || needs.iter().filter(|need| holder(&facts.disks, need.path) == Some(disk));
        let need: u64 = here().map(|need| need.bytes).sum();
        let share = here().map(|need| need.share).max()?;
        let threshold = disk.size_bytes / 100 * share;
        if disk.free_bytes >= need + threshold {
            return None;
        }
        let uses: Vec<&str> = here().map(|need| need.what).collect();
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
        let least: u64 = here().map(|need| need.least).sum();
        let severity = if disk.free_bytes < least { Severity::Error } else { Severity::Warning };
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
        let images = disks(&[("/", 20_000, 9_000), ("/var/lib/containerd", 50_000, 90)]);
        assert_eq!(named("P036", &images, goal), ["Error Node/n1"], "no room for a single image");
        let elsewhere = disks(&[("/srv", 20_000, 1), ("/var/lib/containerd-old", 100, 1)]);
        assert_eq!(named("P036", &elsewhere, goal), [""; 0], "nothing of the upgrade is there");
    }

    #[test]
    fn the_backup_needs_room_on_the_first_control_plane_node() {
        let masters = |var: u64, etcd: u64| {
            let facts = |var: u64| {
                format!(
                    "{{etcdBytes: 500000000, disks: [{{mount: /, sizeBytes: 90000000000, freeBytes: 50000000000}}, \
                     {{mount: /var/backups, sizeBytes: 9000000000, freeBytes: {var}000000}}, \
                     {{mount: /var/lib/etcd, sizeBytes: 9000000000, freeBytes: {etcd}000000}}]}}"
                )
            };
            let hosts = format!("{{cp1: {}, cp2: {}}}", facts(var), facts(1));
            format!("{{version: v1.36.2, nodes: {{count: 2, controlPlane: 2}}, hosts: {hosts}}}")
        };
        let (full, roomy, goal) = (masters(1_000, 4_000), masters(1_200, 1_200), "{to: v1.37.0}");
        tells_apart("P036", &["Error Node/cp1"], (&full, goal), (&roomy, goal));
        let of_rule = found(&full, goal).into_iter().find(|finding| finding.code == "P036").unwrap();
        assert!(of_rule.message.contains("the run's backup may take 1104 MB"), "{}", of_rule.message);
        assert_eq!(named("P036", &masters(1_200, 1_000), goal), ["Error Node/cp1"], "etcd writes the snapshot first");
        assert_eq!(
            named("P036", &full, "{to: v1.37.0, only: [cp2]}"),
            ["Error Node/cp1"],
            "it is taken there all the same"
        );
        assert_eq!(named("P036", &full, "{to: v1.37.0, backup: false}"), [""; 0]);
    }
}
