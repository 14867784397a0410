//! Containers: images, requests, ports, probes, hooks.

use serde::Deserialize;
use serde::de::Deserializer;
use smallvec::SmallVec;

use super::amounts::{Asked, Needs, resources};
use super::wire::{Amounts, Port, Present, object};
use crate::cluster::{Container, HostPort, Millis, Name, PreStop, Probe};

object! {
    /// A container or init container.
    struct RawContainer {
        name: Name,
        image: Name,
        resources: Needs,
        ports: Vec<ContainerPort>,
        readiness_probe: Option<RawProbe>,
        liveness_probe: Option<RawProbe>,
        startup_probe: Option<RawProbe>,
        lifecycle: Lifecycle,
        restart_policy: Name,
    }

    /// A port of a container.
    struct ContainerPort {
        container_port: Port,
        host_port: Port,
        #[serde(rename = "hostIP")]
        host_ip: Name,
        protocol: Name,
    }

    /// A probe.
    struct RawProbe {
        initial_delay_seconds: i32,
        period_seconds: Option<i32>,
        success_threshold: Option<i32>,
        failure_threshold: Option<i32>,
        exec: Option<Present>,
    }

    /// `lifecycle`.
    struct Lifecycle {
        pre_stop: Option<Hook>,
    }

    /// A hook.
    struct Hook {
        sleep: Option<Sleep>,
        exec: Option<Exec>,
    }

    /// `sleep` of a hook.
    struct Sleep {
        seconds: i64,
    }

    /// `exec` of a hook.
    struct Exec {
        command: Vec<Word>,
    }
}

/// One argument of a command; not interned, since commands can be whole scripts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Word(Box<str>);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Word(text.into()))
    }
}

impl RawContainer {
    /// An init container that keeps running.
    pub(super) fn is_sidecar(&self) -> bool {
        self.restart_policy == "Always"
    }

    /// What it asks for. `allocated` is what its status says it has, which counts during a resize.
    pub(super) fn asked(&self, allocated: Option<&Amounts>) -> Asked {
        let mut amounts = self.resources.requests();
        if let Some(allocated) = allocated {
            super::amounts::raise(&mut amounts, allocated);
        }
        Asked { amounts, sidecar: self.is_sidecar() }
    }

    /// The part that is kept.
    pub(super) fn read(&self, init: bool) -> Container {
        Container {
            name: self.name,
            image: normalised(self.image),
            requests: resources(&self.resources.requests()),
            readiness: self.readiness_probe.as_ref().map(RawProbe::read),
            liveness: self.liveness_probe.as_ref().map(RawProbe::read),
            startup: self.startup_probe.as_ref().map(RawProbe::read),
            pre_stop: self.lifecycle.pre_stop.as_ref().map(Hook::read),
            sidecar: init && self.is_sidecar(),
            ports: self.ports.iter().map(|port| port.container_port.0).collect::<SmallVec<_>>(),
        }
    }

    /// Ports taken on the host. With `hostNetwork` every declared port is one (`defaultHostNetworkPorts`).
    pub(super) fn host_ports(&self, host_network: bool) -> impl Iterator<Item = HostPort> + '_ {
        self.ports.iter().filter_map(move |port| {
            let number = if port.host_port.0 == 0 && host_network { port.container_port.0 } else { port.host_port.0 };
            let ip = if port.host_ip == "0.0.0.0" { Name::EMPTY } else { port.host_ip };
            let protocol = if port.protocol.is_empty() { Name::new("TCP") } else { port.protocol };
            (number != 0).then_some(HostPort { ip, protocol, port: number })
        })
    }
}

impl RawProbe {
    fn read(&self) -> Probe {
        Probe {
            initial_delay_seconds: self.initial_delay_seconds,
            period_seconds: self.period_seconds.unwrap_or(10),
            success_threshold: self.success_threshold.unwrap_or(1),
            failure_threshold: self.failure_threshold.unwrap_or(3),
            exec: self.exec.is_some(),
        }
    }
}

impl Hook {
    fn read(&self) -> PreStop {
        if let Some(sleep) = &self.sleep {
            return PreStop::Sleep(Millis::secs(sleep.seconds.clamp(0, i64::from(i32::MAX))));
        }
        let words: Vec<&str> = self.exec.iter().flat_map(|exec| &exec.command).map(|word| &*word.0).collect();
        let duration = match words[..] {
            ["sleep" | "/bin/sleep" | "/usr/bin/sleep", duration] => sleep_duration(duration),
            ["sh" | "/bin/sh" | "bash" | "/bin/bash", "-c", script] => match script
                .split_whitespace()
                .collect::<Vec<_>>()[..]
            {
                ["sleep" | "/bin/sleep" | "/usr/bin/sleep", duration] => sleep_duration(duration.trim_end_matches(';')),
                [..] => None,
            },
            [..] => None,
        };
        duration.map_or(PreStop::Unknown, PreStop::Sleep)
    }
}

/// The argument of `sleep`: seconds, or a number with `s`, `m` or `h`.
fn sleep_duration(text: &str) -> Option<Millis> {
    let (number, unit) = match text.as_bytes().last()? {
        b's' => (&text[..text.len() - 1], 1.0),
        b'm' => (&text[..text.len() - 1], 60.0),
        b'h' => (&text[..text.len() - 1], 3600.0),
        _ => (text, 1.0),
    };
    millis(number, unit)
}

/// A decimal number of units of so many seconds.
pub(super) fn millis(number: &str, unit: f64) -> Option<Millis> {
    let number: f64 = number.trim().parse().ok()?;
    let millis = number * unit * 1000.0;
    (number.is_finite() && (0.0..1e13).contains(&millis)).then_some(Millis(millis.round() as i64))
}

/// The name of an image as the scheduler compares it: `:latest` is added where neither tag nor digest stands
/// (KUBERNETES.md C.3.3).
pub(super) fn normalised(image: Name) -> Name {
    let colon = image.rfind(':');
    if colon.is_some() && colon > image.rfind('/') { image } else { Name::new(&format!("{image}:latest")) }
}
