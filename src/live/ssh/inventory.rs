//! How hosts are reached: the inventory file (docs/inventory.md) and the flags that override it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::Error;

/// The inventory file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Inventory {
    /// What holds for every host that does not say otherwise.
    pub defaults: Access,
    /// Hosts by node name.
    pub hosts: BTreeMap<String, Access>,
}

/// How one host is reached; what is left out is taken from the defaults, then as ssh does it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Access {
    /// Name or address. Default: the Node's InternalIP.
    pub address: Option<String>,
    /// User that logs in. Default: the operator's own name.
    pub user: Option<String>,
    /// Port. Default: 22.
    pub port: Option<u16>,
    /// Private key file. Default: the agent's keys, then `~/.ssh/id_ed25519`, `id_ecdsa`, `id_rsa`.
    pub key: Option<PathBuf>,
    /// Jump hosts, `[user@]host[:port],...`, or `none`.
    pub jump: Option<Jump>,
    /// Name under which the host's key is recorded in known_hosts. Default: the address.
    pub host_key_alias: Option<String>,
}

/// Jump hosts on the way, the first one first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Jump(pub Vec<Hop>);

/// One jump host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hop {
    /// User; default: the operator's own name.
    pub user: Option<String>,
    /// Name or address.
    pub address: String,
    /// Port.
    pub port: u16,
}

impl FromStr for Jump {
    type Err = String;

    fn from_str(text: &str) -> Result<Jump, String> {
        if text == "none" {
            return Ok(Jump::default());
        }
        text.split(',').map(hop).collect::<Result<_, _>>().map(Jump)
    }
}

fn hop(text: &str) -> Result<Hop, String> {
    let wrong = || format!("{text:?} is no jump host ([user@]host[:port])");
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(user.to_owned()), place),
        None => (None, text),
    };
    let (address, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, "22"),
        Some((address, port)) => (address, port.strip_prefix(':').ok_or_else(wrong)?),
        // More than one colon: an IPv6 address without a port.
        None => match place.split_once(':') {
            Some((address, port)) if !port.contains(':') => (address, port),
            _ => (place, "22"),
        },
    };
    let port = port.parse().map_err(|_| wrong())?;
    if address.is_empty() || address.contains(['[', ']']) || user.as_deref() == Some("") {
        return Err(wrong());
    }
    Ok(Hop { user, address: address.to_owned(), port })
}

impl<'de> Deserialize<'de> for Jump {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Jump, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What flags say for every host; they win over the file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Overrides {
    /// User that logs in.
    pub user: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Private key file.
    pub key: Option<PathBuf>,
    /// Jump hosts.
    pub jump: Option<Jump>,
}

/// How one host is reached, all said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Name or address.
    pub address: String,
    /// User.
    pub user: String,
    /// Port.
    pub port: u16,
    /// Named key files; the settings' default ones where there is none.
    pub keys: Vec<PathBuf>,
    /// Jump hosts on the way, the first one first.
    pub jump: Vec<Hop>,
    /// Name under which the host's key is recorded.
    pub host_key_alias: Option<String>,
    /// The operator's own name: user on jump hosts that name none.
    pub own_name: String,
}

impl Inventory {
    /// Reads an inventory file. Relative key files are relative to it, `~/` is `home`.
    pub fn read(file: &Path, home: &Path) -> Result<Inventory, Error> {
        let fail = |why: String| Error::File { file: file.to_owned(), why };
        let text = std::fs::read_to_string(file).map_err(|error| fail(error.to_string()))?;
        let mut inventory = Inventory::parse(&text).map_err(fail)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let all = inventory.hosts.values_mut().chain([&mut inventory.defaults]);
        for key in all.filter_map(|access| access.key.as_mut()) {
            *key = match key.strip_prefix("~") {
                Ok(rest) => home.join(rest),
                Err(_) => folder.join(&*key),
            };
        }
        Ok(inventory)
    }

    /// The inventory of a text; errors name line and field.
    pub fn parse(text: &str) -> Result<Inventory, String> {
        if text.trim().is_empty() {
            return Ok(Inventory::default());
        }
        let inventory: Inventory = serde_saphyr::from_str(text).map_err(|error| crate::import::plain(&error))?;
        if inventory.defaults.address.is_some() {
            return Err("defaults.address: every host has its own".to_owned());
        }
        let wrong = inventory.hosts.iter().find(|(_, access)| access.address.as_deref() == Some(""));
        match wrong {
            Some((name, _)) => Err(format!("hosts.{name}.address: is empty")),
            None => Ok(inventory),
        }
    }

