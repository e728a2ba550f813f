//! Journals: one stream for each partition, fenced by the expected last sequence.

use std::time::Duration;

use async_nats::datetime::parse_rfc3339;
use async_nats::jetstream;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageErrorKind, State};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::Deserialize;
use skep_broker::{AppendError, Journal, JournalMessage, JournalReader, ReadError, Unavailable};
use skep_protocol::{PartitionId, Seq};

use crate::connect::chain;
use crate::nats::Nats;
use crate::tail::Tail;

/// Pause before a reader that was interrupted tries again.
const READ_AGAIN: Duration = Duration::from_millis(100);

impl Journal for Nats {
    async fn append(
        &self,
        partition: PartitionId,
        expected: Seq,
        message: Bytes,
    ) -> Result<Seq, AppendError> {
        let size = message.len();
        // The stream has one subject, so this is also the last sequence of the subject; unlike
        // that one it survives a trim.
        let publish =
            PublishMessage::build().payload(message).expected_last_sequence(expected.get());
        let subject = self.layout().journal(partition);
        let published = async { self.js().send_publish(subject, publish).await?.await };
        let limit = || self.shared.client.max_payload();
        match self.while_connected(self.patience(), published).await {
            Ok(Ok(ack)) => Ok(Seq::new(ack.sequence)),
            Ok(Err(error)) => match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => {
                    Err(AppendError::TooLarge { size, limit: limit() })
                }
                PublishErrorKind::WrongLastSequence => {
                    Err(AppendError::Conflict { expected, last: last_told(&error) })
                }
                PublishErrorKind::StreamNotFound
                | PublishErrorKind::WrongLastMessageId
                | PublishErrorKind::TimedOut
                | PublishErrorKind::BrokenPipe
                | PublishErrorKind::MaxAckPending
                | PublishErrorKind::Other => Err(refused(&error, size, limit())),
            },
            Err(interrupted) => Err(AppendError::Unknown { reason: interrupted.to_string() }),
        }
    }

    async fn last(&self, partition: PartitionId) -> Result<Option<JournalMessage>, Unavailable> {
        let attempted = "read the end of a journal";
        let stream = self.layout().journal_stream(partition);
        let stream = self.api(attempted, self.js().get_stream_no_info(stream)).await?;
        loop {
            let read = async {
                let subject = self.layout().journal(partition);
                match stream.raw_message_builder().last_by_subject(subject).send().await {
                    Ok(message) => Ok(Some(message)),
                    Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            };
            if let Some(m) = self.api(attempted, read).await? {
                return Ok(Some(JournalMessage { seq: Seq::new(m.sequence), bytes: m.payload }));
            }
            // Empty, or emptied: positions stay, and appends have to expect the last one.
            let state = self.api(attempted, stream.get_info()).await?.state;
            if state.messages == 0 {
                let seq = Seq::new(state.last_sequence);
                return Ok((seq > Seq::ZERO).then(|| JournalMessage { seq, bytes: Bytes::new() }));
            }
            // The first message came meanwhile.
        }
    }

    async fn age(&self, partition: PartitionId) -> Result<Duration, Unavailable> {
        let subject = format!("STREAM.INFO.{}", self.layout().journal_stream(partition));
        let attempted = "ask for the age of the end of a journal";
        let asked = self.js().request::<_, _, End>(subject, &());
        let end = self.api(attempted, asked).await?;
        end.age().map_err(|error| Unavailable { attempted, reason: error.to_string() })
    }

    async fn follow(
        &self,
        partition: PartitionId,
        from: Seq,
    ) -> Result<JournalReader, Unavailable> {
        let mut follower = Follower { nats: self.clone(), partition, next: from, tail: None };
        let state = follower.state().await?;
        if let Some(hole) = emptied(&state, from) {
            return Ok(futures::stream::once(std::future::ready(Err(hole))).boxed());
        }
        follower.next = from.max(first_of(&state));
        follower.open().await?;
        let messages = futures::stream::unfold(Some(follower), |follower| async {
            let mut follower = follower?;
            let item = follower.read().await;
            let after = item.is_ok().then_some(follower);
            Some((item, after))
        });
        Ok(messages.boxed())
    }

    async fn trim(&self, partition: PartitionId, first_kept: Seq) -> Result<(), Unavailable> {
        let attempted = "trim a journal";
        let name = self.layout().journal_stream(partition);
        let stream = self.api(attempted, self.js().get_stream(name)).await?;
        let state = &stream.cached_info().state;
        // The last message stays: it tells where the journal ends and the hash the next one names.
        let first_kept = first_kept.get().min(state.last_sequence);
        if first_kept <= state.first_sequence {
            return Ok(());
        }
        let purge = stream.purge().sequence(first_kept);
        self.api(attempted, async move { purge.await }).await.map(drop)
    }
}

