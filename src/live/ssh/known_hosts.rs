//! Keys of hosts that the operator has accepted, in OpenSSH's `known_hosts` format (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
//! Stricter than ssh in one thing: a key recorded for port 22 does not count for other ports.

use std::path::{Path, PathBuf};

use ring::hmac;
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{Algorithm, HashAlg, PublicKey};

use super::Error;

/// What the files say of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Recorded for this host.
    Known,
    /// Nothing is recorded for this host. `authority`: but a certificate authority is, which is not supported.
    Unknown {
        /// A `@cert-authority` line matches the host.
        authority: bool,
    },
    /// Another key is recorded for this host.
    Changed(Recorded),
    /// This key is marked `@revoked`.
    Revoked(Recorded),
}

/// A recorded key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// File.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// The key.
    pub key: PublicKey,
}

/// All lines of the files.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts {
    entries: Vec<(PathBuf, usize, Entry)>,
}

impl KnownHosts {
    /// Reads files; one that is not there yet is empty.
    pub fn read(files: &[PathBuf]) -> Result<KnownHosts, Error> {
        let mut known = KnownHosts::default();
        for file in files {
            match std::fs::read(file) {
                Ok(bytes) => known.add(file, &String::from_utf8_lossy(&bytes))?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::File { file: file.clone(), why: error.to_string() }),
            }
        }
        Ok(known)
    }

    /// Adds the lines of a file. What cannot be read is left out, as ssh does it; a `@revoked` line must not be lost that way.
    fn add(&mut self, file: &Path, text: &str) -> Result<(), Error> {
        for (index, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.first().is_none_or(|first| first.starts_with('#')) {
                continue;
            }
            match words.join(" ").parse::<Entry>() {
                Ok(entry) => self.entries.push((file.to_owned(), index + 1, entry)),
                Err(error) if words[0] == Marker::Revoked.as_str() => {
                    let why = format!("line {}: {error} in a {} line", index + 1, words[0]);
                    return Err(Error::File { file: file.to_owned(), why });
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Judges the key that a host shows; `name` as [`lookup_name`] makes it.
    pub fn verify(&self, name: &str, key: &PublicKey) -> Verdict {
        let mut verdict = Verdict::Unknown { authority: false };
        for (file, line, entry) in self.entries.iter().filter(|(.., entry)| matches(entry.host_patterns(), name)) {
            let same = entry.public_key().key_data() == key.key_data();
            let recorded = || Recorded { file: file.clone(), line: *line, key: entry.public_key().clone() };
            match (entry.marker(), same) {
                (Some(Marker::Revoked), true) => return Verdict::Revoked(recorded()),
                (Some(Marker::Revoked), false) => {}
                (Some(Marker::CertAuthority), _) => {
                    if verdict == (Verdict::Unknown { authority: false }) {
                        verdict = Verdict::Unknown { authority: true };
                    }
                }
                // A host may have several keys of a type while it changes them: one match is enough.
                (None, true) => verdict = Verdict::Known,
                (None, false) => {
                    if matches!(verdict, Verdict::Unknown { .. }) {
                        verdict = Verdict::Changed(recorded());
                    }
                }
            }
        }
        verdict
    }

    /// Types of the keys recorded for a host: they are asked for first, so that it does not show another type.
    pub fn algorithms(&self, name: &str) -> Vec<Algorithm> {
        let of_host =
            self.entries.iter().filter(|(.., entry)| entry.marker().is_none() && matches(entry.host_patterns(), name));
        of_host.map(|(.., entry)| entry.public_key().algorithm()).collect()
    }
}

/// The name under which a host is recorded.
pub fn lookup_name(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// `SHA256:...` as `ssh-keygen -l` prints it.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn matches(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::verify(&key, name.as_bytes(), hash).is_ok()
        }
        HostPatterns::Patterns(patterns) => {
            let hit = |pattern: &str| glob(pattern.to_lowercase().as_bytes(), name.as_bytes());
            let denied = patterns.iter().filter_map(|one| one.strip_prefix('!')).any(hit);
            !denied && patterns.iter().filter(|one| !one.starts_with('!')).any(|one| hit(one))
        }
    }
}

/// `*` stands for any characters, `?` for one.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                // The last star takes one character more.
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                t = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINDMp1SrO8eY+j3uqkCLtZoTb3hHU+w/eiMixur6kiRT";

    fn key(text: &str) -> PublicKey {
        text.parse().unwrap()
    }

    fn verdict(file: &str, name: &str) -> Verdict {
        let mut known = KnownHosts::default();
        known.add(Path::new("kh"), file).unwrap();
        known.verify(name, &key(ONE))
    }

    const UNKNOWN: Verdict = Verdict::Unknown { authority: false };

    #[test]
    fn names_patterns_and_ports_are_told_apart() {
        for (names, name, known) in [
            ("n1", "n1", true),
            ("N1", "n1", true),
            ("a,n1,b", "n1", true),
            ("n10", "n1", false),
            ("n?", "n1", true),
            ("*.lan", "n1.lan", true),
            ("*.lan,!n1.lan", "n1.lan", false),
            ("n1", "[n1]:2222", false),
            ("[n1]:2222", "[n1]:2222", true),
            ("[n1]:2222", "n1", false),
            ("[10.0.0.*]:2222", "[10.0.0.7]:2222", true),
            ("::1", "::1", true),
        ] {
            let wanted = if known { Verdict::Known } else { UNKNOWN };
            assert_eq!(verdict(&format!("# hello\n\n  {names} {ONE} comment\n"), name), wanted, "{names} {name}");
        }
    }

    #[test]
    fn hashed_names_match_only_their_host() {
        // Made by `ssh-keygen -H` from `[n1.lan]:2222`.
        let line = &format!("|1|P2Y5ux05MJIUs0RpD3BjxHAVecU=|4YVCUOx8vUQppGZ+C/j8IQXBGKg= {ONE}");
        assert_eq!(verdict(line, "[n1.lan]:2222"), Verdict::Known);
        assert_eq!(verdict(line, "n1.lan"), UNKNOWN);
        assert_eq!(verdict(line, "[n2.lan]:2222"), UNKNOWN);
    }

    #[test]
    fn another_key_is_named_with_its_place() {
        let Verdict::Changed(old) = verdict(&format!("# x\nn1 {TWO}\n"), "n1") else { panic!() };
        assert_eq!((old.line, old.key), (2, key(TWO)));
        // One of several is enough.
        assert_eq!(verdict(&format!("n1 {TWO}\nn1 {ONE}\n"), "n1"), Verdict::Known);
    }

    #[test]
    fn a_revoked_key_is_refused_whatever_else_is_written() {
        for file in [format!("n1 {ONE}\n@revoked * {ONE}"), format!("@revoked n1 {ONE}\nn1 {ONE}")] {
            assert!(matches!(verdict(&file, "n1"), Verdict::Revoked(_)), "{file}");
        }
        assert_eq!(verdict(&format!("@revoked * {TWO}\nn1 {ONE}"), "n1"), Verdict::Known);
        let mut known = KnownHosts::default();
        assert!(known.add(Path::new("kh"), "@revoked * garbage").is_err());
        assert!(known.add(Path::new("kh"), "n1 garbage\nn1 1024 35 1234").is_ok());
    }

    #[test]
    fn authorities_are_not_taken_for_keys() {
        assert_eq!(verdict(&format!("@cert-authority * {ONE}"), "n1"), Verdict::Unknown { authority: true });
    }
}
