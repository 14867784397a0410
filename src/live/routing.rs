//! Routing of requests around a node under maintenance (M2, M17): hooks that stop it before and resume it after.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::Name;
use crate::engine::Trouble;

/// How long sessions may take to end after routing was stopped, by default.
const SESSIONS: Duration = Duration::from_secs(30);

/// One place where routing is stopped. Part of the plan file (`routing:`).
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Hook {
    /// The runtime socket of an HAProxy: servers that are called like the node are drained.
    Haproxy {
        /// Path of the socket, or `host:port`.
        socket: String,
        /// Backends; all that have a server of the node's name when left out.
        #[serde(default)]
        backends: Vec<String>,
        /// Seconds that sessions may take to end.
        #[serde(default)]
        timeout_seconds: Option<u64>,
    },
    /// Commands of the operator; `NODE` is in their environment.
    Command {
        /// Stops routing.
        stop: String,
        /// Resumes it.
        resume: String,
    },
}

/// All hooks of a run.
#[derive(Clone, Debug, Default)]
pub struct Routing {
    hooks: Vec<Hook>,
}

impl Routing {
    /// Routing by these hooks.
    pub fn new(hooks: Vec<Hook>) -> Routing {
        Routing { hooks }
    }

    /// Whether every place sends to the node.
    pub(super) async fn is_routed(&self, node: Name) -> Result<bool, Trouble> {
        for hook in &self.hooks {
            if let Hook::Haproxy { socket, backends, .. } = hook {
                let servers = servers(socket, backends, node).await?;
                if servers.iter().any(|server| server.status.starts_with("DRAIN") || server.status.starts_with("MAINT"))
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Stops routing to the node, and waits until no session is left or the time for it is over.
    pub(super) async fn stop(&self, node: Name) -> Result<(), Trouble> {
        for hook in &self.hooks {
            match hook {
                Hook::Haproxy { socket, backends, timeout_seconds } => {
                    for server in servers(socket, backends, node).await? {
                        ask(socket, &format!("set server {}/{} state drain", server.backend, server.name)).await?;
                    }
                    let allowed = timeout_seconds.map_or(SESSIONS, Duration::from_secs);
                    let start = tokio::time::Instant::now();
                    loop {
                        let servers = servers(socket, backends, node).await?;
                        let routed = servers.iter().find(|server| !server.is_drained());
                        if let Some(server) = routed {
                            let text = format!("{}/{} is {:?}", server.backend, server.name, server.status);
                            return Err(Trouble::Unreachable(format!(
                                "HAProxy {socket} still sends to {node}: {text}"
                            )));
                        }
                        let sessions: u64 = servers.iter().map(|server| server.sessions).sum();
                        if sessions == 0 || start.elapsed() > allowed {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                }
                Hook::Command { stop, .. } => command(stop, node).await?,
            }
        }
        Ok(())
    }

    /// Resumes routing to the node.
    pub(super) async fn resume(&self, node: Name) -> Result<(), Trouble> {
        for hook in self.hooks.iter().rev() {
            match hook {
                Hook::Haproxy { socket, backends, .. } => {
                    for server in servers(socket, backends, node).await? {
                        ask(socket, &format!("set server {}/{} state ready", server.backend, server.name)).await?;
                    }
                }
                Hook::Command { resume, .. } => command(resume, node).await?,
            }
        }
        Ok(())
    }
}

/// A server of an HAProxy.
struct Server {
    backend: String,
    name: String,
    status: String,
    sessions: u64,
}

impl Server {
    /// It gets nothing new: drained, in maintenance, or not there.
    fn is_drained(&self) -> bool {
        ["DRAIN", "MAINT", "DOWN"].iter().any(|status| self.status.starts_with(status))
    }
}

/// The servers that are called like the node (`show stat`, whose first line names the columns).
async fn servers(socket: &str, backends: &[String], node: Name) -> Result<Vec<Server>, Trouble> {
    let text = ask(socket, "show stat").await?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().trim_start_matches("# ").split(',').collect();
    let column: BTreeMap<&str, usize> = header.iter().enumerate().map(|(place, &name)| (name, place)).collect();
    let found: Vec<Server> = lines
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let field = |name: &str| fields.get(*column.get(name)?).copied();
            let (backend, name) = (field("pxname")?, field("svname")?);
            let meant = name == node.as_str() && (backends.is_empty() || backends.iter().any(|one| one == backend));
            meant.then(|| Server {
                backend: backend.to_owned(),
                name: name.to_owned(),
                status: field("status").unwrap_or_default().to_owned(),
                sessions: field("scur").and_then(|text| text.parse().ok()).unwrap_or(0),
            })
        })
        .collect();
    Ok(found)
}

/// Asks HAProxy's runtime API.
async fn ask(socket: &str, question: &str) -> Result<String, Trouble> {
    async fn exchange(
        mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
        question: &str,
    ) -> std::io::Result<String> {
        stream.write_all(format!("{question}\n").as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }
    let work = async {
        match PathBuf::from(socket) {
            path if path.is_absolute() => exchange(tokio::net::UnixStream::connect(path).await?, question).await,
            _ => exchange(tokio::net::TcpStream::connect(socket).await?, question).await,
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), work).await;
    let text = match answer {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return Err(Trouble::Unreachable(format!("HAProxy {socket}: {error}"))),
        Err(_) => return Err(Trouble::Unreachable(format!("HAProxy {socket} does not answer"))),
    };
    // Commands that worked answer with nothing.
    if question.starts_with("set ") && !text.trim().is_empty() {
        return Err(Trouble::Refused(format!("HAProxy {socket}, {question:?}: {}", text.trim())));
    }
    Ok(text)
}

async fn command(text: &str, node: Name) -> Result<(), Trouble> {
    let run =
        tokio::process::Command::new("sh").arg("-c").arg(text).env("NODE", node.as_str()).kill_on_drop(true).output();
    let output = run.await.map_err(|error| Trouble::Refused(format!("{text:?}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Trouble::Refused(format!("routing hook {text:?} for node {node} failed ({}): {}", output.status, words.trim())))
}
