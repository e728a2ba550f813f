//! The adapter itself, and what its parts share: sending, asking, listening.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::{Client, HeaderMap, Message, Subject, Subscriber};
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use skep_broker::{Request, Requests, Responder, Unavailable};
use skep_protocol::{AgentId, Answer, Versioned, decode, decode_known, encode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::connect::{ConnectError, chain, connect};
use crate::groups::{Answering, Groups};
use crate::layout::Layout;
use crate::link::{Link, Period};
use crate::mux::Mux;
use crate::options::ConnectOptions;
use crate::parts;
use crate::ping::is_ping;
use crate::tasks::Acknowledging;

/// Answers that wait while the connection takes no more.
const MAX_WAITING_ANSWERS: usize = 16_384;

/// Reads what came by a subject, or says why it cannot be read.
pub(crate) type Reader<M> = fn(&Subject, &[u8]) -> Result<M, String>;

/// The port over NATS JetStream. Cloning it gives another handle to the same connection.
#[derive(Clone)]
pub struct Nats {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) js: Context,
    pub(crate) mux: Arc<Mux>,
    pub(crate) groups: Groups,
    pub(crate) shared_answers: Answering,
    pub(crate) link: Link,
    pub(crate) layout: Layout,
    pub(crate) replicas: Option<usize>,
    pub(crate) request_timeout: Duration,
    pub(crate) ack_wait: Duration,
    pub(crate) queues: Mutex<BTreeMap<String, (Period, Consumer<pull::Config>)>>,
    pub(crate) acknowledging: Acknowledging,
    pub(crate) controls_sent: AtomicU64,
    warned: Mutex<BTreeSet<&'static str>>,
    answers: mpsc::Sender<(Subject, Bytes)>,
    answering: JoinHandle<()>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.shared.client.server_info().server_name;
        f.debug_struct("Nats").field("server", &server).finish_non_exhaustive()
    }
}

/// Why something did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// There was no connection for the whole time.
    NotConnected,
    /// The connection was lost meanwhile.
    Lost,
    /// It took too long.
    TimedOut,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConnected => "there is no connection to NATS",
            Self::Lost => "the connection to NATS was lost meanwhile",
            Self::TimedOut => "NATS did not answer in time",
        })
    }
}

impl Nats {
    /// Connects, and checks that the server will do. From then on the connection comes back by
    /// itself whenever it is lost.
    ///
    /// # Errors
    /// Every variant of [`ConnectError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn connect(options: ConnectOptions) -> Result<Self, ConnectError> {
        let connection = connect(&options).await?;
        let (answers, receiver) = mpsc::channel(MAX_WAITING_ANSWERS);
        let answering = tokio::spawn(answer(connection.client.clone(), receiver));
        let mux = Arc::new(connection.mux);
        let groups = Groups::new(connection.client.clone(), Arc::clone(&mux));
        let shared_answers = Answering::new(connection.client.clone(), MAX_WAITING_ANSWERS);
        let (client, link) = (connection.client.clone(), connection.link.clone());
        let acknowledging =
            Acknowledging::new(client, Arc::clone(&mux), link, options.request_timeout);
        Ok(Self {
            shared: Arc::new(Shared {
                client: connection.client,
                js: connection.js,
                mux,
                groups,
                shared_answers,
                link: connection.link,
                layout: Layout::new(options.namespace),
                replicas: options.replicas,
                request_timeout: options.request_timeout,
                ack_wait: options.ack_wait,
                queues: Mutex::default(),
                acknowledging,
                controls_sent: AtomicU64::new(1),
                warned: Mutex::default(),
                answers,
                answering,
            }),
        })
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.shared.layout
    }

    pub(crate) fn js(&self) -> &Context {
        &self.shared.js
    }

    /// How long anybody may take to answer.
    pub(crate) fn patience(&self) -> Duration {
        self.shared.request_timeout
    }

    /// Returns whether there is a connection at this moment.
    pub fn has_connection(&self) -> bool {
        self.shared.client.connection_state() == State::Connected
    }

    /// Does `work` while the connection lasts. Nothing is sent without a connection, because it
    /// would be sent much later.
    pub(crate) fn while_connected<T, F: Future<Output = T>>(
        &self,
        within: Duration,
        work: F,
    ) -> impl Future<Output = Result<T, Interrupted>> + use<T, F> {
        while_connected(&self.shared.link, &self.shared.client, within, work)
    }

    /// Does `work` of the JetStream API.
    pub(crate) fn api<T, E: std::error::Error, F: Future<Output = Result<T, E>>>(
        &self,
        attempted: &'static str,
        work: F,
    ) -> impl Future<Output = Result<T, Unavailable>> + use<T, E, F> {
        let work = self.while_connected(self.patience(), work);
        async move {
            let unavailable = |reason| Unavailable { attempted, reason };
            match work.await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => Err(unavailable(chain(&error))),
                Err(interrupted) => Err(unavailable(interrupted.to_string())),
            }
        }
    }

    /// Sends a message that may be lost.
    pub(crate) async fn tell<M: Serialize + Sync>(
        &self,
        attempted: &'static str,
        subject: String,
        headers: Option<HeaderMap>,
        message: &M,
    ) -> Result<(), Unavailable> {
        let unavailable = |reason| Unavailable { attempted, reason };
        if !self.has_connection() {
            return Err(unavailable(Interrupted::NotConnected.to_string()));
        }
        let client = &self.shared.client;
        let payload = encode(message);
        let published = async {
            match headers {
                Some(headers) => client.publish_with_headers(subject, headers, payload).await,
                None => client.publish(subject, payload).await,
            }
        };
        self.api(attempted, published).await?;
        self.api(attempted, async { client.flush().await }).await
    }

    /// Listens to a subject; once it returns, nothing sent from then on is missed.
    pub(crate) async fn listen(
        &self,
        attempted: &'static str,
        subject: String,
        group: Option<&'static str>,
    ) -> Result<Subscriber, Unavailable> {
        let client = &self.shared.client;
        let subscribed = async {
            match group {
                Some(group) => client.queue_subscribe(subject, group.to_owned()).await,
                None => client.subscribe(subject).await,
            }
        };
        let subscriber = self.api(attempted, subscribed).await?;
        self.synchronise(attempted).await?;
        Ok(subscriber)
    }

    /// Listens for requests, each of them one message.
    pub(crate) async fn serve<M, R>(
        &self,
        attempted: &'static str,
        subject: String,
        group: Option<&'static str>,
        reader: Reader<M>,
    ) -> Result<Requests<M, R>, Unavailable>
    where
        M: Send + 'static,
        R: Serialize + Answer + 'static,
    {
        let messages = self.listen(attempted, subject, group).await?;
        let nats = self.clone();
        let read = move |message| std::future::ready(nats.clone().request(message, reader));
        Ok(match group {
            // One of a group may have come later than the one that was asked.
            Some(_) => messages.filter_map(read).boxed(),
            None => self.answering_pings(messages).filter_map(read).boxed(),
        })
    }

    /// Reads a request; what cannot be read is answered at once.
    pub(crate) fn request<M, R>(self, message: Message, reader: Reader<M>) -> Option<Request<M, R>>
    where
        R: Serialize + Answer + 'static,
    {
        let read = self.read(&message, reader)?;
        let reply = message.reply?;
        match read {
            Ok(message) => {
                let send = move |answer: R| self.reply(reply, encode(&answer));
                Some(Request { message, responder: Responder::new(send) })
            }
            Err(cause) => {
                self.reply(reply, encode(&R::unreadable(cause)));
                None
            }
        }
    }

    /// Reads a message from outside, or says why it cannot be read; nothing if it only asks whether
    /// somebody listens.
    pub(crate) fn read<M>(
        &self,
        message: &Message,
        reader: Reader<M>,
    ) -> Option<Result<M, String>> {
        if is_ping(message) {
            return None;
        }
        let read = parts::one(message).and_then(|()| reader(&message.subject, &message.payload));
        if let Err(cause) = &read {
            self.warn_once::<M>(&message.subject, cause);
        }
        Some(read)
    }

    /// Says that a message cannot be read: once for each kind, so that a flood fills no log.
    pub(crate) fn warn_once<M>(&self, subject: &str, reason: &str) {
        let kind = std::any::type_name::<M>();
        if locked(&self.shared.warned).insert(kind) {
            tracing::warn!(subject, reason, "a message cannot be read; further ones are not told");
        }
    }

    pub(crate) fn reply(&self, to: Subject, payload: Bytes) {
        let client = &self.shared.client;
        if payload.len() <= client.max_payload() {
            let sent = client.publish(to.clone(), payload.clone()).now_or_never();
            if matches!(sent, Some(Ok(()))) {
                return;
            }
        }
        if self.shared.answers.try_send((to.clone(), payload)).is_err() {
            tracing::warn!(subject = %to, "an answer was dropped: too many wait");
        }
    }
}

