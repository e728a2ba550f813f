//! A journal that takes nothing in or cannot be read, for longer than a hiccup: whoever asks is
//! told, and nobody listens for reports, so that agents leave them where they are durable.

use std::convert::Infallible;
use std::time::Duration;

use skep_broker::Broker;

use super::{Context, Pause, stopped};
use crate::observe;

/// How long a journal may take over anything before that counts as trouble.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether there is a link at all.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long those who ask are answered before it is tried again to read the journal.
const READ_AGAIN: Duration = Duration::from_secs(2);

/// What is known of a journal that is in trouble.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    /// Since when it cannot be read.
    since: Option<Duration>,
    /// What those who ask are told.
    cause: Option<String>,
}

impl Stuck {
    /// The journal is in trouble: this is said once, until it is well again.
    pub(super) fn tell<B: Broker>(&mut self, context: &Context<B>, reason: &str) {
        if self.cause.is_none() {
            observe::stuck(context.id, reason);
            self.cause = Some(format!("its journal is stuck: {reason}"));
        }
    }

    /// The journal could not be read: waits until it is to be tried again.
    pub(super) async fn unreadable<B: Broker>(
        &mut self,
        context: &Context<B>,
        reason: &str,
        pause: &mut Pause,
    ) {
        let now = context.clock.moment();
        if !context.broker.is_connected() {
            self.since = None;
        } else if now.saturating_sub(*self.since.get_or_insert(now)) >= PATIENCE {
            self.tell(context, reason);
        }
        match &self.cause {
            Some(cause) => {
                let _ = tokio::time::timeout(READ_AGAIN, stopped::refuse(context, cause)).await;
            }
            None => pause.rest().await,
        }
    }

    /// Answers those who ask while the first append of an owner takes its time.
    pub(super) async fn while_it_takes<B: Broker>(&mut self, context: &Context<B>) -> Infallible {
        let mut waited = Duration::ZERO;
        while self.cause.is_none() {
            tokio::time::sleep(LOOK_EVERY).await;
            waited =
                if context.broker.is_connected() { waited + LOOK_EVERY } else { Duration::ZERO };
            if waited >= PATIENCE {
                self.tell(context, "it takes nothing in");
            }
        }
        let cause = self.cause.clone().unwrap_or_default();
        stopped::refuse(context, &cause).await
    }
}
