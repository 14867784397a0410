//! A real sshd in a folder of its own, on a free port of loopback, ended by its id.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cmsim::live::ssh::{Settings, Target};
use tempfile::TempDir;

use super::ground::{self, free_port, keygen};

pub struct Sshd {
    pub folder: TempDir,
    pub port: u16,
    child: Child,
}

impl Sshd {
    /// Starts one with more lines of configuration; `None`, said loudly, where there is no sshd.
    pub fn start(more: &str) -> Option<Sshd> {
        let Some(program) = program() else {
            // Not captured as `eprintln!` is: nobody shall take this for a test that ran.
            let said = "SKIPPED: there is no sshd on this machine (apt-get install openssh-server)\n";
            std::io::stderr().write_all(said.as_bytes()).unwrap();
            return None;
        };
        let folder = tempfile::Builder::new().prefix("cmsim-ssh-").tempdir().unwrap();
        let at = folder.path();
        for name in ["host_ed25519", "user"] {
            keygen(&at.join(name), "ed25519", "");
        }
        keygen(&at.join("host_rsa"), "rsa", "");
        fs::copy(at.join("user.pub"), at.join("authorized_keys")).unwrap();
        // sshd wants its folder of privilege separation.
        if user() == "root" {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        for _ in 0..20 {
            let port = free_port();
            let config = config(at, port, more);
            fs::write(at.join("sshd_config"), config).unwrap();
            let log = fs::File::create(at.join("sshd.log")).unwrap();
            let mut child = Command::new(&program)
                .args(["-D", "-e", "-f"])
                .arg(at.join("sshd_config"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            if answers(&mut child, port) {
                let sshd = Sshd { folder, port, child };
                fs::write(sshd.path("known_hosts"), sshd.known_line("host_ed25519")).unwrap();
                return Some(sshd);
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("sshd does not start: {}", fs::read_to_string(at.join("sshd.log")).unwrap());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The line of known_hosts for one of the host's keys.
    pub fn known_line(&self, key: &str) -> String {
        let public = fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
        format!("[127.0.0.1]:{} {public}", self.port)
    }

    pub fn target(&self) -> Target {
        Target {
            address: "127.0.0.1".to_owned(),
            user: user(),
            port: self.port,
            keys: vec![self.path("user")],
            jump: Vec::new(),
            host_key_alias: None,
            own_name: user(),
        }
    }

    /// Settings with the host's key known, no agent, and nobody to ask.
    pub fn settings(&self) -> Settings {
        let mut settings = ground::settings(self.folder.path());
        settings.jobs = self.path("jobs").display().to_string();
        settings
    }

    /// Ids of the processes that serve connections.
    pub fn sessions(&self) -> Vec<u32> {
        children(self.child.id())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        for session in self.sessions() {
            kill(session);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends one process at once.
pub fn kill(id: u32) {
    let _ = Command::new("kill").arg("-KILL").arg(id.to_string()).stderr(Stdio::null()).status();
}

fn children(id: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let own: Vec<u32> = list.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    // Sessions of other users are children of a monitor, which is a child of sshd: both serve the connection.
    own.iter().flat_map(|&child| served_by(child)).collect()
}

fn served_by(child: u32) -> Vec<u32> {
    let name = |id: u32| fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    let list = fs::read_to_string(format!("/proc/{child}/task/{child}/children")).unwrap_or_default();
    let below = list.split_whitespace().filter_map(|word| word.parse().ok()).filter(|&id| name(id).starts_with("sshd"));
    below.chain([child]).collect()
}

fn program() -> Option<PathBuf> {
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
}

pub fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn config(at: &Path, port: u16, more: &str) -> String {
    let at = at.display();
    format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host_ed25519\nHostKey {at}/host_rsa\nPidFile none\n\
         AuthorizedKeysFile {at}/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nPermitRootLogin yes\nMaxStartups 100\nLogLevel VERBOSE\n{more}\n"
    )
}

fn answers(child: &mut Child, port: u16) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until && child.try_wait().unwrap().is_none() {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
