//! P037: configuration files changed by hand (M6).

use crate::judge::About;

use super::scope::listed;
use super::{Check, Finding, Scope, Severity};

const ABOUT: About = About {
    code: "P037",
    name: "configuration changed by hand",
    what: "Files on hosts of the run that differ from what the package or kubeadm would write there.",
    why: "The upgrade writes the kubelet's configuration, the manifests and the units anew: what was changed by hand is gone \
          afterwards, or the package manager stops and asks.",
    example: "/var/lib/kubelet/config.yaml of n2 has maxPods raised to 200.",
    fix: "Put the change where it survives (kubeadm's ConfigMaps or patches, unit drop-ins), or keep a copy and write it again.",
};

pub(super) const CHECK: Check = Check { about: ABOUT, run };

fn run(scope: &Scope) -> Vec<Finding> {
    let changed = scope.taken_hosts().filter(|(_, facts)| !facts.changed_files.is_empty());
    let findings = changed.map(|(node, facts)| {
        let files = facts.changed_files.iter().map(|file| match file.note.as_str() {
            "" => file.path.clone(),
            note => format!("{} ({note})", file.path),
        });
        let message = format!("changed by hand, and may be written anew: {}", listed(files));
        let fix = "move the changes to kubeadm's configuration, patches or unit drop-ins; keep copies of the files"
            .to_owned();
        ABOUT.finding(Severity::Warning, scope.cluster.node_key(node), message, fix)
    });
    findings.collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{host, tells_apart};

    #[test]
    fn changed_files_are_named() {
        let changed = host("changedFiles: [{path: /var/lib/kubelet/config.yaml, note: maxPods 200}]");
        let named = &["Warning Node/n1"];
        tells_apart("P037", named, (&changed, "{to: v1.37.0}"), (&host("changedFiles: []"), "{to: v1.37.0}"));
        tells_apart("P037", named, (&changed, "{to: v1.37.0}"), (&changed, "{to: v1.37.0, skip: [n1]}"));
    }
}
