//! The loop that owns a partition: decide, gather, append, let out.

mod backlog;
mod effects;
mod reports;
mod sources;
mod undecided;
mod upkeep;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use skep_broker::{Broker, Late, Request, Responder};
use skep_engine::fleet::FleetInput;
use skep_engine::{Change, Effect, EffectKey, Handled, Input, Partition, Reply};
use skep_protocol::{Command, CommandReply, ReportBatch, ReportReply, Timestamp};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::commit::{Commit, Landed, Release, Unit};
use super::jobs::{self, Done, Jobs};
use super::load::{Loaded, chained};
use super::preparing::Preparing;
use super::report::{Asker, Incoming, Ticket};
use super::snapshots::Snapshots;
use super::stuck::Stuck;
use super::{Context, End, LiveQuestion};
use crate::observe;
use crate::room::Share;
use backlog::Backlog;
use sources::{HOUSEKEEPING, Sources, listen};
use undecided::Undecided;
use watch::{Looked, Watch};

/// Questions about live runs that may wait.
const QUESTIONS: usize = 64;
/// Reports that lay somewhere and are removed from there at the same time.
const CONFIRMING: usize = 256;
/// Reports, commands and so on that are taken in before the next append starts.
const AT_ONCE: usize = 64;

/// Where an input came from, and so where its answer goes.
pub(crate) enum Origin {
    Nobody,
    Command(Responder<CommandReply>),
    Report(Incoming),
}

/// A partition that this coordinator owns.
pub(crate) struct Serving<B> {
    pub(crate) context: Context<B>,
    pub(crate) engine: Partition,
    pub(crate) jobs: Jobs,
    pub(crate) preparing: Preparing,
    /// What its runs take of the memory that there is for all of them.
    pub(crate) share: Share,
    commit: Commit<B>,
    tickets: BTreeMap<u64, Ticket>,
    next_ticket: u64,
    undecided: Undecided,
    /// Reports that lay somewhere and are about to be removed from there.
    confirming: usize,
    backlog: Backlog,
    watch: Watch,
    /// When the partition was last known to be owned.
    sure_at: Duration,
    /// No timer fires before this.
    timers_from: Timestamp,
    snapshots: Snapshots,
}

enum Happened {
    Landed(Landed),
    Looked(Looked),
    Job(Done),
    Feedback,
    Reports(Option<Request<ReportBatch, ReportReply>>),
    Durable(Option<Late>),
    Command(Option<Request<Command, CommandReply>>),
    Question(LiveQuestion),
    Wake,
    Housekeeping,
    Drain,
}

/// Takes the partition over and serves it.
pub(crate) async fn serve<B: Broker>(
    context: Context<B>,
    loaded: Loaded,
    stuck: &mut Stuck,
    draining: &CancellationToken,
) -> End {
    let mut serving = Serving::new(context.clone(), loaded);
    let taken = tokio::select! {
        biased;
        () = draining.cancelled() => return End::Drained,
        taken = serving.take_over() => taken,
        never = stuck.while_it_takes(&context) => match never {},
    };
    let (recovered, releases) = match taken {
        Ok(taken) => taken,
        Err(end) => return end,
    };
    *stuck = Stuck::default();
    let (questions_sender, questions) = mpsc::channel(QUESTIONS);
    let mut sources = listen(&context, questions).await;
    observe::listens(context.id);
    // Who hears the roll call sends its reports once more: somebody is there to hear them.
    let is_asked = matches!(
        &recovered,
        FleetInput::Recovered { owed, withheld, .. } if !(owed.is_empty() && withheld.is_empty())
    );
    context.fleet.tell(recovered).await;
    if is_asked {
        serving.wait_for_agents();
    }
    serving.release(releases).await;
    let served = context.served(questions_sender);
    let end = serving.run(&mut sources, draining).await;
    let is_orderly = matches!(end, End::Drained | End::HandedOver);
    // A state of which the journal does not know must not get into a snapshot.
    let is_durable = is_orderly && serving.let_go().await;
    drop((served, sources));
    if is_durable && matches!(end, End::Drained) {
        serving.leave_snapshot().await;
    }
    end
}

impl<B: Broker> Serving<B> {
    fn new(context: Context<B>, loaded: Loaded) -> Self {
        let clock = Arc::clone(&context.clock);
        let feed = context.read_model.feed(context.id);
        let commit = Commit::new(context.broker.clone(), clock, context.id, loaded.chain, feed);
        let sure_at = context.clock.moment();
        let snapshot_at = context.clock.now().after(context.config.snapshot_every);
        let mut share = Share::new(Arc::clone(&context.room));
        share.takes(loaded.engine.weight());
        Self {
            context,
            engine: loaded.engine,
            jobs: Jobs::new(),
            preparing: Preparing::default(),
            share,
            commit,
            tickets: BTreeMap::new(),
            next_ticket: 0,
            undecided: Undecided::default(),
            confirming: 0,
            backlog: Backlog::Unread,
            watch: Watch::new(),
            sure_at,
            timers_from: Timestamp::EPOCH,
            snapshots: Snapshots::new(loaded.snapshots, snapshot_at),
        }
    }

