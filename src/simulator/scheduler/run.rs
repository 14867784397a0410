//! One cycle of the scheduler in the world.

use crate::cluster::{Cluster, Name, PodId};
use crate::simulator::{Choice, Chooser, World};
use crate::trace::Event;

use super::{Attempt, Plugins, minor, preemption};

/// Takes one pod from the queue, finds it a node (or a node and victims) and writes the result.
pub fn run(world: &mut World, chooser: &mut dyn Chooser) {
    let impatient = minor(&world.cluster) >= 33;
    if let Some(pod) = world.scheduler.queue.pop(world.now, impatient) {
        let attempt = world.scheduler.attempt(&world.cluster, pod, None, false, chooser);
        if attempt.evaluation.best.is_empty() {
            fail(world, pod, &attempt, chooser);
        } else {
            bind(world, pod, &attempt, chooser);
        }
    }
    world.wake_scheduler(chooser);
}

fn bind(world: &mut World, pod: PodId, attempt: &Attempt, chooser: &mut dyn Chooser) {
    let best = &attempt.evaluation.best;
    let taken = best[if best.len() == 1 { 0 } else { chooser.pick(Choice::SchedulerTie, best.len()) }];
    let node = attempt.evaluation.feasible[taken];
    if let Some(volumes) = &attempt.volumes {
        volumes.bind(&mut world.cluster, pod, node);
    }
    let forgets_nomination = minor(&world.cluster) >= 35;
    world.cluster.update_pod(pod, |pod| {
        pod.node = Some(node);
        pod.unschedulable = false;
        if forgets_nomination {
            pod.nominated = None;
        }
    });
    world.emit(Event::PodBound(pod, node), chooser);
    if attempt.volumes.is_some() {
        world.scheduler.storage_changed(&world.cluster, world.now);
    }
}

fn fail(world: &mut World, pod: PodId, attempt: &Attempt, chooser: &mut dyn Chooser) {
    let message = message(&world.cluster, pod, attempt);
    let rejected_by =
        if attempt.evaluation.all_nodes == 0 { Plugins::default() } else { attempt.evaluation.rejecting_plugins() };
    // Back into the queue first, so that what preemption does wakes the pod as any other event does (C29).
    let news = world.scheduler.queue.fail(pod, rejected_by, message, world.now);
    if news || !world.cluster.pod(pod).unschedulable {
        world.cluster.update_pod(pod, |pod| pod.unschedulable = true);
        world.emit(Event::PodUnschedulable(pod, message), chooser);
    }
    if let Some(decided) = &attempt.post_filter {
        preemption::carry_out(world, pod, decided, chooser);
    }
}

/// The message of the condition PodScheduled (C34).
fn message(cluster: &Cluster, pod: PodId, attempt: &Attempt) -> Name {
    if attempt.evaluation.all_nodes == 0 {
        return Name::new("no nodes available to schedule pods");
    }
    let mut message = attempt.evaluation.message(cluster.spec(pod));
    if let Some(decided) = attempt.post_filter.as_ref().filter(|decided| !decided.message.is_empty()) {
        message.push(' ');
        message.push_str(&decided.message);
    }
    Name::new(&message)
}
