//! The coordinator of the loop written by hand.

use std::future::IntoFuture as _;
use std::time::Duration;

use async_nats::jetstream::context::{PublishAckFuture, PublishError};
use async_nats::jetstream::publish::PublishAck;
use async_nats::{Client, Subject, Subscriber};
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use skep_protocol::limits::TARGET_BATCH_BYTES;
use tokio::time::{Instant, timeout};

use super::{ByHandError, Names, PATIENCE, Way, chain_of, failed, message_of};
use crate::nats::Nats;

/// How long the agent may take to answer before it is asked again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What the loop is to do.
#[derive(Debug, Clone, Copy)]
pub struct Chains {
    /// Chains, all at a time.
    pub chains: u32,
    /// Steps of each, one after the other.
    pub steps: u32,
    /// What each task and each result carries, in bytes.
    pub payload: usize,
}

type Ack = BoxFuture<'static, Result<PublishAck, PublishError>>;

struct Driver {
    nats: Nats,
    names: Names,
    way: Way,
    plan: Chains,
    /// Steps done, of each chain.
    done: Vec<u32>,
    open: usize,
    results: Subscriber,
    reply: Subject,
    tasks: Subject,
    /// Durable once the append in flight is.
    flying: Vec<u32>,
    /// For the next append.
    gathered: Vec<u32>,
    bytes: BytesMut,
    offers: FuturesUnordered<Ack>,
}

/// Plays the loop once and returns how long it took, from the first task to the last durable
/// result. An agent has to be there; see [`perform`](super::perform).
///
/// # Errors
/// [`ByHandError`] if the broker does not let it, or nobody answers.
///
/// # Cancel safety
/// What it stored is left behind.
pub async fn drive(
    nats: &Nats,
    prefix: &str,
    way: Way,
    plan: Chains,
) -> Result<Duration, ByHandError> {
    let names = Names(prefix.to_owned());
    remove(nats, &names).await;
    make(nats, &names, way).await?;
    let mut driver = Driver::new(nats.clone(), names.clone(), way, plan).await?;
    driver.meet_the_agent().await?;
    let started = Instant::now();
    let played = driver.play().await;
    let took = started.elapsed();
    remove(nats, &names).await;
    played.map(|()| took)
}

async fn make(nats: &Nats, names: &Names, way: Way) -> Result<(), ByHandError> {
    let streams = match way {
        Way::Direct => vec![names.journal_stream()],
        Way::Queue => vec![names.journal_stream(), names.queue_stream()],
    };
    for config in streams {
        let made = nats.js().create_stream(config).await;
        made.map_err(|error| failed("make a stream")(&error))?;
    }
    Ok(())
}

async fn remove(nats: &Nats, names: &Names) {
    for of in ["journal", "tasks"] {
        nats.js().delete_stream(names.stream(of)).await.ok();
    }
}

impl Driver {
    async fn new(nats: Nats, names: Names, way: Way, plan: Chains) -> Result<Self, ByHandError> {
        let client = &nats.shared.client;
        let reply = match way {
            Way::Direct => client.new_inbox(),
            Way::Queue => names.results(),
        };
        let results = client.subscribe(reply.clone()).await;
        let results = results.map_err(|error| failed("listen for results")(&error))?;
        let tasks = Subject::from(names.tasks());
        Ok(Self {
            done: vec![0; plan.chains as usize],
            open: plan.chains as usize,
            results,
            reply: reply.into(),
            tasks,
            flying: Vec::new(),
            gathered: Vec::new(),
            bytes: BytesMut::new(),
            offers: FuturesUnordered::new(),
            nats,
            names,
            way,
            plan,
        })
    }

    fn client(&self) -> &Client {
        &self.nats.shared.client
    }

