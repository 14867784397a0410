//! Hooks of the operator around the work on a node: commands of this machine, and requests to somebody's HTTP server.

use std::process::Stdio;
use std::str::FromStr;
use std::time::Duration;

use serde_json::json;

use super::act::Role;
use super::store::reason;
use crate::cluster::{Name, Version};
use crate::engine::Trouble;

/// How long an HTTP server may take for its answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Least time between two requests of the same kind: the engine's own pause ends with any change in the cluster.
const AGAIN: Duration = Duration::from_secs(1);
/// How much of an answer or of what a command says is shown.
const SHOWN: usize = 400;

/// A node, as hooks are told of it.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Its name.
    pub node: Name,
    /// InternalIP, empty when unknown.
    pub address: Name,
    /// What its kubelet ran when the run took it in hand.
    pub from: Option<Version>,
    /// What it runs now.
    pub runs: Option<Version>,
    /// What it gets.
    pub to: Option<Version>,
    /// Its part in the cluster.
    pub role: Role,
}

/// Address of an HTTP hook: `http` or `https`, without name and password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url(http::Uri);

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Url, String> {
        let url: http::Uri = text.parse().map_err(|error| format!("{error}"))?;
        let known = matches!(url.scheme_str(), Some("http" | "https"));
        match url.authority() {
            Some(authority) if known && authority.as_str().contains('@') => {
                Err("names and passwords do not belong in it: use a command hook with curl for that".to_owned())
            }
            Some(_) if known => Ok(Url(url)),
            Some(_) | None => Err("a URL begins with http:// or https:// and names a host".to_owned()),
        }
    }
}

/// Posts `{node, address, action, version}`.
///
/// # Errors
///
/// [`Trouble::Unreachable`] for anything but an answer of 2xx: it is tried again.
pub(super) async fn post(url: &Url, action: &str, visit: &Visit) -> Result<(), Trouble> {
    let failed = |why: String| Trouble::Unreachable(format!("{action} hook {} for node {}: {why}", url.0, visit.node));
    let answer = tokio::time::timeout(ANSWER, send(&url.0, action, visit)).await;
    let why = match answer {
        Ok(Ok(None)) => return Ok(()),
        Ok(Ok(Some(refused))) => refused,
        Ok(Err(error)) => error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": "),
        Err(_) => format!("no answer within {} s", ANSWER.as_secs()),
    };
    tokio::time::sleep(AGAIN).await;
    Err(failed(why))
}

/// `None`: it is done; else what the server answered.
async fn send(url: &http::Uri, action: &str, visit: &Visit) -> anyhow::Result<Option<String>> {
    let mut base = http::Uri::builder().path_and_query("/");
    if let (Some(scheme), Some(authority)) = (url.scheme(), url.authority()) {
        base = base.scheme(scheme.clone()).authority(authority.clone());
    }
    // kube's client is an HTTP client with the system's certificates as any other, once no cluster's account is in it.
    let mut config = kube::Config::new(base.build()?);
    config.default_retry = false;
    let client = kube::Client::try_from(config)?;
    let version = visit.to.map(|version| version.to_string());
    let body = json!({"node": visit.node, "address": visit.address, "action": action, "version": version});
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(kube::client::Body::from(serde_json::to_vec(&body)?))?;
    let answer = client.send(request).await.map_err(|error| anyhow::anyhow!("{}", reason(&error)))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(None);
    }
    let text = answer.into_body().collect_bytes().await.unwrap_or_default();
    Ok(Some(format!("{status} {}", shown(&text)).trim_end().to_owned()))
}

