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
