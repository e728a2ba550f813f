//! What may leave at all, of all that the fleet wants sent.

use std::sync::Arc;

use skep_broker::Broker;
use skep_engine::fleet::{FleetEffect, FleetInput};
use skep_protocol::{AttemptId, PartitionCount, PartitionId, RunId, Task};

use super::{Desk, FleetLoop};

impl<B: Broker> FleetLoop<B> {
    /// Returns the effect without tasks whose partition may have another owner; those are kept.
    pub(super) fn if_sure(&mut self, effect: FleetEffect) -> Option<FleetEffect> {
        let desks = Arc::clone(&self.desks);
        let is_sure = |task: &Task| {
            let desk = desks.get(usize::from(task.partition.get()));
            desk.is_some_and(|desk| desk.ownership.is_sure())
        };
        match effect {
            FleetEffect::Deliver { agent, tasks } => {
                let (tasks, doubtful): (Vec<_>, Vec<_>) = tasks.into_iter().partition(is_sure);
                if !doubtful.is_empty() {
                    let (agent, tasks) = (agent.clone(), doubtful);
                    self.doubtful.push(FleetEffect::Deliver { agent, tasks });
                }
                (!tasks.is_empty()).then_some(FleetEffect::Deliver { agent, tasks })
            }
            FleetEffect::Enqueue { task, sending } if !is_sure(&task) => {
                self.doubtful.push(FleetEffect::Enqueue { task, sending });
                None
            }
            FleetEffect::Look { .. }
            | FleetEffect::Enqueue { .. }
            | FleetEffect::ClearQueue { .. }
            | FleetEffect::AskDepth { .. }
            | FleetEffect::CancelAttempts { .. }
            | FleetEffect::Ration { .. }
            | FleetEffect::AskAll
            | FleetEffect::RollCall { .. }
            | FleetEffect::Strays { .. }
            | FleetEffect::Held { .. }
            | FleetEffect::Failed { .. }
            | FleetEffect::Stalling { .. }
            | FleetEffect::Post { .. }
            | FleetEffect::Lost { .. } => Some(effect),
        }
    }

    /// Returns the tasks that leave for an agent: not those that their partition is ending as never
    /// begun, which are told to the fleet. Of the others nobody can say so any more, unless they
    /// come back.
    pub(super) fn that_leave(&self, tasks: Vec<Task>, told: &mut Vec<FleetInput>) -> Vec<Task> {
        let leaves = |task: &Task| {
            let desk = self.desk(task.partition);
            desk.is_some_and(|desk| desk.untouched.leaves(&task.id()))
        };
        let (leaving, kept): (Vec<_>, Vec<_>) = tasks.into_iter().partition(leaves);
        told.extend(kept.iter().map(|task| FleetInput::TakenBack { attempt: task.id() }));
        leaving
    }

    /// Takes note of what certainly nobody began of what left: nobody was there, or it could not be
    /// read. What an agent has no room for now it may find room for if it comes once more.
    pub(super) fn came_back(&self, input: &FleetInput) {
        let came_back = |id: &AttemptId| {
            if let Some(desk) = self.desk_of(id.run) {
                desk.untouched.came_back(id);
            }
        };
        if let FleetInput::NoAgent { attempts, sent: false, .. } = input {
            attempts.iter().for_each(came_back);
        } else if let FleetInput::Delivered { unread, .. } = input {
            unread.iter().map(|(id, _)| id).for_each(came_back);
        }
    }

    /// Returns whether a task may lie in the queue: whoever pulls it asks before it begins.
    pub(super) fn may_lie_there(&self, task: &Task) -> bool {
        self.desk(task.partition).is_some_and(|desk| desk.untouched.may_leave(&task.id()))
    }

    /// Forgets what was known of attempts that are over. What was taken back before it left is
    /// nowhere, so that nobody waits until it has stopped.
    pub(super) fn settled(&self, happened: Vec<FleetInput>) -> Vec<FleetInput> {
        let mut inputs = Vec::with_capacity(happened.len());
        for input in happened {
            if let FleetInput::Settled { attempt, .. } = &input
                && self.desk_of(attempt.run).is_some_and(|desk| desk.untouched.settled(attempt))
            {
                inputs.push(FleetInput::TakenBack { attempt: attempt.clone() });
            }
            inputs.push(input);
        }
        inputs
    }

    pub(super) fn desk(&self, partition: PartitionId) -> Option<&Desk> {
        self.desks.get(usize::from(partition.get()))
    }

    fn desk_of(&self, run: RunId) -> Option<&Desk> {
        let count = PartitionCount::new(u16::try_from(self.desks.len()).unwrap_or(u16::MAX))?;
        self.desk(count.of(run))
    }
}
