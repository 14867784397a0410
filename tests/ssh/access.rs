//! Who is let in where: host keys, the user's keys, agents, jump hosts, sudo.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cmsim::live::ssh::{Error, Hop, Sudo};

use super::ground::keygen;
use super::sshd::{Sshd, kill, user};
use super::{block_on, one, with_sshd};

#[test]
fn an_unknown_key_is_refused_until_its_command_was_run() {
    with_sshd(|sshd| async move {
        fs::write(sshd.path("known_hosts"), "").unwrap();
        let hosts = one(sshd.target(), sshd.settings());
        let error = hosts.run("n1", "echo hello", Sudo::No).await.unwrap_err();
        let Error::UnknownKey { fingerprint, command, .. } = &error else { panic!("{error}") };
        let own = Command::new("ssh-keygen").arg("-lf").arg(sshd.path("host_ed25519.pub")).output().unwrap();
        assert!(String::from_utf8_lossy(&own.stdout).contains(fingerprint.as_str()), "{fingerprint}");
        let text = error.to_string();
        assert!(text.contains("n1 (127.0.0.1 port") && text.contains("ssh-ed25519"), "{text}");
        assert!(Command::new("sh").arg("-c").arg(command).status().unwrap().success());
        assert_eq!(hosts.run("n1", "echo hello", Sudo::No).await.unwrap().text(), "hello\n");
    });
}

#[test]
fn a_changed_key_is_refused_with_its_place() {
    with_sshd(|sshd| async move {
        let other = fs::read_to_string(sshd.path("user.pub")).unwrap();
        fs::write(sshd.path("known_hosts"), format!("# a comment\n[127.0.0.1]:{} {other}", sshd.port)).unwrap();
        let hosts = one(sshd.target(), sshd.settings());
        let error = hosts.run("n1", "touch /nowhere", Sudo::No).await.unwrap_err();
        assert!(matches!(&error, Error::ChangedKey { line: 2, .. }), "{error}");
        assert!(error.to_string().contains("ssh-keygen -R"), "{error}");
        fs::write(sshd.path("known_hosts"), format!("{}@revoked * {}", sshd.known_line("host_ed25519"), public(&sshd)))
            .unwrap();
        let error = hosts.run("n1", "true", Sudo::No).await.unwrap_err();
        assert!(matches!(&error, Error::RevokedKey { line: 2, .. }), "{error}");
    });
}

fn public(sshd: &Sshd) -> String {
    fs::read_to_string(sshd.path("host_ed25519.pub")).unwrap()
}

#[test]
fn the_type_of_key_that_is_known_is_asked_for() {
    with_sshd(|sshd| async move {
        // The host would rather show its Ed25519 key.
        fs::write(sshd.path("known_hosts"), "").unwrap();
        fs::write(sshd.path("second"), sshd.known_line("host_rsa")).unwrap();
        let mut settings = sshd.settings();
        settings.known_hosts.push(sshd.path("second"));
        let hosts = one(sshd.target(), settings);
        assert_eq!(hosts.run("n1", "echo hello", Sudo::No).await.unwrap().text(), "hello\n");
    });
}

#[test]
fn hashed_names_are_known() {
    with_sshd(|sshd| async move {
        let hash = Command::new("ssh-keygen").arg("-H").arg("-f").arg(sshd.path("known_hosts")).output().unwrap();
        assert!(hash.status.success());
        assert!(fs::read_to_string(sshd.path("known_hosts")).unwrap().starts_with("|1|"));
        let hosts = one(sshd.target(), sshd.settings());
        assert_eq!(hosts.run("n1", "echo hello", Sudo::No).await.unwrap().text(), "hello\n");
    });
}

