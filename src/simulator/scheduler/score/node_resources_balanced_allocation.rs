//! NodeResourcesBalancedAllocation (KUBERNETES.md C.3.2).

use crate::cluster::NodeId;

use super::HIGHEST;
use crate::simulator::scheduler::cycle::Cycle;
use crate::simulator::scheduler::{NodeState, minor};

/// The more the pod improves the balance of CPU and memory, the better; up to 1.35 the balance that it leaves counts alone
/// (VERSIONS.md, `balancedFormula`). Skips pods that ask for neither.
pub fn score(cycle: &Cycle<'_>, nodes: &[NodeId]) -> Option<Vec<i64>> {
    let want = (cycle.spec.requests.milli_cpu, cycle.spec.requests.memory);
    if want == (0, 0) {
        return None;
    }
    let formula = if minor(cycle.cluster) < 36 { balance } else { improvement };
    Some(nodes.iter().map(|&node| formula(want, cycle.scheduler.node_state(node))).collect())
}

fn improvement(want: (i64, i64), state: &NodeState) -> i64 {
    let with = balance(want, state);
    let without = balance((0, 0), state);
    HIGHEST / 2 + (HIGHEST / 2 + with - without) / 2
}

/// 100 when CPU and memory are used to the same share.
fn balance(want: (i64, i64), state: &NodeState) -> i64 {
    let share = |asked: i64, capacity: i64| (asked as f64 / capacity as f64).min(1.0);
    let (cpu, memory) = (state.allocatable.milli_cpu, state.allocatable.memory);
    let deviation = if cpu == 0 || memory == 0 {
        0.0
    } else {
        let cpu = share(state.requested.milli_cpu + want.0, cpu);
        let memory = share(state.requested.memory + want.1, memory);
        ((cpu - memory) / 2.0).abs()
    };
    ((1.0 - deviation) * HIGHEST as f64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Resources;

    fn node(allocatable: (i64, i64), used: (i64, i64)) -> NodeState {
        let allocatable = Resources { milli_cpu: allocatable.0, memory: allocatable.1, ..Resources::default() };
        let requested = Resources { milli_cpu: used.0, memory: used.1, ..Resources::default() };
        NodeState { allocatable, requested, ..NodeState::default() }
    }

    #[test]
    fn upstream_cases() {
        // C-T33u to C-T35u.
        assert_eq!(improvement((3000, 5000), &node((4000, 10000), (0, 0))), 68);
        assert_eq!(improvement((3000, 5000), &node((6000, 10000), (0, 0))), 75);
        assert_eq!(improvement((3000, 5000), &node((10000, 20000), (3000, 0))), 73);
        assert_eq!(improvement((3000, 5000), &node((10000, 20000), (3000, 5000))), 74);
        assert_eq!(improvement((3000, 5000), &node((10000, 50000), (3000, 5000))), 70);
        assert_eq!(improvement((0, 5000), &node((3000, 5000), (3000, 0))), 100);
        // Up to 1.35.
        assert_eq!(balance((3000, 5000), &node((4000, 10000), (0, 0))), 87);
    }
}
