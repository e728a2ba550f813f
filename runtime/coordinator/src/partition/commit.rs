//! Group commit: one append in flight, everything else gathers into the next one.

mod sheets;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use skep_broker::{AppendError, Broker, DurableReport, PutBlobError, Responder};
use skep_engine::Change;
use skep_engine::fleet::FleetInput;
use skep_engine::planted::{self, Bug};
use skep_protocol::limits::TARGET_BATCH_BYTES;
use skep_protocol::{
    AgentId, AttemptId, CommandReply, PartitionId, Record, ReportReply, Seq, Texts,
};
use tokio::sync::watch;

use self::sheets::{Sheet, Sheets};
use super::Pause;
use crate::chain::Chain;
use crate::clock::Clock;
use crate::observe;
use crate::read_model::Feed;

/// With more than this gathered, no more input is taken in, in bytes.
const MAX_GATHERED: usize = 4 * TARGET_BATCH_BYTES;
/// Large values that are put into the blob store at the same time.
const BLOBS_AT_ONCE: usize = 8;

/// What is let out once the records before it are durable.
pub(crate) enum Release {
    Command(Responder<CommandReply>, CommandReply),
    Reports(Responder<ReportReply>, ReportReply),
    Confirm(DurableReport),
    Changes { changes: Vec<Change>, reporter: Option<(AgentId, AttemptId)> },
    Fleet(FleetInput),
    Cancel(AgentId, Vec<AttemptId>),
}

/// The records that follow from one input, and what waits for them.
pub(crate) struct Unit {
    pub(crate) records: Vec<Record>,
    pub(crate) blobs: Vec<Bytes>,
    pub(crate) releases: Vec<Release>,
}

impl Unit {
    pub(crate) const fn new(
        records: Vec<Record>,
        blobs: Vec<Bytes>,
        releases: Vec<Release>,
    ) -> Self {
        Self { records, blobs, releases }
    }
}

/// How an append ended.
#[derive(Debug)]
enum Landing {
    /// It is in the journal, and was sent, or looked for, at this moment.
    Durable(Duration),
    Replaced,
    Refused(String),
}

struct Flight {
    landing: BoxFuture<'static, Landing>,
    /// What is appended, and where its records lie; none if there are no records, and it is only
    /// looked whether somebody else has appended any.
    message: Option<(Bytes, Texts)>,
    records: Vec<Record>,
    releases: Vec<Release>,
    /// Why it has not landed yet, once it was sent.
    trouble: watch::Receiver<Option<String>>,
}

/// What became of the append in flight.
pub(crate) enum Landed {
    /// It is in the journal, as was asked at this moment; these may be let out.
    Durable { releases: Vec<Release>, asked: Duration },
    /// Somebody else writes the journal.
    Replaced,
    /// The broker does not take it, or a large value that it refers to: nothing is stored.
    Refused(String),
}

/// The writer of one journal.
pub(crate) struct Commit<B> {
    broker: B,
    clock: Arc<Clock>,
    partition: PartitionId,
    chain: Chain,
    gathered: Sheets,
    flight: Option<Flight>,
    /// Takes what is durable.
    feed: Option<Feed>,
    /// Records that became durable since the last snapshot.
    pub(crate) records_since_snapshot: u64,
}

impl<B: Broker> Commit<B> {
    pub(crate) const fn new(
        broker: B,
        clock: Arc<Clock>,
        partition: PartitionId,
        chain: Chain,
        feed: Option<Feed>,
    ) -> Self {
        Self {
            broker,
            clock,
            partition,
            chain,
            gathered: Sheets::new(),
            flight: None,
            feed,
            records_since_snapshot: 0,
        }
    }

    /// Adds what follows from one input.
    pub(crate) fn push(&mut self, unit: Unit) {
        self.gathered.push(unit);
    }

    /// Returns whether no more input should be taken in before something is durable.
    pub(crate) const fn is_full(&self) -> bool {
        self.gathered.size() > MAX_GATHERED
    }

