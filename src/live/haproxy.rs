//! HAProxy's runtime API.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::Name;
use crate::engine::Trouble;

/// A server of an HAProxy.
pub(super) struct Server {
    pub(super) backend: String,
    pub(super) name: String,
    pub(super) status: String,
    pub(super) sessions: u64,
}

impl Server {
    /// It gets nothing new: drained, in maintenance, or not there.
    pub(super) fn is_drained(&self) -> bool {
        ["DRAIN", "MAINT", "DOWN"].iter().any(|status| self.status.starts_with(status))
    }
}

/// The servers that are called like the node (`show stat`, whose first line names the columns).
pub(super) async fn servers(socket: &str, node: Name) -> Result<Vec<Server>, Trouble> {
    let text = ask(socket, "show stat").await?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().trim_start_matches("# ").split(',').collect();
    let column: BTreeMap<&str, usize> = header.iter().enumerate().map(|(place, &name)| (name, place)).collect();
    let found: Vec<Server> = lines
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let field = |name: &str| fields.get(*column.get(name)?).copied();
            let (backend, name) = (field("pxname")?, field("svname")?);
            (name == node.as_str()).then(|| Server {
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
pub(super) async fn ask(socket: &str, question: &str) -> Result<String, Trouble> {
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
