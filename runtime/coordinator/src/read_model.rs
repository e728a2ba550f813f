//! The read model: what lists and histories are answered from. It is filled by following the
//! journals, thrown away and rebuilt at will. Nothing on the hot path waits for it.
//!
//! What happens to a run is folded in memory ([`view`]); SQLite keeps what lists are found by, and
//! the records themselves ([`store`]). The owner of a partition hands over what it has appended
//! ([`feed`]); the rest is read from the journals ([`follow`]).

mod answer;
mod database;
mod entry;
mod feed;
mod follow;
mod letters;
mod news;
mod positions;
mod repair;
mod rows;
mod schema;
mod slot;
mod store;
#[cfg(test)]
mod tests;
mod thread;
mod unsaved;
mod view;

use futures::future::join;
use skep_broker::Broker;
use skep_protocol::{LetterFilter, PartitionId, QueryReply, RunFilter, RunId};
use tokio::sync::{mpsc, oneshot};

use self::entry::Entry;
pub(crate) use self::feed::Feed;
use self::feed::Lanes;
use self::follow::Follower;
use self::news::Followers;
pub(crate) use self::news::News;
pub(crate) use self::positions::Positions;
use self::store::Store;
use self::thread::Thread;
use crate::config::{Config, ReadModelAt};
use crate::settings::Settings;

/// Messages and questions that may wait for the thread.
const WAITING: usize = 64;

/// Why the read model cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the database of the read model cannot be used")]
pub struct OpenError(#[from] rusqlite::Error);

/// What can be asked of the database.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    Runs(RunFilter),
    Run(RunId),
    /// What a list says of a run: all of one that has many steps takes its time.
    Summary(RunId),
    /// Which runs do this one over.
    DoneOver(RunId),
    Letters(LetterFilter),
    History {
        run: RunId,
        after: u64,
        limit: u32,
    },
}

#[derive(Debug)]
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
    lanes: Lanes,
}

impl ReadModel {
    /// Opens the database and starts its thread. A database of another format is thrown away.
    pub(crate) fn open(config: &Config, settings: &Settings) -> Result<Self, OpenError> {
        let (work, waiting) = mpsc::channel(WAITING);
        let (partitions, followers) = (settings.partitions, Followers::default());
        let (positions, lanes) = (Positions::new(partitions), Lanes::new(partitions));
        let model = Self { work, positions, followers, lanes };
        let opened = match &config.read_model {
            // Nobody is at the other end of the way to the thread.
            ReadModelAt::Nowhere => return Ok(model),
            ReadModelAt::Temporary => database::temporary(settings)?,
            ReadModelAt::File(path) => database::in_file(path, settings)?,
        };
        let store = Store::new(opened, partitions, config.retention)?;
        for (partition, seq) in store.positions()? {
            model.positions.reached(partition, seq);
            model.positions.is_stored(partition, seq);
        }
        let (positions, followers) = (model.positions.clone(), model.followers.clone());
        let thread = Thread { store, partitions, positions, followers, broken: None };
        let impossible = |error: std::io::Error| {
            OpenError::from(rusqlite::Error::ToSqlConversionFailure(error.into()))
        };
        let time = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let time = time.map_err(impossible)?;
        std::thread::Builder::new()
            .name("skep-read-model".to_owned())
            .spawn(move || time.block_on(thread.run(waiting)))
            .map_err(impossible)?;
        Ok(model)
    }

    pub(crate) fn positions(&self) -> Positions {
        self.positions.clone()
    }

    /// Returns whether there is one: without it nothing is answered.
    pub(crate) fn is_there(&self) -> bool {
        !self.work.is_closed()
    }

    /// Returns what the owner of a partition hands its records to; none if they are of no use.
    pub(crate) fn feed(&self, partition: PartitionId) -> Option<Feed> {
        self.is_there().then(|| self.lanes.feed(partition)).flatten()
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
        let (position, intake) = (positions.of(partition), self.lanes.intake(partition));
        let (kept, followers) = (positions.clone(), self.followers.clone());
        let follower =
            Follower { broker, partition, position, intake, work, positions: kept, followers };
        async move {
            join(follower.run(), positions.only(unkept)).await;
            positions.stopped(partition);
        }
    }
}
