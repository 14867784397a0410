//! Hosts over SSH, against a real sshd on loopback that each test starts for itself.

mod access;
mod api;
mod before;
mod facts;
mod jobs;
mod played;
mod recipes;
mod sshd;
mod traffic;
mod work;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use cmsim::live::ssh::{Hosts, Settings, Target};

use sshd::Sshd;

/// No test may take longer.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs a test to its end, unless sshd is missing.
fn with_sshd<F: Future<Output = ()>>(test: impl FnOnce(Sshd) -> F) {
    let Some(sshd) = Sshd::start("") else { return };
    block_on(test(sshd));
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, test).await.expect("the test takes too long") });
    runtime.shutdown_background();
}

/// The one host `n1`.
fn one(target: Target, settings: Settings) -> Hosts {
    Hosts::new(BTreeMap::from([("n1".to_owned(), target)]), settings)
}
