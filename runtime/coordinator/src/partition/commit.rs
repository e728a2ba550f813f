//! Group commit: one append in flight, everything else gathers into the next one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use serde_json::value::RawValue;
use skep_broker::{AppendError, Broker, DurableReport, PutBlobError, Responder};
use skep_engine::Change;
use skep_engine::fleet::FleetInput;
use skep_engine::planted::{self, Bug};
use skep_protocol::limits::{MAX_BATCH_BYTES, TARGET_BATCH_BYTES};
use skep_protocol::{
    AgentId, AttemptId, Batch, CommandReply, PartitionId, RawBatch, Record, ReportReply, Seq,
};
use tokio::sync::watch;

use super::Pause;
use crate::chain::Chain;
use crate::clock::Clock;
use crate::observe;

/// What a message takes beside its records, in bytes.
const ENVELOPE: usize = 512;
/// With more than this gathered, no more input is taken in, in bytes.
const MAX_GATHERED: usize = 4 * TARGET_BATCH_BYTES;
/// What waits for records takes so much each, about, in bytes.
const RELEASE: usize = 512;
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
    encoded: Vec<Box<RawValue>>,
    bytes: usize,
    pub(crate) blobs: Vec<Bytes>,
    pub(crate) releases: Vec<Release>,
}

impl Unit {
    pub(crate) fn new(records: Vec<Record>, blobs: Vec<Bytes>, releases: Vec<Release>) -> Self {
        let encoded: Vec<Box<RawValue>> = records
            .iter()
            .map(|record| {
                serde_json::value::to_raw_value(record).expect("records have a JSON form")
            })
            .collect();
        let bytes = encoded.iter().map(|raw| raw.get().len() + 1).sum();
        Self { records, encoded, bytes, blobs, releases }
    }

    /// Splits off what fits into one message; what waits for the records stays with the rest.
    fn split(&mut self) -> Self {
        let mut bytes = 0;
        let fitting = self.encoded.iter().take_while(|raw| {
            bytes += raw.get().len() + 1;
            bytes <= TARGET_BATCH_BYTES
        });
        let count = fitting.count().max(1);
        let rest = self.encoded.split_off(count);
        let encoded = std::mem::replace(&mut self.encoded, rest);
        let rest = self.records.split_off(count);
        let records = std::mem::replace(&mut self.records, rest);
        let bytes: usize = encoded.iter().map(|raw| raw.get().len() + 1).sum();
        self.bytes -= bytes;
        let blobs = std::mem::take(&mut self.blobs);
        Self { records, encoded, bytes, blobs, releases: Vec::new() }
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
    /// What is appended; none if there are no records, and it is only looked whether somebody else
    /// has appended any.
    message: Option<Bytes>,
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
    gathered: VecDeque<Unit>,
    gathered_bytes: usize,
    /// What goes with them and waits for them, in bytes.
    gathered_beside: usize,
    flight: Option<Flight>,
    /// Records that became durable since the last snapshot.
    pub(crate) records_since_snapshot: u64,
}

impl<B: Broker> Commit<B> {
    pub(crate) const fn new(
        broker: B,
        clock: Arc<Clock>,
        partition: PartitionId,
        chain: Chain,
    ) -> Self {
        Self {
            broker,
            clock,
            partition,
            chain,
            gathered: VecDeque::new(),
            gathered_bytes: 0,
            gathered_beside: 0,
            flight: None,
            records_since_snapshot: 0,
        }
    }

    /// Adds what follows from one input.
    pub(crate) fn push(&mut self, unit: Unit) {
        self.gathered_bytes += unit.bytes;
        self.gathered_beside += beside(&unit.blobs, &unit.releases);
        self.gathered.push_back(unit);
    }

    /// Returns whether no more input should be taken in before something is durable.
    pub(crate) const fn is_full(&self) -> bool {
        self.gathered_bytes + self.gathered_beside > MAX_GATHERED
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
        let (mut records, mut encoded, mut blobs, mut releases) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        while let Some(next) = self.gathered.front_mut() {
            let fits = bytes + next.bytes <= TARGET_BATCH_BYTES;
            let unit = if fits || (bytes == 0 && next.bytes + ENVELOPE <= MAX_BATCH_BYTES) {
                self.gathered.pop_front()
            } else if bytes == 0 {
                Some(next.split())
            } else {
                None
            };
            let Some(mut unit) = unit else { break };
            bytes += unit.bytes;
            records.append(&mut unit.records);
            encoded.append(&mut unit.encoded);
            blobs.append(&mut unit.blobs);
            releases.append(&mut unit.releases);
        }
        self.gathered_bytes -= bytes;
        self.gathered_beside -= beside(&blobs, &releases);
        if encoded.is_empty() && releases.is_empty() {
            return Vec::new();
        }
        let (trouble, reason) = watch::channel(None);
        let write = Write {
            broker: self.broker.clone(),
            clock: Arc::clone(&self.clock),
            partition: self.partition,
            expected: self.chain.seq,
            trouble,
        };
        let (mut message, mut too_soon) = (None, Vec::new());
        let landing = if encoded.is_empty() {
            write.found_unchanged().boxed()
        } else {
            let (partition, previous) = (self.partition, self.chain.hash);
            let batch =
                RawBatch { v: Batch::VERSION, partition, epoch, previous, records: &encoded };
            let bytes = batch.encode();
            message = Some(bytes.clone());
            if planted::is(Bug::PerformTooSoon) {
                too_soon = std::mem::take(&mut releases);
            }
            write.appended(bytes, blobs).boxed()
        };
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
                if let Some(message) = &flight.message {
                    self.chain = self.chain.extended(message);
                    self.records_since_snapshot += flight.records.len() as u64;
                    observe::committed(self.partition, self.chain.seq, &flight.records);
                }
                Landed::Durable { releases: flight.releases, asked }
            }
            Landing::Replaced => Landed::Replaced,
            Landing::Refused(cause) => Landed::Refused(cause),
        }
    }
}

/// Returns how much memory is taken beside records: a rejection has none, and waits as well.
fn beside(blobs: &[Bytes], releases: &[Release]) -> usize {
    blobs.iter().map(Bytes::len).sum::<usize>() + releases.len() * RELEASE
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
