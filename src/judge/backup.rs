//! J018: no host is touched before a verified backup.

use crate::cluster::Backup;
use crate::trace::Event;

use super::{About, Class, Rule, Seen, Violation};

static ABOUT: About = About {
    code: "J018",
    name: "backup-first",
    what: "No host is touched before a backup of this run has been taken and verified, if the plan asks for one.",
    why: "Without a backup there is no way back once a host has been changed (M7, M8).",
    example: "The first node is upgraded while the backup still runs.",
    fix: "Nothing to do in the cluster: this is an error of the engine. Please report it with the trace.",
};

/// The rule.
pub(super) struct BackupFirst;

impl Rule for BackupFirst {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn observe(&mut self, seen: Seen<'_>, broken: &mut Vec<Violation>) {
        let Event::HostStarted(node) = seen.record.event else { return };
        if seen.limits.backup && seen.cluster.run.backup != Backup::Verified {
            let message = "its host is touched without a verified backup".to_owned();
            broken.push(seen.broken(&ABOUT, Class::Engine, seen.cluster.node_key(node), Some(node), message));
        }
    }
}