    /// Returns why the message that was sent is not in the journal yet, if one was.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.flight.as_ref()?.trouble.borrow().clone()
    }

    pub(crate) const fn in_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// Returns whether everything that was decided is durable.
    pub(crate) fn is_settled(&self) -> bool {
        self.flight.is_none() && self.gathered.is_empty()
    }

    /// Says that nobody can rely on this writer any more to hear of the end of the journal.
    pub(crate) fn let_go(&mut self) {
        self.feed = None;
    }

    pub(crate) const fn chain(&self) -> Chain {
        self.chain
    }

    /// Starts the next append unless one is in flight. What is let out without a record waits until
    /// the journal was found as this writer knows it: somebody else may have gone on with it, and
    /// know better. Returns what is let out at once, which is nothing but for a planted bug.
    pub(crate) fn start(&mut self, epoch: u64) -> Vec<Release> {
        if self.flight.is_some() {
            return Vec::new();
        }
        let Some(sheet) = self.gathered.pop() else { return Vec::new() };
        let Sheet { mut draft, records, blobs, mut releases } = sheet;
        let (trouble, reason) = watch::channel(None);
        let write = Write {
            broker: self.broker.clone(),
            clock: Arc::clone(&self.clock),
            partition: self.partition,
            expected: self.chain.seq,
            trouble,
        };
        let (mut message, mut too_soon) = (None, Vec::new());
        let landing = if draft.is_empty() {
            write.found_unchanged().boxed()
        } else {
            let bytes = draft.finish(self.partition, epoch, self.chain.hash);
            message = Some((bytes.clone(), draft.texts(&bytes)));
            if planted::is(Bug::PerformTooSoon) {
                too_soon = std::mem::take(&mut releases);
            }
            write.appended(bytes, blobs).boxed()
        };
        self.gathered.reuse(draft);
        self.flight = Some(Flight { landing, message, records, releases, trouble: reason });
        too_soon
    }

    /// Waits for the append in flight; for ever if there is none.
    ///
    /// # Cancel safety
    /// Safe: the append goes on where it was.
    pub(crate) async fn landed(&mut self) -> Landed {
        let Some(flight) = &mut self.flight else { return std::future::pending().await };
        let landing = (&mut flight.landing).await;
        let Some(flight) = self.flight.take() else { return std::future::pending().await };
        match landing {
            Landing::Durable(asked) => {
                if let Some((message, texts)) = flight.message {
                    self.chain = self.chain.extended(&message);
                    self.records_since_snapshot += flight.records.len() as u64;
                    observe::committed(self.partition, self.chain.seq, &flight.records);
                    if let Some(feed) = &mut self.feed {
                        feed.landed(self.chain.seq, flight.records, texts);
                    }
                }
                Landed::Durable { releases: flight.releases, asked }
            }
            Landing::Replaced => Landed::Replaced,
            Landing::Refused(cause) => Landed::Refused(cause),
        }
    }
}

/// One flight to the end of the journal.
struct Write<B> {
    broker: B,
    clock: Arc<Clock>,
    partition: PartitionId,
    /// Where the journal ends, by all this writer knows.
    expected: Seq,
    trouble: watch::Sender<Option<String>>,
}

impl<B: Broker> Write<B> {
    /// Keeps the large values that the message refers to, then appends it.
    async fn appended(self, message: Bytes, blobs: Vec<Bytes>) -> Landing {
        let keep = blobs.into_iter().map(|blob| keep_blob(&self.broker, blob));
        let kept = futures::stream::iter(keep).buffer_unordered(BLOBS_AT_ONCE);
        match kept.try_collect::<()>().await {
            Ok(()) => self.append(message).await,
            Err(cause) => Landing::Refused(cause),
        }
    }

    /// Appends the same bytes until their fate is known.
    async fn append(self, message: Bytes) -> Landing {
        let Self { broker, partition, expected, .. } = &self;
        let mut pause = Pause::new();
        self.sent();
        loop {
            let mut asked = self.clock.moment();
            match broker.append(*partition, *expected, message.clone()).await {
                Ok(_) => return Landing::Durable(asked),
                Err(AppendError::TooLarge { size, limit }) => {
                    return Landing::Refused(format!(
                        "a journal message of {size} bytes is needed, the broker takes {limit}"
                    ));
                }
                Err(AppendError::Unknown { reason }) => {
                    observe::append_unknown(*partition, *expected, &reason);
                    self.trouble.send_replace(Some(reason));
                }
                // The journal ends elsewhere: with our own bytes, if an append without an answer
                // was stored after all, or with those of a successor.
                Err(AppendError::Conflict { last, .. }) if planted::is(Bug::SkipFence) => {
                    if broker.append(*partition, last, message.clone()).await.is_ok() {
                        return Landing::Durable(asked);
                    }
                }
                Err(AppendError::Conflict { .. }) => {
                    asked = self.clock.moment();
                    match broker.last(*partition).await {
                        Ok(Some(last)) if last.seq == expected.next() && last.bytes == *message => {
                            return Landing::Durable(asked);
                        }
                        Ok(_) => return Landing::Replaced,
                        Err(error) => observe::trying_again("read the end of a journal", &error),
                    }
                }
                Err(error) => observe::trying_again("append to a journal", &error),
            }
            pause.rest().await;
        }
    }

    /// Looks at the journal until it is known whether it still ends where this writer left it.
    async fn found_unchanged(self) -> Landing {
        let mut pause = Pause::new();
        self.sent();
        loop {
            let asked = self.clock.moment();
            let last = self.broker.last(self.partition).await;
            match last.map(|last| last.map_or(Seq::ZERO, |last| last.seq)) {
                Ok(end) if end == self.expected => return Landing::Durable(asked),
                Ok(_) if planted::is(Bug::SkipFence) => return Landing::Durable(asked),
                Ok(_) => return Landing::Replaced,
                Err(error) => {
                    observe::trying_again("read the end of a journal", &error);
                    self.trouble.send_replace(Some(error.to_string()));
                }
            }
            pause.rest().await;
        }
    }

    fn sent(&self) {
        self.trouble.send_replace(Some("it does not answer".to_owned()));
    }
}

/// Keeps a large value; it has to lie there before the record that refers to it.
async fn keep_blob<B: Broker>(broker: &B, blob: Bytes) -> Result<(), String> {
    let mut pause = Pause::new();
    loop {
        match broker.put_blob(blob.clone()).await {
            Ok(_) => return Ok(()),
            Err(error @ PutBlobError::Full { .. }) => return Err(error.to_string()),
            Err(PutBlobError::Unavailable(error)) => {
                observe::trying_again("keep a large value", &error);
            }
        }
        pause.rest().await;
    }
}

#[cfg(test)]
mod tests;
