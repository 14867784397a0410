//! What can go wrong on the way to a host, said so that the operator can put it right.

use std::path::PathBuf;
use std::time::Duration;

/// Why something could not be done on a host.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The inventory does not know the host, or not enough of it.
    #[error("{host}: {why}")]
    Inventory {
        /// Node name.
        host: String,
        /// What is missing.
        why: String,
    },
    /// No connection: refused, no route, no name, no answer in time.
    #[error("{host} cannot be reached: {why}")]
    Unreachable {
        /// Host as the operator knows it, with its address.
        host: String,
        /// Cause.
        why: String,
    },
    /// Nobody has said yet that this key is the host's.
    #[error(
        "the host key of {host} is not known: {algorithm} {fingerprint}{note}\n\
         compare it with the host's own (on its console: for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $key; done),\n\
         and if it is the same, accept it with:\n  {command}"
    )]
    UnknownKey {
        /// Host with its address.
        host: String,
        /// Type of the key, for example `ssh-ed25519`.
        algorithm: String,
        /// `SHA256:...` as `ssh-keygen -l` prints it.
        fingerprint: String,
        /// More about it, or empty.
        note: String,
        /// The command that accepts exactly this key.
        command: String,
    },
    /// The host shows another key than the recorded one.
    #[error(
        "THE HOST KEY OF {host} HAS CHANGED: it shows {shown}, but {file} line {line} has {recorded}\n\
         somebody may be listening in between, or the host was set up anew; find out which. If it was set up anew, remove the old \
         key with:\n  {command}"
    )]
    ChangedKey {
        /// Host with its address.
        host: String,
        /// Type and fingerprint of the key that was shown.
        shown: String,
        /// Type and fingerprint of the recorded key.
        recorded: String,
        /// File of the recorded key.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The command that removes it.
        command: Box<str>,
    },
    /// The key is marked as revoked.
    #[error("the host key of {host} is revoked: {algorithm} {fingerprint} in {file} line {line}")]
    RevokedKey {
        /// Host with its address.
        host: String,
        /// Type of the key.
        algorithm: String,
        /// Its fingerprint.
        fingerprint: String,
        /// File with the mark.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
    /// A file of the operator's cannot be read or makes no sense.
    #[error("{file}: {why}")]
    File {
        /// Which.
        file: PathBuf,
        /// Cause.
        why: String,
    },
    /// The host does not let the user in.
    #[error("{host} does not let {user} in; tried {tried}")]
    Denied {
        /// Host with its address.
        host: String,
        /// User.
        user: String,
        /// Keys that were offered.
        tried: String,
    },
    /// `sudo` does not work without a password.
    #[error(
        "{user} on {host} may not use sudo without a password: {why}\n\
         allow it on the host with:\n  echo '{user} ALL=(root) NOPASSWD: /bin/sh' > /etc/sudoers.d/cmsim"
    )]
    Sudo {
        /// Host with its address.
        host: String,
        /// User.
        user: String,
        /// What sudo said.
        why: String,
    },
    /// The command did not end in time. It may still be running.
    #[error("{host} did not finish within {} s: {what}", limit.as_secs_f32())]
    Timeout {
        /// Host with its address.
        host: String,
        /// What was being done.
        what: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection broke while the command may have been running, or something on the host ended the command.
    #[error("the session with {host} was lost: {why}")]
    Lost {
        /// Host with its address.
        host: String,
        /// Cause.
        why: String,
    },
    /// The command could not be run, or wrote what cannot be taken.
    #[error("{host}: {why}")]
    Command {
        /// Host with its address.
        host: String,
        /// What happened.
        why: String,
    },
}

impl Error {
    /// The host may answer later: nothing is wrong but the network or the host itself.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Error::Unreachable { .. } | Error::Timeout { .. } | Error::Lost { .. })
    }
}
