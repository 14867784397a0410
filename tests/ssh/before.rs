//! What `cmsim apply` does before it moves anything, with a played API server and played hosts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::api::Api;
use super::ground::keygen;
use super::played::Host;
use super::sshd::user;
use super::terminal::Typed;

const ATTESTED: &str = "release-notes,add-ons,graceful-stop,no-other-work";

/// A cluster of one control-plane node and a worker.
struct Ground {
    folder: TempDir,
    api: Api,
    cp1: Host,
    n1: Host,
}

impl Ground {
    fn lay() -> Ground {
        let (folder, api) = (tempfile::tempdir().unwrap(), Api::start(&["cp1", "n1"], "127.0.0.1"));
        let ground = Ground { folder, api, cp1: Host::start(), n1: Host::start() };
        keygen(&ground.path("user"), "ed25519", "");
        ground.api.kubeconfig(&ground.path("kubeconfig"));
        fs::write(ground.path("known_hosts"), ground.cp1.known_line() + &ground.n1.known_line()).unwrap();
        fs::write(ground.path("upgrade.yaml"), "name: up\nsteps: [{name: a, run: 'exit 1'}]\n").unwrap();
        ground.inventory(ground.n1.port);
        ground
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn inventory(&self, n1: u16) {
        let text = format!(
            "defaults: {{user: {}, key: {}}}\nhosts: {{cp1: {{port: {}}}, n1: {{port: {n1}}}}}\n",
            user(),
            self.path("user").display(),
            self.cp1.port
        );
        fs::write(self.path("inventory.yaml"), text).unwrap();
    }

    /// `cmsim apply` whose backup on the host fails, should it come to that.
    fn apply(&self, more: &[&str]) -> Said {
        Said::of(self.command(more).stdin(Stdio::null()))
    }

    fn command(&self, more: &[&str]) -> Command {
        let file = |name: &str| self.path(name).display().to_string();
        let mut command = Command::new("timeout");
        command.args([
            "60",
            env!("CARGO_BIN_EXE_cmsim"),
            "apply",
            "--to",
            "v1.37.2",
            "--walks",
            "3",
            "--yes",
            "--kubeconfig",
            &file("kubeconfig"),
        ]);
        command.args(["--recipe", &file("upgrade.yaml"), "--backup-command", "echo no room; exit 1"]);
        command.args(["--inventory", &file("inventory.yaml"), "--ssh-known-hosts", &file("known_hosts")]).args(more);
        command.env("XDG_STATE_HOME", self.path("state")).env("HOME", self.folder.path());
        command.env_remove("SSH_AUTH_SOCK");
        command
    }
}

/// How it ended.
struct Said {
    code: Option<i32>,
    text: String,
}

impl Said {
    fn of(command: &mut Command) -> Said {
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Said { code: output.status.code(), text }
    }

    #[track_caller]
    fn is(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.text);
        for part in parts {
            assert!(self.text.contains(part), "{part} is not in\n{}", self.text);
        }
    }
}

#[test]
fn faults_of_hosts_are_found_before_anything_moves() {
    for (code, message, fault) in [
        ("P030", "`nameserver 127.0.0.53`", (|host| host.resolver("nameserver 127.0.0.53\n")) as fn(&Host)),
        ("P036", "/ has 51 MB free", |host| host.free(50_000)),
        ("P034", "the package source has no kubelet v1.37.2", |host| host.offers("1.37.1-1.1 1.36.3-1.1")),
    ] {
        let ground = Ground::lay();
        ground.apply(&[]).is(2, &["only you can know this"]);
        fault(&ground.n1);
        let said = ground.apply(&["--attest", ATTESTED]);
        said.is(1, &["refused: ", &format!("{code}=Node/n1: "), message]);
        assert!(!said.text.contains("=Node/cp1"), "{}", said.text);
        // What is ignored does not refuse the run, for this host and for all.
        ground.apply(&["--ignore", &format!("{code}=Node/cp1")]).is(1, &["refused: "]);
        for ignored in [code, &format!("{code}=Node/n1")] {
            ground.apply(&["--ignore", ignored]).is(2, &["only you can know this"]);
        }
        let file = ground.path("ignore.yaml");
        fs::write(&file, format!("ignore: [{{code: {code}, object: Node/n1}}]\n")).unwrap();
        ground.apply(&["--ignore-file", file.to_str().unwrap()]).is(2, &["only you can know this"]);
        // Nor does what nobody asked for.
        ground.apply(&["--no-facts"]).is(2, &["only you can know this"]);
        assert_eq!(ground.api.changes(), [""; 0], "nothing was changed");
    }
}

