//! Getting in: identities of an agent first, then key files. An encrypted file is asked for once, whatever the number of hosts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, decode_secret_key};
use tokio::sync::Mutex;

use super::connection::Verifier;
use super::known_hosts::fingerprint;
use super::{Ask, Error, Settings, Target};

/// A host that hangs up after fewer keys than this has not done so because of them (MaxAuthTries of sshd is 6).
const FEW_KEYS: usize = 3;
/// How often a passphrase may be mistyped.
const TRIES: usize = 3;

/// Keys that were read; `None`: could not be decrypted, and is not asked for again.
#[derive(Default)]
pub struct Keyring {
    keys: Mutex<HashMap<PathBuf, Option<Arc<PrivateKey>>>>,
}

impl Keyring {
    async fn load(&self, file: &Path, ask: &Ask) -> Result<Arc<PrivateKey>, Error> {
        let fail = |why: String| Error::File { file: file.to_owned(), why };
        // Held while the operator types: other hosts wait for the same answer.
        let mut keys = self.keys.lock().await;
        if let Some(known) = keys.get(file) {
            return known.clone().ok_or_else(|| fail("the key could not be decrypted".to_owned()));
        }
        let text = std::fs::read_to_string(file).map_err(|error| fail(error.to_string()))?;
        let key = match decode_secret_key(&text, None) {
            Ok(key) => key,
            Err(russh::keys::Error::KeyIsEncrypted) => match decrypt(file, &text, ask).await {
                Ok(key) => key,
                Err(why) => {
                    keys.insert(file.to_owned(), None);
                    return Err(fail(why));
                }
            },
            Err(error) => return Err(fail(format!("is no private key that can be used: {error}"))),
        };
        let key = Arc::new(key);
        keys.insert(file.to_owned(), Some(Arc::clone(&key)));
        Ok(key)
    }
}

async fn decrypt(file: &Path, text: &str, ask: &Ask) -> Result<PrivateKey, String> {
    for _ in 0..TRIES {
        let (file, ask) = (file.to_owned(), Arc::clone(ask));
        let answer = tokio::task::spawn_blocking(move || ask(&file)).await;
        let passphrase = answer.map_err(|error| error.to_string())?;
        let passphrase = passphrase.map_err(|error| format!("is encrypted, and cannot be asked for: {error}"))?;
        if let Ok(key) = decode_secret_key(text, Some(&passphrase)) {
            return Ok(key);
        }
    }
    Err(format!("the passphrase was wrong {TRIES} times"))
}

/// The public half of a key file, without a passphrase.
fn public_key(file: &Path) -> Option<PublicKey> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".pub");
    if let Ok(key) = PublicKey::read_openssh_file(Path::new(&beside)) {
        return Some(key);
    }
    // OpenSSH's own format keeps it outside of what is encrypted.
    PrivateKey::from_openssh(std::fs::read(file).ok()?).ok().map(|key| key.public_key().clone())
}

/// Logs in. `label` names the host in errors.
pub async fn log_in(
    handle: &mut Handle<Verifier>,
    label: &str,
    target: &Target,
    settings: &Settings,
    keyring: &Keyring,
) -> Result<(), Error> {
    let mut login = Login { handle, label, user: &target.user, tried: Vec::new() };
    let named = !target.keys.is_empty();
    let there = |file: &&PathBuf| named || file.exists();
    let keys = if named { &target.keys } else { &settings.default_keys };
    let keys: Vec<&PathBuf> = keys.iter().filter(there).collect();
    let mut offered = Vec::new();
    if let Some(agent) = &settings.agent {
        let wanted: Vec<PublicKey> = keys.iter().filter_map(|file| public_key(file)).collect();
        let wanted = named.then_some(&wanted[..]);
        if login.with_agent(agent, wanted, &mut offered).await? {
            return Ok(());
        }
    }
    for file in keys {
        if public_key(file).is_some_and(|key| offered.iter().any(|one: &PublicKey| one.key_data() == key.key_data())) {
            continue;
        }
        let key = keyring.load(file, &settings.ask).await?;
        let hash = login.hash(key.public_key()).await?;
        let what = format!("{} ({})", file.display(), fingerprint(key.public_key()));
        let answer = login.handle.authenticate_publickey(login.user, PrivateKeyWithHashAlg::new(key, hash)).await;
        if login.accepted(what, answer.map_err(|error| error.to_string()))? {
            return Ok(());
        }
    }
    Err(login.denied())
}

