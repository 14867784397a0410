//! The shell around the pure core: observe, decide, carry out, again. The only place that waits. It remembers nothing that is not
//! written in the cluster, so that it may be killed at any point and started again anywhere.

mod port;

pub use port::{Port, Trouble};

use crate::cluster::{Cluster, Millis, Time};
use crate::upgrade::{Action, Decision, Goal, Outcome, Planner};

/// How often the engine looks again at least: hosts and deadlines change without a word from the API server.
const LOOK_AGAIN: Millis = Millis::secs(2);
/// How long the engine waits before it tries again what could not be reached, at first and at most.
const TRY_AGAIN: (Millis, Millis) = (Millis::secs(1), Millis::secs(30));

/// Is told what the engine sees and does, and may end the run between two actions.
pub trait Listener {
    /// The cluster as it is seen, and what was decided from it. `false`: stop here.
    fn decided(&mut self, cluster: &Cluster, decision: &Decision, now: Time) -> bool;
    /// An action is about to be carried out. `false`: stop before it.
    fn acting(&mut self, cluster: &Cluster, action: Action, now: Time) -> bool;
    /// It was.
    fn acted(&mut self, cluster: &Cluster, action: Action, now: Time);
    /// Something went wrong that will be tried again.
    fn trouble(&mut self, trouble: &Trouble, now: Time);
}

/// How the engine came to its end.
#[derive(Debug)]
pub enum End {
    /// As decided.
    Outcome(Outcome),
    /// The listener wanted it so: what was decided and not done yet is left; the same command goes on.
    Interrupted,
}

/// Runs the goal to its end.
///
/// # Errors
///
/// [`Trouble::Refused`] and [`Trouble::LockLost`], at once; all else is waited out.
pub async fn run<P: Port>(
    port: &mut P,
    goal: &Goal,
    planner: Planner,
    listener: &mut dyn Listener,
) -> Result<End, Trouble> {
    let mut pause = TRY_AGAIN.0;
    loop {
        match turn(port, goal, planner, listener).await {
            Ok(Some(end)) => return Ok(end),
            Ok(None) => pause = TRY_AGAIN.0,
            Err(trouble @ (Trouble::Refused(_) | Trouble::LockLost(_))) => return Err(trouble),
            Err(trouble @ Trouble::NotYet(_)) => {
                listener.trouble(&trouble, port.now());
                port.changed(port.now() + LOOK_AGAIN).await;
                pause = TRY_AGAIN.0;
            }
            Err(trouble @ (Trouble::Stale(_) | Trouble::Unreachable(_))) => {
                listener.trouble(&trouble, port.now());
                port.changed(port.now() + pause).await;
                pause = Millis((pause.0 * 2).min(TRY_AGAIN.1.0));
            }
        }
    }
}

/// Looks, decides, and does what was decided or waits.
async fn turn<P: Port>(
    port: &mut P,
    goal: &Goal,
    planner: Planner,
    listener: &mut dyn Listener,
) -> Result<Option<End>, Trouble> {
    let cluster = port.observe().await?;
    let decision = planner(goal, &cluster, port.now());
    if !listener.decided(&cluster, &decision, port.now()) {
        return Ok(Some(End::Interrupted));
    }
    for &action in &decision.actions {
        if !listener.acting(&cluster, action, port.now()) {
            return Ok(Some(End::Interrupted));
        }
        port.carry_out(&cluster, action).await?;
        listener.acted(&cluster, action, port.now());
    }
    if let Some(outcome) = decision.outcome {
        return Ok(Some(End::Outcome(outcome)));
    }
    if decision.actions.is_empty() {
        let now = port.now();
        let soonest = decision.waiting.iter().flat_map(|waiting| [waiting.until, waiting.deadline]).flatten();
        let until = soonest.filter(|&next| next > now).chain([now + LOOK_AGAIN]).min().unwrap_or(now + LOOK_AGAIN);
        port.changed(until).await;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// A cluster of one action that does not work at first.
    struct Played {
        now: Time,
        troubles: Vec<Trouble>,
        cluster: Cluster,
    }

    impl Port for Played {
        fn now(&self) -> Time {
            self.now
        }

        async fn observe(&mut self) -> Result<Cluster, Trouble> {
            Ok(self.cluster.clone())
        }

        async fn carry_out(&mut self, _: &Cluster, _: Action) -> Result<(), Trouble> {
            match self.troubles.pop() {
                Some(trouble) => Err(trouble),
                None => {
                    self.cluster.run.stopped = true;
                    Ok(())
                }
            }
        }

        async fn changed(&mut self, until: Time) {
            self.now = until;
        }
    }

    #[derive(Default)]
    struct Told(Vec<String>);

    impl Listener for Told {
        fn decided(&mut self, _: &Cluster, _: &Decision, _: Time) -> bool {
            true
        }

        fn acting(&mut self, _: &Cluster, _: Action, _: Time) -> bool {
            true
        }

        fn acted(&mut self, _: &Cluster, _: Action, _: Time) {}

        fn trouble(&mut self, trouble: &Trouble, _: Time) {
            self.0.push(trouble.to_string());
        }
    }

    fn planner(_: &Goal, cluster: &Cluster, _: Time) -> Decision {
        if cluster.run.stopped {
            Decision { outcome: Some(Outcome::Done), ..Decision::default() }
        } else {
            Decision { actions: vec![Action::Halt], ..Decision::default() }
        }
    }

    /// How long a run takes that meets these troubles, the last one first.
    fn took(troubles: Vec<Trouble>) -> (Millis, Result<End, Trouble>, Vec<String>) {
        let mut port = Played { now: Time(0), troubles, cluster: Cluster::default() };
        let mut told = Told::default();
        let end = run(&mut port, &Goal::default(), planner, &mut told).now_or_never().unwrap();
        (port.now - Time(0), end, told.0)
    }

    #[test]
    fn what_takes_its_time_is_looked_at_soon_and_what_cannot_be_reached_less_and_less_often() {
        let not_yet = || Trouble::NotYet("not yet".to_owned());
        let away = || Trouble::Unreachable("away".to_owned());
        let (length, end, told) = took(vec![not_yet(), not_yet(), not_yet()]);
        assert_eq!((length, told.len()), (Millis::secs(6), 3));
        assert!(matches!(end, Ok(End::Outcome(Outcome::Done))));
        assert_eq!(took(vec![away(), away(), away()]).0, Millis::secs(7));
        // What answers in between is not away.
        assert_eq!(took(vec![away(), not_yet(), away()]).0, Millis::secs(4));
        let (length, end, _) = took(vec![Trouble::Refused("no".to_owned()), away()]);
        assert_eq!(length, Millis::secs(1));
        assert!(matches!(end, Err(Trouble::Refused(_))));
    }
}
