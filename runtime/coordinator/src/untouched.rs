//! Which attempts no agent can have begun.
//!
//! The coordinator that recorded an attempt knows whether anybody can have begun it: who owned the
//! partition before did not know of it, and who owns it next lets in no record of this one. An
//! agent begins what was sent to it, and what it pulled once it is recorded that it took it. So
//! what never left for an agent, and was not taken by the journal, is untouched, in the queue as
//! well; and so is what reached nobody, or could not be read, wherever it left for. Of what another
//! coordinator recorded, nothing is known.
//!
//! The partition that takes an attempt back and the fleet that sends its task are two loops: one of
//! them comes first, and the other one sees that here.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard};

use skep_engine::Recall;
use skep_engine::planted::{self, Bug};
use skep_protocol::{AttemptId, Event, Record, RunId, RunRecord, StepPath};

/// What is known of the attempts of one partition.
#[derive(Debug, Default)]
pub(crate) struct Untouched(Mutex<Known>);

/// What stands for an attempt, of which there are as many as are owed: 128 bits of a hash whose
/// keys nobody knows.
type Mark = [u64; 2];

#[derive(Debug, Default)]
struct Known {
    keys: [RandomState; 2],
    /// How many copies of what this coordinator recorded are out, of what nobody was seen to take.
    out: BTreeMap<Mark, u32>,
    /// Cut off or given up as such: they leave no more.
    taken_back: BTreeSet<AttemptId>,
}

impl Untouched {
    /// Takes in what this coordinator decided. Nothing of it has left yet.
    pub(crate) fn recorded(&self, records: &[Record]) {
        let mut known = None;
        for record in records {
            let Record::Run(RunRecord { run, event, .. }) = record else { continue };
            let Some(told) = told(*run, event) else { continue };
            let known = known.get_or_insert_with(|| self.known());
            match told {
                Told::Scheduled(id) => known.scheduled(&id),
                Told::Touched(id) => known.forget(&id),
            }
        }
    }

    /// Returns whether a task may leave: its attempt was not taken back.
    pub(crate) fn may_leave(&self, id: &AttemptId) -> bool {
        !self.known().taken_back.contains(id)
    }

    /// Returns whether a task may leave, for an agent that may begin it at once.
    pub(crate) fn leaves(&self, id: &AttemptId) -> bool {
        let mut known = self.known();
        if known.taken_back.contains(id) {
            return false;
        }
        if let Some(copies) = known.copies(id) {
            *copies = copies.saturating_add(1);
        }
        true
    }

    /// A task that left reached nobody, or its agent could not read it: this copy nobody begins.
    pub(crate) fn came_back(&self, id: &AttemptId) {
        if let Some(copies) = self.known().copies(id) {
            *copies = copies.saturating_sub(1);
        }
    }

    /// The fleet forgets an attempt, because it is over: its task leaves no more. Returns whether
    /// it was taken back.
    pub(crate) fn settled(&self, id: &AttemptId) -> bool {
        let mut known = self.known();
        known.forget(id);
        known.taken_back.remove(id)
    }

    /// The fleet forgot the partition, because somebody else may own it.
    pub(crate) fn dropped(&self) {
        *self.known() = Known::default();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no holder panics")
    }
}

impl Known {
    fn mark(&self, id: &AttemptId) -> Mark {
        self.keys.each_ref().map(|key| key.hash_one(id))
    }

    fn scheduled(&mut self, id: &AttemptId) {
        self.out.insert(self.mark(id), 0);
    }

    fn forget(&mut self, id: &AttemptId) {
        self.out.remove(&self.mark(id));
    }

    fn copies(&mut self, id: &AttemptId) -> Option<&mut u32> {
        self.out.get_mut(&self.mark(id))
    }
}

impl Recall for Untouched {
    fn recall(&self, attempt: &AttemptId) -> bool {
        if planted::is(Bug::TakeBackWhatLeft) {
            return true;
        }
        let mut known = self.known();
        if known.copies(attempt).is_some_and(|copies| *copies == 0) {
            known.forget(attempt);
            known.taken_back.insert(attempt.clone());
        }
        known.taken_back.contains(attempt)
    }
}