#[test]
fn facts_come_from_a_file_instead() {
    let ground = Ground::lay();
    ground.n1.resolver("nameserver 127.0.0.53\n");
    let file = ground.path("hosts.yaml");
    fs::write(&file, "n1: {packagesAvailable: {kubelet: [1.36.3-1.1]}}\n").unwrap();
    let said = ground.apply(&["--hosts", file.to_str().unwrap()]);
    said.is(1, &["P034=Node/n1"]);
    assert!(!said.text.contains("P030"), "{}", said.text);
    fs::write(&file, "n7: {cpus: 2}\n").unwrap();
    ground
        .apply(&["--hosts", file.to_str().unwrap()])
        .is(2, &["hosts.yaml", "n7", "the cluster has no node of this name"]);
    ground.apply(&["--hosts", file.to_str().unwrap(), "--no-facts"]).is(2, &["cannot be used with"]);
    assert_eq!(ground.api.changes(), [""; 0]);
}

#[test]
fn a_host_of_the_run_that_does_not_answer_is_named() {
    let ground = Ground::lay();
    ground.inventory(1);
    let said = ground.apply(&[]);
    said.is(2, &["n1 (127.0.0.1 port 1) cannot be reached", "nothing was changed", "--no-facts"]);
    // One that the run leaves alone is only named.
    ground
        .apply(&["--skip-node", "n1"])
        .is(2, &["no facts: n1 (127.0.0.1 port 1) cannot be reached", "only you can know this"]);
    assert_eq!(ground.api.changes(), [""; 0]);
}

#[test]
fn what_only_people_know_is_confirmed_by_name() {
    let ground = Ground::lay();
    let said = ground.apply(&["--attest", "add-ons,graceful-stop"]);
    said.is(2, &["--attest release-notes", "up to v1.37.2", "--attest no-other-work"]);
    assert!(!said.text.contains("--attest add-ons"), "{}", said.text);
    ground.apply(&["--attest", "all"]).is(2, &["possible values: release-notes"]);
    assert_eq!(ground.api.changes(), [""; 0]);
}

