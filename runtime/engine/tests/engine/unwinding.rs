//! I-10, exhaustively: every graph of up to five steps, each step failing in each way at each time,
//! and a crash after each record.
//!
//! A run is taken through every state that it can be in, whoever reports first. At each record on
//! the way a coordinator dies: a partition folds what is in the journal so far, another one reads a
//! snapshot of that, and each of them takes over and goes on to the end by itself. What was sent
//! before is answered, or is never heard of again and may have been performed. Until a step has
//! failed, each of those that are left is the one that fails, in each way. At every halt what is
//! wanted of agents has to be what the graph says: nothing too early, nothing twice, nothing
//! forgotten.
//!
//! Two things keep this within a minute. What leads to the same state is gone on from once. And of
//! graphs that differ only in the names of their steps one is played. That leaves out other orders
//! of the steps in the file; they break ties, so they decide in which order an input schedules
//! several steps, and between which of these records the journal can be cut. Up to four steps both
//! extremes are played: needs before what needs them, and the other way round.

mod graph;
mod saga;

use std::collections::BTreeSet;

use skep_engine::Partition;
use skep_protocol::{Hash, PartitionId, Record, StoredText, WorkflowAdded};

use crate::world::{digest, read};
use graph::{Graph, Order};
use saga::{Saga, Untouched};

/// Nothing is known of what was handed out: it may have been begun.
const NOTHING: Untouched = Untouched(0);

/// What was seen of the runs of one graph.
#[derive(Debug, Default)]
struct Explorer {
    /// The states in which a coordinator died.
    crashed: BTreeSet<Hash>,
}

impl Explorer {
    /// Goes through every state that a run can be in.
    fn explore(mut self, graph: Graph, order: Order, untouched: Untouched) {
        let workflow = read(&graph.definition(order));
        let mut folded = Partition::new(PartitionId::new(3));
        let source = StoredText::new(workflow.source().to_owned());
        let added = WorkflowAdded { digest: digest(&workflow), source };
        folded.apply(&Record::WorkflowAdded(added)).unwrap();
        let (saga, records) = Saga::start((graph, untouched), &workflow, folded.clone());
        self.crash_after_each(&records, &mut folded, &saga);
        let mut open = vec![(saga, folded)];
        while let Some((saga, folded)) = open.pop() {
            for (attempt, ending) in saga.choices() {
                let (mut saga, mut folded) = (saga.clone(), folded.clone());
                let records = saga.answer(attempt, ending);
                if self.crash_after_each(&records, &mut folded, &saga) {
                    open.push((saga, folded));
                }
            }
        }
    }

    /// Adds records to what is folded from a journal, and has a coordinator die after each of them;
    /// returns whether the last one leads to a state that was not seen before.
    fn crash_after_each(
        &mut self,
        records: &[Record],
        folded: &mut Partition,
        saga: &Saga,
    ) -> bool {
        let mut is_new = false;
        for (at, record) in records.iter().enumerate() {
            folded.apply(record).unwrap();
            let saga = &saga.before(&records[at + 1..]);
            let snapshot = folded.snapshot();
            is_new = self.crashed.insert(Hash::of(&snapshot));
            if is_new {
                recover(folded.clone(), saga);
                recover(Partition::restore(folded.id(), &snapshot).unwrap(), saga);
            }
        }
        is_new
    }
}

/// Goes on with a partition that recovered, in every way.
fn recover(partition: Partition, saga: &Saga) {
    let answered = saga.taken_over(partition);
    let mut lost = answered.clone();
    lost.lose_all();
    for saga in [answered, lost] {
        saga.fates().into_iter().for_each(|fate| saga.clone().play(fate));
    }
}

#[test]
fn each_shape_has_one_graph() {
    let shapes: Vec<_> = (1..=5).map(|steps| Graph::shapes(steps).count()).collect();
    assert_eq!(shapes, [1, 2, 6, 31, 302], "as many as there are, see A003087 of the OEIS");
}

fn up_to_four_steps(order: Order) {
    for graph in (1..=4).flat_map(Graph::shapes) {
        Explorer::default().explore(graph, order, NOTHING);
    }
}

#[test]
fn up_to_four_steps_unwind_wherever_it_crashes() {
    up_to_four_steps(Order::NeedsFirst);
}

#[test]
fn up_to_four_steps_unwind_in_whatever_order_they_are_written() {
    up_to_four_steps(Order::NeedsLast);
}

/// What certainly nobody began of that which a failure cuts off leaves nothing, whatever else is
/// known of it.
#[test]
fn up_to_four_steps_unwind_without_what_nobody_began() {
    for graph in (1..=4).flat_map(Graph::shapes) {
        for untouched in [0b1111, 0b0101] {
            Explorer::default().explore(graph, Order::NeedsFirst, Untouched(untouched));
        }
    }
}

/// A quarter of what there is to try, so that the quarters can be tried side by side.
fn five_steps(quarter: usize) {
    for graph in Graph::shapes(5).skip(quarter).step_by(4) {
        Explorer::default().explore(graph, Order::NeedsFirst, NOTHING);
    }
}

#[test]
fn five_steps_unwind_wherever_it_crashes_first_quarter() {
    five_steps(0);
}

#[test]
fn five_steps_unwind_wherever_it_crashes_second_quarter() {
    five_steps(1);
}

#[test]
fn five_steps_unwind_wherever_it_crashes_third_quarter() {
    five_steps(2);
}

#[test]
fn five_steps_unwind_wherever_it_crashes_fourth_quarter() {
    five_steps(3);
}
