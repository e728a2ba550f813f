//! What is let out once it is durable, and what comes back from it.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_broker::Broker;
use skep_engine::fleet::{CallEnd, CallOutcome, FleetInput};
use skep_engine::{Change, Effect, EffectKey, Input, OfferTask};
use skep_protocol::limits::MAX_SHARED;
use skep_protocol::{AgentId, AttemptId, Control, Event, Failure, Record, RunRecord, Task};

use super::super::End;
use super::super::commit::{Release, Unit};
use super::super::jobs::{self, Done};
use super::{Origin, Serving};
use crate::fleet_loop::Feedback;
use crate::observe;

impl<B: Broker> Serving<B> {
    /// Lets out what waited for records that are durable by now.
    pub(super) async fn release(&mut self, releases: Vec<Release>) {
        // Most let the fleet know of an end, and of what follows.
        let mut fleet = Vec::with_capacity(2 * releases.len());
        let mut answers = Vec::new();
        for release in releases {
            match release {
                Release::Command(responder, reply) => responder.send(reply),
                Release::Reports(responder, reply) => answers.push((responder, reply)),
                Release::Confirm(report) => {
                    let confirm = async move {
                        if let Err(error) = report.confirm().await {
                            observe::given_up("confirm reports", &error);
                        }
                        Done::Confirmed
                    };
                    self.confirming += 1;
                    self.jobs.spawn(confirm, Done::Confirmed);
                }
                Release::Fleet(input) => fleet.push(input),
                Release::Cancel(agent, attempts) => {
                    let broker = self.context.broker.clone();
                    let cancel = async move {
                        let cancel = Control::Cancel { attempts };
                        if let Err(error) = broker.control(Some(&agent), cancel).await {
                            observe::given_up("cancel attempts", &error);
                        }
                        Done::Nothing
                    };
                    self.jobs.spawn(cancel, Done::Nothing);
                }
                Release::Changes { changes, reporter } => {
                    for change in changes {
                        fleet.extend(self.change(change, reporter.as_ref()));
                    }
                }
            }
        }
        self.context.fleet.tell_all(fleet, answers).await;
    }

    /// Performs what is owed and stops what is not any more; returns what the fleet has to know.
    fn change(
        &mut self,
        change: Change,
        reporter: Option<&(AgentId, AttemptId)>,
    ) -> Option<FleetInput> {
        match change {
            Change::Owed(effect) => self.perform(effect),
            Change::Withheld(attempt) => Some(FleetInput::Withheld { attempt }),
            Change::Settled(EffectKey::Attempt(attempt)) => {
                let by = reporter.filter(|(_, reported)| *reported == attempt);
                let reported_by = by.map(|(agent, _)| agent.clone());
                Some(FleetInput::Settled { attempt, reported_by })
            }
            Change::Settled(EffectKey::Blob(hash)) if self.undecided.is_awaited(&hash) => None,
            Change::Settled(key) => {
                self.jobs.stop(&key);
                None
            }
        }
    }

    /// Turns an offer into one that this coordinator makes: with a fencing token above those of the
    /// coordinators before, and in the time of the fleet and its agents, which is not that of a
    /// journal that was begun by a host with another clock.
    pub(super) fn for_fleet(&self, offer: &mut OfferTask) {
        let clock = &self.context.clock;
        offer.fencing_token = Task::fenced(offer.fencing_token, self.engine.epoch());
        offer.not_before = clock.for_others(offer.not_before);
        if let Some(terms) = offer.terms.there() {
            terms.take_by = terms.take_by.map(|at| clock.for_others(at));
            terms.deadline = terms.deadline.map(|at| clock.for_others(at));
        }
    }

    /// Performs what is owed, or returns what the fleet is to perform.
    pub(super) fn perform(&mut self, effect: Effect) -> Option<FleetInput> {
        let key = effect.key();
        match effect {
            Effect::OfferTask(mut offer) => {
                self.for_fleet(&mut offer);
                return Some(FleetInput::Owed(offer));
            }
            Effect::StartChild { start, not_before } => {
                let context = self.context.clone();
                let start_child =
                    move || jobs::start_child(context.clone(), start.clone(), not_before);
                self.jobs.effect(key, start_child);
            }
            Effect::CancelChild { child, reason } => {
                let context = self.context.clone();
                let cancel_child =
                    move || jobs::cancel_child(context.clone(), child, reason.clone());
                self.jobs.effect(key, cancel_child);
            }
            Effect::NotifyParent { parent, child, outcome } => {
                let context = self.context.clone();
                let notify_parent = move || {
                    jobs::notify_parent(context.clone(), parent.clone(), child, (*outcome).clone())
                };
                self.jobs.effect(key, notify_parent);
            }
            Effect::FetchBlob { blob } => {
                let context = self.context.clone();
                self.jobs.effect(key, move || jobs::fetch_blob(context.clone(), blob));
            }
        }
        None
    }

