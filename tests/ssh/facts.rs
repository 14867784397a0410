//! `cmsim facts` against this machine, played as a host.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use cmsim::cluster::HostFacts;
use cmsim::live::facts::facts;

use super::sshd::{Sshd, user};
use super::{one, with_sshd};

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[test]
fn facts_are_those_of_the_machine() {
    with_sshd(|sshd| async move {
        let hosts = one(sshd.target(), sshd.settings());
        let facts = facts(&hosts, "n1", now).await.unwrap();
        let read = |path: &str| fs::read_to_string(path).unwrap();
        assert_eq!(facts.kernel.as_deref(), Some(read("/proc/sys/kernel/osrelease").trim()));
        assert_eq!(facts.resolv_conf.as_deref().map(str::trim_end), Some(read("/etc/resolv.conf").trim_end()));
        let total: u64 = read("/proc/meminfo").split_whitespace().nth(1).unwrap().parse().unwrap();
        assert_eq!(facts.memory_bytes, Some(total * 1024));
        assert!(facts.cpus.unwrap() > 0 && facts.cgroup_version.is_some() && facts.swap_on.is_some());
        assert!(facts.disks.iter().any(|disk| disk.mount == "/" && disk.size_bytes > disk.free_bytes), "{facts:?}");
        // One machine has one clock; a second is more than the way takes.
        assert!(facts.time_offset_millis.unwrap().abs() < 1000, "{facts:?}");
        // A clock of the operator that is an hour fast.
        let fast = cmsim::live::facts::facts(&hosts, "n1", || now() + 3_600_000).await.unwrap();
        assert!((fast.time_offset_millis.unwrap() + 3_600_000).abs() < 1000, "{fast:?}");
    });
}

fn cmsim(sshd: &Sshd, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cmsim"));
    command.arg("facts").args(words).env_remove("SSH_AUTH_SOCK").env("HOME", sshd.folder.path());
    command.output().unwrap()
}

#[test]
fn the_hosts_file_names_who_did_not_answer() {
    with_sshd(|sshd| async move {
        let inventory = format!(
            "defaults: {{user: {}, port: {}, key: user}}\nhosts:\n  n1: {{address: 127.0.0.1}}\n  n2: {{address: 127.0.0.1, port: 1}}\n",
            user(),
            sshd.port
        );
        let file = sshd.path("inventory.yaml");
        fs::write(&file, inventory).unwrap();
        let known = sshd.path("known_hosts").display().to_string();
        let words = ["--inventory", file.to_str().unwrap(), "--ssh-known-hosts", &known];
        let output = cmsim(&sshd, &words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("n2 (127.0.0.1 port 1) cannot be reached"), "{error}");
        let text = String::from_utf8(output.stdout).unwrap();
        let hosts: BTreeMap<String, HostFacts> = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(hosts.keys().collect::<Vec<_>>(), ["n1"]);
        assert!(!text.contains("null"), "{text}");
        let output = cmsim(&sshd, &[&words[..], &["--nodes", "n1", "-o", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let json: BTreeMap<String, HostFacts> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["n1"].kernel, hosts["n1"].kernel);
        // Mistakes in the inventory are found before anybody is asked.
        fs::write(&file, "hosts: {n1: {adress: x}}").unwrap();
        let output = cmsim(&sshd, &words);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(2) && error.contains("inventory.yaml") && error.contains("adress"),
            "{error}"
        );
    });
}
