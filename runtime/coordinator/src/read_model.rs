//! The read model: what lists and histories are answered from. SQLite, filled by following the
//! journals, thrown away and rebuilt at will. Nothing on the hot path waits for it.

mod answer;
mod fold;
mod follow;
mod letters;
mod news;
mod positions;
mod repair;
mod schema;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use futures::future::join;
use rusqlite::Connection;
use skep_broker::Broker;
use skep_protocol::{LetterFilter, PartitionCount, PartitionId, QueryReply, RunFilter, RunId};
use tokio::sync::{mpsc, oneshot};

use self::fold::Entry;
use self::follow::Follower;
use self::news::Followers;
pub(crate) use self::news::News;
pub(crate) use self::positions::Positions;
use crate::config::ReadModelAt;
use crate::observe;
use crate::settings::Settings;

/// Messages and questions that may wait for the thread.
const WAITING: usize = 1_024;
/// How long to wait before storing is tried again; after the last one the read model has stopped
/// until the coordinator is started again.
const STORE_AGAIN_AFTER: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5), Duration::ZERO];
/// Messages that share one transaction.
const SHARED: usize = 256;

/// Why the read model cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the database of the read model cannot be used")]
pub struct OpenError(#[from] rusqlite::Error);

/// What can be asked of the database.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    Runs(RunFilter),
    Run(RunId),
    /// Which runs do this one over.
    DoneOver(RunId),
    Letters(LetterFilter),
    History {
        run: RunId,
        after: u64,
        limit: u32,
    },
}

enum Work {
    Entry(Entry),
    Question { question: Question, answer: oneshot::Sender<QueryReply> },
}

/// The way to the thread that owns the database. The thread ends when the last way to it does.
#[derive(Debug, Clone)]
pub(crate) struct ReadModel {
    work: mpsc::Sender<Work>,
    positions: Positions,
    followers: Followers,
}

impl ReadModel {
    /// Opens the database and starts its thread. A database of another format is thrown away.
    pub(crate) fn open(at: &ReadModelAt, settings: &Settings) -> Result<Self, OpenError> {
        let connection = match at {
            // Nobody is at the other end of the way to the thread.
            ReadModelAt::Nowhere => {
                let (work, _) = mpsc::channel(1);
                let positions = Positions::new(settings.partitions);
                return Ok(Self { work, positions, followers: Followers::default() });
            }
            ReadModelAt::Memory => schema::prepare(Connection::open_in_memory()?, settings)?,
            ReadModelAt::File(path) => match open_file(path, settings) {
                Ok(connection) => connection,
                // Whatever is wrong with it: it can be thrown away at any time.
                Err(_) => {
                    throw_away(path);
                    open_file(path, settings)?
                }
            },
        };
        let positions = Positions::new(settings.partitions);
        for (partition, seq) in fold::positions(&connection)? {
            positions.reached(partition, seq);
        }
        let (work, waiting) = mpsc::channel(WAITING);
        let followers = Followers::default();
        let thread = Thread {
            connection,
            partitions: settings.partitions,
            positions: positions.clone(),
            followers: followers.clone(),
            broken: None,
        };
        std::thread::Builder::new()
            .name("skep-read-model".to_owned())
            .spawn(move || thread.run(waiting))
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(Self { work, positions, followers })
    }

    pub(crate) fn positions(&self) -> Positions {
        self.positions.clone()
    }

    /// Returns whether there is one: without it nothing is answered.
    pub(crate) fn is_there(&self) -> bool {
        !self.work.is_closed()
    }

    /// Returns what sees each change of one run.
    pub(crate) fn news(&self, run: RunId) -> News {
        self.followers.follow(run)
    }

    pub(crate) async fn ask(&self, question: Question) -> QueryReply {
        let (answer, answered) = oneshot::channel();
        // Without the thread the answer never comes, which is said below.
        let _ = self.work.send(Work::Question { question, answer }).await;
        answered.await.unwrap_or_else(|_| QueryReply::Failed {
            message: "the read model has stopped".to_owned(),
        })
    }

    /// Follows one journal from where the database is.
    pub(crate) fn follow<B: Broker>(
        &self,
        broker: B,
        partition: PartitionId,
    ) -> impl Future<Output = ()> + Send + 'static {
        let positions = self.positions.clone();
        // Without a thread, nothing is kept but how far the journal was read.
        let (work, unkept) = match self.work.is_closed() {
            true => {
                let (work, unkept) = mpsc::channel(1);
                (work, Some(unkept))
            }
            false => (self.work.clone(), None),
        };
        let position = positions.of(partition);
        let follower = Follower { broker, partition, position, work };
        async move {
            join(follower.run(), positions.only(unkept)).await;
            positions.stopped(partition);
        }
    }
}

fn open_file(path: &Path, settings: &Settings) -> rusqlite::Result<Connection> {
    schema::prepare(Connection::open(path)?, settings)
}

fn throw_away(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        // One that is not there is as good as one that is gone; the next open tells the rest.
        let _ = std::fs::remove_file(file);
    }
}

struct Thread {
    connection: Connection,
    partitions: PartitionCount,
    positions: Positions,
    followers: Followers,
    /// Why nothing can be stored any more.
    broken: Option<String>,
}

impl Thread {
    fn run(mut self, mut waiting: mpsc::Receiver<Work>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut next = Some(first);
            let (mut entries, mut questions) = (Vec::new(), Vec::new());
            while let Some(work) = next.take() {
                match work {
                    Work::Entry(entry) => entries.push(entry),
                    Work::Question { question, answer } => questions.push((question, answer)),
                }
                if entries.len() < SHARED && questions.len() < SHARED {
                    next = waiting.try_recv().ok();
                }
            }
            self.store(&entries);
            for (question, answer) in questions {
                let reply = match &self.broken {
                    Some(message) => QueryReply::Failed { message: message.clone() },
                    None => answer::answer(&self.connection, &question)
                        .unwrap_or_else(|error| failed("answer", &error)),
                };
                let _ = answer.send(reply);
            }
        }
    }

    fn store(&mut self, entries: &[Entry]) {
        if entries.is_empty() || self.broken.is_some() {
            return;
        }
        for pause in STORE_AGAIN_AFTER {
            match fold::store(&mut self.connection, self.partitions, entries) {
                Ok(()) => {
                    for (partition, seq) in entries.iter().map(Entry::reached) {
                        self.positions.reached(partition, seq);
                    }
                    self.followers.tell(entries);
                    return;
                }
                Err(error) => {
                    observe::trying_again("store in the read model", &error);
                    self.broken = Some(format!("the read model cannot store: {error}"));
                }
            }
            std::thread::sleep(pause);
            if pause.is_zero() {
                return self.partitions.all().for_each(|one| self.positions.stopped(one));
            }
            self.broken = None;
        }
    }
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> QueryReply {
    QueryReply::Failed { message: format!("the read model cannot {what}: {error}") }
}
