//! NodeResourcesFit as a score: LeastAllocated over CPU and memory (KUBERNETES.md C.3.1).

use crate::cluster::NodeId;

use super::HIGHEST;
use crate::simulator::scheduler::NodeState;
use crate::simulator::scheduler::cycle::Cycle;

/// The more is left, the better.
pub fn score(cycle: &Cycle<'_>, nodes: &[NodeId]) -> Vec<i64> {
    let want = cycle.spec.scored_requests;
    nodes.iter().map(|&node| least_allocated(want, cycle.scheduler.node_state(node))).collect()
}

fn least_allocated(want: (i64, i64), state: &NodeState) -> i64 {
    let mut sum = 0;
    let mut weights = 0;
    for (asked, capacity) in
        [(state.nonzero.0 + want.0, state.allocatable.milli_cpu), (state.nonzero.1 + want.1, state.allocatable.memory)]
    {
        if capacity != 0 {
            sum += if asked > capacity { 0 } else { (capacity - asked) * HIGHEST / capacity };
            weights += 1;
        }
    }
    if weights == 0 { 0 } else { sum / weights }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Resources;

    fn node(allocatable: (i64, i64), used: (i64, i64)) -> NodeState {
        let allocatable = Resources { milli_cpu: allocatable.0, memory: allocatable.1, ..Resources::default() };
        NodeState { allocatable, nonzero: used, ..NodeState::default() }
    }

    #[test]
    fn upstream_cases() {
        // C-T30u to C-T32u.
        assert_eq!(least_allocated((3000, 5000), &node((4000, 10000), (0, 0))), 37);
        assert_eq!(least_allocated((3000, 5000), &node((6000, 10000), (0, 0))), 50);
        assert_eq!(least_allocated((3000, 5000), &node((10000, 20000), (3000, 0))), 57);
        assert_eq!(least_allocated((3000, 5000), &node((10000, 20000), (3000, 5000))), 45);
        assert_eq!(least_allocated((3000, 5000), &node((10000, 50000), (3000, 5000))), 60);
        assert_eq!(least_allocated((3000, 0), &node((4000, 10000), (3000, 0))), 50);
        assert_eq!(least_allocated((3000, 0), &node((4000, 10000), (3000, 5000))), 25);
    }
}
