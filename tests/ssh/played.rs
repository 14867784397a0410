//! A host that is played: a server of russh on loopback that runs what it is told with programs and files of its own in front of this
//! machine's. What is on the host can be chosen, which a real sshd has no way for; that one serves the other tests.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use russh::keys::load_secret_key;
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey, run_stream};
use russh::{Channel, ChannelId};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;

use super::ground::keygen;

/// A running host; it ends with this value.
pub struct Host {
    pub port: u16,
    folder: TempDir,
    _runtime: Runtime,
}

impl Host {
    /// Debian with packages of 1.36.3, and of 1.37.2 in its source; room everywhere, a resolver elsewhere.
    pub fn start() -> Host {
        let folder = tempfile::Builder::new().prefix("cmsim-host-").tempdir().unwrap();
        keygen(&folder.path().join("key"), "ed25519", "");
        fs::create_dir(folder.path().join("bin")).unwrap();
        let key = load_secret_key(folder.path().join("key"), None).unwrap();
        let config = Arc::new(Config { keys: vec![key], ..Config::default() });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = folder.path().to_owned();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (config, client) = (Arc::clone(&config), Client { folder: own.clone(), asked: HashMap::new() });
                tokio::spawn(async move {
                    if let Ok(session) = run_stream(config, stream, client).await {
                        let _ = session.await;
                    }
                });
            }
        });
        let host = Host { port, folder, _runtime: runtime };
        host.resolver("nameserver 10.0.0.2\n");
        host.free(90_000_000);
        host.offers("1.37.2-1.1 1.36.3-1.1");
        host.program("dpkg-query", "printf '%s 1.36.3-1.1 installed\\n' kubelet kubeadm kubectl");
        host.program("dpkg", "");
        host.program("stat", "echo cgroup2fs");
        host.program("uname", "echo 6.1.0");
        host
    }

    /// The line of known_hosts for it.
    pub fn known_line(&self) -> String {
        let public = fs::read_to_string(self.folder.path().join("key.pub")).unwrap();
        format!("[127.0.0.1]:{} {public}", self.port)
    }

    /// What /etc/resolv.conf says.
    pub fn resolver(&self, text: &str) {
        fs::write(self.folder.path().join("resolv.conf"), text).unwrap();
    }

    /// KiB that are free on its one disk of 100 GB.
    pub fn free(&self, kib: u64) {
        let line = format!("/dev/sda1 100000000 {} {kib} 1% /", 100_000_000 - kib);
        self.program("df", &format!("echo Filesystem\necho '{line}'"));
    }

    /// Versions that the package source has.
    pub fn offers(&self, versions: &str) {
        self.program("apt-cache", &format!("for v in {versions}; do echo \"$2 | $v | x\"; done"));
    }

    fn program(&self, name: &str, text: &str) {
        let file = self.folder.path().join("bin").join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// One connection.
struct Client {
    folder: PathBuf,
    /// Commands that wait for the end of their input.
    asked: HashMap<ChannelId, (String, Vec<u8>)>,
}

impl Handler for Client {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.asked.insert(channel, (String::from_utf8_lossy(command).into_owned(), Vec::new()));
        session.channel_success(channel)
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _: &mut Session) -> Result<(), russh::Error> {
        if let Some((_, input)) = self.asked.get_mut(&channel) {
            input.extend_from_slice(data);
        }
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        let Some((command, input)) = self.asked.remove(&channel) else { return Ok(()) };
        let (folder, handle) = (self.folder.clone(), session.handle());
        tokio::spawn(async move {
            let output = run(&folder, &command, &input).await;
            let _ = handle.data(channel, output.stdout).await;
            let _ = handle.extended_data(channel, 1, output.stderr).await;
            let _ = handle.exit_status_request(channel, output.status.code().unwrap_or(255) as u32).await;
            let _ = handle.eof(channel).await;
            let _ = handle.close(channel).await;
        });
        Ok(())
    }
}

/// Runs a command with this input, the host's own programs and files in front.
async fn run(folder: &Path, command: &str, input: &[u8]) -> std::process::Output {
    let input = String::from_utf8_lossy(input)
        .replace("/etc/resolv.conf", &folder.join("resolv.conf").display().to_string())
        .replace("/run/systemd/resolve", "/nowhere")
        .replace("/proc/swaps", "/dev/null");
    let path = format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap());
    let mut child = tokio::process::Command::new("sh")
        .args(["-c", command])
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    child.wait_with_output().await.unwrap()
}