/// What a record says of an attempt.
enum Told {
    Scheduled(AttemptId),
    /// An agent said something of it.
    Touched(AttemptId),
}

fn told(run: RunId, event: &Event) -> Option<Told> {
    let id = |step: &StepPath, attempt| AttemptId { run, step: step.clone(), attempt };
    if let Event::AttemptScheduled(event) = event {
        return Some(Told::Scheduled(id(&event.step, event.attempt)));
    }
    if let Event::AttemptTaken { step, attempt, .. }
    | Event::AttemptReleased { step, attempt, .. }
    | Event::CheckpointSaved { step, attempt, .. } = event
    {
        return Some(Told::Touched(id(step, *attempt)));
    }
    None
}

#[cfg(test)]
mod tests {
    use skep_protocol::{AgentId, AttemptScheduled, Timestamp};

    use super::*;

    fn id(attempt: u32) -> AttemptId {
        let run = RunId::from_key("test", "1");
        AttemptId { run, step: StepPath::new("a"), attempt }
    }

    fn record(event: Event) -> Record {
        let AttemptId { run, .. } = id(1);
        Record::Run(RunRecord { run, at: Timestamp::EPOCH, event })
    }

    fn scheduled(attempt: u32) -> Record {
        let (step, not_before) = (id(1).step, Timestamp::EPOCH);
        let (input, fallback) = (None, false);
        let event = AttemptScheduled { step, attempt, not_before, input, fallback };
        record(Event::AttemptScheduled(event))
    }

    fn knows(records: &[Record]) -> Untouched {
        let untouched = Untouched::default();
        untouched.recorded(records);
        untouched
    }

    #[test]
    fn what_is_taken_back_leaves_no_more() {
        let untouched = knows(&[scheduled(1), scheduled(2)]);
        assert!(untouched.recall(&id(1)));
        assert!(!untouched.leaves(&id(1)));
        assert!(!untouched.may_leave(&id(1)));
        assert!(untouched.leaves(&id(2)), "another attempt is another matter");
    }

    #[test]
    fn what_has_left_is_not_taken_back() {
        let untouched = knows(&[scheduled(1)]);
        assert!(untouched.leaves(&id(1)));
        assert!(!untouched.recall(&id(1)));
        assert!(untouched.leaves(&id(1)), "it may go once more");
    }

    #[test]
    fn what_came_back_from_everybody_is_taken_back() {
        let untouched = knows(&[scheduled(1)]);
        assert!(untouched.leaves(&id(1)) && untouched.leaves(&id(1)));
        untouched.came_back(&id(1));
        assert!(!untouched.recall(&id(1)), "one copy is out");
        untouched.came_back(&id(1));
        assert!(untouched.recall(&id(1)));
        assert!(untouched.recall(&id(1)), "it stays so");
        untouched.came_back(&id(1));
        assert!(!untouched.leaves(&id(1)));
    }

    #[test]
    fn what_lies_in_the_queue_is_taken_back_unless_somebody_took_it() {
        let untouched = knows(&[scheduled(1), scheduled(2)]);
        assert!(untouched.may_leave(&id(1)) && untouched.may_leave(&id(2)));
        let (step, agent) = (id(2).step, AgentId::new("a").unwrap());
        let taken = Event::AttemptTaken { step, attempt: 2, agent };
        untouched.recorded(&[record(taken)]);
        assert!(untouched.recall(&id(1)));
        assert!(!untouched.recall(&id(2)));
    }

    #[test]
    fn nothing_is_known_of_what_another_coordinator_recorded() {
        let untouched = knows(&[scheduled(1)]);
        assert!(!untouched.recall(&id(2)));
        untouched.dropped();
        assert!(!untouched.recall(&id(1)));
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let untouched = knows(&[scheduled(1), scheduled(2)]);
        assert!(untouched.recall(&id(1)));
        untouched.settled(&id(1));
        untouched.settled(&id(2));
        assert!(untouched.known().out.is_empty());
        assert!(untouched.known().taken_back.is_empty());
    }
}
