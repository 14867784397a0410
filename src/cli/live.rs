//! Arguments and means that work on a live cluster needs.

use std::future::Future;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cluster::{Cluster, Time};
use crate::live::{self, Connection};

use super::output;

/// Which cluster, in kubectl's words.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Cluster")]
pub struct LiveArgs {
    /// Path of the kubeconfig; else KUBECONFIG, else ~/.kube/config
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl LiveArgs {
    /// Connects.
    pub async fn connect(&self) -> anyhow::Result<Connection> {
        live::connect(self.kubeconfig.as_deref(), self.context.as_deref()).await
    }

    /// Whether a cluster was named.
    pub fn are_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// The arguments as they were given.
    pub fn arguments(&self) -> String {
        let mut words = Vec::new();
        words.extend(
            self.kubeconfig.iter().map(|file| format!("--kubeconfig {}", super::input::quoted(file.as_os_str()))),
        );
        words.extend(self.context.iter().map(|name| format!("--context {}", super::input::quoted(name.as_ref()))));
        words.join(" ")
    }

    /// Reads the cluster once.
    pub fn read(&self) -> anyhow::Result<Cluster> {
        run(async {
            let connection = self.connect().await?;
            let missing = live::missing(&connection, live::Rights::Look).await?;
            anyhow::ensure!(
                missing.is_empty(),
                "this account may not read all that is needed: {}; see docs/rbac.yaml for the least rights",
                missing.join(", ")
            );
            read(&connection).await
        })
    }
}

/// Reads the cluster once, with progress.
pub async fn read(connection: &Connection) -> anyhow::Result<Cluster> {
    let bar = output::spinner("reading the cluster");
    let cluster = live::read(connection, now(), |kind, count| bar.set_message(format!("read {count} {kind}"))).await;
    bar.finish_and_clear();
    cluster.with_context(|| format!("reading the cluster from {}", connection.server))
}

/// The present time.
pub fn now() -> Time {
    Time(jiff::Timestamp::now().as_millisecond())
}

/// Runs asynchronous work to its end.
pub fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.context("starting the runtime")?.block_on(work)
}
