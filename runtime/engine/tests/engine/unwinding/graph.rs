//! All graphs of so many steps, and what they say about the order of things.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// No graph has more steps.
const MOST: usize = 5;

/// A set of steps: a bit for each.
pub(super) type Steps = u32;

/// In which order the file has the steps; the engine breaks ties by it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// What others need comes before them.
    NeedsFirst,
    /// It comes after them.
    NeedsLast,
}

/// A graph: what each step needs. No step needs one with a higher number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Graph {
    steps: usize,
    needs: [Steps; MOST],
}

impl Graph {
    /// Returns every graph with so many steps.
    pub(super) fn all(steps: usize) -> impl Iterator<Item = Self> {
        (0..1u32 << (steps * (steps - 1) / 2)).map(move |edges| {
            let (mut needs, mut edges) = ([0; MOST], edges);
            for (step, needs) in needs.iter_mut().enumerate().take(steps) {
                *needs = edges & ((1 << step) - 1);
                edges >>= step;
            }
            Self { steps, needs }
        })
    }

    /// Returns one graph of each shape: of those that differ only in which step is which.
    pub(super) fn shapes(steps: usize) -> impl Iterator<Item = Self> {
        let names = permutations(steps);
        let mut seen = BTreeSet::new();
        Self::all(steps).filter(move |graph| {
            let shape = names.iter().map(|names| graph.renamed(names)).min();
            seen.insert(shape)
        })
    }

    /// Returns what each step needs once the steps have other numbers.
    fn renamed(self, names: &[usize]) -> [Steps; MOST] {
        let mut renamed = [0; MOST];
        for (step, name) in names.iter().enumerate() {
            renamed[*name] = members(self.needs[step]).fold(0, |set, need| set | 1 << names[need]);
        }
        renamed
    }

    /// Returns all its steps.
    pub(super) fn everything(self) -> Steps {
        (1 << self.steps) - 1
    }

    /// Returns the steps whose turn has come once these completed.
    pub(super) fn ready(self, completed: Steps) -> Steps {
        let ready = |step: &usize| self.needs[*step] & !completed == 0;
        set((0..self.steps).filter(ready)) & !completed
    }

    /// Returns those of the steps on which no other of them depends, however far.
    pub(super) fn last(self, steps: Steps) -> Steps {
        let depends = members(steps).fold(0, |set, step| set | self.dependencies(step));
        steps & !depends
    }

    /// Returns what a step depends on, however far.
    fn dependencies(self, step: usize) -> Steps {
        let needs = self.needs[step];
        members(needs).fold(needs, |set, need| set | self.dependencies(need))
    }

    /// Returns a saga of this graph, as a file.
    pub(super) fn definition(self, order: Order) -> String {
        let mut text = "name: saga\non_failure: compensate\nsteps:\n".to_owned();
        for at in 0..self.steps {
            let step = match order {
                Order::NeedsFirst => at,
                Order::NeedsLast => self.steps - 1 - at,
            };
            let needs: Vec<_> = members(self.needs[step]).map(|need| format!("s{need}")).collect();
            let needs = needs.join(", ");
            let compensate = "compensate: { agent: y, with: \"${{ output }}\" }";
            writeln!(text, "  s{step}: {{ agent: x, needs: [{needs}], {compensate} }}").unwrap();
        }
        text
    }
}

/// Returns the steps of a set, in order.
pub(super) fn members(steps: Steps) -> impl Iterator<Item = usize> {
    (0..MOST).filter(move |step| steps & (1 << step) != 0)
}

/// Returns the set of these steps.
pub(super) fn set(steps: impl Iterator<Item = usize>) -> Steps {
    steps.fold(0, |set, step| set | 1 << step)
}

fn permutations(len: usize) -> Vec<Vec<usize>> {
    let Some(last) = len.checked_sub(1) else { return vec![Vec::new()] };
    let shorter = permutations(last);
    let with_last = |names: &Vec<usize>| {
        let names = names.clone();
        (0..len).map(move |at| {
            let mut names = names.clone();
            names.insert(at, last);
            names
        })
    };
    shorter.iter().flat_map(with_last).collect()
}
