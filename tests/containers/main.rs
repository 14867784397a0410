//! Real components where one of them is enough, each in a container of its own that ends with its case: a host with sshd, and an
//! HAProxy. testcontainers drives Docker; the images are this machine's own (`ci/containers`), none is pulled.
//!
//! `CMSIM_IMAGES=$(ci/containers) cargo test --test containers [CASE...]`

#[path = "../ssh/ground.rs"]
mod ground;
mod host;
mod proxy;
#[path = "../suite/mod.rs"]
mod suite;

use std::process::ExitCode;
use std::time::Duration;

use testcontainers::core::ExecCommand;
use testcontainers::{Container, ContainerRequest, GenericImage, ImageExt};

/// What Docker may take to start a container.
const START: Duration = Duration::from_secs(60);

const ALL: &[suite::Case<Images>] = &[
    ("an HAProxy drains a server to its last session and takes it back", proxy::drains_a_server_and_takes_it_back),
    ("an HAProxy without the server is named", proxy::without_the_server_is_named),
    ("a host's keys are kept to strictly", host::keys_are_kept_to_strictly),
    ("a host lets its user become root", host::lets_its_user_become_root),
    ("a Debian host tells its facts", host::tells_its_facts),
    ("a host that is frozen runs its job once", host::that_is_frozen_runs_its_job_once),
];

fn main() -> ExitCode {
    let images = std::env::var("CMSIM_IMAGES").ok().map(Images);
    suite::run("containers", ALL, images.as_ref(), "CMSIM_IMAGES=$(ci/containers)")
}

/// Images by name, as `ci/containers` prints them: `sshd=NAME:TAG haproxy=NAME:TAG`. What is named there must be there.
struct Images(String);

impl Images {
    fn get(&self, name: &str) -> GenericImage {
        for word in self.0.split_whitespace() {
            if let Some((image, tag)) = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')?.split_once(':'))
            {
                return GenericImage::new(image, tag);
            }
        }
        panic!("CMSIM_IMAGES names no {name}: {}", self.0)
    }
}

/// Starts a container. It is removed when the value goes, also by a panic.
fn start(request: ContainerRequest<GenericImage>) -> Container<GenericImage> {
    use testcontainers::runners::SyncRunner;
    request.with_startup_timeout(START).start().unwrap_or_else(|error| panic!("the container does not start: {error}"))
}

/// What a script says that runs in a container as root, not by way of SSH.
fn inside(container: &Container<GenericImage>, script: &str) -> String {
    blocking(|| {
        let mut result = container.exec(ExecCommand::new(["/bin/sh", "-euc", script])).unwrap();
        let text = String::from_utf8(result.stdout_to_vec().unwrap()).unwrap();
        let (complaint, code) = (result.stderr_to_vec().unwrap(), result.exit_code().unwrap());
        assert_eq!(code, Some(0), "{script}: {text}{}", String::from_utf8_lossy(&complaint));
        text
    })
}

/// What asks Docker, from anywhere: testcontainers has a runtime of its own and waits for it.
fn blocking<T>(ask: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(ask)
}
