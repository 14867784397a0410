//! A Debian host with sshd and the user `ops`, who may use sudo: a root file system, processes and a frozen state of its own, which a
//! sshd on loopback (`tests/ssh`) cannot show.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use cmsim::cluster::HostFacts;
use cmsim::live::ssh::{Error, Hosts, JobState, Settings, Sudo, Target};
use futures::FutureExt;
use tempfile::TempDir;
use testcontainers::bollard::models::PortBinding;
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::{Container, GenericImage, ImageExt};

use super::ground::{self, block_on, end, job, keygen, one, step};
use super::{Images, blocking, inside, start};

struct Host {
    container: Container<GenericImage>,
    folder: TempDir,
    port: u16,
}

impl Host {
    /// Starts one whose key is known and who knows the user's.
    fn start(images: &Images) -> Host {
        let folder = tempfile::Builder::new().prefix("cmsim-host-").tempdir().unwrap();
        keygen(&folder.path().join("user"), "ed25519", "");
        let request = images
            .get("sshd")
            .with_exposed_port(22.tcp())
            .with_wait_for(WaitFor::message_on_stderr("Server listening on 0.0.0.0 port 22"))
            .with_copy_to("/home/ops/.ssh/authorized_keys", fs::read(folder.path().join("user.pub")).unwrap())
            // Nobody but this machine comes in.
            .with_host_config_modifier(|host| {
                let loopback = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: None };
                host.publish_all_ports = Some(false);
                host.port_bindings = Some(HashMap::from([("22/tcp".to_owned(), Some(vec![loopback]))]));
            });
        let container = start(request);
        let port = container.get_host_port_ipv4(22.tcp()).unwrap();
        let host = Host { container, folder, port };
        fs::write(host.path("known_hosts"), host.known_line(&host.key())).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The host's key, read inside.
    fn key(&self) -> String {
        inside(&self.container, "cat /etc/ssh/ssh_host_ed25519_key.pub")
    }

    fn known_line(&self, key: &str) -> String {
        format!("[127.0.0.1]:{} {key}", self.port)
    }

    fn target(&self) -> Target {
        Target {
            address: "127.0.0.1".to_owned(),
            user: "ops".to_owned(),
            port: self.port,
            keys: vec![self.path("user")],
            jump: Vec::new(),
            host_key_alias: None,
            own_name: "ops".to_owned(),
        }
    }

    fn settings(&self) -> Settings {
        ground::settings(self.folder.path())
    }

    /// New connections to it.
    fn hosts(&self) -> Hosts {
        one(self.target(), self.settings())
    }
}

