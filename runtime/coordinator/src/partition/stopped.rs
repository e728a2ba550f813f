//! A partition that cannot go on: visible to everybody who asks, and left to whoever can.

use std::convert::Infallible;
use std::time::Duration;

use futures::StreamExt as _;
use skep_broker::{Broker, Request, Requests};
use skep_protocol::{Command, CommandReply, Rejection, Seq};
use tokio_util::sync::CancellationToken;

use super::{Context, Pause};
use crate::observe;

/// How often it is looked whether somebody else took the partition over.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Tells everybody who asks that the partition has stopped, until somebody else writes its journal
/// or the coordinator drains. Nobody listens for reports: agents leave them where they are durable.
pub(super) async fn answer<B: Broker>(
    context: &Context<B>,
    cause: &str,
    draining: &CancellationToken,
) {
    let mut commands = None;
    let mut end = None;
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        let request = tokio::select! {
            biased;
            () = draining.cancelled() => return,
            request = next(context, &mut commands) => Some(request),
            _ = look.tick() => None,
        };
        // Whoever asks is answered by the successor as soon as there is one.
        if let Ok(last) = context.broker.last(context.id).await {
            let last = last.map_or(Seq::ZERO, |message| message.seq);
            if *end.get_or_insert(last) != last {
                return;
            }
        }
        if let Some(request) = request {
            let rejection = Rejection::PartitionStopped { cause: cause.to_owned() };
            request.responder.send(CommandReply::Rejected(rejection));
        }
    }
}

/// Tells everybody who asks that the partition has stopped, for as long as it is polled.
pub(super) async fn refuse<B: Broker>(context: &Context<B>, cause: &str) -> Infallible {
    let mut commands = None;
    loop {
        let request = next(context, &mut commands).await;
        let rejection = Rejection::PartitionStopped { cause: cause.to_owned() };
        request.responder.send(CommandReply::Rejected(rejection));
    }
}

/// Waits for the next command.
async fn next<B: Broker>(
    context: &Context<B>,
    commands: &mut Option<Requests<Command, CommandReply>>,
) -> Request<Command, CommandReply> {
    let mut pause = Pause::new();
    loop {
        if let Some(listening) = commands {
            if let Some(request) = listening.next().await {
                return request;
            }
            pause.rest().await;
        }
        match context.broker.serve_commands(context.id).await {
            Ok(listening) => *commands = Some(listening),
            Err(error) => {
                observe::trying_again("serve commands", &error);
                pause.rest().await;
            }
        }
    }
}
