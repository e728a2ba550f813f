//! Recovery: the newest usable snapshot, then the rest of the journal, each message checked.

use futures::StreamExt as _;
use skep_broker::{Broker, ReadError, Snapshot, Unavailable};
use skep_engine::Partition;
use skep_protocol::{Batch, ChainError, Record, Seq, Timestamp, decode};

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

/// Where a replay starts.
struct Start {
    engine: Partition,
    chain: Chain,
    snapshot: Option<Seq>,
}

/// Loads the partition: from the newest snapshot that can be used, or from the beginning.
pub(crate) async fn load<B: Broker>(context: &Context<B>) -> Result<Loaded, LoadError> {
    // What was read, or is in a snapshot, was there: asked for first, for somebody else may go on
    // writing.
    let read = context.positions.of(context.id);
    let kept = context.broker.snapshots(context.id).await?;
    let end = context.broker.last(context.id).await?;
    // A snapshot may cover all of the journal. What cannot be read is dealt with by the replay.
    if let Some(batch) = end.as_ref().and_then(|last| decode::<Batch>(&last.bytes).ok()) {
        batch.records.iter().for_each(|record| context.clock.not_before(time_of(record)));
    }
    let end = end.map_or(Seq::ZERO, |message| message.seq);
    if read > end {
        return Err(damaged(format!(
            "the journal ends at message {end}, but the read model includes message {read}: \
             acknowledged messages were lost; to go on without them, delete the read model (in the \
             folder of --data)"
        )));
    }
    let mut snapshots = Vec::new();
    let mut damage = None;
    let mut done = None;
    for snapshot in &kept {
        let Some(start) = from_snapshot(context, snapshot) else { continue };
        snapshots.push(snapshot.seq);
        if start.chain.seq > end {
            let at = snapshot.seq;
            return Err(damaged(format!(
                "the journal ends at message {end}, but a snapshot includes message {at}: \
                 acknowledged messages were lost"
            )));
        }
        if done.is_none() {
            match replay(context, start, end).await {
                Ok(loaded) => done = Some(loaded),
                Err(LoadError::Damaged(cause)) => {
                    observe::bad_snapshot(context.id, snapshot.seq, &cause);
                    damage.get_or_insert(cause);
                }
                Err(error) => return Err(error),
            }
        }
    }
    let (engine, chain) = match done {
        Some(done) => done,
        None => {
            let engine = Partition::new(context.id);
            let start = Start { engine, chain: Chain::EMPTY, snapshot: None };
            match replay(context, start, end).await {
                Err(LoadError::Damaged(cause)) => return Err(damaged(damage.unwrap_or(cause))),
                done => done?,
            }
        }
    };
    Ok(Loaded { engine, chain, snapshots })
}

fn from_snapshot<B: Broker>(context: &Context<B>, snapshot: &Snapshot) -> Option<Start> {
    let Some((chain, state)) = open_snapshot(snapshot) else {
        observe::bad_snapshot(context.id, snapshot.seq, "it is damaged");
        return None;
    };
    match Partition::restore(context.id, &state) {
        Ok(engine) => Some(Start { engine, chain, snapshot: Some(snapshot.seq) }),
        Err(error) => {
            observe::bad_snapshot(context.id, snapshot.seq, &error.to_string());
            None
        }
    }
}

async fn replay<B: Broker>(
    context: &Context<B>,
    start: Start,
    end: Seq,
) -> Result<(Partition, Chain), LoadError> {
    let Start { mut engine, mut chain, snapshot } = start;
    if chain.seq < end {
        let mut messages = context.broker.follow(context.id, chain.seq.next()).await?;
        while chain.seq < end {
            let message = match messages.next().await {
                Some(Ok(message)) => message,
                Some(Err(ReadError::Unavailable(error))) => return Err(error.into()),
                Some(Err(error)) => return Err(damaged(error.to_string())),
                None => {
                    let reason = "the reader ended early".to_owned();
                    return Err(Unavailable { attempted: "read a journal", reason }.into());
                }
            };
            let due = chain.seq.next();
            if message.seq != due {
                let hole = ChainError::Hole { expected: due, found: message.seq };
                return Err(damaged(hole.to_string()));
            }
            let batch = Batch::decode(&message.bytes, due, context.id, chain.hash)
                .map_err(|error| damaged(chained(&error)))?;
            for record in &batch.records {
                context.clock.not_before(time_of(record));
                engine
                    .apply(record)
                    .map_err(|error| damaged(format!("message {due}: {}", chained(&error))))?;
            }
            chain = chain.extended(&message.bytes);
            // What is owed is derived from the final state; the way there is of no interest.
            drop(engine.take_changes());
        }
    }
    drop(engine.take_changes());
    observe::loaded(context.id, chain.seq, snapshot, engine.live_runs());
    Ok((engine, chain))
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
