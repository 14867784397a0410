//! The output of `read.sh` as facts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::manifest;
use crate::cluster::{ChangedFile, Disk, HostFacts, KubeletFacts, Millis};

/// One item of the output.
struct Item<'a> {
    what: &'a str,
    name: &'a str,
    text: String,
}

/// Facts as the script wrote them; what it did not write, or what makes no sense, stays unknown.
///
/// # Errors
///
/// The output does not end as it should: nothing is known of what is missing.
pub fn parse(output: &str) -> Result<HostFacts, String> {
    let items = items(output)?;
    let text = |what: &str| items.iter().find(|item| item.what == what).map(|item| item.text.as_str());
    let word = |what: &str| text(what).map(|text| text.trim().to_owned()).filter(|word| !word.is_empty());
    let named = |what: &'static str| items.iter().filter(move |item| item.what == what);
    let os = |key: &str| text("os-release").and_then(|text| of_os(text, key));
    let installed = pairs(text("installed").unwrap_or_default());
    let mut facts = HostFacts {
        resolv_conf: text("resolv.conf").map(str::to_owned),
        systemd_resolv_conf: text("resolved").map(str::to_owned),
        systemd_resolved_active: word("resolved-state").map(|state| state == "active"),
        os_id: os("ID"),
        os_version: os("VERSION_ID"),
        kernel: word("kernel"),
        cpus: word("cpus").and_then(|word| word.parse().ok()),
        memory_bytes: text("meminfo").and_then(memory),
        cgroup_version: word("cgroup").map(|kind| if kind == "cgroup2fs" { 2 } else { 1 }),
        swap_on: text("swaps").map(|text| text.lines().filter(|line| !line.trim().is_empty()).count() > 1),
        disks: disks(text("df").unwrap_or_default()),
        etcd_bytes: word("etcd").and_then(|word| word.parse::<u64>().ok()?.checked_mul(1024)),
        time_offset_millis: None,
        runtime: word("runtime").and_then(|line| runtime(&line)),
        packages_available: named("available").map(|item| (item.name.to_owned(), versions(&item.text))).collect(),
        packages_installed: installed,
        kubelet: KubeletFacts::default(),
        changed_files: text("changed").map(changed).unwrap_or_default(),
        reboot_required: reboot(word("reboot-required"), word("needs-restarting")),
        certificates: named("certificate").filter_map(|item| Some((item.name.to_owned(), end(&item.text)?))).collect(),
        component_flags: named("manifest").filter_map(|item| manifest::flags(&item.text)).collect(),
    };
    // A host whose Kubernetes came another way than by packages has no use for the package source.
    if !facts.packages_installed.contains_key("kubelet") {
        facts.packages_available.retain(|_, versions| !versions.is_empty());
    }
    let flags: Vec<String> = lines(text("kubelet-flags").unwrap_or_default()).map(str::to_owned).collect();
    facts.kubelet.flags = joined(&flags);
    let config = text("kubelet-config").and_then(manifest::yaml);
    if let Some(config) = &config {
        configuration(&mut facts.kubelet, config);
    }
    if let (Some(config), Some(wanted)) = (&config, text("kubelet-configmap").and_then(manifest::yaml)) {
        let path = items.iter().find(|item| item.what == "kubelet-config").map_or("", |item| item.name);
        facts.changed_files.extend(against_cluster(path, config, &wanted));
        facts.kubelet.cluster_resolv_conf = wanted["resolvConf"].as_str().map(str::to_owned);
    }
    facts.kubelet.static_pods_with_api_references =
        named("manifest").filter(|item| manifest::refers_to_api(&item.text)).map(|item| item.name.to_owned()).collect();
    Ok(facts)
}

fn items(output: &str) -> Result<Vec<Item<'_>>, String> {
    let mut items: Vec<Item> = Vec::new();
    for line in output.lines() {
        if let Some(head) = line.strip_prefix("@ ") {
            let (what, name) = head.split_once(' ').unwrap_or((head, ""));
            items.push(Item { what, name, text: String::new() });
        } else if let (Some(content), Some(item)) = (line.strip_prefix(' '), items.last_mut()) {
            item.text.push_str(content);
            item.text.push('\n');
        }
    }
    match items.pop() {
        Some(Item { what: "end", .. }) => Ok(items),
        last => Err(format!("the host's answer ends too early, after {:?}", last.map_or("nothing", |item| item.what))),
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// A value of os-release, whose values may stand in quotes.
fn of_os(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    shell_words::split(value).ok()?.into_iter().next()
}

fn memory(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// `df -P -k`: device, size, used, free, share, mount.
fn disks(text: &str) -> Vec<Disk> {
    let mut seen = BTreeSet::new();
    let disks = lines(text).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, size, _, free, _, mount @ ..] = words.as_slice() else { return None };
        let mount = mount.join(" ");
        let (size, free): (u64, u64) = (size.parse().ok()?, free.parse().ok()?);
        let new = !mount.is_empty() && size > 0 && seen.insert(mount.clone());
        new.then(|| Disk { mount, size_bytes: size * 1024, free_bytes: free * 1024 })
    });
    let mut disks: Vec<Disk> = disks.collect();
    disks.sort_by(|one, other| one.mount.cmp(&other.mount));
    disks
}

