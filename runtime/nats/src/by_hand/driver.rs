//! The coordinator of the loops written by hand.

use std::future::IntoFuture as _;
use std::time::Duration;

use async_nats::jetstream::consumer::push::OrderedConfig;
use async_nats::jetstream::context::{PublishAckFuture, PublishError};
use async_nats::{Client, Subject, jetstream};
use bytes::{Bytes, BytesMut};
use futures::future::{self, BoxFuture};
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use skep_protocol::limits::TARGET_BATCH_BYTES;
use tokio::time::{Instant, timeout};

use super::{ByHandError, IN_FLIGHT, Names, PATIENCE, Way, chain_of, failed, message_of};
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

/// How it went.
#[derive(Debug)]
pub struct Played {
    /// From the first task to the last durable result.
    pub took: Duration,
    /// From one durable result to the next, the first one from its task on: what each step of the
    /// only chain took. Of several chains nothing is kept.
    pub steps: Vec<Duration>,
}

type Ack = BoxFuture<'static, Result<(), PublishError>>;
type Results = BoxStream<'static, Result<Bytes, ByHandError>>;

struct Driver {
    nats: Nats,
    names: Names,
    way: Way,
    plan: Chains,
    /// Steps done, of each chain.
    done: Vec<u32>,
    open: usize,
    results: Results,
    reply: Subject,
    tasks: Subject,
    /// Durable once the append in flight is.
    flying: Vec<u32>,
    /// For the next append; durable if they came from the journal.
    gathered: Vec<u32>,
    bytes: BytesMut,
    offers: FuturesUnordered<Ack>,
    /// What each step of the only chain took.
    steps: Vec<Duration>,
    /// When the last of them was over.
    since: Instant,
}

/// Plays the loop once and returns how it went. An agent has to be there; see
/// [`perform`](super::perform).
///
/// # Errors
/// [`ByHandError`] if the broker does not let it, or nobody answers.
///
/// # Cancel safety
/// What it stored is left behind, until a loop of this prefix is played again, or [`clear`].
pub async fn drive(
    nats: &Nats,
    prefix: &str,
    way: Way,
    plan: Chains,
) -> Result<Played, ByHandError> {
    let names = Names(prefix.to_owned());
    remove(nats, &names).await;
    let played = play(nats, &names, way, plan).await;
    remove(nats, &names).await;
    played
}

/// Removes what a loop that did not come to its end left behind.
pub async fn clear(nats: &Nats, prefix: &str) {
    remove(nats, &Names(prefix.to_owned())).await;
}

async fn play(nats: &Nats, names: &Names, way: Way, plan: Chains) -> Result<Played, ByHandError> {
    make(nats, names, way).await?;
    let mut driver = Driver::new(nats.clone(), names.clone(), way, plan).await?;
    driver.meet_the_agent().await?;
    driver.play().await
}