pub fn keys_are_kept_to_strictly(images: &Images) {
    let host = Host::start(images);
    block_on(async {
        let touch = "touch /tmp/came-in";
        fs::write(host.path("known_hosts"), "").unwrap();
        let error = host.hosts().run("n1", touch, Sudo::No).await.unwrap_err();
        let Error::UnknownKey { fingerprint, command, .. } = &error else { panic!("{error}") };
        let own = inside(&host.container, "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub");
        assert!(own.contains(fingerprint.as_str()), "{fingerprint} is not {own}");
        // The operator does what the message says.
        assert!(Command::new("sh").arg("-c").arg(command).status().unwrap().success());
        assert_eq!(host.hosts().run("n1", "id -un", Sudo::No).await.unwrap().text(), "ops\n");
        // Somebody else answers at the host's address: the host gets another key.
        let script = "rm /etc/ssh/ssh_host_*; ssh-keygen -A >/dev/null; kill -HUP 1";
        inside(&host.container, script);
        let until = Instant::now() + Duration::from_secs(20);
        let error = loop {
            match host.hosts().run("n1", touch, Sudo::No).await.unwrap_err() {
                error if error.is_unreachable() && Instant::now() < until => {}
                error => break error,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert!(matches!(error, Error::ChangedKey { line: 1, .. }), "{error}");
        fs::write(host.path("known_hosts"), host.known_line(&host.key())).unwrap();
        let there = host.hosts().run("n1", "ls /tmp/came-in", Sudo::No).await.unwrap();
        assert!(there.code != 0, "a command ran on a host whose key was not known");
    });
}

pub fn lets_its_user_become_root(images: &Images) {
    let host = Host::start(images);
    block_on(async {
        let hosts = host.hosts();
        assert_eq!(hosts.run("n1", "id -un", Sudo::No).await.unwrap().text(), "ops\n");
        assert_eq!(hosts.run("n1", "id -un", Sudo::Yes).await.unwrap().text(), "root\n");
        hosts.upload("n1", "/etc/made", "0640", b"by root\n", Sudo::Yes).await.unwrap();
        assert_eq!(inside(&host.container, "stat -c '%U %a' /etc/made; cat /etc/made"), "root 640\nby root\n");
        assert!(hosts.upload("n1", "/etc/other", "0640", b"x", Sudo::No).await.is_err());
        inside(&host.container, "rm /etc/sudoers.d/ops");
        let error = host.hosts().run("n1", "id -un", Sudo::Yes).await.unwrap_err();
        assert!(matches!(&error, Error::Sudo { .. }), "{error}");
        assert!(error.to_string().contains("a password is required"), "{error}");
    });
}

pub fn tells_its_facts(images: &Images) {
    let host = Host::start(images);
    // Somebody has edited a file of a package, and the host's resolver is its own.
    inside(
        &host.container,
        "echo '# ours' >>/etc/containerd/config.toml; echo 'nameserver 127.0.0.53' >/etc/resolv.conf",
    );
    let inventory = format!(
        "defaults: {{user: ops, port: {}, key: {}}}\nhosts: {{n1: {{address: 127.0.0.1}}}}\n",
        host.port,
        host.path("user").display()
    );
    fs::write(host.path("inventory.yaml"), inventory).unwrap();
    let output = Command::new("timeout")
        .args(["60", env!("CARGO_BIN_EXE_cmsim"), "facts", "-o", "json", "--inventory"])
        .arg(host.path("inventory.yaml"))
        .arg("--ssh-known-hosts")
        .arg(host.path("known_hosts"))
        .env_remove("SSH_AUTH_SOCK")
        .env("HOME", host.folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let mut facts: BTreeMap<String, HostFacts> = serde_json::from_slice(&output.stdout).unwrap();
    let facts = facts.remove("n1").unwrap();
    assert_eq!((facts.os_id.as_deref(), facts.os_version.as_deref()), (Some("debian"), Some("12")));
    assert_eq!(facts.kernel.as_deref(), Some(inside(&host.container, "uname -r").trim()));
    assert_eq!(facts.resolv_conf.as_deref().map(str::trim_end), Some("nameserver 127.0.0.53"));
    let installed = inside(&host.container, "dpkg-query -W -f '${Package} ${Version}\\n' containerd runc");
    let installed: BTreeMap<String, String> =
        installed.lines().filter_map(|line| line.split_once(' ')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    assert_eq!(installed.len(), 2);
    assert_eq!(facts.packages_installed, installed);
    assert_eq!(facts.packages_available, BTreeMap::new(), "there is no package source");
    assert!(facts.disks.iter().any(|disk| disk.mount == "/" && disk.size_bytes > disk.free_bytes), "{facts:?}");
    let changed: Vec<&str> = facts.changed_files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(changed, ["/etc/containerd/config.toml"]);
    assert!(facts.time_offset_millis.unwrap().abs() < 1000, "{facts:?}");
}

pub fn that_is_frozen_runs_its_job_once(images: &Images) {
    let host = Host::start(images);
    let quick = || {
        let mut settings = host.settings();
        settings.connect_timeout = Duration::from_secs(2);
        settings.command_timeout = Duration::from_secs(3);
        settings.keepalive = Duration::from_secs(1);
        one(host.target(), settings)
    };
    let attempt = || inside(&host.container, "cat /var/lib/cmsim/jobs/up/attempt");
    let first = step("a", "echo a >>/root/counts; until [ -e /root/go ]; do sleep 0.1; done");
    let second = step("b", "echo b >>/root/counts; echo no space left; exit 7");
    let up = job("up", vec![first, second, step("c", "echo c >>/root/counts")]);
    let goes_on =
        |state: JobState| assert!(matches!(&state, JobState::Running { step, .. } if step == "a"), "{state:?}");
    block_on(async {
        let hosts = quick();
        let begun = hosts.ensure_job("n1", &up).await.unwrap();
        assert!(matches!(begun, JobState::Running { .. }), "{begun:?}");
        let first_attempt = attempt();

        // Frozen, the host answers neither on the connection that there is nor on a new one.
        // These two are async by name only: they wait as the others do.
        blocking(|| host.container.pause().now_or_never()).unwrap().unwrap();
        let frozen = Instant::now();
        for hosts in [&hosts, &quick()] {
            let error = hosts.ensure_job("n1", &up).await.unwrap_err();
            assert!(error.is_unreachable(), "{error}");
        }
        assert!(frozen.elapsed() < Duration::from_secs(30), "{:?}", frozen.elapsed());
        blocking(|| host.container.unpause().now_or_never()).unwrap().unwrap();
        goes_on(quick().ensure_job("n1", &up).await.unwrap());

        // A connection breaks, with all others of the user; the job is root's.
        let broken = quick();
        let cut = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            inside(&host.container, "kill -KILL $(pgrep -u ops sshd)")
        };
        let (answer, _) = tokio::join!(broken.run("n1", "sleep 20", Sudo::No), cut);
        assert!(matches!(answer, Err(Error::Lost { .. })), "{answer:?}");
        goes_on(broken.ensure_job("n1", &up).await.unwrap());

        // Its end is found by whoever comes.
        inside(&host.container, "touch /root/go");
        for hosts in [&broken, &host.hosts()] {
            let JobState::Failed { step, exit_code, log_tail } = end(hosts, &up).await else { panic!("not failed") };
            assert_eq!((step.as_str(), exit_code), ("b", 7));
            assert!(log_tail.contains("no space left\n"), "{log_tail}");
        }
        let log = host.hosts().job_log("n1", "up").await.unwrap();
        assert!(log.contains("no space left\n") && log.contains("b: failed with exit code 7"), "{log}");
        assert_eq!(inside(&host.container, "cat /root/counts"), "a\nb\n", "once each, and none after the failed one");
        assert_eq!(attempt(), first_attempt, "no second process was started");
    });
}
