//! Following one journal into the read model, through whatever a trim takes away.
//!
//! What the owner of the partition hands over is taken as it comes, if the owner is in this
//! process; the journal is read only for what that leaves out.

use std::ops::ControlFlow;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use skep_broker::{Broker, ReadError, Unavailable};
use skep_engine::Partition;
use skep_protocol::{PartitionId, Record, Seq, Timestamp};
use tokio::sync::mpsc;

use super::entry::{Entry, Message};
use super::feed::Intake;
use super::news::Followers;
use super::repair::Gap;
use super::{Positions, Work};
use crate::chain::open_snapshot;
use crate::observe;
use crate::partition::chained;

/// The first pause before a journal is opened again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long messages gather that nobody waits for.
const REST: Duration = Duration::from_millis(10);

/// Reads one journal for the thread of the read model.
pub(super) struct Follower<B> {
    pub(super) broker: B,
    pub(super) partition: PartitionId,
    /// The last message that was read.
    pub(super) position: Seq,
    /// What the owner hands over.
    pub(super) intake: Intake,
    pub(super) work: mpsc::Sender<Work>,
    pub(super) positions: Positions,
    pub(super) followers: Followers,
}

/// Why no more of a journal is read.
enum Read {
    /// The owner hands over what follows.
    Enough,
    /// The reader ended, perhaps because of this.
    Ended(Option<ReadError>),
}

impl From<Unavailable> for Read {
    fn from(error: Unavailable) -> Self {
        Self::Ended(Some(error.into()))
    }
}

impl<B: Broker> Follower<B> {
    /// Reads until the read model is gone or the journal is damaged.
    pub(super) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        let mut hole = None;
        loop {
            if self.take_over().await.is_break() {
                return;
            }
            match self.read().await {
                ControlFlow::Continue(Read::Enough) => {
                    pause = FIRST_PAUSE;
                    continue;
                }
                ControlFlow::Continue(Read::Ended(Some(ReadError::Hole { expected, found }))) => {
                    // A trim overtook the reader, and the next one starts behind it, unless the
                    // hole is where it was.
                    let reason = ReadError::Hole { expected, found };
                    if hole.replace(expected) == Some(expected) {
                        return observe::read_model_stopped(self.partition, &reason);
                    }
                    observe::trying_again("follow a journal", &reason);
                }
                ControlFlow::Continue(Read::Ended(Some(error))) => {
                    observe::trying_again("follow a journal", &error);
                }
                ControlFlow::Continue(Read::Ended(None)) => {}
                ControlFlow::Break(()) => return,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Takes what the owner hands over, until the journal has to be read.
    async fn take_over(&mut self) -> ControlFlow<()> {
        while let Some(message) = self.intake.next(self.position).await {
            self.taken(message).await?;
            while let Some(Some(message)) = self.intake.next(self.position).now_or_never() {
                self.taken(message).await?;
            }
            self.rest().await;
        }
        ControlFlow::Continue(())
    }

    async fn taken(&mut self, message: Message) -> ControlFlow<()> {
        self.position = message.seq;
        self.send(Entry::Message(message)).await
    }

    /// Lets more gather, as long as nobody waits for it: to wake the thread for each message takes
    /// more than to fold it, from those who wait for the next task.
    async fn rest(&self) {
        if self.followers.are_none() {
            tokio::select! {
                biased;
                () = self.positions.wanted(self.partition) => {}
                () = tokio::time::sleep(REST) => {}
            }
        }
    }

    /// Reads the journal until the owner hands over what follows, or the reader ends.
    async fn read(&mut self) -> ControlFlow<(), Read> {
        let mut messages = match self.broker.follow(self.partition, self.position.next()).await {
            Ok(messages) => messages,
            Err(error) => return ControlFlow::Continue(error.into()),
        };
        loop {
            let message = tokio::select! {
                biased;
                () = self.intake.goes_on(self.position) => {
                    return ControlFlow::Continue(Read::Enough);
                }
                message = messages.next() => match message {
                    Some(Ok(message)) => message,
                    Some(Err(error)) => return ControlFlow::Continue(Read::Ended(Some(error))),
                    None => return ControlFlow::Continue(Read::Ended(None)),
                }
            };
            let message = match Message::decode(self.partition, message.seq, message.bytes) {
                Ok(message) => message,
                Err(error) => {
                    observe::read_model_stopped(self.partition, &chained(&error));
                    return ControlFlow::Break(());
                }
            };
            if message.seq > self.position.next() {
                match self.gap(&message).await {
                    Ok(gap) => self.send(Entry::Gap(gap)).await?,
                    Err(error) => return ControlFlow::Continue(error.into()),
                }
            }
            self.position = message.seq;
            self.send(Entry::Message(message)).await?;
        }
    }

    async fn send(&self, entry: Entry) -> ControlFlow<()> {
        match self.work.send(Work::Entry(entry)).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    /// Finds out what is known of a journal whose messages before `first` were trimmed unread.
    async fn gap(&self, first: &Message) -> Result<Gap, Unavailable> {
        let (partition, at) = (self.partition, first.records.iter().find_map(time_of));
        let first = first.seq;
        observe::read_model_overtaken(partition, self.position, first);
        let snapshots = self.broker.snapshots(partition).await?;
        let reaching = snapshots.into_iter().filter(|kept| kept.seq.next() >= first);
        // The older it is, the more is learnt from the messages behind it.
        let usable = reaching.rev().find_map(|kept| {
            let (chain, state) = open_snapshot(&kept)?;
            let state = Partition::restore(partition, &state).ok()?;
            Some((chain.seq, Box::new(state)))
        });
        Ok(Gap { partition, first, at, state: usable })
    }
}

fn time_of(record: &Record) -> Option<Timestamp> {
    match record {
        Record::OwnerChanged(changed) => Some(changed.at),
        Record::WorkflowAdded(_) => None,
        Record::Run(record) => Some(record.at),
    }
}