#[test]
fn a_host_in_hand_that_is_away_does_not_keep_the_run_from_going_on() {
    let ground = Ground::lay();
    let mut node = ground.api.get("", "nodes", "", "n1").unwrap();
    node["metadata"]["annotations"] =
        json!({"cmsim.dev/run": r#"{"started": "2026-01-01T00:00:00Z", "hostTouched": "2026-01-01T00:01:00Z"}"#});
    node["spec"] = json!({"unschedulable": true});
    ground.api.put("", "nodes", "", "n1", node);
    let record = json!({"data": {"run.json": r#"{"id": "r1", "to": "v1.37.2", "by": "x"}"#}});
    ground.api.put("", "configmaps", "kube-system", "cmsim-run", record);
    ground.inventory(1);
    ground.apply(&[]).is(2, &["no facts: n1 (127.0.0.1 port 1) cannot be reached", "only you can know this"]);
    assert_eq!(ground.api.changes(), [""; 0]);
}

#[test]
fn at_a_terminal_each_is_asked_for() {
    let ground = Ground::lay();
    let mut typed = Typed::start(&ground.command(&["--attest", "add-ons"]));
    typed.answer("release-notes: ", "y\n");
    typed.answer("graceful-stop: ", "n\n");
    let (code, text) = typed.end();
    let said = Said { code, text };
    said.is(1, &["? [y/N]", "refused: graceful-stop is not confirmed; nothing was changed"]);
    assert!(!said.text.contains("no-other-work: ") && !said.text.contains("add-ons: "), "{}", said.text);
    assert_eq!(ground.api.changes(), [""; 0]);
}

/// Documents of a copy.
fn documents(file: &Path) -> Vec<Value> {
    let output = Command::new("gzip").arg("-dc").arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split("---\n").filter(|one| !one.is_empty()).map(|one| serde_json::from_str(one).unwrap()).collect()
}

#[test]
fn objects_are_backed_up_before_a_host_is_touched() {
    let ground = Ground::lay();
    ground.api.put("", "configmaps", "shop", "settings", json!({"data": {"a": "---\nb"}}));
    ground.api.put("", "secrets", "shop", "key", json!({"data": {"a": "eA=="}}));
    ground.api.put("", "events", "shop", "e", json!({}));
    ground.api.put("example.org", "widgets", "shop", "w", json!({"spec": {"size": 3}}));
    ground.api.close("closed");
    // The backup on the host fails, which ends the run before a node is taken.
    let said = ground.apply(&["--attest", ATTESTED]);
    said.is(1, &["not in the backup: closed.example.org (", "not in the backup: Secrets", "stopped: ", "no room"]);
    let changes = ground.api.changes();
    assert!(!changes.iter().any(|change| change.contains("/nodes/") || change.contains("eviction")), "{changes:?}");
    let record: Value = {
        let map = ground.api.get("", "configmaps", "kube-system", "cmsim-run").unwrap();
        serde_json::from_str(map["data"]["run.json"].as_str().unwrap()).unwrap()
    };
    let attested = record["attested"].as_array().unwrap();
    assert_eq!(attested.len(), 4);
    assert!(
        attested.iter().all(|one| one["by"].as_str().unwrap().contains('@') && one["at"].is_string()),
        "{attested:?}"
    );
    let (_, file) = record["backup"].as_str().unwrap().split_once(':').unwrap();
    let mut names: Vec<String> = documents(Path::new(file))
        .iter()
        .map(|one| {
            assert!(one["metadata"]["managedFields"].is_null() && one["metadata"]["resourceVersion"].is_null());
            format!(
                "{} {} {}",
                one["apiVersion"].as_str().unwrap(),
                one["kind"].as_str().unwrap(),
                one["metadata"]["name"].as_str().unwrap()
            )
        })
        .collect();
    names.sort();
    let mut expected = vec![
        "example.org/v1 Widget w",
        "v1 ConfigMap settings",
        "v1 Namespace default",
        "v1 Namespace kube-system",
        "v1 Node cp1",
        "v1 Node n1",
    ];
    expected.sort_unstable();
    assert_eq!(names, expected, "no Secret, no Event, no Lease");
    let mut check = Command::new(env!("CARGO_BIN_EXE_cmsim"));
    check.args(["check", "--to", "v1.37.2", "--walks", "1", "-f", file]);
    let read = check.output().unwrap();
    assert!(matches!(read.status.code(), Some(0 | 1)), "it is a dump: {}", String::from_utf8_lossy(&read.stderr));
    // The same command goes on, is asked nothing again, and takes Secrets where it is told to.
    let again = ground.apply(&["--backup-secrets"]);
    again.is(1, &["stopped: ", "no room"]);
    assert!(documents(Path::new(file)).iter().any(|one| one["kind"] == "Secret"), "{}", again.text);
}

#[test]
fn without_a_copy_of_the_objects_nothing_is_begun() {
    let ground = Ground::lay();
    fs::create_dir_all(ground.path("state/cmsim")).unwrap();
    fs::write(ground.path("state/cmsim/backups"), "in the way").unwrap();
    ground
        .apply(&["--attest", ATTESTED])
        .is(1, &["refused: the cluster's objects cannot be backed up", "nothing was changed"]);
    assert!(ground.api.get("", "configmaps", "kube-system", "cmsim-run").is_none());
    let lease = ground.api.get("coordination.k8s.io", "leases", "kube-system", "cmsim-upgrade").unwrap();
    assert_eq!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default(), "", "the lock is given back");
}

#[test]
fn a_dry_run_shows_what_would_be_done_and_what_the_server_says() {
    let ground = Ground::lay();
    let pod = |node: &str| {
        json!({"metadata": {"labels": {"app": "web"}, "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web",
                "uid": "replicasets-web", "controller": true}]},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}})
    };
    let of_set = json!({"spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    ground.api.put("apps", "replicasets", "default", "web", of_set);
    ground.api.put("", "pods", "default", "web-1", pod("cp1"));
    ground.api.put("", "pods", "default", "web-2", pod("cp1"));
    ground.api.hold("web-2");
    let accept = "default/ReplicaSet/web";
    let begun = Instant::now();
    let said = ground.apply(&["--dry-run", "--accept-disruption", accept]);
    said.is(
        0,
        &[
            "WOULD BE DONE",
            "cp1 (127.0.0.1) v1.36.3 -> v1.37.2",
            "evict: default/web-1, default/web-2",
            "upgrade the host: recipe ",
            "cordon cp1: yes",
            "evict default/web-1: yes",
            "evict default/web-2: 429 Cannot evict pod",
            "dry run: nothing was changed",
        ],
    );
    assert!(begun.elapsed() < Duration::from_secs(20), "a refusal is an answer, not something to try again");
    let (first, second) = (said.text.find("  cp1 (").unwrap(), said.text.find("  n1 (").unwrap());
    assert!(first < second, "{}", said.text);
    let json = ground.apply(&["--dry-run", "--accept-disruption", accept, "-o", "json"]);
    let plan: Value = serde_json::from_str(json.text.lines().next().unwrap()).unwrap();
    assert_eq!(plan["nodes"][0]["pods"], json!(["default/web-1", "default/web-2"]));
    assert_eq!(ground.api.changes(), [""; 0]);
    assert!(ground.api.get("", "nodes", "", "cp1").unwrap()["spec"]["unschedulable"].is_null());
}