/// Runs a command in a shell with `NODE`, `ADDRESS`, `VERSION`, `FROM` and `ROLE` in its environment. It gets no terminal, and
/// Ctrl-C is not for it: the action in hand is finished.
///
/// # Errors
///
/// [`Trouble::Refused`] where it does not end with 0.
pub(super) async fn command(text: &str, what: &str, visit: &Visit, more: &[(&str, &str)]) -> Result<(), Trouble> {
    let version = |version: Option<Version>| version.map_or(String::new(), |version| version.to_string());
    let run = tokio::process::Command::new("sh")
        .args(["-c", text])
        .env("NODE", visit.node.as_str())
        .env("ADDRESS", visit.address.as_str())
        .env("VERSION", version(visit.to))
        .env("FROM", version(visit.from))
        .env("ROLE", visit.role.as_str())
        .envs(more.iter().copied())
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .output();
    let name = format!("{what} {text:?} for node {}", visit.node);
    let output = run.await.map_err(|error| Trouble::Refused(format!("{name}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    Err(Trouble::Refused(format!("{name} failed ({}): {}", output.status, shown(said))))
}

/// The end of a text, in one line.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(SHOWN)..]);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// A node that is upgraded.
    pub(crate) fn visit() -> Visit {
        Visit {
            node: "n1".into(),
            address: "172.18.0.3".into(),
            from: "v1.36.3".parse().ok(),
            runs: "v1.36.3".parse().ok(),
            to: "v1.37.2".parse().ok(),
            role: Role::Worker,
        }
    }

    /// A server on loopback that gives these answers, one a request, and says what it was asked.
    pub(crate) fn server(answers: &[&'static str]) -> (Url, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/lb?pool=a", listener.local_addr().unwrap()).parse().unwrap();
        let answers = answers.to_vec();
        let serve = move || {
            let answer = |status: &&'static str| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut text = String::new();
                let mut buffer = [0; 4096];
                while !text.ends_with('}') {
                    let read = stream.read(&mut buffer).unwrap();
                    text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
                }
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwords").unwrap();
                text
            };
            answers.iter().map(answer).collect()
        };
        (url, std::thread::spawn(serve))
    }

    #[tokio::test]
    async fn a_server_is_told_of_the_node_and_only_2xx_is_done() {
        let (url, asked) = server(&["204 No Content", "503 Service Unavailable", "302 Found"]);
        post(&url, "stop-routing", &visit()).await.unwrap();
        for status in ["503 Service Unavailable", "302 Found"] {
            let trouble = post(&url, "resume-routing", &visit()).await.unwrap_err();
            assert!(matches!(&trouble, Trouble::Unreachable(text) if text.contains(status)), "{trouble}");
            assert!(trouble.to_string().contains("resume-routing hook http://127.0.0.1"), "{trouble}");
        }
        let asked = asked.join().unwrap();
        assert!(asked[0].starts_with("POST /lb?pool=a HTTP/1.1\r\n"), "{}", asked[0]);
        let body = asked[0].split("\r\n\r\n").nth(1).unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let wanted = json!({"node": "n1", "address": "172.18.0.3", "action": "stop-routing", "version": "v1.37.2"});
        assert_eq!(body, wanted);
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_tried_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let trouble = post(&url, "stop-routing", &visit()).await.unwrap_err();
        assert!(matches!(trouble, Trouble::Unreachable(_)), "{trouble}");
    }

    #[test]
    fn urls_that_cannot_work_are_refused() {
        for text in ["lb.example.com", "/path", "ftp://lb/", "http://", "https://user:word@lb/"] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
        for text in ["http://lb", "https://lb.example.com:8443/x?y=z", "http://[::1]:80/"] {
            assert!(text.parse::<Url>().is_ok(), "{text}");
        }
    }

    #[tokio::test]
    async fn commands_know_the_node_and_their_words_are_kept() {
        let all =
            r#"test "$NODE $ADDRESS $VERSION $FROM $ROLE $OUTCOME" = "n1 172.18.0.3 v1.37.2 v1.36.3 worker done""#;
        command(all, "hook", &visit(), &[("OUTCOME", "done")]).await.unwrap();
        let trouble = command("echo no; exit 3", "hook", &visit(), &[]).await.unwrap_err();
        let text = trouble.to_string();
        assert!(
            matches!(trouble, Trouble::Refused(_)) && text.contains("exit status: 3") && text.ends_with("no"),
            "{text}"
        );
    }
}
