//! Heartbeats: core NATS, never kept. An agent that beats too often is heard with its newest one,
//! five times a second, so that it takes nothing away from the others.

mod mailbox;

use async_nats::{Message, Subject, Subscriber};
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use skep_broker::{Presence, Unavailable};
use skep_protocol::Heartbeat;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::nats::{self, Nats};
use mailbox::{Dropped, Mailbox};

/// Heartbeats that were read and wait for the listener.
const MAX_READ: usize = 64;
/// Messages that are taken off the connection before any is handed on.
const AT_ONCE: usize = 256;

impl Presence for Nats {
    async fn beat(&self, heartbeat: Heartbeat) -> Result<(), Unavailable> {
        let subject = self.layout().beat(&heartbeat.agent);
        self.tell("publish a heartbeat", subject, None, &heartbeat).await
    }

    async fn beats(&self) -> Result<BoxStream<'static, Heartbeat>, Unavailable> {
        let subscriber = self.listen("listen for heartbeats", self.layout().beats(), None).await?;
        let (sender, receiver) = mpsc::channel(MAX_READ);
        let reading = Reading(tokio::spawn(read(self.clone(), subscriber, sender)));
        let beats = futures::stream::unfold((receiver, reading), |(mut receiver, reading)| async {
            let beat = receiver.recv().await?;
            Some((beat, (receiver, reading)))
        });
        Ok(beats.boxed())
    }

    fn is_connected(&self) -> bool {
        // Among the messages that were dropped there may have been heartbeats of anybody.
        self.has_connection() && !self.shared.link.has_just_dropped()
    }
}

/// The task that takes heartbeats off the connection. It ends with whoever listens.
struct Reading(JoinHandle<()>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Takes heartbeats off the connection as fast as they come, however slowly they are handed on.
async fn read(nats: Nats, mut subscriber: Subscriber, sender: mpsc::Sender<Heartbeat>) {
    let mut mailbox = Mailbox::default();
    loop {
        let now = Instant::now();
        let next = mailbox.next_at(now);
        tokio::select! {
            biased;
            message = subscriber.next() => match message {
                Some(message) => {
                    put(&nats, &mut mailbox, message, now);
                    for _ in 1..AT_ONCE {
                        let Some(Some(more)) = subscriber.next().now_or_never() else { break };
                        put(&nats, &mut mailbox, more, now);
                    }
                }
                None => return,
            },
            permit = sender.reserve(), if next.is_some_and(|at| at <= now) => match permit {
                Ok(permit) => hand_on(&nats, &mut mailbox, now, permit),
                Err(_) => return,
            },
            () = sleep_until(next.unwrap_or(now)), if next.is_some_and(|at| at > now) => {}
        }
        // A flood keeps nobody from being heard.
        while mailbox.next_at(now).is_some_and(|at| at <= now) {
            let Ok(permit) = sender.try_reserve() else { break };
            hand_on(&nats, &mut mailbox, now, permit);
        }
    }
}

fn put(nats: &Nats, mailbox: &mut Mailbox, message: Message, now: Instant) {
    let reason = match mailbox.put(message, now) {
        Ok(()) => return,
        Err(Dropped::Agents) => "there are too many agents",
        Err(Dropped::Bytes) => "too many heartbeats wait",
    };
    nats.warn_once::<Dropped>(&nats.layout().beats(), reason);
}

fn hand_on(nats: &Nats, mailbox: &mut Mailbox, now: Instant, permit: mpsc::Permit<'_, Heartbeat>) {
    if let Some(Ok(beat)) = mailbox.take(now).and_then(|message| nats.read(&message, its_own)) {
        permit.send(beat);
    }
}

/// Reads a heartbeat of the agent that its subject names.
fn its_own(subject: &Subject, payload: &[u8]) -> Result<Heartbeat, String> {
    nats::its_own(subject, payload, |beat: &Heartbeat| &beat.agent)
}
