//! One connection: the host's key verified, the user logged in, commands run over channels of it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Config, Handle};
use russh::keys::{Algorithm, PublicKey, PublicKeyOrCertificate};
use russh::{ChannelMsg, Disconnect, Preferred};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::auth::{Keyring, log_in};
use super::known_hosts::{KnownHosts, Verdict, fingerprint, lookup_name};
use super::{Error, Output, Settings, Sudo, Target, quote};

/// Most bytes that a command may write to either stream.
const MOST_OUTPUT: usize = 64 << 20;
/// How long logging in may take: an agent may have to ask somebody.
const LOG_IN: Duration = Duration::from_secs(60);

/// A live connection.
pub struct Connection {
    handle: Handle<Verifier>,
    label: String,
    user: String,
    /// How a command becomes root's: prefix of it.
    root: OnceCell<&'static str>,
    /// Keeps the connection alive that this one goes through.
    _via: Option<Arc<Connection>>,
}

/// A command that did not come to its end.
pub enum Failed {
    /// It was never sent.
    Before(Error),
    /// It was sent; nobody knows how far it came.
    Perhaps(Error),
}

impl Connection {
    /// Connects, verifies the host's key and logs in.
    pub async fn make(
        label: &str,
        target: &Target,
        via: Option<Arc<Connection>>,
        settings: &Settings,
        keyring: &Keyring,
    ) -> Result<Connection, Error> {
        let name = target
            .host_key_alias
            .as_ref()
            .map_or_else(|| lookup_name(&target.address, target.port), |alias| alias.to_lowercase());
        let known = KnownHosts::read(&settings.known_hosts)?;
        let config = Arc::new(config(&known.algorithms(&name), settings));
        let add_to = settings.known_hosts.first().map_or_else(String::new, |file| file.display().to_string());
        let verifier = Verifier { label: label.to_owned(), name, known, add_to };
        let fail = |why: String| Error::Unreachable { host: label.to_owned(), why };
        let opened = timeout(settings.connect_timeout, open(target, via.as_deref(), config, verifier)).await;
        let mut handle = match opened {
            Ok(Ok(handle)) => handle,
            Ok(Err(Refused::Key(error))) => return Err(*error),
            Ok(Err(Refused::Ssh(error))) => return Err(fail(error.to_string())),
            Err(_) => return Err(fail(format!("no answer within {} s", settings.connect_timeout.as_secs_f32()))),
        };
        let late = |_| Error::Unreachable { host: label.to_owned(), why: "logging in takes too long".to_owned() };
        timeout(LOG_IN, log_in(&mut handle, label, target, settings, keyring)).await.map_err(late)??;
        Ok(Connection { handle, label: label.to_owned(), user: target.user.clone(), root: OnceCell::new(), _via: via })
    }

    /// The connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Says good-bye.
    pub async fn close(&self) {
        // The other side may have gone already.
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
    }

    /// Runs a command with this standard input, as root if asked for.
    pub async fn execute(&self, command: &str, input: &[u8], sudo: Sudo, limit: Duration) -> Result<Output, Failed> {
        let prefix = match sudo {
            Sudo::No => "",
            Sudo::Yes => self.root.get_or_try_init(|| self.become_root(limit)).await?,
        };
        self.call(&format!("{prefix}{command}"), input, limit).await
    }

    /// How this user becomes root. Nothing of the operator's has been sent when this fails.
    async fn become_root(&self, limit: Duration) -> Result<&'static str, Failed> {
        let before = |failed| match failed {
            Failed::Before(error) | Failed::Perhaps(error) => Failed::Before(error),
        };
        let id = self.call("id -u", b"", limit).await.map_err(before)?;
        if id.text().trim() == "0" {
            return Ok("");
        }
        let tried = self.call("sudo -n /bin/sh -c :", b"", limit).await.map_err(before)?;
        if tried.code == 0 {
            return Ok("sudo -n ");
        }
        let why = match tried.code {
            127 => "there is no sudo on the host".to_owned(),
            code => format!("{} (exit code {code})", tried.complaint()),
        };
        Err(Failed::Perhaps(Error::Sudo { host: self.label.clone(), user: self.user.clone(), why }))
    }

    async fn call(&self, command: &str, input: &[u8], limit: Duration) -> Result<Output, Failed> {
        let lost = |why: String| Error::Lost { host: self.label.clone(), why };
        let late = || Error::Timeout { host: self.label.clone(), what: "a command".to_owned(), limit };
        let opened = timeout(limit, self.handle.channel_open_session()).await;
        let channel = opened.map_err(|_| Failed::Before(late()))?;
        let channel = channel.map_err(|error| Failed::Before(lost(error.to_string())))?;
        let (mut incoming, outgoing) = channel.split();
        let work = async {
            outgoing.exec(true, command).await.map_err(|error| lost(error.to_string()))?;
            // What the command does not read is no error of ours.
            let feed = async {
                if outgoing.data(input).await.is_ok() {
                    let _ = outgoing.eof().await;
                }
            };
            let mut feed = std::pin::pin!(feed);
            let mut fed = false;
            let mut said = Said::default();
            loop {
                let message = tokio::select! {
                    () = &mut feed, if !fed => {
                        fed = true;
                        continue;
                    }
                    message = incoming.wait() => message,
                };
                match message {
                    Some(message) => said.hear(message).map_err(|why| self.command(why))?,
                    None => return said.end(&self.label),
                }
            }
        };
        let done = timeout(limit, work).await;
        if !matches!(done, Ok(Ok(_))) {
            // Best effort: the connection may be gone.
            let _ = timeout(Duration::from_secs(1), outgoing.close()).await;
        }
        done.map_err(|_| Failed::Perhaps(late()))?.map_err(Failed::Perhaps)
    }

    fn command(&self, why: String) -> Error {
        Error::Command { host: self.label.clone(), why }
    }
}

