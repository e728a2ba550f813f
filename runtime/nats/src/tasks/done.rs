//! Pulled tasks that are done with: many share one confirmation.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::message::AckKind;
use async_nats::{Client, Subject};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use skep_broker::Unavailable;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::connect::chain;
use crate::link::Link;
use crate::mux::{AskError, Mux};
use crate::nats::{locked, while_connected};

/// Acknowledgements that share one confirmation.
const TOGETHER: usize = 256;
const ATTEMPTED: &str = "acknowledge tasks";

type Gathered = Arc<Mutex<BTreeMap<String, Vec<Done>>>>;

/// A task that is to leave its queue, and whoever waits until it has.
#[derive(Debug)]
struct Done {
    reply: Subject,
    confirmed: oneshot::Sender<Result<(), Unavailable>>,
}

/// What is about to be acknowledged, by capability.
#[derive(Debug)]
pub(crate) struct Acknowledging {
    gathered: Gathered,
    gathers: Arc<Notify>,
    sending: JoinHandle<()>,
}

impl Drop for Acknowledging {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

impl Acknowledging {
    /// Begins to send what is gathered; nobody is waited for longer than `patience`.
    pub(crate) fn new(client: Client, mux: Arc<Mux>, link: Link, patience: Duration) -> Self {
        let (gathered, gathers) = (Gathered::default(), Arc::new(Notify::new()));
        let (from, way) = (Arc::clone(&gathered), Way { client, mux, link, patience });
        let sending = tokio::spawn(send(from, Arc::clone(&gathers), way));
        Self { gathered, gathers, sending }
    }

    /// Acknowledges a task, and waits until the consumer of its capability has understood. What is
    /// done at about the same moment shares the confirmation.
    ///
    /// # Cancel safety
    /// The task is acknowledged all the same.
    pub(super) async fn acknowledge(
        &self,
        capability: &str,
        reply: Subject,
    ) -> Result<(), Unavailable> {
        let (confirmed, confirmation) = oneshot::channel();
        let done = Done { reply, confirmed };
        {
            let mut gathered = locked(&self.gathered);
            match gathered.get_mut(capability) {
                Some(others) => others.push(done),
                None => drop(gathered.insert(capability.to_owned(), vec![done])),
            }
        }
        self.gathers.notify_one();
        let ended = |_| Unavailable { attempted: ATTEMPTED, reason: "the client ended".to_owned() };
        confirmation.await.map_err(ended)?
    }
}

/// The way to the server.
struct Way {
    client: Client,
    mux: Arc<Mux>,
    link: Link,
    patience: Duration,
}

async fn send(gathered: Gathered, gathers: Arc<Notify>, way: Way) {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = gathers.notified() => {}
            Some(()) = under_way.next() => continue,
        }
        for (_, mut done) in mem::take(&mut *locked(&gathered)) {
            while !done.is_empty() {
                let rest = done.split_off(done.len().min(TOGETHER));
                under_way.push(way.acknowledge(mem::replace(&mut done, rest)));
            }
        }
    }
}

impl Way {
    /// Acknowledges tasks of one consumer. It takes them in their order, so that the last one's
    /// confirmation is that of all. If it moves to another server meanwhile, or the way to it
    /// breaks, it may miss one of the others: that comes again, to an agent which asks first and
    /// is told that it is over.
    async fn acknowledge(&self, done: Vec<Done>) {
        let (replies, waiting): (Vec<Subject>, Vec<_>) =
            done.into_iter().map(|one| (one.reply, one.confirmed)).unzip();
        let (client, mux) = (self.client.clone(), Arc::clone(&self.mux));
        let sending = async move {
            let Some((last, others)) = replies.split_last() else { return Ok(()) };
            for reply in others {
                client.publish(reply.clone(), AckKind::Ack.into()).await?;
            }
            // That nobody listens is an answer, too: the queue has vanished, and the tasks with it.
            mux.ask(last.to_string(), None, AckKind::Ack.into()).await?;
            Ok::<_, AskError>(())
        };
        let told = match while_connected(&self.link, &self.client, self.patience, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(chain(&error)),
            Err(interrupted) => Err(interrupted.to_string()),
        };
        let told = told.map_err(|reason| Unavailable { attempted: ATTEMPTED, reason });
        for one in waiting {
            // Whoever settled it may wait no more.
            let _ = one.send(told.clone());
        }
    }
}
