//! The scheduling queue (KUBERNETES.md C.5): active, back-off, unschedulable.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{Millis, Name, PodId, Time};

use super::Plugins;

/// How long a pod stays in the unschedulable pool at most before it is tried again (C28).
const FLUSH_AFTER: Millis = Millis::secs(5 * 60);

/// Longest back-off (C25).
const LONGEST_BACKOFF_SECONDS: i64 = 10;

/// Order of the active queue: higher priority, then longer in the queue (C24).
type Rank = (Reverse<i32>, u64);

/// Where a pod of the queue is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Ready to be taken.
    Active,
    /// Waits until then.
    BackOff(Time),
    /// Waits for an event.
    Unschedulable,
    /// Held back by a scheduling gate (C32).
    Gated,
    /// Being scheduled.
    Taken,
}

/// A pod that waits for a node.
#[derive(Clone, Debug)]
struct Entry {
    place: Place,
    rank: Rank,
    /// Last (re)entry.
    since: Time,
    /// Unschedulable verdicts so far.
    failures: u32,
    /// Plugins that rejected at the last attempt.
    rejected_by: Plugins,
    /// What the last attempt said.
    message: Name,
    /// Number of changes of the cluster seen by the last attempt.
    changes: u64,
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    entries: BTreeMap<PodId, Entry>,
    active: BTreeSet<(Rank, PodId)>,
    backoff: BTreeSet<(Time, Rank, PodId)>,
    unschedulable: BTreeSet<PodId>,
    next_rank: u64,
    /// Changes of the cluster so far: a flush is pointless while there was none.
    changes: u64,
}

impl Queue {
    /// Whether a pod is in the queue.
    pub fn contains(&self, pod: PodId) -> bool {
        self.entries.contains_key(&pod)
    }

    /// A new pod.
    pub fn insert(&mut self, pod: PodId, priority: i32, gated: bool, now: Time) {
        let rank = (Reverse(priority), self.next_rank);
        self.next_rank += 1;
        let entry = Entry {
            place: if gated { Place::Gated } else { Place::Active },
            rank,
            since: now,
            failures: 0,
            rejected_by: Plugins::default(),
            message: Name::EMPTY,
            changes: 0,
        };
        self.entries.insert(pod, entry);
        if !gated {
            self.active.insert((rank, pod));
        }
    }

    /// The pod is bound or gone.
    pub fn remove(&mut self, pod: PodId) {
        self.take_out(pod);
        self.entries.remove(&pod);
    }

    fn take_out(&mut self, pod: PodId) {
        let Some(entry) = self.entries.get(&pod) else { return };
        match entry.place {
            Place::Active => {
                self.active.remove(&(entry.rank, pod));
            }
            Place::BackOff(until) => {
                self.backoff.remove(&(window(until), entry.rank, pod));
            }
            Place::Unschedulable => {
                self.unschedulable.remove(&pod);
            }
            Place::Gated | Place::Taken => {}
        }
    }

    fn put(&mut self, pod: PodId, place: Place) {
        self.take_out(pod);
        let Some(entry) = self.entries.get_mut(&pod) else { return };
        entry.place = place;
        match place {
            Place::Active => {
                self.active.insert((entry.rank, pod));
            }
            Place::BackOff(until) => {
                self.backoff.insert((window(until), entry.rank, pod));
            }
            Place::Unschedulable => {
                self.unschedulable.insert(pod);
            }
            Place::Gated | Place::Taken => {}
        }
    }

    /// When the next pod may be taken. `impatient`: pods in back-off are taken as soon as nothing else is left (C27).
    pub fn next_due(&self, now: Time, impatient: bool) -> Option<Time> {
        if !self.active.is_empty() {
            return Some(now);
        }
        if let Some(first) = self.backoff.first() {
            return Some(if impatient { now } else { first.0.max(now) });
        }
        let waiting = self.unschedulable.iter().filter_map(|pod| self.entries.get(pod));
        waiting.filter(|entry| entry.changes != self.changes).map(|entry| (entry.since + FLUSH_AFTER).max(now)).min()
    }

