//! Facts about hosts over SSH: one script that only reads, and what its output means.

mod manifest;
mod parse;

use std::collections::BTreeMap;
use std::time::Instant;

use futures::StreamExt;

use super::ssh::{Error, Hosts, Sudo};
use crate::cluster::HostFacts;

pub use parse::parse;

/// How often the clock is asked for; the answer with the shortest way counts.
const CLOCK_TRIES: usize = 3;

/// How many hosts are asked at once.
const AT_ONCE: usize = 16;

/// What came of asking: facts by host, and why there are none.
pub type Asked = (BTreeMap<String, HostFacts>, BTreeMap<String, Error>);

/// Asks all hosts, as [`facts`] does, and closes their connections. `done` is told after each host.
pub async fn facts_of_all(hosts: &Hosts, now: impl Fn() -> i64, done: impl Fn()) -> Asked {
    let names: Vec<String> = hosts.names().map(str::to_owned).collect();
    let (now, done) = (&now, &done);
    let answers = futures::stream::iter(names).map(|name| async move {
        let answer = facts(hosts, &name, now).await;
        done();
        (name, answer)
    });
    let answers: Vec<_> = answers.buffer_unordered(AT_ONCE).collect().await;
    hosts.close().await;
    let (mut known, mut failed) = Asked::default();
    for (name, answer) in answers {
        match answer {
            Ok(facts) => drop(known.insert(name, facts)),
            Err(error) => drop(failed.insert(name, error)),
        }
    }
    (known, failed)
}

/// Asks a host for its facts. Nothing is changed there. `now` is the operator's clock, in milliseconds since 1970.
pub async fn facts(hosts: &Hosts, host: &str, now: impl Fn() -> i64) -> Result<HostFacts, Error> {
    let output =
        hosts.run_within(host, include_str!("read.sh"), Sudo::Yes, hosts.settings().command_timeout * 10).await?;
    let mut facts = parse(&output.text())
        .map_err(|why| Error::Command { host: host.to_owned(), why: format!("reading its facts: {why}") })?;
    facts.time_offset_millis = clock(hosts, host, now).await?;
    Ok(facts)
}

/// The host's clock minus the operator's: the host's answer is taken for the middle of its way.
async fn clock(hosts: &Hosts, host: &str, now: impl Fn() -> i64) -> Result<Option<i64>, Error> {
    let mut best = None;
    for _ in 0..CLOCK_TRIES {
        let (asked, begun) = (now(), Instant::now());
        let output = hosts.run(host, "date +%s%N", Sudo::No).await?;
        let way = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        // Without %N (busybox) the letter stands there, or nothing: seconds alone are too coarse.
        let Some(nanoseconds) =
            output.text().trim().parse::<i128>().ok().filter(|value| *value > i128::from(i64::MAX) / 100)
        else {
            return Ok(None);
        };
        let there = i64::try_from(nanoseconds / 1_000_000).unwrap_or(i64::MAX);
        let offset = there - (asked + way / 2);
        if best.is_none_or(|(shortest, _)| way < shortest) {
            best = Some((way, offset));
        }
    }
    Ok(best.map(|(_, offset)| offset))
}
