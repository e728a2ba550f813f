//! Following one journal into the read model, through whatever a trim takes away.

use std::ops::ControlFlow;
use std::time::Duration;

use futures::StreamExt as _;
use skep_broker::{Broker, JournalMessage, ReadError, Unavailable};
use skep_engine::Partition;
use skep_protocol::{Batch, PartitionId, Record, Seq, Timestamp, decode};
use tokio::sync::mpsc;

use super::Work;
use super::fold::Entry;
use super::repair::Gap;
use crate::chain::open_snapshot;
use crate::observe;
use crate::partition::chained;

/// The first pause before a journal is opened again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Reads one journal for the thread of the read model.
pub(super) struct Follower<B> {
    pub(super) broker: B,
    pub(super) partition: PartitionId,
    /// The last message that was read.
    pub(super) position: Seq,
    pub(super) work: mpsc::Sender<Work>,
}

impl<B: Broker> Follower<B> {
    /// Reads until the read model is gone or the journal is damaged.
    pub(super) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        let mut hole = None;
        loop {
            match self.read().await {
                ControlFlow::Continue(Some(ReadError::Hole { expected, found })) => {
                    // A trim overtook the reader, and the next one starts behind it, unless the
                    // hole is where it was.
                    let reason = ReadError::Hole { expected, found };
                    if hole.replace(expected) == Some(expected) {
                        return observe::read_model_stopped(self.partition, &reason);
                    }
                    observe::trying_again("follow a journal", &reason);
                }
                ControlFlow::Continue(Some(error)) => {
                    observe::trying_again("follow a journal", &error);
                }
                ControlFlow::Continue(None) => {}
                ControlFlow::Break(()) => return,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Reads until the reader ends, and tells why it did.
    async fn read(&mut self) -> ControlFlow<(), Option<ReadError>> {
        let mut messages = match self.broker.follow(self.partition, self.position.next()).await {
            Ok(messages) => messages,
            Err(error) => return ControlFlow::Continue(Some(error.into())),
        };
        while let Some(message) = messages.next().await {
            let message = match message {
                Ok(message) => message,
                Err(error) => return ControlFlow::Continue(Some(error)),
            };
            let batch = match read_batch(&message) {
                Ok(batch) => batch,
                Err(reason) => {
                    observe::read_model_stopped(self.partition, &reason);
                    return ControlFlow::Break(());
                }
            };
            if message.seq > self.position.next() {
                match self.gap(message.seq, &batch).await {
                    Ok(gap) => self.send(Entry::Gap(gap)).await?,
                    Err(error) => return ControlFlow::Continue(Some(error.into())),
                }
            }
            self.position = message.seq;
            let (partition, seq) = (self.partition, message.seq);
            self.send(Entry::Message { partition, seq, batch }).await?;
        }
        ControlFlow::Continue(None)
    }

    async fn send(&self, entry: Entry) -> ControlFlow<()> {
        match self.work.send(Work::Entry(entry)).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    /// Finds out what is known of a journal whose messages before `first` were trimmed unread.
    async fn gap(&self, first: Seq, batch: &Batch) -> Result<Gap, Unavailable> {
        let partition = self.partition;
        observe::read_model_overtaken(partition, self.position, first);
        let snapshots = self.broker.snapshots(partition).await?;
        let reaching = snapshots.into_iter().filter(|kept| kept.seq.next() >= first);
        // The older it is, the more is learnt from the messages behind it.
        let usable = reaching.rev().find_map(|kept| {
            let (chain, state) = open_snapshot(&kept)?;
            let state = Partition::restore(partition, &state).ok()?;
            Some((chain.seq, Box::new(state)))
        });
        let at = batch.records.iter().find_map(time_of);
        Ok(Gap { partition, first, at, state: usable })
    }
}

fn read_batch(message: &JournalMessage) -> Result<Batch, String> {
    match decode::<Batch>(&message.bytes) {
        Ok(batch) if batch.v <= Batch::VERSION => Ok(batch),
        Ok(batch) => Err(format!("format {} is not known", batch.v)),
        Err(error) => Err(chained(&error)),
    }
}

fn time_of(record: &Record) -> Option<Timestamp> {
    match record {
        Record::OwnerChanged(changed) => Some(changed.at),
        Record::WorkflowAdded(_) => None,
        Record::Run(record) => Some(record.at),
    }
}
