//! Hosts over SSH: known_hosts kept to strictly, keys from an agent or from files, jump hosts, sudo. One connection a host,
//! made when it is needed and made anew after it broke. `~/.ssh/config` is not read: what ssh would find there stands in the
//! [`Inventory`].

mod auth;
mod connection;
mod error;
mod inventory;
mod job;
mod known_hosts;
mod work;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use auth::Keyring;
use connection::{Connection, Failed};
pub use error::Error;
pub use inventory::{Access, Hop, Inventory, Jump, Overrides, Target};
pub use job::JobState;
pub use known_hosts::{KnownHosts, Recorded, Verdict, fingerprint, lookup_name};
pub use work::RecipeWork;

/// Asks the operator for the passphrase of a key file.
pub type Ask = Arc<dyn Fn(&Path) -> std::io::Result<String> + Send + Sync>;

/// What holds for all hosts.
#[derive(Clone)]
pub struct Settings {
    /// Files with the accepted host keys. New ones are to be added to the first.
    pub known_hosts: Vec<PathBuf>,
    /// Socket of the ssh-agent.
    pub agent: Option<PathBuf>,
    /// Key files that are tried where a host names none.
    pub default_keys: Vec<PathBuf>,
    /// Until when a host must have answered.
    pub connect_timeout: Duration,
    /// Until when a command must have ended, unless it is given its own time.
    pub command_timeout: Duration,
    /// Silence after which the host is asked whether it is still there; after three questions the connection counts as broken.
    pub keepalive: Duration,
    /// Folder on the hosts where jobs are kept.
    pub jobs: String,
    /// Asks for passphrases.
    pub ask: Ask,
}

impl Settings {
    /// What ssh does: files below `home`, the system's known_hosts, the agent of the environment.
    pub fn of_user(home: &Path, agent: Option<PathBuf>, ask: Ask) -> Settings {
        let ssh = home.join(".ssh");
        Settings {
            known_hosts: vec![ssh.join("known_hosts"), PathBuf::from("/etc/ssh/ssh_known_hosts")],
            agent,
            default_keys: ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| ssh.join(name)).to_vec(),
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(60),
            keepalive: Duration::from_secs(5),
            jobs: "/var/lib/cmsim/jobs".to_owned(),
            ask,
        }
    }
}

/// As whom a script runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sudo {
    /// As the user who logs in.
    No,
    /// As root; with `sudo -n` where the user is not root already.
    Yes,
}

/// What a script said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// Exit code.
    pub code: u32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text, without the white space around it.
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }
}

/// All hosts of a run.
pub struct Hosts {
    targets: BTreeMap<String, Target>,
    settings: Settings,
    keyring: Keyring,
    pool: Mutex<HashMap<String, Slot>>,
}

/// The place of one connection; locked while it is made, so that it is made once.
type Slot = Arc<Mutex<Option<Arc<Connection>>>>;

impl Hosts {
    /// Hosts by node name. Nothing is connected yet.
    pub fn new(targets: BTreeMap<String, Target>, settings: Settings) -> Hosts {
        Hosts { targets, settings, keyring: Keyring::default(), pool: Mutex::default() }
    }

