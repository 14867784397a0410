//! What a test needs that talks to a host over SSH, wherever the host is: on loopback, or in a container (`tests/containers`).

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use cmsim::cluster::Millis;
use cmsim::live::ssh::{Hosts, JobState, Settings, Target};
use cmsim::recipe::{Job, JobStep};

/// No test may take longer.
const LIMIT: Duration = Duration::from_secs(120);

pub fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let end = runtime.block_on(async { tokio::time::timeout(LIMIT, test).await.expect("the test takes too long") });
    runtime.shutdown_background();
    end
}

/// The one host `n1`.
pub fn one(target: Target, settings: Settings) -> Hosts {
    Hosts::new(BTreeMap::from([("n1".to_owned(), target)]), settings)
}

/// Settings with the keys of the folder's `known_hosts` known, no agent, and nobody to ask.
pub fn settings(folder: &Path) -> Settings {
    let nobody = |file: &Path| Err(std::io::Error::other(format!("nobody to ask for {}", file.display())));
    let mut settings = Settings::of_user(folder, None, Arc::new(nobody));
    settings.known_hosts = vec![folder.join("known_hosts")];
    settings
}

pub fn keygen(file: &Path, kind: &str, passphrase: &str) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", kind, "-N", passphrase, "-C", "test", "-f"]).arg(file);
    assert!(command.status().unwrap().success());
}

/// Ports below those that the kernel gives to clients, so that nobody takes one in between.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = (std::process::id() % 180) as u16 * 50;
    loop {
        let port = 20_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub fn step(name: &str, run: &str) -> JobStep {
    JobStep {
        name: name.to_owned(),
        check: String::new(),
        run: run.to_owned(),
        verify: String::new(),
        timeout: Millis::secs(20),
        once: false,
    }
}

pub fn job(id: &str, steps: Vec<JobStep>) -> Job {
    Job { id: id.to_owned(), steps }
}

/// Waits until nothing goes on any more, as an operator does who runs the command again after every error.
pub async fn end(hosts: &Hosts, job: &Job) -> JobState {
    loop {
        match hosts.ensure_job("n1", job).await {
            Ok(state) if state.is_over() => return state,
            Ok(_) => {}
            Err(error) => assert!(error.is_unreachable(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