/// `containerd github.com/containerd/containerd v1.7.27 05044ec...`, `crio version 1.33.1`.
fn runtime(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let name = match words.next()? {
        "crio" => "cri-o",
        name => name,
    };
    let version =
        words.map(|word| word.trim_start_matches('v')).find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(format!("{name} {version}"))
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    lines(text)
        .filter_map(|line| line.split_once(' '))
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect()
}

/// Each version once, in the source's order.
fn versions(text: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    lines(text).filter(|version| seen.insert(*version)).map(str::to_owned).collect()
}

/// `dpkg --verify` and `rpm -V`: nine marks (`5`: other content), perhaps a letter for the kind (`c`: configuration), the path.
fn changed(text: &str) -> Vec<ChangedFile> {
    let files = lines(text).filter_map(|line| {
        let (marks, rest) = line.split_once(char::is_whitespace)?;
        let rest = rest.trim_start();
        let path = match rest.split_once(char::is_whitespace) {
            Some((kind, path)) if kind.len() == 1 => path.trim_start(),
            _ => rest,
        };
        let note = match marks {
            "missing" => "is missing, though its package brought it",
            marks if marks.contains('5') => "is not as its package brought it",
            // Times, owners, modes: no content.
            _ => return None,
        };
        // Documentation is often left out on purpose.
        let counts = path.starts_with('/') && !path.starts_with("/usr/share/");
        counts.then(|| ChangedFile { path: path.to_owned(), note: note.to_owned() })
    });
    files.collect()
}

fn reboot(debian: Option<String>, red_hat: Option<String>) -> Option<bool> {
    // needs-restarting -r: 0 no, 1 yes, others: cannot say.
    match (debian.as_deref(), red_hat.as_deref()) {
        (_, Some("0")) | (Some("no"), _) => Some(false),
        (_, Some("1")) | (Some("yes"), _) => Some(true),
        _ => None,
    }
}

/// `notAfter=Nov 20 09:00:00 2026 GMT` as RFC 3339.
fn end(text: &str) -> Option<String> {
    let text = lines(text).find_map(|line| line.strip_prefix("notAfter="))?.strip_suffix(" GMT")?;
    // A day below ten has two blanks in front.
    let text: Vec<&str> = text.split_whitespace().collect();
    let time = jiff::civil::DateTime::strptime("%b %d %H:%M:%S %Y", text.join(" ")).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Flags with their values behind `=`.
pub(super) fn joined(words: &[String]) -> Vec<String> {
    let mut flags: Vec<String> = Vec::new();
    for word in words {
        match flags.last_mut() {
            Some(last) if !word.starts_with('-') && last.starts_with("--") && !last.contains('=') => {
                last.push('=');
                last.push_str(word);
            }
            _ => flags.push(word.clone()),
        }
    }
    flags
}

fn configuration(facts: &mut KubeletFacts, config: &Value) {
    let text = |key: &str| match config.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    facts.resolv_conf = text("resolvConf");
    facts.fail_cgroup_v1 = config.get("failCgroupV1").and_then(Value::as_bool);
    facts.fail_swap_on = config.get("failSwapOn").and_then(Value::as_bool);
    facts.memory_throttling_factor = text("memoryThrottlingFactor");
    facts.shutdown_grace_seconds = text("shutdownGracePeriod").and_then(|text| seconds(&text));
    let gates = config.get("featureGates").and_then(Value::as_object);
    let gates = gates.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_bool()?)));
    facts.feature_gates = gates.collect();
}

/// A length of time as Go writes it.
fn seconds(text: &str) -> Option<u32> {
    let millis: Millis = text.parse().ok()?;
    u32::try_from(millis.0 / 1000).ok()
}

/// Fields that kubeadm itself writes differently on each host (G21, and the instance configuration).
const OF_HOST: [&str; 2] = ["resolvConf", "containerRuntimeEndpoint"];

