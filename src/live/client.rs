//! The way to the API server: kubeconfig and context as kubectl takes them.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::cluster::Version;

/// A client with what it is connected to.
#[derive(Clone)]
pub struct Connection {
    /// The client.
    pub client: Client,
    /// Address of the API server.
    pub server: String,
    /// Context of the kubeconfig; empty inside a cluster.
    pub context: String,
    /// Version of the API server.
    pub version: Option<Version>,
}

/// Connects as kubectl would: `--kubeconfig`, else `KUBECONFIG`, else `~/.kube/config`, else the pod's own account.
///
/// # Errors
///
/// No configuration, an unknown context, no answer.
pub async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<Connection> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let (config, name) = match kubeconfig {
        Some(file) => {
            let read = Kubeconfig::read_from(file).with_context(|| format!("reading kubeconfig {}", file.display()))?;
            named(read, &options).await?
        }
        None => match Kubeconfig::read() {
            Ok(read) => named(read, &options).await?,
            Err(_) if context.is_none() => {
                let inside = Config::incluster().context(
                    "no cluster to connect to: give --kubeconfig FILE, set KUBECONFIG, or read a dump with -f FILE",
                )?;
                (inside, String::new())
            }
            Err(error) => return Err(error).context("reading the kubeconfig"),
        },
    };
    let server = config.cluster_url.to_string();
    let mut config = config;
    config.connect_timeout = Some(Duration::from_secs(10));
    config.write_timeout = Some(Duration::from_secs(30));
    // kube would send a refused eviction (429) up to 15 times by itself, for minutes, unseen: the engine decides when to try again.
    config.default_retry = false;
    let client = Client::try_from(config).context("building a client from the kubeconfig")?;
    let info = client.apiserver_version().await.with_context(|| format!("asking {server} for its version"))?;
    Ok(Connection { client, server, context: name, version: info.git_version.parse().ok() })
}

async fn named(read: Kubeconfig, options: &KubeConfigOptions) -> anyhow::Result<(Config, String)> {
    let name = options.context.clone().or_else(|| read.current_context.clone()).unwrap_or_default();
    let known: Vec<String> = read.contexts.iter().map(|context| context.name.clone()).collect();
    let config = Config::from_custom_kubeconfig(read, options)
        .await
        .with_context(|| format!("using context {name:?}; the kubeconfig has: {}", known.join(", ")))?;
    Ok((config, name))
}

/// An answer to a request whose refusals mean something.
pub(super) struct Answer {
    /// HTTP code.
    pub(super) code: u16,
    /// Text of the answer.
    pub(super) message: String,
    /// Reason and text of each cause.
    pub(super) causes: Vec<(String, String)>,
    /// `Retry-After` header, else `retryAfterSeconds`; 0 when absent.
    pub(super) retry_after_seconds: u32,
}

impl Answer {
    /// Text of the answer, with its first cause.
    pub(super) fn text(&self) -> String {
        match self.causes.first() {
            Some((_, cause)) => format!("{} {cause}", self.message),
            None => self.message.clone(),
        }
    }
}

/// Posts a body and takes the answer as it is. kube's own `evict` writes the options in a field that the API server does not know
/// (`delete_options`), so that preconditions and grace would be lost; and its errors leave the headers out.
pub(super) async fn post(connection: &Connection, path: &str, body: &serde_json::Value) -> anyhow::Result<Answer> {
    let request = http::Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(kube::client::Body::from(serde_json::to_vec(body)?))?;
    let answer = connection.client.send(request).await?;
    let code = answer.status().as_u16();
    let header = answer.headers().get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let bytes = answer.into_body().collect_bytes().await?;
    let status: kube::core::Status = serde_json::from_slice(&bytes).unwrap_or_else(|_| kube::core::Status::success());
    let details = status.details.as_ref();
    let causes = details.into_iter().flat_map(|details| &details.causes);
    let causes = causes.map(|cause| (cause.reason.clone(), cause.message.clone())).collect();
    let in_body = details.map_or(0, |details| details.retry_after_seconds);
    Ok(Answer { code, message: status.message.clone(), causes, retry_after_seconds: header.unwrap_or(in_body) })
}
