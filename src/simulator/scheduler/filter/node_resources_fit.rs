//! NodeResourcesFit as a filter (KUBERNETES.md C6, C.2.2).

use crate::cluster::PodSpec;

use crate::simulator::scheduler::{Cause, Code, NodeState, Plugin, Rejection, Shortage};

/// Whether a pod fits on a node; quick, without saying what is missing.
pub fn fits(spec: &PodSpec, state: &NodeState) -> bool {
    let (want, have, used) = (&spec.requests, &state.allocatable, &state.requested);
    let enough = |want: i64, have: i64, used: i64| want == 0 || want <= have - used;
    state.pods < state.allocatable_pods
        && enough(want.milli_cpu, have.milli_cpu, used.milli_cpu)
        && enough(want.memory, have.memory, used.memory)
        && enough(want.ephemeral, have.ephemeral, used.ephemeral)
        && want.scalar.iter().all(|&(name, want)| enough(want, have.scalar(name), used.scalar(name)))
}

/// What is missing, if the pod does not fit.
pub fn filter(spec: &PodSpec, state: &NodeState) -> Option<Rejection> {
    if fits(spec, state) {
        return None;
    }
    let (want, have, used) = (&spec.requests, &state.allocatable, &state.requested);
    let mut never = false;
    let mut short = |want: i64, have: i64, used: i64| {
        let short = want > 0 && want > have - used;
        never |= short && want > have;
        short
    };
    let mut shortage = Shortage {
        pods: state.pods >= state.allocatable_pods,
        cpu: short(want.milli_cpu, have.milli_cpu, used.milli_cpu),
        memory: short(want.memory, have.memory, used.memory),
        ephemeral: short(want.ephemeral, have.ephemeral, used.ephemeral),
        scalars: 0,
    };
    for (index, &(name, want)) in want.scalar.iter().enumerate().take(64) {
        shortage.scalars |= u64::from(short(want, have.scalar(name), used.scalar(name))) << index;
    }
    let code = if never { Code::Unresolvable } else { Code::Unschedulable };
    Some(Rejection { plugin: Plugin::NodeResourcesFit, code, cause: Cause::Resources(shortage) })
}
