//! How far runs are, from the journals: looked for in their bytes, because decoding every record
//! would take more than the coordinator takes to write it.

use std::time::Duration;

use futures::StreamExt as _;
use memchr::memmem;
use skep_broker::{Broker, JournalReader};
use skep_protocol::{PartitionCount, PartitionId, RunId, Seq};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::clock;
use super::ground::within;
use crate::error::{Error, Exit};

/// News that may wait.
const AHEAD: usize = 1_024;
/// What stands before the name of an event that is about a run as a whole.
const OF_RUN: &[u8] = br#","event":{"run_"#;
/// What stands before the id of a run at the beginning of a record, and the length of the id.
const RECORD: &[u8] = br#"{"run":{"run":""#;
const ID: usize = 36;

/// What one message of a journal says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// When it came.
    pub(super) at: Duration,
    /// Runs that are over, and whether they completed.
    pub(super) ended: Vec<(RunId, bool)>,
}

/// Follows all journals for as long as it lives.
pub(super) struct Ends {
    news: mpsc::Receiver<News>,
    _followers: JoinSet<()>,
}

impl Ends {
    /// Returns where the journals end.
    pub(super) async fn here<B: Broker>(
        broker: &B,
        partitions: PartitionCount,
    ) -> Result<Vec<(PartitionId, Seq)>, Error> {
        let mut ends = Vec::new();
        for partition in partitions.all() {
            let last = broker.last(partition).await?;
            ends.push((partition, last.map_or(Seq::ZERO, |message| message.seq)));
        }
        Ok(ends)
    }

    /// Starts behind what the journals had.
    pub(super) async fn follow<B: Broker>(
        broker: &B,
        from: Vec<(PartitionId, Seq)>,
    ) -> Result<Self, Error> {
        let (sender, news) = mpsc::channel(AHEAD);
        let mut followers = JoinSet::new();
        for (partition, end) in from {
            let messages = broker.follow(partition, end.next()).await?;
            followers.spawn(tell(messages, sender.clone()));
        }
        Ok(Self { news, _followers: followers })
    }

    /// Waits for the next news, but not for ever.
    pub(super) async fn next(&mut self) -> Result<News, Error> {
        let news = within("no run has ended", self.news.recv()).await?;
        news.ok_or_else(|| Error::new(Exit::Unreachable, "the journals cannot be followed"))
    }
}

async fn tell(mut messages: JournalReader, news: mpsc::Sender<News>) {
    while let Some(Ok(message)) = messages.next().await {
        let mut read = read(&message.bytes);
        read.at = clock();
        if !read.ended.is_empty() && news.send(read).await.is_err() {
            return;
        }
    }
}

fn read(message: &[u8]) -> News {
    let mut ended = Vec::new();
    for at in memmem::find_iter(message, OF_RUN) {
        let event = &message[at + OF_RUN.len()..];
        let completed = event.starts_with(b"completed\"");
        let is_end = completed
            || [b"failed\"".as_slice(), b"cancelled\"", b"compensated\"", b"stuck\""]
                .iter()
                .any(|end| event.starts_with(end));
        if is_end && let Some(run) = run_before(&message[..at]) {
            ended.push((run, completed));
        }
    }
    News { at: Duration::ZERO, ended }
}

/// Returns the run of the record that begins last.
fn run_before(records: &[u8]) -> Option<RunId> {
    let at = memmem::rfind(records, RECORD)? + RECORD.len();
    std::str::from_utf8(records.get(at..at + ID)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use skep_protocol::{
        Batch, Event, Failure, FailureKind, Hash, Payload, Record, RunRecord, Timestamp,
    };

    use super::*;

    #[test]
    fn ends_are_found_in_the_bytes_of_a_message() {
        let run = |key: &str| RunId::from_key("bench", key);
        let record = |key: &str, event| {
            Record::Run(RunRecord { run: run(key), at: Timestamp::EPOCH, event })
        };
        let output = Payload::from_text(r#"{"a":",\"event\":{\"run_completed\":"}"#).unwrap();
        let done = skep_protocol::AttemptCompleted {
            step: skep_protocol::StepPath::new("a"),
            attempt: 1,
            agent: skep_protocol::AgentId::new("a").unwrap(),
            output,
            duration_ms: 0,
        };
        let failure = Failure::new(FailureKind::Agent, "x", "y");
        let batch = Batch {
            v: Batch::VERSION,
            partition: PartitionId::new(0),
            epoch: 1,
            previous: Hash::ZERO,
            records: vec![
                record("1", Event::AttemptCompleted(done)),
                record("1", Event::RunCompleted { outputs: Payload::null() }),
                record("2", Event::RunPaused { by: "x".to_owned() }),
                record("3", Event::RunFailed { failure }),
            ],
        };
        let news = read(&batch.encode());
        assert_eq!(news.ended, [(run("1"), true), (run("3"), false)]);
    }
}