    /// How a node's host is reached; `node_address` is what the Node says itself.
    pub fn target(
        &self,
        node: &str,
        node_address: Option<&str>,
        flags: &Overrides,
        own_name: &str,
    ) -> Result<Target, Error> {
        let none = Access::default();
        let own = self.hosts.get(node).unwrap_or(&none);
        let defaults = &self.defaults;
        let address = own.address.as_deref().or(node_address);
        let why = || "has no address: neither in the inventory nor as InternalIP of the Node".to_owned();
        let address = address.ok_or_else(|| Error::Inventory { host: node.to_owned(), why: why() })?;
        let user = flags.user.as_ref().or(own.user.as_ref()).or(defaults.user.as_ref());
        let key = flags.key.as_ref().or(own.key.as_ref()).or(defaults.key.as_ref());
        let jump = flags.jump.as_ref().or(own.jump.as_ref()).or(defaults.jump.as_ref());
        Ok(Target {
            address: address.to_owned(),
            user: user.cloned().unwrap_or_else(|| own_name.to_owned()),
            port: flags.port.or(own.port).or(defaults.port).unwrap_or(22),
            keys: key.cloned().into_iter().collect(),
            jump: jump.map(|jump| jump.0.clone()).unwrap_or_default(),
            host_key_alias: own.host_key_alias.clone(),
            own_name: own_name.to_owned(),
        })
    }
}

impl Target {
    /// The host as it is named in messages.
    pub fn label(&self, name: &str) -> String {
        let port = if self.port == 22 { String::new() } else { format!(" port {}", self.port) };
        format!("{name} ({}{port})", self.address)
    }

    /// What tells this target's connection from others.
    pub(super) fn route(&self) -> String {
        let hop = |user: Option<&str>, address: &str, port: u16| format!("{user:?}@{address} {port}");
        let mut parts: Vec<String> =
            self.jump.iter().map(|one| hop(one.user.as_deref(), &one.address, one.port)).collect();
        parts.push(hop(Some(&self.user), &self.address, self.port));
        parts.push(format!("{:?} {:?}", self.keys, self.host_key_alias));
        parts.join(" > ")
    }

    /// The last jump host on the way, as a target of its own.
    pub(super) fn through(&self) -> Option<Target> {
        let (last, before) = self.jump.split_last()?;
        Some(Target {
            address: last.address.clone(),
            user: last.user.clone().unwrap_or_else(|| self.own_name.clone()),
            port: last.port,
            keys: self.keys.clone(),
            jump: before.to_vec(),
            host_key_alias: None,
            own_name: self.own_name.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jump_hosts_are_written_as_for_ssh() {
        let one = |user: Option<&str>, address: &str, port| Hop {
            user: user.map(str::to_owned),
            address: address.to_owned(),
            port,
        };
        for (text, hops) in [
            ("none", vec![]),
            ("bastion", vec![one(None, "bastion", 22)]),
            ("me@bastion:2222", vec![one(Some("me"), "bastion", 2222)]),
            ("fd00::1", vec![one(None, "fd00::1", 22)]),
            ("[fd00::1]:2222", vec![one(None, "fd00::1", 2222)]),
            ("a,b:23", vec![one(None, "a", 22), one(None, "b", 23)]),
        ] {
            assert_eq!(text.parse(), Ok(Jump(hops)), "{text}");
        }
        for text in ["", "@a", "a:", "a:x", "a,,b", "[a", "a:99999"] {
            assert!(text.parse::<Jump>().is_err(), "{text}");
        }
    }

    #[test]
    fn flags_win_over_hosts_over_defaults_over_the_node() {
        let text = "defaults: {user: admin, jump: bastion}\n\
                    hosts: {n1: {address: n1.lan, user: root, port: 2222}, n2: {jump: none}}";
        let inventory = Inventory::parse(text).unwrap();
        let flags = Overrides::default();
        let n1 = inventory.target("n1", Some("10.0.0.1"), &flags, "me").unwrap();
        assert_eq!((n1.address.as_str(), n1.user.as_str(), n1.port), ("n1.lan", "root", 2222));
        assert_eq!(n1.jump.len(), 1);
        let jump = n1.through().unwrap();
        assert_eq!((jump.user.as_str(), jump.through()), ("me", None));
        let n2 = inventory.target("n2", Some("10.0.0.2"), &flags, "me").unwrap();
        assert_eq!((n2.address.as_str(), n2.user.as_str(), n2.port), ("10.0.0.2", "admin", 22));
        assert!(n2.jump.is_empty());
        assert!(matches!(inventory.target("n3", None, &flags, "me"), Err(Error::Inventory { .. })));
        let flags = Overrides { user: Some("ops".to_owned()), port: Some(23), ..flags };
        let n1 = inventory.target("n1", None, &flags, "me").unwrap();
        assert_eq!((n1.user.as_str(), n1.port), ("ops", 23));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, place) in [
            ("hosts: {n1: {adress: x}}", "adress"),
            ("hosts: {n1: {port: ssh}}", "line 1"),
            ("hosts: {n1: {jump: '@x'}}", "jump host"),
            ("defaults: {address: x}", "defaults.address"),
            ("hosts: {n1: {address: ''}}", "hosts.n1.address"),
        ] {
            let error = Inventory::parse(text).unwrap_err();
            assert!(error.contains(place), "{text}: {error}");
        }
        assert_eq!(Inventory::parse(""), Ok(Inventory::default()));
    }
}
