//! How long things take and how a host goes through its maintenance: everything about the world that is no Kubernetes rule.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, Millis, SpecId};

use super::Delay;

/// Resolution of the API's timestamps.
const SECOND: i64 = 1000;

/// From binding to Ready with the image there and no start-up work (KUBERNETES.md E.10).
const QUICKEST_START: Millis = Millis(500);

/// Durations and manners of the world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Physics {
    ranges: BTreeMap<Delay, (Millis, Millis)>,
    /// What happens to a host during its upgrade.
    pub down: Down,
    /// Kubelets are played as in the recordings (DRAINS.md): readiness drops at the deletion already and not when the containers
    /// end (E.10), no pod is refused by its node, and pods of any restart policy start again when their host is back.
    pub played_kubelets: bool,
    /// `--node-monitor-grace-period` where it is not the default of the version (recordings: 8 s).
    pub node_monitor_grace: Option<Millis>,
    /// Shortest and longest time from start to Ready by template, measured in the input itself.
    pub measured: BTreeMap<SpecId, (Millis, Millis)>,
}

/// What happens to a host during its upgrade.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Down {
    /// Only the kubelet is restarted: containers run on (E20, E21).
    #[default]
    None,
    /// The kubelet posts Ready=False and stops; containers end; they are started again when the host is back.
    Shutdown,
    /// The heartbeats just stop; the node becomes Unknown after the grace period.
    Silent,
    /// The Node object is deleted and a new one registers.
    Delete,
}

impl Physics {
    /// These durations, with the times from start to Ready that the input itself shows, by template. A dump shows few starts and
    /// whole seconds: a second and a quarter are added to the longest and taken from the shortest, but nothing starts faster than
    /// on an idle machine (KUBERNETES.md E.10).
    pub fn with_history_of(mut self, cluster: &Cluster) -> Physics {
        for (&spec, samples) in &cluster.catalog.start_to_ready {
            if let (Some(shortest), Some(longest)) = (samples.iter().min(), samples.iter().max()) {
                let shortest = Millis(((shortest.0 - SECOND) * 3 / 4).max(QUICKEST_START.0));
                self.measured.insert(spec, (shortest, Millis((longest.0 + SECOND) * 5 / 4)));
            }
        }
        self
    }

    /// Shortest and longest length of a delay.
    pub fn range(&self, delay: Delay) -> (Millis, Millis) {
        self.ranges.get(&delay).copied().unwrap_or_else(|| default_range(delay))
    }

    /// Replaces the bounds of a delay.
    pub fn set(&mut self, delay: Delay, shortest: Millis, longest: Millis) {
        self.ranges.insert(delay, (shortest, longest));
    }

    /// The scaled times of the drain recordings (DRAINS.md): Running 0.2 s after binding, Ready 0.2 s later, 0.2 s to stop,
    /// 0.8 s of maintenance.
    pub fn recorded() -> Physics {
        let mut physics = Physics {
            down: Down::Shutdown,
            played_kubelets: true,
            node_monitor_grace: Some(Millis::secs(8)),
            ..Physics::default()
        };
        for (delay, shortest, longest) in [
            (Delay::Watch, 1, 40),
            (Delay::Request, 2, 15),
            (Delay::Observe, 5, 30),
            (Delay::Scheduling, 1, 5),
            (Delay::Start, 200, 260),
            (Delay::Pull, 0, 0),
            (Delay::Ready, 200, 260),
            (Delay::Unprobed, 200, 260),
            (Delay::Stop, 200, 260),
            (Delay::Cleanup, 5, 40),
            (Delay::Host, 800, 900),
            (Delay::NodeReady, 10, 100),
            (Delay::NodeMonitor, 0, 1_000),
            (Delay::Heartbeat, 0, 2_000),
        ] {
            physics.set(delay, Millis(shortest), Millis(longest));
        }
        physics
    }
}

impl Default for Physics {
    fn default() -> Self {
        Physics {
            ranges: BTreeMap::new(),
            down: Down::None,
            played_kubelets: false,
            node_monitor_grace: None,
            measured: BTreeMap::new(),
        }
    }
}

/// Bounds that are assumed where nothing better is known; KUBERNETES.md E.10 and L.1 for the short ones.
fn default_range(delay: Delay) -> (Millis, Millis) {
    let (shortest, longest) = match delay {
        Delay::Watch => (5, 50),
        Delay::Request => (5, 50),
        Delay::Observe => (100, 300),
        Delay::Scheduling => (1, 5),
        Delay::Start => (500, 5_000),
        Delay::Pull => (500, 15_000),
        Delay::Ready => (0, 10_000),
        Delay::Unprobed => (0, 200),
        Delay::Stop => (300, 10_000),
        Delay::PreStop => (0, 10_000),
        Delay::Cleanup => (500, 3_000),
        Delay::Host => (60_000, 240_000),
        Delay::NodeReady => (2_000, 20_000),
        Delay::Proxy => (110, 1_500),
        Delay::Reconnect => (0, 60_000),
        Delay::Backup => (10_000, 60_000),
        Delay::Attach => (5_000, 60_000),
        Delay::PodGc => (0, 20_000),
        Delay::NodeMonitor => (0, 5_000),
        Delay::Heartbeat => (0, 10_000),
    };
    (Millis(shortest), Millis(longest))
}