async fn make(nats: &Nats, names: &Names, way: Way) -> Result<(), ByHandError> {
    let streams = match way {
        Way::Direct => vec![names.journal_stream()],
        Way::Queue | Way::Plain => vec![names.journal_stream(), names.queue_stream()],
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

async fn heard(client: &Client, on: Subject) -> Result<Results, ByHandError> {
    let results = client.subscribe(on).await;
    let results = results.map_err(|error| failed("listen for results")(&error))?;
    Ok(results.map(|result| Ok(result.payload)).boxed())
}

async fn read(nats: &Nats, names: &Names) -> Result<Results, ByHandError> {
    let deliver_subject = nats.shared.client.new_inbox();
    let config = OrderedConfig { deliver_subject, ..OrderedConfig::default() };
    let reader = nats.js().create_consumer_on_stream(config, names.stream("journal")).await;
    let reader = reader.map_err(|error| failed("make a reader of the journal")(&error))?;
    let results = reader.messages().await;
    let results = results.map_err(|error| failed("read the journal")(&error))?;
    let payload = |result: jetstream::Message| result.message.payload;
    let results = results.map_ok(payload);
    Ok(results.map_err(|error| failed("read a result")(&error)).boxed())
}

impl Driver {
    async fn new(nats: Nats, names: Names, way: Way, plan: Chains) -> Result<Self, ByHandError> {
        let client = &nats.shared.client;
        let reply = Subject::from(match way {
            Way::Direct => client.new_inbox(),
            Way::Queue => names.results(),
            Way::Plain => names.journal(),
        });
        let results = match way {
            Way::Direct | Way::Queue => heard(client, reply.clone()).await?,
            Way::Plain => read(&nats, &names).await?,
        };
        let tasks = Subject::from(names.tasks());
        Ok(Self {
            done: vec![0; plan.chains as usize],
            open: plan.chains as usize,
            results,
            reply,
            tasks,
            flying: Vec::new(),
            gathered: Vec::new(),
            bytes: BytesMut::new(),
            offers: FuturesUnordered::new(),
            steps: Vec::new(),
            since: Instant::now(),
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
            let answer = timeout(LOOK_AGAIN, self.results.try_next()).await;
            let Ok(answer) = answer else { continue };
            // Without an agent, the server may say that nobody is there.
            let is_there = answer?.as_deref().and_then(chain_of).is_some();
            // Whatever else was asked meanwhile is answered by then.
            tokio::time::sleep(LOOK_AGAIN).await;
            if is_there {
                while let Some(Some(_)) = self.results.next().now_or_never() {}
                return Ok(());
            }
        }
        Err(ByHandError { attempted: "meet its agent", reason: "it does not answer".to_owned() })
    }

    async fn play(mut self) -> Result<Played, ByHandError> {
        let started = Instant::now();
        self.since = started;
        for chain in 0..self.plan.chains {
            self.send(chain).await?;
            self.take_in_what_came()?;
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
                    Ok(Some(result)) => self.take_in(&result?),
                    Ok(None) | Err(_) => return Err(self.stands_still()),
                },
            }
            self.take_in_what_came()?;
        }
        Ok(Played { took: started.elapsed(), steps: self.steps })
    }

    fn stands_still(&self) -> ByHandError {
        let waiting = self.flying.len() + self.gathered.len();
        let away = self.open.saturating_sub(waiting);
        let reason = format!("results of {away} chains stay away, {waiting} wait for an append");
        ByHandError { attempted: "go on", reason }
    }

    fn take_in_what_came(&mut self) -> Result<(), ByHandError> {
        while let Some(Some(result)) = self.results.next().now_or_never() {
            self.take_in(&result?);
        }
        Ok(())
    }

    fn take_in(&mut self, result: &[u8]) {
        if let Some(chain) = chain_of(result).filter(|chain| *chain < self.plan.chains) {
            self.gathered.push(chain);
            self.bytes.extend_from_slice(result);
        }
    }

    /// Appends what was gathered, as one message. What came from the journal is there already.
    async fn append(&mut self) -> Result<Ack, ByHandError> {
        if self.way == Way::Plain {
            self.bytes.clear();
            self.flying = std::mem::take(&mut self.gathered);
            return Ok(future::ready(Ok(())).boxed());
        }
        let each = self.bytes.len() / self.gathered.len();
        let count = self.gathered.len().min((TARGET_BATCH_BYTES / each).max(1));
        let rest = self.gathered.split_off(count);
        self.flying = std::mem::replace(&mut self.gathered, rest);
        let message = self.bytes.split_to(count * each).freeze();
        acknowledged(&self.nats, self.names.journal().into(), message).await
    }

    /// What was appended is durable: the next tasks leave.
    async fn go_on(&mut self) -> Result<(), ByHandError> {
        if self.plan.chains == 1 {
            let now = Instant::now();
            self.steps.push(now - self.since);
            self.since = now;
        }
        for chain in std::mem::take(&mut self.flying) {
            let done = &mut self.done[chain as usize];
            *done += 1;
            if *done == self.plan.steps {
                self.open -= 1;
            } else {
                self.send(chain).await?;
                self.take_in_what_came()?;
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
            Way::Queue | Way::Plain => {
                if self.offers.len() == IN_FLIGHT
                    && let Some(offered) = self.offers.next().await
                {
                    offered.map_err(|error| failed("offer a task")(&error))?;
                }
                let ack = acknowledged(&self.nats, self.tasks.clone(), message).await?;
                self.offers.push(ack);
                Ok(())
            }
        }
    }
}

async fn landed(append: &mut Option<Ack>) -> Result<(), PublishError> {
    match append {
        Some(ack) => ack.await,
        None => std::future::pending().await,
    }
}

async fn acknowledged(nats: &Nats, to: Subject, message: Bytes) -> Result<Ack, ByHandError> {
    let sent: Result<PublishAckFuture, _> = nats.js().publish(to, message).await;
    let sent = sent.map_err(|error| failed("publish")(&error))?;
    Ok(sent.into_future().map_ok(drop).boxed())
}
