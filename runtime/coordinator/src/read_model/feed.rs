//! The way from the owner of a partition to the read model in the same process: what has become
//! durable is handed over as it is, and never waited for. What finds no room is read from the
//! journal.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use skep_protocol::{PartitionCount, PartitionId, Record, Seq, Texts};
use tokio::sync::{mpsc, watch};

use super::entry::Message;

/// Messages of one partition that may wait.
const MESSAGES: usize = 4_096;
/// What may wait of all partitions together, in bytes of records.
const BYTES: usize = 8 * 1024 * 1024;

/// Where the next messages of a journal come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// From the journal itself.
    Journal,
    /// From its owner, but for those up to this one.
    Owner(Seq),
}

/// The ways from the owners of all partitions.
#[derive(Debug, Clone)]
pub(super) struct Lanes(Arc<[Arc<Lane>]>);

#[derive(Debug)]
struct Lane {
    partition: PartitionId,
    source: watch::Sender<Source>,
    messages: mpsc::Sender<Waiting>,
    /// Until somebody reads it.
    end: Mutex<Option<mpsc::Receiver<Waiting>>>,
    bytes: Arc<AtomicUsize>,
}

/// A message in a lane.
#[derive(Debug)]
struct Waiting {
    message: Message,
    _room: Room,
}

/// What a message takes of the room that all share.
#[derive(Debug)]
struct Room(Arc<AtomicUsize>, usize);

impl Room {
    fn take(all: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        let room = Self(Arc::clone(all), bytes);
        let before = all.fetch_add(bytes, Ordering::Relaxed);
        (before + bytes <= BYTES).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Lanes {
    pub(super) fn new(partitions: PartitionCount) -> Self {
        let bytes = Arc::default();
        let lane = |partition| {
            let (messages, end) = mpsc::channel(MESSAGES);
            let (source, end) = (watch::Sender::new(Source::Journal), Mutex::new(Some(end)));
            Arc::new(Lane { partition, source, messages, end, bytes: Arc::clone(&bytes) })
        };
        Self(partitions.all().map(lane).collect())
    }

    /// Returns what the owner of a partition hands its records to.
    pub(super) fn feed(&self, partition: PartitionId) -> Option<Feed> {
        let lane = Arc::clone(self.0.get(usize::from(partition.get()))?);
        Some(Feed { lane, is_known: false })
    }

    /// Returns the other end of the way; it never brings anything if somebody else has it.
    pub(super) fn intake(&self, partition: PartitionId) -> Intake {
        let lane = self.0.get(usize::from(partition.get()));
        let taken = lane.and_then(|lane| {
            let messages = lane.end.lock().expect("no holder panics").take()?;
            Some(Intake { messages, source: lane.source.subscribe(), held: None })
        });
        taken.unwrap_or_else(Intake::closed)
    }
}

/// Hands over what has become durable, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Feed {
    lane: Arc<Lane>,
    /// It is known at the other end that messages come this way.
    is_known: bool,
}

impl Feed {
    /// Hands over message `seq` of the journal: its records, and the JSON of each.
    pub(crate) fn landed(&mut self, seq: Seq, records: Vec<Record>, texts: Texts) {
        let lane = &self.lane;
        if !self.is_known {
            self.is_known = true;
            lane.source.send_replace(Source::Owner(Seq::new(seq.get().saturating_sub(1))));
        }
        let bytes = texts.size();
        let room = Room::take(&lane.bytes, bytes);
        let message = Message { partition: lane.partition, seq, records, texts };
        let sent = room.map(|room| lane.messages.try_send(Waiting { message, _room: room }));
        if !matches!(sent, Some(Ok(()))) {
            lane.source.send_replace(Source::Owner(seq));
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.lane.source.send_replace(Source::Journal);
    }
}

/// Where the messages of a partition arrive.
#[derive(Debug)]
pub(super) struct Intake {
    messages: mpsc::Receiver<Waiting>,
    source: watch::Receiver<Source>,
    /// The next message, as far as one has arrived.
    held: Option<Message>,
}

impl Intake {
    /// Returns one at which nothing ever arrives.
    pub(super) fn closed() -> Self {
        let (messages, source) = (mpsc::channel(1).1, watch::channel(Source::Journal).1);
        Self { messages, source, held: None }
    }

    /// Returns whether messages behind `position` have to be read from the journal.
    fn has_to_read(&mut self, position: Seq) -> bool {
        while self.held.as_ref().is_none_or(|held| held.seq <= position) {
            self.held = self.messages.try_recv().ok().map(|waiting| waiting.message);
            if self.held.is_none() {
                break;
            }
        }
        // What was seen of it does not count as a change any more.
        match (&self.held, *self.source.borrow_and_update()) {
            (Some(held), _) => held.seq > position.next(),
            (None, Source::Journal) => true,
            (None, Source::Owner(missed)) => missed > position,
        }
    }

    /// Waits for the message behind `position`; `None` if it has to be read from the journal.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn next(&mut self, position: Seq) -> Option<Message> {
        loop {
            if self.has_to_read(position) {
                return None;
            }
            match self.held.take() {
                Some(message) => return Some(message),
                None => self.changed().await,
            }
        }
    }

    /// Waits until nothing behind `position` has to be read from the journal.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn goes_on(&mut self, position: Seq) {
        while self.has_to_read(position) {
            self.changed().await;
        }
    }

    /// Waits until something may be different.
    async fn changed(&mut self) {
        tokio::select! {
            biased;
            Some(waiting) = self.messages.recv(), if self.held.is_none() => {
                self.held = Some(waiting.message);
            }
            Ok(()) = self.source.changed() => {}
            else => std::future::pending().await,
        }
    }
}