    /// Makes this coordinator the writer of the journal, and only then performs what is owed.
    async fn take_over(&mut self) -> Result<(FleetInput, Vec<Release>), End> {
        drop(self.context.inbox.take());
        let (owed, withheld) = (self.engine.outstanding(), self.engine.withheld());
        let coordinator = self.context.coordinator.clone();
        self.decide(Input::TookOver { coordinator }, Origin::Nobody)?;
        let mut releases = Vec::new();
        loop {
            releases.append(&mut self.commit.start(self.engine.epoch()));
            if self.commit.is_settled() {
                break;
            }
            match self.commit.landed().await {
                Landed::Durable { releases: mut landed, asked } => {
                    self.context.ownership.confirmed(asked);
                    releases.append(&mut landed);
                }
                Landed::Replaced => return Err(End::Replaced),
                Landed::Refused(cause) => return Err(End::Refused(cause)),
            }
        }
        let mut offers = Vec::new();
        for effect in owed {
            match effect {
                Effect::OfferTask(mut offer) => {
                    self.for_fleet(&mut offer);
                    offers.push(*offer);
                }
                Effect::StartChild { .. }
                | Effect::CancelChild { .. }
                | Effect::NotifyParent { .. }
                | Effect::FetchBlob { .. } => drop(self.perform(effect)),
            }
        }
        let partition = self.context.id;
        Ok((FleetInput::Recovered { partition, owed: offers, withheld }, releases))
    }

    async fn run(&mut self, sources: &mut Sources, draining: &CancellationToken) -> End {
        loop {
            if self.context.ownership.is_sure() {
                self.mind_the_gap();
            }
            self.watch_backlog();
            let ready = self.commit.start(self.engine.epoch());
            self.release(ready).await;
            self.keep_snapshot();
            let happened = self.next(sources, draining).await;
            if let Err(end) = self.take_in(happened, sources).await {
                return end;
            }
            if let Err(end) = self.sweep(sources).await {
                return end;
            }
        }
    }

    /// Waits for the next thing to happen. No more is taken in while too much is gathered, while a
    /// snapshot waits for everything to be durable, or while somebody else may be the owner; no
    /// more is heard while too much waits for large values.
    async fn next(&mut self, sources: &mut Sources, draining: &CancellationToken) -> Happened {
        let open = self.is_open();
        let hears = open && self.undecided.has_room();
        let wake = self.until_wake();
        let sleep = wake.unwrap_or(HOUSEKEEPING);
        tokio::select! {
            biased;
            landed = self.commit.landed(), if self.commit.in_flight() => Happened::Landed(landed),
            () = draining.cancelled() => Happened::Drain,
            looked = self.watch.looked() => Happened::Looked(looked),
            _ = sources.housekeeping.tick() => Happened::Housekeeping,
            done = self.jobs.next(), if open => Happened::Job(done),
            Some(question) = sources.questions.recv() => Happened::Question(question),
            () = self.context.inbox.arrived(), if open => Happened::Feedback,
            () = tokio::time::sleep(sleep), if open && wake.is_some() => Happened::Wake,
            report = sources.durable.next(), if hears && self.confirming < CONFIRMING => {
                Happened::Durable(report)
            }
            reports = sources.reports.next(), if hears => Happened::Reports(reports),
            command = sources.commands.next(), if hears && self.preparing.has_room() => {
                Happened::Command(command)
            }
        }
    }

    fn is_open(&self) -> bool {
        !self.commit.is_full() && !self.snapshots.has_turn() && self.context.ownership.is_sure()
    }