/// Does `work` while a connection lasts; see [`Nats::while_connected`].
pub(crate) fn while_connected<T, F: Future<Output = T>>(
    link: &Link,
    client: &Client,
    within: Duration,
    work: F,
) -> impl Future<Output = Result<T, Interrupted>> + use<T, F> {
    let link = link.clone();
    // The client knows of a loss before it tells: what it is given meanwhile it keeps.
    let losing = link.established().filter(|_| client.connection_state() == State::Disconnected);
    // The futures of the client have many kilobytes; they would be copied at every level.
    let work = Box::pin(work);
    async move {
        let limit = tokio::time::sleep(within);
        tokio::pin!(limit);
        let connected = async {
            if let Some(period) = losing {
                link.lost(period).await;
            }
            link.connected().await
        };
        let period = tokio::select! {
            biased;
            period = connected => period,
            () = &mut limit => return Err(Interrupted::NotConnected),
        };
        tokio::select! {
            biased;
            result = work => Ok(result),
            () = link.lost(period) => Err(Interrupted::Lost),
            () = limit => Err(Interrupted::TimedOut),
        }
    }
}

/// Sends the answers that could not be sent at once.
async fn answer(client: Client, mut answers: mpsc::Receiver<(Subject, Bytes)>) {
    while let Some((to, payload)) = answers.recv().await {
        if let Err(error) = parts::send(&client, to.clone(), None, payload).await {
            tracing::warn!(subject = %to, reason = chain(&error), "an answer was dropped");
        }
    }
}

/// Locks; what a panicking holder left is as good as any, since every change is one call.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads whatever has the form of the message.
pub(crate) fn any<M: DeserializeOwned>(_: &Subject, payload: &[u8]) -> Result<M, String> {
    decode(payload).map_err(|error| chain(&error))
}

/// Reads a message of a known version from the agent that its subject names, and of no other.
pub(crate) fn its_own<M: Versioned>(
    subject: &Subject,
    payload: &[u8],
    agent: fn(&M) -> &AgentId,
) -> Result<M, String> {
    let message = decode_known(payload).map_err(|error| chain(&error))?;
    let is_its_own = last_token(subject) == agent(&message).as_str();
    if is_its_own { Ok(message) } else { Err("it speaks in the name of another".to_owned()) }
}

/// Returns the last token of a subject.
pub(crate) fn last_token(subject: &Subject) -> &str {
    subject.as_str().rsplit('.').next().unwrap_or_default()
}
