//! Whose cordon is on each node. The trace tells: a node that becomes unschedulable just before the engine's own cordon is
//! reported was cordoned by the run, any other by somebody else.

use crate::cluster::{Cluster, NodeId, Time};
use crate::trace::{Event, Record};
use crate::upgrade::Action;

/// Who cordoned a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Hand {
    /// Nobody: it takes pods.
    #[default]
    Nobody,
    /// An operator.
    Operator,
    /// The run.
    Run,
}

/// Whose cordon is on each node.
#[derive(Clone, Debug)]
pub(super) struct Cordons {
    nodes: Vec<Cordon>,
    /// Nodes that changed since the last action, with who had cordoned them.
    changed: Vec<(NodeId, Hand)>,
    acted: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cordon {
    hand: Hand,
    since: Time,
    in_this_turn: bool,
}

impl Cordons {
    pub(super) fn new(initial: &Cluster) -> Cordons {
        let cordon = |node: &crate::cluster::Node| {
            let ours = node.marks.started.is_some() && node.marks.outcome.is_none() && !node.marks.was_cordoned;
            let hand = match (node.unschedulable, ours) {
                (false, _) => Hand::Nobody,
                (true, false) => Hand::Operator,
                (true, true) => Hand::Run,
            };
            Cordon { hand, since: initial.catalog.input.taken_at, in_this_turn: node.unschedulable }
        };
        Cordons { nodes: initial.nodes().map(|(_, node)| cordon(node)).collect(), changed: Vec::new(), acted: false }
    }

    pub(super) fn observe(&mut self, record: &Record) {
        if std::mem::take(&mut self.acted) {
            self.changed.clear();
        }
        match record.event {
            Event::NodeSchedulable(node, schedulable) => {
                let cordon = self.cordon(node);
                let before = cordon.hand;
                cordon.hand = if schedulable { Hand::Nobody } else { Hand::Operator };
                cordon.since = record.at;
                cordon.in_this_turn |= !schedulable;
                self.changed.push((node, before));
            }
            Event::Acted(action) => {
                self.acted = true;
                match action {
                    Action::Begin(node) => {
                        let cordon = self.cordon(node);
                        cordon.in_this_turn = cordon.hand != Hand::Nobody;
                    }
                    Action::Cordon(node) if self.changed.iter().any(|(changed, _)| *changed == node) => {
                        self.cordon(node).hand = Hand::Run;
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Whose cordon is on a node now.
    pub(super) fn hand(&self, node: NodeId) -> Hand {
        self.nodes.get(node.index()).map_or(Hand::Nobody, |cordon| cordon.hand)
    }

    /// Since when a node has been as it is now, schedulable or not.
    pub(super) fn since(&self, node: NodeId) -> Time {
        self.nodes.get(node.index()).map_or(Time(0), |cordon| cordon.since)
    }

    /// The node has been cordoned at some time since the run took it in hand.
    pub(super) fn was_cordoned_in_this_turn(&self, node: NodeId) -> bool {
        self.nodes.get(node.index()).is_some_and(|cordon| cordon.in_this_turn)
    }

    /// Whose cordon the action that has just been reported took off a node, if it did.
    pub(super) fn taken_off(&self, node: NodeId) -> Option<Hand> {
        self.changed.iter().find(|(changed, _)| *changed == node).map(|&(_, hand)| hand)
    }

    fn cordon(&mut self, node: NodeId) -> &mut Cordon {
        if self.nodes.len() <= node.index() {
            self.nodes.resize(node.index() + 1, Cordon::default());
        }
        &mut self.nodes[node.index()]
    }
}
