//! The thread that owns the database.

use std::pin::Pin;
use std::time::Duration;

use rusqlite::ErrorCode;
use skep_protocol::{PartitionCount, QueryReply};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, Sleep, interval, sleep};

use super::answer::answer;
use super::entry::Entry;
use super::news::Followers;
use super::store::Store;
use super::{Positions, Question, Work};
use crate::observe;

/// How long to wait before the database is tried again; after the last one the read model has
/// stopped until the coordinator is started again.
const TRY_AGAIN_AFTER: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5), Duration::ZERO];
/// What changed is written after this time at the latest.
const WRITE_AFTER: Duration = Duration::from_secs(1);
/// Runs to which nothing happened from one of these moments to the next leave the memory.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Questions that share one write, and messages that are taken in before they are answered.
const SHARED: usize = 256;

type Asked = (Question, oneshot::Sender<QueryReply>);

pub(super) struct Thread {
    pub(super) store: Store,
    pub(super) partitions: PartitionCount,
    pub(super) positions: Positions,
    pub(super) followers: Followers,
    /// Why nothing can be stored any more.
    pub(super) broken: Option<String>,
}

impl Thread {
    /// Works until nobody can ask or tell anything any more.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Work>) {
        let mut due: Option<Pin<Box<Sleep>>> = None;
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let work = tokio::select! {
                biased;
                () = async { due.as_mut().expect("it is there").await }, if due.is_some() => None,
                _ = looks.tick() => {
                    self.store.let_go_of_idle();
                    continue;
                }
                work = waiting.recv() => match work {
                    Some(work) => Some(work),
                    None => return self.write(),
                },
            };
            match work {
                Some(work) => self.work(work, &mut waiting),
                None => self.write(),
            }
            if self.broken.is_some() || !self.store.is_dirty() {
                due = None;
            } else if due.is_none() {
                due = Some(Box::pin(sleep(WRITE_AFTER)));
            }
        }
    }

    /// Does this, and what else waits.
    fn work(&mut self, first: Work, waiting: &mut mpsc::Receiver<Work>) {
        let mut questions = Vec::new();
        let (mut next, mut room) = (Some(first), SHARED);
        while let Some(work) = next {
            match work {
                Work::Entry(entry) => self.take_in(entry),
                Work::Question { question, answer } => questions.push((question, answer)),
            }
            room -= 1;
            next = if room > 0 { waiting.try_recv().ok() } else { None };
        }
        self.answer(questions);
    }

    fn take_in(&mut self, entry: Entry) {
        if let Entry::Gap(_) = &entry {
            self.write();
        }
        self.trying("read from the read model", |store| store.prepare(&entry));
        if self.broken.is_some() {
            return;
        }
        let (partition, seq) = entry.reached();
        let told = self.followers.told_by(&entry);
        self.store.take_in(entry);
        self.positions.reached(partition, seq);
        self.followers.tell(&told);
        if self.store.is_full() {
            self.write();
        }
    }

    fn write(&mut self) {
        let stored = self.trying("store in the read model", Store::write);
        for (partition, seq) in stored.into_iter().flatten() {
            self.positions.is_stored(partition, seq);
        }
    }

    fn answer(&mut self, questions: Vec<Asked>) {
        if questions.iter().any(|(question, _)| question.wants_all(&self.store)) {
            self.write();
        }
        for (question, answered) in questions {
            let reply = match &self.broken {
                Some(message) => QueryReply::Failed { message: message.clone() },
                None => answer(&self.store, &question).unwrap_or_else(|error| {
                    let message = format!("the read model cannot answer: {error}");
                    QueryReply::Failed { message }
                }),
            };
            // Whoever asked may have given up.
            let _ = answered.send(reply);
        }
    }

    /// Does something with the database, again and again if it fails.
    fn trying<T>(
        &mut self,
        what: &'static str,
        work: impl Fn(&mut Store) -> rusqlite::Result<T>,
    ) -> Option<T> {
        if self.broken.is_some() {
            return None;
        }
        for pause in TRY_AGAIN_AFTER {
            let error = match work(&mut self.store) {
                Ok(done) => return Some(done),
                Err(error) => error,
            };
            if self.store.flee(&error) {
                continue;
            }
            observe::trying_again(what, &error);
            if pause.is_zero() || error.sqlite_error_code() == Some(ErrorCode::ReadOnly) {
                self.broken = Some(format!("the read model cannot store: {error}"));
                self.partitions.all().for_each(|one| self.positions.stopped(one));
                return None;
            }
            std::thread::sleep(pause);
        }
        None
    }
}