#[test]
fn keys_of_every_kind_let_in() {
    with_sshd(|sshd| async move {
        for kind in ["ed25519", "ecdsa", "rsa"] {
            let name = format!("of_{kind}");
            keygen(&sshd.path(&name), kind, "");
            fs::copy(sshd.path(&format!("{name}.pub")), sshd.path("authorized_keys")).unwrap();
            let mut target = sshd.target();
            target.keys = vec![sshd.path(&name)];
            let output = one(target, sshd.settings()).run("n1", "echo hello", Sudo::No).await;
            assert_eq!(output.unwrap().text(), "hello\n", "{kind}");
        }
        let error = one(sshd.target(), sshd.settings()).run("n1", "echo hello", Sudo::No).await.unwrap_err();
        assert!(matches!(&error, Error::Denied { .. }), "{error}");
        assert!(error.to_string().contains("SHA256:"), "{error}");
    });
}

#[test]
fn an_encrypted_key_is_asked_for_once() {
    with_sshd(|sshd| async move {
        keygen(&sshd.path("secret"), "ed25519", "open sesame");
        fs::copy(sshd.path("secret.pub"), sshd.path("authorized_keys")).unwrap();
        let mut target = sshd.target();
        target.keys = vec![sshd.path("secret")];
        let asked = Arc::new(AtomicUsize::new(0));
        let mut settings = sshd.settings();
        let counter = Arc::clone(&asked);
        settings.ask = Arc::new(move |_| {
            // Mistyped the first time.
            let right = counter.fetch_add(1, Ordering::SeqCst) > 0;
            Ok(if right { "open sesame" } else { "open barley" }.to_owned())
        });
        let mut second = target.clone();
        second.host_key_alias = Some(format!("[127.0.0.1]:{}", sshd.port));
        let targets = [("n1".to_owned(), target.clone()), ("n2".to_owned(), second)].into();
        let hosts = cmsim::live::ssh::Hosts::new(targets, settings);
        for host in ["n1", "n2"] {
            assert_eq!(hosts.run(host, "echo hello", Sudo::No).await.unwrap().text(), "hello\n");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        // Without anybody to ask it is said so.
        let error = one(target, sshd.settings()).run("n1", "true", Sudo::No).await.unwrap_err();
        assert!(error.to_string().contains("is encrypted"), "{error}");
    });
}

/// An ssh-agent, ended by its id.
struct Agent(Child);

impl Agent {
    fn start(socket: &Path) -> Agent {
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(socket).stdout(Stdio::null()).stderr(Stdio::null());
        Agent(command.spawn().unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_agent_signs_without_a_file() {
    with_sshd(|sshd| async move {
        let socket = sshd.path("agent");
        let _agent = Agent::start(&socket);
        while !socket.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        // Others come first: a named key must be found among them without being refused for too many.
        for index in 0..8 {
            keygen(&sshd.path(&format!("other{index}")), "ed25519", "");
        }
        keygen(&sshd.path("secret"), "rsa", "open sesame");
        let add = |name: &str| {
            let mut command = Command::new("ssh-add");
            command.arg("-q").arg(sshd.path(name)).env("SSH_AUTH_SOCK", &socket);
            // ssh-add asks this program, which knows the passphrase.
            let asker = sshd.path("asker");
            fs::write(&asker, "#!/bin/sh\necho open sesame\n").unwrap();
            assert!(Command::new("chmod").arg("+x").arg(&asker).status().unwrap().success());
            command.env("SSH_ASKPASS", &asker).env("SSH_ASKPASS_REQUIRE", "force");
            assert!(command.stderr(Stdio::null()).status().unwrap().success());
        };
        (0..8).for_each(|index| add(&format!("other{index}")));
        add("secret");
        fs::copy(sshd.path("secret.pub"), sshd.path("authorized_keys")).unwrap();
        let mut settings = sshd.settings();
        settings.agent = Some(socket);
        let mut target = sshd.target();
        target.keys = vec![sshd.path("secret")];
        let output = one(target.clone(), settings.clone()).run("n1", "echo hello", Sudo::No).await;
        assert_eq!(output.unwrap().text(), "hello\n");
        // Without a named key all are offered, and the host hangs up.
        target.keys.clear();
        let error = one(target, settings).run("n1", "true", Sudo::No).await.unwrap_err();
        assert!(matches!(&error, Error::Denied { .. }), "{error}");
    });
}

#[test]
fn a_jump_host_leads_on() {
    let (Some(jump), Some(inner)) = (Sshd::start(""), Sshd::start("")) else { return };
    block_on(async move {
        let mut target = inner.target();
        target.keys = vec![inner.path("user")];
        target.jump = vec![Hop { user: Some(user()), address: "127.0.0.1".to_owned(), port: jump.port }];
        fs::copy(inner.path("user.pub"), jump.path("authorized_keys")).unwrap();
        let mut settings = inner.settings();
        let hosts = one(target.clone(), settings.clone());
        let error = hosts.run("n1", "true", Sudo::No).await.unwrap_err();
        assert!(matches!(&error, Error::UnknownKey { host, .. } if host.contains("jump host")), "{error}");
        settings.known_hosts.push(jump.path("known_hosts"));
        let hosts = one(target, settings);
        let output = hosts.run("n1", "echo $SSH_CONNECTION", Sudo::No).await.unwrap().text();
        assert!(output.trim().ends_with(&format!("127.0.0.1 {}", inner.port)), "{output}");
        assert_eq!(jump.sessions().len().min(1), 1, "the way leads through the jump host");
        // It breaks and is made anew.
        jump.sessions().into_iter().for_each(kill);
        let mut answer = hosts.run("n1", "echo again", Sudo::No).await;
        if answer.as_ref().is_err_and(Error::is_unreachable) {
            answer = hosts.run("n1", "echo again", Sudo::No).await;
        }
        assert_eq!(answer.unwrap().text(), "again\n");
    });
}

#[test]
fn sudo_is_used_where_the_user_is_not_root() {
    // The host of these tests is played by the PATH that its sshd hands out.
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path();
    let Some(sshd) = Sshd::start(&format!("SetEnv PATH={}:/usr/bin:/bin", bin.display())) else { return };
    let write = |name: &str, text: &str| {
        fs::write(bin.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        assert!(Command::new("chmod").arg("+x").arg(bin.join(name)).status().unwrap().success());
    };
    block_on(async move {
        write("id", "echo 1000");
        write("sudo", "echo \"sudo: a password is required\" >&2; exit 1");
        let error = one(sshd.target(), sshd.settings()).run("n1", "true", Sudo::Yes).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Sudo { .. }), "{text}");
        assert!(text.contains("a password is required") && text.contains("NOPASSWD: /bin/sh"), "{text}");
        write("sudo", "[ \"$1\" = -n ] || exit 3; shift; AS_ROOT=yes exec \"$@\"");
        let hosts = one(sshd.target(), sshd.settings());
        assert_eq!(hosts.run("n1", "echo $AS_ROOT", Sudo::Yes).await.unwrap().text(), "yes\n");
        assert_eq!(hosts.run("n1", "echo $AS_ROOT", Sudo::No).await.unwrap().text(), "\n");
        hosts.upload("n1", &sshd.path("up").display().to_string(), "640", b"x", Sudo::Yes).await.unwrap();
        write("id", "echo 0");
        write("sudo", "exit 9");
        let hosts = one(sshd.target(), sshd.settings());
        assert_eq!(hosts.run("n1", "echo root", Sudo::Yes).await.unwrap().text(), "root\n");
        write("id", "echo 1000");
        fs::remove_file(bin.join("sudo")).unwrap();
        if !Path::new("/usr/bin/sudo").exists() {
            let error = one(sshd.target(), sshd.settings()).run("n1", "true", Sudo::Yes).await.unwrap_err();
            assert!(error.to_string().contains("there is no sudo"), "{error}");
        }
    });
}