    /// Takes in what the fleet has to tell.
    pub(super) fn feedback(&mut self) -> Result<(), End> {
        let mut unwanted: BTreeMap<AgentId, Vec<AttemptId>> = BTreeMap::new();
        for feedback in self.context.inbox.take() {
            let input = match feedback {
                Feedback::Held { agent, attempt } => Input::Held { agent, attempt },
                Feedback::Lost { attempt, agent, cause } => Input::Lost { attempt, agent, cause },
                Feedback::Failed { attempt, agent, failure } => {
                    Input::Failed { attempt, agent, failure }
                }
                Feedback::Stray { agent, attempt } if self.engine.wants(&agent, &attempt) => {
                    Input::Held { agent, attempt }
                }
                Feedback::Stray { agent, attempt } => {
                    unwanted.entry(agent).or_default().push(attempt);
                    continue;
                }
            };
            self.decide(input, Origin::Nobody)?;
        }
        self.cancel(unwanted);
        Ok(())
    }

    /// Tells agents to stop attempts that nobody wants, once it is durable that nobody does. The
    /// next heartbeat shows whether that got there.
    fn cancel(&mut self, unwanted: BTreeMap<AgentId, Vec<AttemptId>>) {
        let mut cancels = Vec::new();
        for (agent, attempts) in unwanted {
            let shares = attempts.chunks(MAX_SHARED);
            cancels.extend(shares.map(|share| Release::Cancel(agent.clone(), share.to_vec())));
        }
        if !cancels.is_empty() {
            self.commit.push(Unit::new(Vec::new(), Vec::new(), cancels));
        }
    }

    pub(crate) fn job_done(&mut self, done: Done) -> Result<(), End> {
        match done {
            Done::Nothing => Ok(()),
            Done::Confirmed => {
                self.confirming -= 1;
                Ok(())
            }
            Done::Effect { key, input } => {
                self.jobs.ended(&key);
                input.map_or(Ok(()), |input| self.decide(input, Origin::Nobody))
            }
            Done::Blob { blob, bytes, room: _held } => {
                self.jobs.ended(&EffectKey::Blob(blob.hash));
                self.decide(Input::BlobFetched { blob, bytes }, Origin::Nobody)?;
                for (input, origin) in self.undecided.take(&blob.hash) {
                    self.decide(input, origin)?;
                }
                Ok(())
            }
            Done::Prepared { input, responder, size } => {
                self.preparing.done(size);
                self.account();
                self.prepared(input, responder)
            }
            Done::LookedAt { size } => {
                self.preparing.done(size);
                self.account();
                Ok(())
            }
            Done::Turn(turn) => {
                self.snapshots.begin_turn(turn);
                Ok(())
            }
            Done::Snapshot(kept) => {
                self.snapshots.ended(kept);
                Ok(())
            }
        }
    }
}

/// Returns what the fleet learns from a record about an attempt that ended.
pub(super) fn ended(record: &Record) -> Option<FleetInput> {
    let Record::Run(RunRecord { run, event, .. }) = record else { return None };
    let (step, attempt, agent, end) = if let Event::AttemptCompleted(done) = event {
        let took = Some(Duration::from_millis(done.duration_ms));
        let end = CallEnd { outcome: CallOutcome::Completed, took };
        (&done.step, done.attempt, Some(done.agent.clone()), end)
    } else if let Event::AttemptFailed(failed) = event {
        let Failure { kind, code, retryable, only_here, .. } = &failed.failure;
        let (kind, code) = (*kind, code.clone());
        let (retryable, only_here) = (*retryable, *only_here);
        let outcome = CallOutcome::Failed { kind, code, retryable, only_here };
        (&failed.step, failed.attempt, failed.agent.clone(), CallEnd { outcome, took: None })
    } else {
        return None;
    };
    let attempt = AttemptId { run: *run, step: step.clone(), attempt };
    Some(FleetInput::Ended { attempt, agent, end })
}
