//! Hosts over SSH, against a real sshd on loopback that each test starts for itself.

mod access;
mod api;
mod before;
mod facts;
mod ground;
mod jobs;
mod played;
mod recipes;
mod sshd;
#[path = "../suite/terminal.rs"]
mod terminal;
mod traffic;
mod work;

use std::future::Future;

use ground::{block_on, one};
use sshd::Sshd;

/// Runs a test to its end, unless sshd is missing.
fn with_sshd<F: Future<Output = ()>>(test: impl FnOnce(Sshd) -> F) {
    let Some(sshd) = Sshd::start("") else { return };
    block_on(test(sshd));
}
