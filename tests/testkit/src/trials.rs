//! What a definition has to stand beside faults: each step fails once, every attempt is repeated,
//! the journal is cut anywhere.

use std::collections::{BTreeSet, VecDeque};

use skep_protocol::StepPath;

use crate::Violation;
use crate::faults::{Fault, Faults};
use crate::simulation::{Failed, Outcome, Simulation};

impl Simulation {
    /// Lets the attempts of each step fail for good, one step after the other: every run has to end
    /// all the same. What is attempted only because a step failed, such as its fallback, a
    /// compensation or a step with `if: failure()`, fails beside that one; a compensation that does
    /// is taken as done by an operator. Returns what became of it, by step: one whose fallback was
    /// there, twice.
    ///
    /// # Errors
    /// [`Failed`] with the first invariant that did not hold.
    pub fn fail_each_step(&self) -> Result<Vec<(StepPath, Outcome)>, Failed> {
        let calm = self.clone().faults(Faults::none());
        let (mut known, mut outcomes) = (BTreeSet::new(), Vec::new());
        let mut rounds = VecDeque::from([(BTreeSet::new(), calm.run_once()?.parts)]);
        while let Some((before, parts)) = rounds.pop_front() {
            for part in parts {
                if !known.insert(part.clone()) {
                    continue;
                }
                let (step, mut failing) = (part.step().clone(), before.clone());
                failing.insert(part);
                let outcome = Self { failing: failing.clone(), ..calm.clone() }.run_once()?;
                rounds.push_back((failing, outcome.parts.clone()));
                outcomes.push((step, outcome));
            }
        }
        Ok(outcomes)
    }

    /// Lets every message that the network may repeat arrive twice, tasks and reports among them,
    /// until all is over, and wants every run to end as it does without.
    ///
    /// # Errors
    /// [`Failed`] with the first invariant that did not hold, or if a run ended in another way.
    pub fn repeat_each_attempt(&self) -> Result<Outcome, Failed> {
        let calm = self.clone().faults(Faults::none()).run_once()?;
        let repeats = Faults::from_iter([Fault::Repeat]);
        let mut again = self.clone().faults(repeats);
        again.trouble = Some(1_000);
        let repeated = again.run_once()?;
        self.same_ends(&calm, repeated, "with every message twice")
    }

    /// Cuts the journals after each of their messages, as a crash does, lets others go on from
    /// there, and wants every run to end as it does without. Returns how many cuts there were.
    ///
    /// # Errors
    /// [`Failed`] with the first invariant that did not hold, or if a run ended in another way.
    pub fn cut_the_journal(&self) -> Result<usize, Failed> {
        let calm = self.clone().faults(Faults::none());
        let whole = calm.run_once()?;
        for cut in 1..whole.messages.len() {
            let before = whole.messages[..cut].to_vec();
            let stores = whole.stores.clone();
            let resumed = Self { before, stores, ..calm.clone() }.run_once()?;
            self.same_ends(&whole, resumed, &format!("cut after {cut} messages"))?;
        }
        Ok(whole.messages.len().saturating_sub(1))
    }

    fn same_ends(&self, calm: &Outcome, other: Outcome, what: &str) -> Result<Outcome, Failed> {
        if calm.runs == other.runs {
            return Ok(other);
        }
        let what = format!("{what} the runs end as {:?}, not as {:?}", other.runs, calm.runs);
        Err(self.failed(Violation { number: "I-8", what }, other.trace))
    }
}
