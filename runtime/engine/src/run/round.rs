//! Rounds: a group, or a `for_each`, starts over; what it does then waits until nobody works for an
//! earlier round any more.

use super::{NodeId, Run};
use crate::effect::Round;

impl Run {
    /// Returns the later rounds that the attempts of a step belong to. What makes good is the later
    /// round of the run.
    pub(crate) fn rounds(&self, id: NodeId) -> Vec<Round> {
        if self.node(id).compensates.is_some() {
            return vec![Round::UNWINDING];
        }
        let mut rounds = Vec::new();
        let mut at = Some(id);
        while let Some(id) = at {
            let (node, around) = (self.node(id), self.around(id));
            if let (Some(around), 1..) = (around, node.round) {
                rounds.push(Round { inside: Some(self.path(around)), number: node.round });
            }
            at = around;
        }
        rounds
    }

    /// Returns what a step is inside of: its `for_each`, or its group.
    fn around(&self, id: NodeId) -> Option<NodeId> {
        let node = self.node(id);
        match node.item_of {
            Some((fan, _)) => Some(fan),
            None => self.scope(node.scope).owner,
        }
    }

    /// Some steps start over together: they belong to a round that none of them was in.
    pub(super) fn start_over(&mut self, steps: &[NodeId]) {
        let before = steps.iter().map(|id| self.node(*id).round).max();
        let round = before.unwrap_or_default().saturating_add(1);
        for id in steps {
            self.node_mut(*id).seldom.round = round;
        }
    }
}
