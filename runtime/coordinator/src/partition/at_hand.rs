//! Starts that need not be waited for: what they mean is in memory, and their inputs are small.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use skep_broker::{Broker, Responder};
use skep_engine::{Input, Resolved};
use skep_protocol::limits::MAX_INLINE_PAYLOAD;
use skep_protocol::{CommandReply, Payload, RetryRun, StartRun};

use super::End;
use super::requests::{Wanted, accept, fits_journal, new_run, read_inputs};
use super::serve::{Origin, Serving};
use crate::observe;

/// Inputs of no more bytes are looked at without keeping others waiting.
pub(super) const SMALL: usize = 4 * 1024;

impl<B: Broker> Serving<B> {
    pub(super) fn start(
        &mut self,
        start: Box<StartRun>,
        responder: Responder<CommandReply>,
    ) -> Result<(), End> {
        if let Some(rejection) = self.refusal(&start) {
            responder.send(CommandReply::Rejected(rejection));
            return Ok(());
        }
        match self.start_at_hand(start, responder) {
            Ok(done) => done,
            Err((start, responder)) => {
                self.look_at(start.inputs.size(), Wanted::Start(start), responder)
            }
        }
    }

    pub(super) fn retry(
        &mut self,
        retry: Box<RetryRun>,
        responder: Responder<CommandReply>,
    ) -> Result<(), End> {
        let new_run = new_run(&retry);
        if let Some(rejection) = self.refusal(&new_run) {
            responder.send(CommandReply::Rejected(rejection));
            return Ok(());
        }
        self.look_at(new_run.inputs.size(), Wanted::Retry(retry), responder)
    }

    /// Decides about a start whose definition is at hand and whose inputs are small; gives any
    /// other one back.
    fn start_at_hand(
        &mut self,
        start: Box<StartRun>,
        responder: Responder<CommandReply>,
    ) -> Result<Result<(), End>, (Box<StartRun>, Responder<CommandReply>)> {
        let Some(text) = start.inputs.text().filter(|text| text.len() <= SMALL) else {
            return Err((start, responder));
        };
        let Some((digest, workflow)) = self.context.catalog.at_hand(&start.workflow) else {
            return Err((start, responder));
        };
        // A panic is about these inputs, and about nothing else.
        let looking = AssertUnwindSafe(|| {
            let given = read_inputs(text)?;
            fits_journal(&workflow)?;
            accept(&workflow, given)
        });
        let accepted: Payload = match catch_unwind(looking) {
            Ok(Ok(accepted)) => accepted,
            Ok(Err(rejection)) => {
                responder.send(CommandReply::Rejected(rejection));
                return Ok(Ok(()));
            }
            Err(_) => {
                observe::panicked("job");
                return Ok(Ok(()));
            }
        };
        if accepted.size() > MAX_INLINE_PAYLOAD as u64 {
            return Err((start, responder));
        }
        let workflow = Resolved { digest, workflow: Some(workflow), pinned: BTreeMap::new() };
        let start = Box::new(StartRun { inputs: accepted, ..*start });
        Ok(self.decide(Input::Accepted { start, workflow }, Origin::Command(responder)))
    }
}
