//! Recovery: the newest usable snapshot, then the rest of the journal, each message checked.

use std::time::Duration;

use futures::StreamExt as _;
use skep_broker::{Broker, JournalReader, ReadError, Snapshot, Unavailable};
use skep_engine::Partition;
use skep_protocol::{Batch, ChainError, Record, Seq, Timestamp};

use super::Context;
use crate::chain::{Chain, open_snapshot};
use crate::observe;

/// A partition as its journal tells it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) engine: Partition,
    pub(crate) chain: Chain,
    /// The positions of usable snapshots, newest first.
    pub(crate) snapshots: Vec<Seq>,
}

/// Why a partition cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The broker cannot be reached; trying again may help.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The journal is damaged; trying again cannot help.
    #[error("{0}")]
    Damaged(String),
}

/// How long a standby may take over what is missing at the end; beyond it, it starts afresh.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(1);

/// The state of a partition as far as its journal was read: for an owner to start from, and for a
/// standby to go on with.
pub(crate) struct Standby {
    engine: Partition,
    chain: Chain,
    snapshots: Vec<Seq>,
    /// The latest time in the journal, as far as it was read.
    seen: Timestamp,
    /// The clock shows the time of the journal.
    keeps_time: bool,
    messages: Option<JournalReader>,
}

/// Loads the partition: what a standby knows, and what came since; from the newest snapshot that
/// can be used, or from the beginning, without one.
pub(crate) async fn load<B: Broker>(
    context: &Context<B>,
    standby: Option<Standby>,
) -> Result<Loaded, LoadError> {
    if let Some(standby) = standby {
        match tokio::time::timeout(CATCH_UP_WITHIN, standby.caught_up(context)).await {
            Ok(Ok(loaded)) => return Ok(loaded),
            Ok(Err(error)) => observe::trying_again("take over what was followed", &error),
            Err(_) => observe::given_up("take over what was followed", &"it took too long"),
        }
    }
    Ok(Standby::open(context).await?.loaded(context))
}

/// Returns where the journal ends, and at what time. What was read of it was there.
async fn find_end<B: Broker>(context: &Context<B>) -> Result<(Seq, Timestamp), LoadError> {
    // Asked for first, for somebody else may go on writing.
    let read = context.positions.of(context.id);
    let end = context.broker.last(context.id).await?;
    // A snapshot may cover all of the journal. What cannot be read is dealt with by the replay.
    let batch = end.as_ref().and_then(|last| Batch::read(&last.bytes).ok());
    let times = batch.iter().flat_map(|batch| &batch.records).map(time_of);
    let seen = times.max().unwrap_or_default();
    let end = end.map_or(Seq::ZERO, |message| message.seq);
    if read > end {
        return Err(damaged(format!(
            "the journal ends at message {end}, but the read model includes message {read}: \
             acknowledged messages were lost; to go on without them, delete the read model (in the \
             folder of --data)"
        )));
    }
    Ok((end, seen))
}

/// Looks whether nobody kept a newer snapshot since these were asked for, and perhaps trimmed what
/// was about to be read.
async fn still_newest<B: Broker>(context: &Context<B>, kept: &[Snapshot]) -> Result<(), LoadError> {
    let newest = |kept: &[Snapshot]| kept.first().map(|snapshot| snapshot.seq);
    if newest(&context.broker.snapshots(context.id).await?) == newest(kept) {
        return Ok(());
    }
    let (attempted, reason) = ("read a journal", "somebody else went on with it".to_owned());
    Err(Unavailable { attempted, reason }.into())
}