struct Login<'a> {
    handle: &'a mut Handle<Verifier>,
    label: &'a str,
    user: &'a str,
    tried: Vec<String>,
}

impl Login<'_> {
    /// Tries the identities of an agent; only the wanted ones where keys are named, so that a host does not hang up after too
    /// many of them.
    async fn with_agent(
        &mut self,
        socket: &Path,
        wanted: Option<&[PublicKey]>,
        offered: &mut Vec<PublicKey>,
    ) -> Result<bool, Error> {
        let list = async {
            let mut agent = AgentClient::connect_uds(socket).await?;
            let identities = agent.request_identities().await?;
            Ok::<_, russh::keys::Error>((agent, identities))
        };
        let (mut agent, identities) = match list.await {
            Ok(found) => found,
            // ssh goes on without an agent, too; it is named if nothing else works.
            Err(error) => {
                self.tried.push(format!("agent {} ({error})", socket.display()));
                return Ok(false);
            }
        };
        for identity in identities {
            let key = identity.public_key().into_owned();
            if wanted.is_some_and(|wanted| wanted.iter().all(|one| one.key_data() != key.key_data())) {
                continue;
            }
            let hash = self.hash(&key).await?;
            let what = format!("agent's {} ({})", identity.comment(), fingerprint(&key));
            let answer = match identity {
                AgentIdentity::PublicKey { .. } => {
                    self.handle.authenticate_publickey_with(self.user, key.clone(), hash, &mut agent).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    self.handle.authenticate_certificate_with(self.user, certificate, hash, &mut agent).await
                }
            };
            match answer {
                Ok(answer) => {
                    if self.accepted(what, Ok(answer))? {
                        return Ok(true);
                    }
                    offered.push(key);
                }
                Err(error) if self.handle.is_closed() => return Err(self.lost(&error.to_string())),
                // The agent did not sign: another key may do.
                Err(error) => self.tried.push(format!("{what}, which the agent did not sign with: {error}")),
            }
        }
        Ok(false)
    }

    /// How an RSA key signs.
    async fn hash(&self, key: &PublicKey) -> Result<Option<HashAlg>, Error> {
        if !key.algorithm().is_rsa() {
            return Ok(None);
        }
        let best = self.handle.best_supported_rsa_hash().await;
        Ok(best.map_err(|error| self.lost(&error.to_string()))?.unwrap_or(Some(HashAlg::Sha256)))
    }

    fn accepted(&mut self, what: String, answer: Result<AuthResult, String>) -> Result<bool, Error> {
        self.tried.push(what);
        match answer {
            Ok(AuthResult::Success) => Ok(true),
            Ok(AuthResult::Failure { .. }) if self.handle.is_closed() => Err(self.lost("while logging in")),
            Ok(AuthResult::Failure { partial_success, .. }) => {
                if partial_success {
                    self.tried.push("which was accepted, but the host asks for more than a key".to_owned());
                }
                Ok(false)
            }
            Err(why) => Err(self.lost(&why)),
        }
    }

    /// A host hangs up after too many keys; else the connection broke.
    fn lost(&self, why: &str) -> Error {
        if self.tried.len() >= FEW_KEYS {
            return self.denied();
        }
        Error::Lost { host: self.label.to_owned(), why: why.to_owned() }
    }

    fn denied(&self) -> Error {
        let tried = match self.tried.as_slice() {
            [] => "nothing: there is no key file, and no agent with a key".to_owned(),
            tried => tried.join(", "),
        };
        Error::Denied { host: self.label.to_owned(), user: self.user.to_owned(), tried }
    }
}