    /// Takes in more of what is there already: with one append for all of it, and so that a flood
    /// of one kind keeps nobody else waiting.
    async fn sweep(&mut self, sources: &mut Sources) -> Result<(), End> {
        for _ in 0..AT_ONCE {
            if !self.is_open() || !self.undecided.has_room() {
                return Ok(());
            }
            let mut found = false;
            if let Some(reports @ Some(_)) = sources.reports.next().now_or_never() {
                found = true;
                self.take_in(Happened::Reports(reports), sources).await?;
            }
            if self.preparing.has_room()
                && let Some(command @ Some(_)) = sources.commands.next().now_or_never()
            {
                found = true;
                self.take_in(Happened::Command(command), sources).await?;
            }
            if !found {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn take_in(&mut self, happened: Happened, sources: &mut Sources) -> Result<(), End> {
        match happened {
            Happened::Landed(Landed::Durable { releases, asked }) => {
                self.context.ownership.confirmed(asked);
                self.release(releases).await;
                Ok(())
            }
            Happened::Landed(Landed::Replaced) => Err(End::Replaced),
            Happened::Landed(Landed::Refused(cause)) => Err(End::Refused(cause)),
            Happened::Drain => Err(End::Drained),
            Happened::Job(done) => self.job_done(done),
            Happened::Feedback => self.feedback(),
            Happened::Wake => self.decide(Input::Wake, Origin::Nobody),
            Happened::Question(question) => {
                self.answer(question);
                Ok(())
            }
            Happened::Looked(looked) => self.looked(looked),
            Happened::Housekeeping if self.context.members.is_to_hand_over(self.context.id) => {
                Err(End::HandedOver)
            }
            Happened::Housekeeping => {
                if self.engine.live_runs() == 0 {
                    self.context.clock.catch_up();
                }
                self.keep_watch()
            }
            Happened::Reports(Some(request)) => {
                self.report(request.message, Asker::Live(request.responder))
            }
            Happened::Durable(Some(Late::CaughtUp)) => {
                self.caught_up();
                Ok(())
            }
            Happened::Durable(Some(Late::Reports(report))) => {
                let batch = report.batch.clone();
                self.report(batch, Asker::Durable(report))
            }
            Happened::Command(Some(request)) => self.command(request),
            Happened::Reports(None) => {
                sources.reports = self.context.reports().await;
                Ok(())
            }
            Happened::Durable(None) => {
                sources.durable = self.context.durable_reports().await;
                Ok(())
            }
            Happened::Command(None) => {
                sources.commands = self.context.commands().await;
                Ok(())
            }
        }
    }

    /// Says what the partition takes of the memory that there is for all of them.
    pub(crate) fn account(&mut self) {
        self.share.takes(self.engine.weight() + self.preparing.bytes());
    }

    /// Hands an input to the engine; what follows joins the next append.
    pub(crate) fn decide(&mut self, input: Input, origin: Origin) -> Result<(), End> {
        let again = match (&origin, &input) {
            (Origin::Nobody, _) => None,
            // All that it needs is there.
            (_, Input::Accepted { start, .. }) if start.inputs.blob().is_none() => None,
            (Origin::Command(_) | Origin::Report(_), _) => Some(input.clone()),
        };
        let (now, untouched) = (self.context.clock.now(), &*self.context.untouched);
        let handled = self.engine.handle_recalling(input, now, untouched);
        let Handled { records, blobs, reply } = handled.map_err(|error| {
            End::Broken(format!("a decision is impossible: {}", chained(&error)))
        })?;
        untouched.recorded(&records);
        self.account();
        let changes = self.engine.take_changes();
        for change in &changes {
            // A child that is not to be started has to stay so even if the append takes its time.
            if let Change::Settled(key @ EffectKey::StartChild(_)) = change {
                self.jobs.withdraw(key);
            }
        }
        let reporter = match &origin {
            Origin::Report(report) => Some((report.agent.clone(), report.attempt.clone())),
            Origin::Nobody | Origin::Command(_) => None,
        };
        let mut releases: Vec<Release> =
            records.iter().filter_map(effects::ended).map(Release::Fleet).collect();
        if !changes.is_empty() {
            releases.push(Release::Changes { changes, reporter });
        }
        match (reply, origin) {
            (Some(Reply::NeedsBlob(blob)), origin) => {
                if let Some(input) = again {
                    self.undecided.push(blob.hash, input, origin);
                    let key = EffectKey::Blob(blob.hash);
                    let context = self.context.clone();
                    self.jobs.effect(key, move || jobs::fetch_blob(context.clone(), blob));
                }
            }
            (Some(Reply::Command(reply)), Origin::Command(responder)) => {
                releases.push(Release::Command(responder, reply));
            }
            (Some(Reply::Verdict(verdict)), Origin::Report(report)) => {
                releases.extend(report.conclude(&verdict).map(Release::Fleet));
                observe::answered(&report.agent, &report.attempt, &verdict);
                let done = self
                    .tickets
                    .get_mut(&report.ticket)
                    .is_some_and(|ticket| ticket.decided(report.index, verdict));
                if done && let Some(ticket) = self.tickets.remove(&report.ticket) {
                    releases.push(ticket.into_release());
                }
            }
            (None | Some(Reply::Command(_) | Reply::Verdict(_)), _) => {}
        }
        if !(records.is_empty() && releases.is_empty()) {
            self.commit.push(Unit::new(records, blobs, releases));
        }
        Ok(())
    }
}