impl Standby {
    /// Reads the journal to its present end, and takes its time over.
    pub(crate) async fn open<B: Broker>(context: &Context<B>) -> Result<Self, LoadError> {
        // What is in a snapshot was there: asked for first, for somebody else may go on writing.
        let kept = context.broker.snapshots(context.id).await?;
        let (end, seen) = find_end(context).await?;
        let mut snapshots = Vec::new();
        let mut damage = None;
        let mut done = None;
        for snapshot in &kept {
            let Some(start) = Self::from_snapshot(context, snapshot) else { continue };
            snapshots.push(snapshot.seq);
            if start.chain.seq > end {
                let at = snapshot.seq;
                return Err(damaged(format!(
                    "the journal ends at message {end}, but a snapshot includes message {at}: \
                     acknowledged messages were lost"
                )));
            }
            if done.is_none() {
                match start.up_to(context, end).await {
                    Ok(read) => done = Some((read, Some(snapshot.seq))),
                    Err(LoadError::Damaged(cause)) => {
                        observe::bad_snapshot(context.id, snapshot.seq, &cause);
                        damage.get_or_insert(cause);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        let (mut read, from) = match done {
            Some(done) => done,
            None => {
                let start = Self::at(Partition::new(context.id), Chain::EMPTY);
                match start.up_to(context, end).await {
                    Err(LoadError::Damaged(cause)) => {
                        still_newest(context, &kept).await?;
                        return Err(damaged(damage.unwrap_or(cause)));
                    }
                    read => (read?, None),
                }
            }
        };
        observe::loaded(context.id, read.chain.seq, from, read.engine.live_runs());
        read.snapshots = snapshots;
        read.seen = read.seen.max(seen);
        read.take_time_over(context).await?;
        Ok(read)
    }

    /// Takes the time of the journal over, by what the broker says of how old its end is: for no
    /// clock of a coordinator need be right. A journal that is empty has no time yet.
    async fn take_time_over<B: Broker>(&mut self, context: &Context<B>) -> Result<(), Unavailable> {
        if !self.keeps_time && self.seen > Timestamp::EPOCH {
            context.clock.carry_on(self.seen, context.broker.age(context.id).await?);
            self.keeps_time = true;
        }
        Ok(())
    }

    /// Returns how often the partition was taken over, by what was read.
    pub(crate) fn epoch(&self) -> u64 {
        self.engine.epoch()
    }

    const fn at(engine: Partition, chain: Chain) -> Self {
        let seen = Timestamp::EPOCH;
        Self { engine, chain, snapshots: Vec::new(), seen, keeps_time: false, messages: None }
    }

    fn from_snapshot<B: Broker>(context: &Context<B>, snapshot: &Snapshot) -> Option<Self> {
        let Some((chain, state)) = open_snapshot(snapshot) else {
            observe::bad_snapshot(context.id, snapshot.seq, "it is damaged");
            return None;
        };
        match Partition::restore(context.id, &state) {
            Ok(engine) => Some(Self::at(engine, chain)),
            Err(error) => {
                observe::bad_snapshot(context.id, snapshot.seq, &chained(&error));
                None
            }
        }
    }

    async fn up_to<B: Broker>(mut self, context: &Context<B>, end: Seq) -> Result<Self, LoadError> {
        while self.chain.seq < end {
            self.next(context).await?;
        }
        Ok(self)
    }

    /// Reads what is missing up to the end of the journal.
    async fn caught_up<B: Broker>(self, context: &Context<B>) -> Result<Loaded, LoadError> {
        let (end, _) = find_end(context).await?;
        let known = self.chain.seq;
        if known > end {
            return Err(damaged(format!(
                "the journal ends at message {end}, but message {known} was read: acknowledged \
                 messages were lost"
            )));
        }
        let mut read = self.up_to(context, end).await?;
        read.take_time_over(context).await?;
        observe::caught_up(context.id, end);
        Ok(read.loaded(context))
    }

    fn loaded<B: Broker>(self, context: &Context<B>) -> Loaded {
        let Self { mut engine, chain, snapshots, seen, .. } = self;
        if engine.live_runs() == 0 {
            // Nobody waits for the time of the journal: it becomes that of the wall clock, as soon
            // as that is later.
            context.clock.carry_on(seen, Duration::ZERO);
            context.clock.catch_up();
        }
        // What is owed is derived from the final state; the way there is of no interest.
        drop(engine.take_changes());
        Loaded { engine, chain, snapshots }
    }

    /// Reads the next message; waits until there is one.
    ///
    /// # Cancel safety
    /// Safe: a message is either taken in or read again.
    pub(crate) async fn next<B: Broker>(&mut self, context: &Context<B>) -> Result<(), LoadError> {
        let due = self.chain.seq.next();
        let messages = match &mut self.messages {
            Some(messages) => messages,
            none => none.insert(context.broker.follow(context.id, due).await?),
        };
        let message = match messages.next().await {
            Some(Ok(message)) => message,
            Some(Err(ReadError::Unavailable(error))) => return Err(error.into()),
            Some(Err(error)) => return Err(damaged(chained(&error))),
            None => {
                let reason = "the reader ended early".to_owned();
                return Err(Unavailable { attempted: "read a journal", reason }.into());
            }
        };
        if message.seq != due {
            let hole = ChainError::Hole { expected: due, found: message.seq };
            return Err(damaged(hole.to_string()));
        }
        let batch = Batch::decode(&message.bytes, due, context.id, self.chain.hash)
            .map_err(|error| damaged(chained(&error)))?;
        for record in &batch.records {
            self.seen = self.seen.max(time_of(record));
            self.engine
                .apply(record)
                .map_err(|error| damaged(format!("message {due}: {}", chained(&error))))?;
        }
        context.clock.not_before(self.seen);
        self.chain = self.chain.extended(&message.bytes);
        drop(self.engine.take_changes());
        Ok(())
    }
}

fn time_of(record: &Record) -> Timestamp {
    match record {
        Record::OwnerChanged(changed) => changed.at,
        Record::WorkflowAdded(_) => Timestamp::EPOCH,
        Record::Run(record) => record.at,
    }
}

fn damaged(cause: String) -> LoadError {
    LoadError::Damaged(cause)
}

/// Returns an error with what caused it.
pub(crate) fn chained(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
