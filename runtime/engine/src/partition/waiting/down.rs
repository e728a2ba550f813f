//! From the steps that somebody asks for down to the causes.

use std::collections::BTreeSet;

use skep_protocol::{StepPath, WaitingView};

use super::{MOST, view};
use crate::run::{NodeId, Run};

/// Returns what steps wait for, what is inside them and what makes them good, and what they are
/// inside of; then what all these wait for, and so on.
pub(super) fn from(run: &Run, asked: &[StepPath]) -> Vec<WaitingView> {
    let open = asked.iter().rev().filter_map(|step| run.find(step)).collect();
    let mut down =
        Down { run, open, seen: BTreeSet::new(), heard: BTreeSet::new(), told: Vec::new() };
    down.go();
    for step in asked.iter().take(MOST) {
        down.tell_around(step);
    }
    down.go();
    down.told
}

struct Down<'a> {
    run: &'a Run,
    open: Vec<NodeId>,
    seen: BTreeSet<NodeId>,
    heard: BTreeSet<StepPath>,
    told: Vec<WaitingView>,
}

impl Down<'_> {
    fn go(&mut self) {
        while self.told.len() < MOST {
            let Some(id) = self.open.pop() else { return };
            if self.seen.insert(id) {
                self.tell(id);
                self.open.extend(inside(self.run, id).into_iter().rev());
            }
        }
    }

    /// Tells what a step waits for. Of an item that may not begin yet, its `for_each` knows.
    fn tell(&mut self, id: NodeId) {
        let Some(view) = view(self.run, id) else { return };
        let others = view.waits_for.iter().chain(&view.and_for);
        self.open.extend(others.filter_map(|step| self.run.find(step)));
        if self.heard.insert(view.step.clone()) {
            self.told.push(view);
        }
    }

    fn tell_around(&mut self, step: &StepPath) {
        let mut at = step.clone();
        while let Some(around) = at.around() {
            if let Some(id) = self.run.find(&around) {
                self.tell(id);
            }
            at = around;
        }
    }
}

/// Returns the items of a step, what is inside it, and what makes it good.
fn inside(run: &Run, id: NodeId) -> Vec<NodeId> {
    let node = run.node(id);
    let mut inside = run.items_of(id).to_vec();
    // What is inside a step that did not begin is left from an earlier round of a group.
    let scope = node.inner.as_ref().and_then(|inner| inner.scope);
    if let Some(scope) = scope.filter(|_| node.began.get().is_some()) {
        inside.extend(run.scope(scope).nodes());
    }
    inside.extend(node.deed.as_ref().and_then(|deed| deed.compensation));
    inside
}
