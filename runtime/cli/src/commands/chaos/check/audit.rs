//! The invariants of the engine, over the journals as they are stored.

use bytes::Bytes;
use skep_engine::{Audit, Partition, Violation};
use skep_protocol::{Batch, Event, FailureKind, Hash, Record, RunRecord, Seq};

use super::super::history::{History, Journal};
use super::Found;
use crate::error::chain;

/// Folds each journal from its first message on; the first violation of each is told.
pub(super) fn of_the_engine(history: &History) -> Vec<Found> {
    let found = history.journals.iter().filter_map(|journal| audit(journal).err());
    found.map(Found::from).collect()
}

/// One journal, as far as it was folded.
struct Reader {
    partition: Partition,
    audit: Audit,
    chain: Hash,
    due: Seq,
}

fn audit(journal: &Journal) -> Result<(), Violation> {
    let mut reader = Reader {
        partition: Partition::new(journal.partition),
        audit: Audit::default(),
        chain: Hash::ZERO,
        due: Seq::new(1),
    };
    for (seq, message) in &journal.messages {
        reader.message(*seq, message)?;
    }
    // What is over owes nothing any more.
    let owed = reader.partition.outstanding();
    if reader.partition.live_runs() == 0 && !owed.is_empty() {
        let id = reader.partition.id();
        return Err(Violation { number: "I-8", what: format!("partition {id} owes {owed:?}") });
    }
    Ok(())
}

impl Reader {
    fn message(&mut self, seq: Seq, message: &Bytes) -> Result<(), Violation> {
        let id = self.partition.id();
        let at = |number, what: String| Violation {
            number,
            what: format!("partition {id}, message {seq}: {what}"),
        };
        if seq != self.due {
            return Err(at("I-9", format!("message {} is missing", self.due)));
        }
        let batch = Batch::decode(message, seq, id, self.chain)
            .map_err(|error| at("I-5", chain(&error)))?;
        (self.due, self.chain) = (seq.next(), Hash::of(message));
        for record in &batch.records {
            self.record(record).map_err(|broken| at(broken.number, broken.what))?;
        }
        self.partition.check_invariants().map_err(|broken| at(broken.number, broken.what))?;
        let epoch = self.partition.epoch();
        if batch.epoch != epoch {
            return Err(at("I-5", format!("it is of epoch {} in epoch {epoch}", batch.epoch)));
        }
        Ok(())
    }

    fn record(&mut self, record: &Record) -> Result<(), Violation> {
        let applied = self.partition.apply(record);
        drop(self.partition.take_changes());
        applied.map_err(|error| Violation { number: "I-8", what: chain(&error) })?;
        match self.audit.record(record, &self.partition) {
            Err(early) if early.number == "I-16" && is_told_by_an_agent(record) => Ok(()),
            checked => checked,
        }
    }
}

/// An agent says that time is up by a clock of its own, from when it began.
fn is_told_by_an_agent(record: &Record) -> bool {
    let Record::Run(RunRecord { event: Event::AttemptFailed(failed), .. }) = record else {
        return false;
    };
    failed.agent.is_some() && failed.failure.kind == FailureKind::Timeout
}