/// What the leader of a stream tells of its end, and when, by its own clock.
#[derive(Deserialize)]
struct End {
    ts: String,
    state: State,
}

impl End {
    fn age(&self) -> Result<Duration, async_nats::Error> {
        let age = parse_rfc3339(&self.ts)? - self.state.last_timestamp;
        // A clock that was set back since then shows none.
        let age = Duration::try_from(age).ok().filter(|_| self.state.messages > 0);
        Ok(age.unwrap_or_default())
    }
}

fn first_of(state: &State) -> Seq {
    Seq::new(state.first_sequence.max(1))
}

/// Returns what is missing from `from` on in a journal without messages: a trim leaves the last.
fn emptied(state: &State, from: Seq) -> Option<ReadError> {
    let (expected, end) = (from.max(Seq::ZERO.next()), Seq::new(state.last_sequence));
    let hole = ReadError::Hole { expected, found: end.next() };
    (state.messages == 0 && expected <= end).then_some(hole)
}

/// Reads the end of the journal from the text of the refusal: "wrong last sequence: 7".
fn last_told(error: &PublishError) -> Seq {
    let text = chain(error);
    let digits = text.rsplit("wrong last sequence: ").next().unwrap_or_default();
    let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
    Seq::new(digits.parse().unwrap_or_default())
}

fn refused(error: &PublishError, size: usize, limit: usize) -> AppendError {
    let source = std::error::Error::source(error);
    let code = source.and_then(|source| source.downcast_ref::<jetstream::Error>());
    if code.is_some_and(|error| error.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM) {
        return AppendError::TooLarge { size, limit };
    }
    AppendError::Unknown { reason: chain(error) }
}

/// Reads a journal in order, through interruptions.
struct Follower {
    nats: Nats,
    partition: PartitionId,
    next: Seq,
    tail: Option<Tail>,
}

impl Follower {
    async fn read(&mut self) -> Result<JournalMessage, ReadError> {
        loop {
            let read = match &mut self.tail {
                Some(tail) => tail.next().await,
                None => match self.reopen().await {
                    Ok(()) => continue,
                    Err(ReadError::Unavailable(_)) => {
                        tokio::time::sleep(READ_AGAIN).await;
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            match read {
                Some(message) if message.seq < self.next => {}
                Some(message) if message.seq > self.next => {
                    self.tail = None;
                    // A reader may be wrong; only what the stream itself has not is missing.
                    match self.read_alone().await {
                        Ok(Some(bytes)) => return Ok(self.advance(bytes)),
                        Ok(None) => {
                            let (expected, found) = (self.next, message.seq);
                            return Err(ReadError::Hole { expected, found });
                        }
                        Err(_) => tokio::time::sleep(READ_AGAIN).await,
                    }
                }
                Some(message) => return Ok(self.advance(message.payload)),
                None => self.tail = None,
            }
        }
    }

    fn advance(&mut self, bytes: Bytes) -> JournalMessage {
        let seq = self.next;
        self.next = seq.next();
        JournalMessage { seq, bytes }
    }

    /// Reads the next message from the leader of the stream; `None` if it is not there.
    async fn read_alone(&self) -> Result<Option<Bytes>, Unavailable> {
        let (attempted, nats) = ("read a journal", &self.nats);
        let name = nats.layout().journal_stream(self.partition);
        let stream = nats.api(attempted, nats.js().get_stream_no_info(name)).await?;
        let read = async {
            match stream.raw_message_builder().sequence(self.next.get()).send().await {
                Ok(message) => Ok(Some(message.payload)),
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error),
            }
        };
        nats.api(attempted, read).await
    }

    async fn reopen(&mut self) -> Result<(), ReadError> {
        let first = first_of(&self.state().await?);
        if self.next < first {
            return Err(ReadError::Hole { expected: self.next, found: first });
        }
        Ok(self.open().await?)
    }

    async fn open(&mut self) -> Result<(), Unavailable> {
        let layout = self.nats.layout();
        let (stream, subject) =
            (layout.journal_stream(self.partition), layout.journal(self.partition));
        self.tail = Some(Tail::open(&self.nats, &stream, &subject, self.next).await?);
        Ok(())
    }

    async fn state(&self) -> Result<State, Unavailable> {
        let name = self.nats.layout().journal_stream(self.partition);
        let stream = self.nats.api("read a journal", self.nats.js().get_stream(name)).await?;
        Ok(stream.cached_info().state.clone())
    }
}