/// What came of a command so far.
#[derive(Default)]
struct Said {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    code: Option<u32>,
    signal: Option<String>,
}

impl Said {
    fn hear(&mut self, message: ChannelMsg) -> Result<(), String> {
        match message {
            ChannelMsg::Data { data } => self.stdout.extend_from_slice(&data),
            ChannelMsg::ExtendedData { data, ext: 1 } => self.stderr.extend_from_slice(&data),
            ChannelMsg::ExitStatus { exit_status } => self.code = Some(exit_status),
            ChannelMsg::ExitSignal { signal_name, .. } => self.signal = Some(format!("{signal_name:?}")),
            ChannelMsg::Failure => return Err("the host refuses to run commands for this user".to_owned()),
            _ => {}
        }
        if self.stdout.len().max(self.stderr.len()) > MOST_OUTPUT {
            return Err(format!("the command wrote more than {} MB", MOST_OUTPUT >> 20));
        }
        Ok(())
    }

    fn end(self, label: &str) -> Result<Output, Error> {
        let host = || label.to_owned();
        match (self.code, self.signal) {
            (Some(code), _) => Ok(Output { code, stdout: self.stdout, stderr: self.stderr }),
            // So does a host that goes down.
            (None, Some(signal)) => {
                Err(Error::Lost { host: host(), why: format!("the command was ended by {signal}") })
            }
            (None, None) => Err(Error::Lost { host: host(), why: "the connection broke".to_owned() }),
        }
    }
}

/// Why a connection was not made.
#[derive(Debug)]
pub enum Refused {
    /// The host's key.
    Key(Box<Error>),
    /// Anything else.
    Ssh(russh::Error),
}

impl From<russh::Error> for Refused {
    fn from(error: russh::Error) -> Refused {
        Refused::Ssh(error)
    }
}

async fn open(
    target: &Target,
    via: Option<&Connection>,
    config: Arc<Config>,
    verifier: Verifier,
) -> Result<Handle<Verifier>, Refused> {
    match via {
        None => client::connect(config, (target.address.as_str(), target.port), verifier).await,
        Some(jump) => {
            let address = target.address.as_str();
            let tunnel = jump.handle.channel_open_direct_tcpip(address, u32::from(target.port), "127.0.0.1", 0).await?;
            client::connect_stream(config, tunnel.into_stream(), verifier).await
        }
    }
}

fn config(known: &[Algorithm], settings: &Settings) -> Config {
    // The types that are recorded for the host come first; the hash of an RSA key is none of its type.
    let rsa = |one: &Algorithm| matches!(one, Algorithm::Rsa { .. });
    let recorded = |offer: &Algorithm| known.iter().any(|one| one == offer || (rsa(one) && rsa(offer)));
    let (mut keys, others): (Vec<Algorithm>, Vec<Algorithm>) =
        Preferred::DEFAULT.key.iter().cloned().partition(recorded);
    keys.extend(others);
    Config {
        preferred: Preferred { key: Cow::Owned(keys), ..Preferred::DEFAULT },
        keepalive_interval: Some(settings.keepalive),
        keepalive_max: 3,
        nodelay: true,
        ..Config::default()
    }
}

/// Holds the host's key against the known ones.
pub struct Verifier {
    label: String,
    name: String,
    known: KnownHosts,
    /// File that new keys are to be added to.
    add_to: String,
}

impl client::Handler for Verifier {
    type Error = Refused;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Refused> {
        self.judge(&key.public_key()).map_err(|error| Refused::Key(Box::new(error)))?;
        Ok(true)
    }
}

impl Verifier {
    fn judge(&self, key: &PublicKey) -> Result<(), Error> {
        let host = self.label.clone();
        let algorithm = key.algorithm().to_string();
        let fingerprint = fingerprint(key);
        match self.known.verify(&self.name, key) {
            Verdict::Known => Ok(()),
            Verdict::Unknown { authority } => {
                let note = if authority { " (certificate authorities in known_hosts are not used)" } else { "" };
                let mut bare = key.clone();
                bare.set_comment("");
                let line = format!("{} {}", self.name, bare.to_openssh().unwrap_or_default().trim());
                let command = format!("echo {} >> {}", quote(&line), quote(&self.add_to));
                Err(Error::UnknownKey { host, algorithm, fingerprint, note: note.to_owned(), command })
            }
            Verdict::Changed(old) => {
                let shown = format!("{algorithm} {fingerprint}");
                let recorded = format!("{} {}", old.key.algorithm(), super::fingerprint(&old.key));
                let file = quote(&old.file.display().to_string());
                let command = format!("ssh-keygen -R {} -f {file}", quote(&self.name)).into();
                Err(Error::ChangedKey { host, shown, recorded, file: old.file, line: old.line, command })
            }
            Verdict::Revoked(mark) => {
                Err(Error::RevokedKey { host, algorithm, fingerprint, file: mark.file, line: mark.line })
            }
        }
    }
}