/// How the kubelet's file differs from the cluster's ConfigMap, which kubeadm writes it anew from.
fn against_cluster(path: &str, config: &Value, wanted: &Value) -> Option<ChangedFile> {
    let (config, wanted) = (config.as_object()?, wanted.as_object()?);
    let keys: BTreeSet<&String> = config.keys().chain(wanted.keys()).collect();
    let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
    let differs =
        keys.into_iter().filter(|key| !OF_HOST.contains(&key.as_str()) && config.get(*key) != wanted.get(*key));
    let notes: Vec<String> = differs
        .map(|key| format!("{key} {}, where kubeadm writes {}", shown(config.get(key)), shown(wanted.get(key))))
        .collect();
    (!notes.is_empty()).then(|| ChangedFile { path: path.to_owned(), note: notes.join("; ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = include_str!("debian.txt");
    const ROCKY: &str = include_str!("rocky.txt");

    #[test]
    fn a_control_plane_host_of_debian_is_read() {
        let facts = parse(DEBIAN).unwrap();
        assert_eq!((facts.os_id.as_deref(), facts.os_version.as_deref()), (Some("debian"), Some("12")));
        assert_eq!((facts.cpus, facts.memory_bytes, facts.cgroup_version), (Some(4), Some(8_323_223_552), Some(2)));
        assert_eq!((facts.swap_on, facts.reboot_required), (Some(false), Some(true)));
        assert_eq!(facts.systemd_resolved_active, Some(false));
        assert_eq!(facts.resolv_conf.as_deref(), Some("search lan\nnameserver 10.0.0.2\n"));
        assert_eq!(facts.systemd_resolv_conf, None);
        let mounts: Vec<&str> = facts.disks.iter().map(|disk| disk.mount.as_str()).collect();
        assert_eq!(mounts, ["/", "/var/lib/containerd"]);
        assert_eq!(
            facts.disks[0],
            Disk { mount: "/".to_owned(), size_bytes: 41_943_040 << 10, free_bytes: 29_360_128 << 10 }
        );
        assert_eq!(facts.etcd_bytes, Some(131_072 << 10));
        assert_eq!(facts.runtime.as_deref(), Some("containerd 1.6.20~ds1"));
        assert_eq!(facts.packages_installed["kubelet"], "1.36.3-1.1");
        assert_eq!(facts.packages_available["kubeadm"], ["1.37.2-1.1", "1.36.3-1.1"]);
        assert_eq!(facts.packages_available["kubectl"], [""; 0], "kubelet comes as a package, so the source counts");
        assert_eq!(facts.kubelet.resolv_conf.as_deref(), Some("/etc/resolv.conf"));
        assert_eq!(facts.kubelet.flags, ["--config=/var/lib/kubelet/config.yaml", "--node-ip=10.0.0.11", "--v=2"]);
        assert_eq!((facts.kubelet.fail_cgroup_v1, facts.kubelet.fail_swap_on), (Some(false), None));
        assert_eq!((facts.kubelet.shutdown_grace_seconds, facts.kubelet.feature_gates["NodeSwap"]), (Some(90), true));
        let changed: Vec<String> =
            facts.changed_files.iter().map(|file| format!("{}: {}", file.path, file.note)).collect();
        assert_eq!(
            changed,
            [
                "/etc/containerd/config.toml: is not as its package brought it",
                "/etc/crictl.yaml: is missing, though its package brought it",
                "/var/lib/kubelet/config.yaml: failCgroupV1 false, where kubeadm writes nothing; maxPods 200, where kubeadm \
                 writes 110",
            ]
        );
        assert_eq!(facts.certificates["/etc/kubernetes/pki/ca.crt"], "2036-03-01T09:00:00Z");
        assert_eq!(
            facts.component_flags["kube-apiserver"],
            ["--advertise-address=10.0.0.11", "--v=2", "--enable-admission-plugins=NodeRestriction"]
        );
        assert_eq!(facts.kubelet.static_pods_with_api_references, ["/etc/kubernetes/manifests/log.yaml"]);
        // The hosts file that this makes is the one that `check` reads.
        let text = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<HostFacts>(&text).unwrap(), facts);
    }

    #[test]
    fn a_worker_of_a_red_hat_like_is_read() {
        let facts = parse(ROCKY).unwrap();
        assert_eq!((facts.os_id.as_deref(), facts.os_version.as_deref()), (Some("rocky"), Some("9.4")));
        assert_eq!((facts.swap_on, facts.reboot_required, facts.cgroup_version), (Some(true), Some(false), Some(1)));
        assert_eq!(facts.packages_installed["kubelet"], "1.36.3-150500.1.1");
        assert_eq!(facts.packages_available["kubelet"], ["1.36.3-150500.1.1", "1.37.2-150500.1.1"]);
        assert_eq!(facts.runtime.as_deref(), Some("cri-o 1.36.0"));
        assert_eq!(facts.changed_files.len(), 1, "{:?}", facts.changed_files);
        assert_eq!(facts.changed_files[0].path, "/etc/sysconfig/kubelet");
        assert_eq!(facts.systemd_resolved_active, None);
    }

    #[test]
    fn what_is_cut_off_or_strange_is_not_guessed() {
        assert!(parse("").is_err());
        assert!(parse("@ kernel\n 6.1\n\n").is_err());
        assert!(parse(&DEBIAN[..DEBIAN.len() / 2]).is_err());
        let odd = "@ cpus\n many\n\n@ meminfo\n MemTotal: x kB\n\n@ df\n a b c\n\n@ runtime\n \n\n@ certificate /x\n notAfter=soon\n\n\
                   @ kubelet-config /c\n : {\n\n@ manifest /m\n - \n\n@ end\n";
        let facts = parse(odd).unwrap();
        assert_eq!(facts, HostFacts::default());
    }
}
