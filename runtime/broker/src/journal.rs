//! The journal of each partition: ordered, durable, fenced.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use skep_protocol::{PartitionId, Seq};

use crate::error::Unavailable;

/// One message of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalMessage {
    /// Its position.
    pub seq: Seq,
    /// Its bytes, exactly as appended.
    pub bytes: Bytes,
}

/// Messages in the order of their positions.
pub type JournalReader = BoxStream<'static, Result<JournalMessage, ReadError>>;

/// Why an append did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The journal does not end where the writer thought: it was replaced, or an append of its own
    /// with an unknown outcome was stored. Nothing was appended.
    #[error("the journal ends at {last}, not at {expected}")]
    Conflict {
        /// Where the writer thought it ends.
        expected: Seq,
        /// Where it ends.
        last: Seq,
    },
    /// No answer came: the message may be stored, now or later.
    #[error("the outcome of the append is unknown: {reason}")]
    Unknown {
        /// What was seen.
        reason: String,
    },
    /// The message is larger than the broker takes. Nothing was appended.
    #[error("the message has {size} bytes, the broker takes at most {limit}")]
    TooLarge {
        /// Its size, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A position is missing: the journal is damaged, or a trim overtook the reader.
    #[error("the journal has a hole: message {expected} is missing, {found} follows")]
    Hole {
        /// The position that was due.
        expected: Seq,
        /// The next one there is.
        found: Seq,
    },
    /// The broker cannot be reached.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// One ordered, durable stream of messages for each partition.
///
/// - **C1** An append succeeds only if the journal ends at `expected`, and takes the next position.
/// - **C2** Any other expectation is a conflict: nothing is appended, and it tells the last
///   position.
/// - **C3** Of appends at once that expect the same end, from any client, exactly one succeeds.
/// - **C4** The bytes of a message come back exactly as they were, whatever they are.
/// - **C5** A message over the limit is `TooLarge`; one of `MAX_BATCH_BYTES` is taken.
/// - **C6** What an append has returned, every client reads as the last message from there on.
/// - **C7** A follower gets every message once, in order, those there were and those that come.
/// - **C8** It starts at `from`, or at the first message kept, and yields none before `from`, even
///   if the journal ends before it.
/// - **C9** Followers do not disturb each other, nor does one that stops or does not read.
/// - **C10** A trim changes no position and never drops the last message, whatever is asked for.
/// - **C11** A follower that a trim overtakes ends with a hole; it never skips.
/// - **C48** Journals survive a restart of the broker, and followers go on where they were.
/// - **C54** The age of the last message grows as time passes, and begins anew with each append.
pub trait Journal: Clone + Send + Sync + 'static {
    /// Appends one message if the journal ends at `expected` ([`Seq::ZERO`] if it is empty), and
    /// returns its position: `expected + 1`.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] if it ends elsewhere; [`AppendError::Unknown`] if no answer came.
    ///
    /// # Cancel safety
    /// None: a dropped append has an unknown outcome.
    fn append(
        &self,
        partition: PartitionId,
        expected: Seq,
        message: Bytes,
    ) -> impl Future<Output = Result<Seq, AppendError>> + Send;

    /// Returns the last message, read from where appends are decided, so that it is never stale.
    /// Of a journal that somebody else emptied it is the position at which appends go on, without
    /// bytes; whoever reads up to it finds the hole.
    fn last(
        &self,
        partition: PartitionId,
    ) -> impl Future<Output = Result<Option<JournalMessage>, Unavailable>> + Send;

    /// Returns how long ago the last message was stored, by the clock of the broker alone; zero if
    /// there is none.
    fn age(
        &self,
        partition: PartitionId,
    ) -> impl Future<Output = Result<Duration, Unavailable>> + Send;

    /// Reads from position `from` on (or from the first message that was not trimmed), and goes on
    /// with messages as they are appended. It never ends by itself and never skips: after an
    /// interruption it goes on where it was, and a hole is an error and its last item.
    fn follow(
        &self,
        partition: PartitionId,
        from: Seq,
    ) -> impl Future<Output = Result<JournalReader, Unavailable>> + Send;

    /// Drops every message before `first_kept`, except the last message of all. What is trimmed
    /// never comes back; positions stay.
    fn trim(
        &self,
        partition: PartitionId,
        first_kept: Seq,
    ) -> impl Future<Output = Result<(), Unavailable>> + Send;
}
