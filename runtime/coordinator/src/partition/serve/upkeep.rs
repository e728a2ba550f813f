//! What keeps a served partition going: its ears, its snapshots, its orderly end.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use skep_broker::{Broker, Late, Requests};
use skep_engine::placement::Ownership;
use skep_protocol::{Command, CommandReply, ReportBatch, ReportReply};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::super::{Context, LiveAnswer, LiveQuestion, Pause, snapshots};
use super::{Done, Landed, Serving};
use crate::observe;

/// How long a drain may take; what is not durable by then is told to nobody.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// A snapshot that is left has time: those who take the partitions over may need the processor.
const GIVE_WAY: Duration = Duration::from_millis(300);

impl<B: Broker> Context<B> {
    pub(super) async fn reports(&self) -> Requests<ReportBatch, ReportReply> {
        let mut pause = Pause::new();
        loop {
            match self.broker.serve_reports(self.id).await {
                Ok(reports) => return reports,
                Err(error) => observe::trying_again("serve reports", &error),
            }
            pause.rest().await;
        }
    }

    pub(super) async fn durable_reports(&self) -> BoxStream<'static, Late> {
        let mut pause = Pause::new();
        loop {
            match self.broker.durable_reports(self.id).await {
                Ok(reports) => return reports,
                Err(error) => observe::trying_again("read durable reports", &error),
            }
            pause.rest().await;
        }
    }

    pub(super) async fn commands(&self) -> Requests<Command, CommandReply> {
        let mut pause = Pause::new();
        loop {
            match self.broker.serve_commands(self.id).await {
                Ok(commands) => return commands,
                Err(error) => observe::trying_again("serve commands", &error),
            }
            pause.rest().await;
        }
    }
}

/// Says for as long as it lives that this coordinator serves a partition.
pub(super) struct Served<B>(Context<B>);

impl<B> Drop for Served<B> {
    fn drop(&mut self) {
        self.0.live.remove(&self.0.id);
        self.0.serving.send_modify(|owned| *owned -= 1);
        self.0.members.owns(self.0.id, Ownership::Left);
    }
}

impl<B: Broker> Context<B> {
    pub(super) fn served(&self, questions: mpsc::Sender<LiveQuestion>) -> Served<B> {
        self.live.insert(self.id, questions);
        self.serving.send_modify(|owned| *owned += 1);
        self.members.owns(self.id, Ownership::Taken);
        Served(self.clone())
    }
}

impl<B: Broker> Serving<B> {
    pub(super) fn answer(&self, question: LiveQuestion) {
        let status = self.engine.status(question.run);
        let waiting = self.engine.waiting(question.run, &question.steps);
        let paused = self.engine.paused(question.run);
        // Whoever asked may have given up.
        let _ = question.answer.send(LiveAnswer { status, waiting, paused });
    }

    /// Waits for a turn to take a snapshot if one is due, and takes it when the state is that of
    /// the journal.
    pub(super) fn keep_snapshot(&mut self) {
        let Context { clock, config, room, .. } = &self.context;
        if self.snapshots.is_due(self.commit.records_since_snapshot, config, clock.now()) {
            let room = Arc::clone(room);
            self.snapshots.wait();
            self.jobs.spawn(async move { Done::Turn(room.snapshot().await) }, Done::Snapshot(None));
        }
        if self.commit.is_settled()
            && let Some(turn) = self.snapshots.take_turn()
        {
            let keep = self.snapshot(turn);
            self.jobs.spawn(keep, Done::Snapshot(None));
        }
    }

    fn snapshot(
        &mut self,
        turn: OwnedSemaphorePermit,
    ) -> impl Future<Output = Done> + Send + 'static + use<B> {
        self.commit.records_since_snapshot = 0;
        self.snapshots.begin(self.context.clock.now().after(self.context.config.snapshot_every));
        let state = (self.commit.chain(), self.engine.freeze());
        snapshots::keep(self.context.clone(), state, &self.snapshots, turn)
    }

    /// Waits until the snapshot that is being taken is kept or not, and until it is this
    /// partition's turn to take another one; no turn if what is kept is all there is.
    async fn last_turn(&mut self) -> Option<OwnedSemaphorePermit> {
        while self.snapshots.is_running() {
            if let Done::Snapshot(kept) = self.jobs.next().await {
                // What was to be in it is not kept.
                self.commit.records_since_snapshot += u64::from(kept.is_none());
                self.snapshots.ended(kept);
            }
        }
        if self.commit.records_since_snapshot == 0 {
            return None;
        }
        if let Some(turn) = self.snapshots.take_turn() {
            return Some(turn);
        }
        while self.snapshots.is_waiting() {
            // A job of this partition is in the row for it.
            let done = self.jobs.next().await;
            if let Done::Turn(turn) = done {
                return Some(turn);
            }
            if let Done::Snapshot(kept) = done {
                self.snapshots.ended(kept);
            }
        }
        Some(self.context.room.snapshot().await)
    }

    /// Makes durable what was decided, answers it, and sends nothing any more. The successor takes
    /// over as soon as nobody listens, so all this comes before. Returns whether all is durable.
    pub(super) async fn let_go(&mut self) -> bool {
        let flushed = tokio::time::timeout(DRAIN_WITHIN, self.flush()).await;
        if flushed.is_err() {
            observe::given_up("drain a partition", &"it took too long");
        }
        self.context.ownership.doubted();
        self.context.fleet.dropped(self.context.id).await;
        self.commit.let_go();
        observe::let_go(self.context.id);
        flushed.unwrap_or(false)
    }

    /// Returns whether all that was decided is in the journal.
    async fn flush(&mut self) -> bool {
        loop {
            let ready = self.commit.start(self.engine.epoch());
            self.release(ready).await;
            if self.commit.is_settled() {
                return true;
            }
            match self.commit.landed().await {
                Landed::Durable { releases, .. } => self.release(releases).await,
                Landed::Replaced | Landed::Refused(_) => return false,
            }
        }
    }

    /// Leaves a snapshot for whoever comes next, of a state that is durable: once every partition
    /// is handed over, for it takes its time.
    pub(super) async fn leave_snapshot(&mut self) {
        let handed_over = self.context.members.serves_nothing();
        if tokio::time::timeout(DRAIN_WITHIN, handed_over).await.is_err() {
            observe::given_up("keep a snapshot", &"other partitions took too long to drain");
            return;
        }
        if self.context.members.has_company() {
            tokio::time::sleep(GIVE_WAY).await;
        }
        // The others of this process write theirs first, each within its time.
        let Some(turn) = self.last_turn().await else { return };
        let keep = self.snapshot(turn);
        if tokio::time::timeout(DRAIN_WITHIN, keep).await.is_err() {
            observe::given_up("keep a snapshot", &"it took too long");
        }
    }
}