    /// Takes the next pod.
    pub fn pop(&mut self, now: Time, impatient: bool) -> Option<PodId> {
        let stale = |entry: &Entry| entry.changes != self.changes && entry.since + FLUSH_AFTER <= now;
        let flushed: Vec<PodId> =
            self.unschedulable.iter().copied().filter(|pod| self.entries.get(pod).is_some_and(stale)).collect();
        flushed.into_iter().for_each(|pod| self.wake(pod, now));
        while let Some(&(until, _, pod)) = self.backoff.first()
            && until <= now
        {
            self.put(pod, Place::Active);
        }
        let active = self.active.first().map(|entry| entry.1);
        let pod = active.or_else(|| self.backoff.first().filter(|_| impatient).map(|entry| entry.2))?;
        self.put(pod, Place::Taken);
        Some(pod)
    }

    /// The pod taken last found no node. `true`: the message is another than the last time.
    pub fn fail(&mut self, pod: PodId, rejected_by: Plugins, message: Name, now: Time) -> bool {
        let Some(entry) = self.entries.get_mut(&pod) else { return false };
        entry.failures += 1;
        entry.since = now;
        entry.rank.1 = self.next_rank;
        entry.rejected_by = rejected_by;
        entry.changes = self.changes;
        let changed = entry.message != message;
        entry.message = message;
        self.next_rank += 1;
        self.put(pod, Place::Unschedulable);
        changed
    }

    /// The cluster changed in a way that scheduling depends on.
    pub fn cluster_changed(&mut self) {
        self.changes += 1;
    }

    /// Pods in the unschedulable pool with the plugins that rejected them.
    pub fn unschedulable(&self) -> impl Iterator<Item = (PodId, Plugins)> + '_ {
        self.unschedulable.iter().filter_map(|pod| self.entries.get(pod).map(|entry| (*pod, entry.rejected_by)))
    }

    /// Brings a pod back from the unschedulable pool, into back-off if that is not over.
    pub fn wake(&mut self, pod: PodId, now: Time) {
        let Some(entry) = self.entries.get(&pod).filter(|entry| entry.place == Place::Unschedulable) else { return };
        let until = entry.since + backoff(entry.failures);
        self.put(pod, if window(until) > now { Place::BackOff(until) } else { Place::Active });
    }
}

/// Back-off after so many failures (C25).
fn backoff(failures: u32) -> Millis {
    let doublings = failures.saturating_sub(1).min(10);
    Millis::secs((1_i64 << doublings).min(LONGEST_BACKOFF_SECONDS))
}

/// Back-offs end at whole seconds (C25).
fn window(until: Time) -> Time {
    Time(until.0 - until.0.rem_euclid(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_first_then_time() {
        let mut queue = Queue::default();
        queue.insert(PodId(1), 0, false, Time(0));
        queue.insert(PodId(2), 5, false, Time(1));
        queue.insert(PodId(3), 0, true, Time(1));
        queue.insert(PodId(4), 5, false, Time(2));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(Time(3), true)).collect();
        assert_eq!(order, [PodId(2), PodId(4), PodId(1)]);
    }

    #[test]
    fn back_off_doubles_up_to_ten_seconds() {
        assert_eq!([1, 2, 3, 4, 5, 99].map(|n| backoff(n).0), [1000, 2000, 4000, 8000, 10_000, 10_000]);
    }

    #[test]
    fn back_off_is_waited_for_only_before_1_33() {
        let mut queue = Queue::default();
        queue.insert(PodId(1), 0, false, Time(0));
        assert_eq!(queue.pop(Time(500), false), Some(PodId(1)));
        assert!(queue.fail(PodId(1), Plugins::default(), Name::new("no"), Time(500)));
        assert_eq!(queue.next_due(Time(500), true), None);
        queue.wake(PodId(1), Time(600));
        assert_eq!(queue.next_due(Time(600), true), Some(Time(600)));
        assert_eq!(queue.next_due(Time(600), false), Some(Time(1000)));
        assert_eq!(queue.pop(Time(600), false), None);
        assert_eq!(queue.pop(Time(600), true), Some(PodId(1)));
    }

    #[test]
    fn five_minutes_bring_a_pod_back_if_anything_changed() {
        let mut queue = Queue::default();
        queue.insert(PodId(1), 0, false, Time(0));
        queue.pop(Time(0), true);
        queue.fail(PodId(1), Plugins::default(), Name::new("no"), Time(0));
        assert_eq!(queue.next_due(Time(10), true), None);
        queue.cluster_changed();
        assert_eq!(queue.next_due(Time(10), true), Some(Time(300_000)));
        assert_eq!(queue.pop(Time(299_999), true), None);
        assert_eq!(queue.pop(Time(300_000), true), Some(PodId(1)));
    }
}