    /// Waits until the agent answers.
    async fn meet_the_agent(&mut self) -> Result<(), ByHandError> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            self.send(u32::MAX).await?;
            let answer = timeout(LOOK_AGAIN, self.results.next()).await;
            match answer {
                Ok(Some(answer)) if chain_of(&answer.payload).is_some() => {
                    // Whatever else was asked meanwhile is answered by then.
                    tokio::time::sleep(LOOK_AGAIN).await;
                    while let Some(Some(_)) = self.results.next().now_or_never() {}
                    return Ok(());
                }
                // The server says that nobody is there.
                Ok(_) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(_) => {}
            }
        }
        Err(ByHandError { attempted: "meet its agent", reason: "it does not answer".to_owned() })
    }

    async fn play(&mut self) -> Result<(), ByHandError> {
        for chain in 0..self.plan.chains {
            self.send(chain).await?;
        }
        let mut append: Option<Ack> = None;
        while self.open > 0 {
            if append.is_none() && !self.gathered.is_empty() {
                append = Some(self.append().await?);
            }
            tokio::select! {
                biased;
                landed = landed(&mut append) => {
                    landed.map_err(|error| failed("append to the journal")(&error))?;
                    append = None;
                    self.go_on().await?;
                }
                Some(offered) = self.offers.next() => {
                    offered.map_err(|error| failed("offer a task")(&error))?;
                }
                result = timeout(PATIENCE, self.results.next()) => match result {
                    Ok(Some(result)) => self.take_in(&result.payload),
                    Ok(None) | Err(_) => {
                        let reason = format!(
                            "results of {} chains stay away, {} wait for an append",
                            self.open - self.flying.len() - self.gathered.len(),
                            self.flying.len() + self.gathered.len(),
                        );
                        return Err(ByHandError { attempted: "go on", reason });
                    }
                },
            }
            while let Some(Some(result)) = self.results.next().now_or_never() {
                self.take_in(&result.payload);
            }
        }
        Ok(())
    }

    fn take_in(&mut self, result: &[u8]) {
        if let Some(chain) = chain_of(result).filter(|chain| *chain < self.plan.chains) {
            self.gathered.push(chain);
            self.bytes.extend_from_slice(result);
        }
    }

    /// Appends what was gathered, as one message.
    async fn append(&mut self) -> Result<Ack, ByHandError> {
        let each = self.bytes.len() / self.gathered.len();
        let count = self.gathered.len().min((TARGET_BATCH_BYTES / each).max(1));
        let rest = self.gathered.split_off(count);
        self.flying = std::mem::replace(&mut self.gathered, rest);
        let message = self.bytes.split_to(count * each).freeze();
        acknowledged(&self.nats, self.names.journal().into(), message).await
    }

    /// What was appended is durable: the next tasks leave.
    async fn go_on(&mut self) -> Result<(), ByHandError> {
        for chain in std::mem::take(&mut self.flying) {
            let done = &mut self.done[chain as usize];
            *done += 1;
            if *done == self.plan.steps {
                self.open -= 1;
            } else {
                self.send(chain).await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, chain: u32) -> Result<(), ByHandError> {
        let message = message_of(chain, self.plan.payload);
        match self.way {
            Way::Direct => {
                let (to, reply) = (self.tasks.clone(), self.reply.clone());
                let sent = self.client().publish_with_reply(to, reply, message).await;
                sent.map_err(|error| failed("send a task")(&error))
            }
            Way::Queue => {
                let ack = acknowledged(&self.nats, self.tasks.clone(), message).await?;
                self.offers.push(ack);
                Ok(())
            }
        }
    }
}

async fn landed(append: &mut Option<Ack>) -> Result<PublishAck, PublishError> {
    match append {
        Some(ack) => ack.await,
        None => std::future::pending().await,
    }
}

async fn acknowledged(nats: &Nats, to: Subject, message: Bytes) -> Result<Ack, ByHandError> {
    let sent: Result<PublishAckFuture, _> = nats.js().publish(to, message).await;
    let sent = sent.map_err(|error| failed("publish")(&error))?;
    Ok(sent.into_future().boxed())
}