    /// Names of all hosts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.targets.keys().map(String::as_str)
    }

    /// How a host is reached.
    pub fn target(&self, host: &str) -> Option<&Target> {
        self.targets.get(host)
    }

    /// Adds a host, or says anew how it is reached.
    pub fn set_target(&mut self, host: &str, target: Target) {
        self.targets.insert(host.to_owned(), target);
    }

    /// What holds for all hosts.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Runs a script of `/bin/sh` to its end. It is read as a whole before its first line runs, so a connection that breaks
    /// never leaves half a script; its standard input is empty.
    pub async fn run(&self, host: &str, script: &str, sudo: Sudo) -> Result<Output, Error> {
        self.run_within(host, script, sudo, self.settings.command_timeout).await
    }

    /// [`Hosts::run`] with its own time limit. After [`Error::Timeout`] and [`Error::Lost`] the script may still be running.
    pub async fn run_within(&self, host: &str, script: &str, sudo: Sudo, limit: Duration) -> Result<Output, Error> {
        let whole = format!("main() {{\n:\n{script}\n}}\nmain </dev/null\nexit\n");
        self.execute(host, "/bin/sh -s", whole.as_bytes(), sudo, limit).await
    }

    /// Writes a file, whole or not at all, with these permissions (octal, as `chmod` takes them).
    pub async fn upload(&self, host: &str, path: &str, mode: &str, content: &[u8], sudo: Sudo) -> Result<(), Error> {
        // The length tells a broken connection from the end of the file.
        let script = format!(
            "umask 077; new={new}; cat >\"$new\" && [ \"$(wc -c <\"$new\")\" -eq {length} ] && chmod {mode} \"$new\" && \
             mv -f \"$new\" {path} || {{ rm -f \"$new\"; exit 1; }}",
            new = quote(&format!("{path}.cmsim-new")),
            length = content.len(),
            mode = quote(mode),
            path = quote(path),
        );
        let command = format!("/bin/sh -c {}", quote(&script));
        let output = self.execute(host, &command, content, sudo, self.settings.command_timeout).await?;
        match output.code {
            0 => Ok(()),
            code => Err(self.failed(host, &format!("writing {path} failed ({code}): {}", output.complaint()))),
        }
    }

    /// Reads a file.
    pub async fn download(&self, host: &str, path: &str, sudo: Sudo) -> Result<Vec<u8>, Error> {
        let output = self.run(host, &format!("cat -- {}", quote(path)), sudo).await?;
        match output.code {
            0 => Ok(output.stdout),
            code => Err(self.failed(host, &format!("reading {path} failed ({code}): {}", output.complaint()))),
        }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        for (_, slot) in self.pool.lock().await.drain() {
            if let Some(connection) = slot.lock().await.take() {
                connection.close().await;
            }
        }
    }

    fn failed(&self, host: &str, why: &str) -> Error {
        Error::Command {
            host: self.targets.get(host).map_or(host.to_owned(), |target| target.label(host)),
            why: why.to_owned(),
        }
    }

    /// Runs a command with this standard input. A connection that turns out to be broken before the command was sent is made
    /// anew, once; afterwards nobody knows whether it ran.
    async fn execute(
        &self,
        host: &str,
        command: &str,
        input: &[u8],
        sudo: Sudo,
        limit: Duration,
    ) -> Result<Output, Error> {
        let why = || "is not in the inventory".to_owned();
        let target = self.targets.get(host).ok_or_else(|| Error::Inventory { host: host.to_owned(), why: why() })?;
        let mut again = true;
        loop {
            let connection = self.connection(&target.label(host), target).await?;
            match connection.execute(command, input, sudo, limit).await {
                Ok(output) => return Ok(output),
                Err(Failed::Before(_)) if again => {
                    again = false;
                    self.forget(target, &connection).await;
                }
                Err(Failed::Before(error) | Failed::Perhaps(error)) => {
                    if matches!(error, Error::Lost { .. }) {
                        self.forget(target, &connection).await;
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The connection to a host, made if there is none that works.
    async fn connection(&self, label: &str, target: &Target) -> Result<Arc<Connection>, Error> {
        let slot = Arc::clone(self.pool.lock().await.entry(target.route()).or_default());
        let mut place = slot.lock().await;
        if let Some(connection) = place.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        let via = match target.through() {
            Some(jump) => Some(Box::pin(self.connection(&jump.label("jump host"), &jump)).await?),
            None => None,
        };
        let connection = Arc::new(Connection::make(label, target, via, &self.settings, &self.keyring).await?);
        *place = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Drops a broken connection, unless somebody has made a new one already.
    async fn forget(&self, target: &Target, broken: &Arc<Connection>) {
        let slot = Arc::clone(self.pool.lock().await.entry(target.route()).or_default());
        let mut place = slot.lock().await;
        if place.as_ref().is_some_and(|connection| Arc::ptr_eq(connection, broken)) {
            *place = None;
        }
    }
}

/// A word as `/bin/sh` reads it, whatever characters stand in it (but NUL, which no argument can hold).
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
