//! One inbox for all answers. The client has one of its own, but it remembers every question that
//! was never answered for as long as it lives; only what JetStream answers goes by that one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_nats::client::{PublishError, SubscribeError};
use async_nats::{Client, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::groups::Asked as Together;
use crate::nats::locked;

/// Parts of one answer that may wait for whoever asked.
const PARTS: usize = 65_536;
/// With so many questions more than were awaited, it is looked which messages nobody waits for.
const SURPLUS: usize = 1_024;

type Waiting = Arc<Mutex<HashMap<u64, Asker>>>;

/// Who waits for an answer.
#[derive(Debug)]
enum Asker {
    /// For the one message that it is.
    Once(oneshot::Sender<Message>),
    /// For as many as there are.
    Parts(mpsc::Sender<Message>),
    /// Several, each for its part of the answers.
    Several(Together),
}

/// The inbox, and who waits for what.
#[derive(Debug)]
pub(crate) struct Mux {
    client: Client,
    prefix: String,
    next: AtomicU64,
    waiting: Waiting,
    /// With so many questions it is looked which nobody waits for.
    look_at: AtomicUsize,
    reading: JoinHandle<()>,
}

impl Drop for Mux {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// A question without an answer. Dropping it forgets the question.
struct Asked<'a> {
    waiting: &'a Waiting,
    number: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        locked(self.waiting).remove(&self.number);
    }
}

/// A question whose answer may have many parts. Dropping it forgets the question.
pub(crate) struct Answers<'a> {
    parts: mpsc::Receiver<Message>,
    /// Where the answer is to be sent.
    pub(crate) reply: String,
    _asked: Asked<'a>,
}

impl Answers<'_> {
    /// Waits for the next message; nothing comes any more once the client has ended.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        self.parts.recv().await
    }
}

/// Why a question could not be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The client refuses it.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The client has ended.
    #[error("the connection to NATS was closed")]
    Closed,
}

impl Mux {
    pub(crate) async fn open(client: Client) -> Result<Self, SubscribeError> {
        let prefix = client.new_inbox();
        let answers = client.subscribe(format!("{prefix}.*")).await?;
        let waiting = Waiting::default();
        let reading = tokio::spawn(read(answers, Arc::clone(&waiting)));
        let (next, look_at) = (AtomicU64::new(0), AtomicUsize::new(SURPLUS));
        Ok(Self { client, prefix, next, waiting, look_at, reading })
    }

    /// Asks, and waits for one message for as long as the caller does.
    pub(crate) async fn ask(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Message, AskError> {
        let (reply, _asked, answer) = self.expect();
        match headers {
            Some(headers) => {
                let client = &self.client;
                client.publish_with_reply_and_headers(subject, reply, headers, payload).await?;
            }
            None => self.client.publish_with_reply(subject, reply, payload).await?,
        }
        answer.await.map_err(|_| AskError::Closed)
    }

    /// Sends a message to this inbox and waits until it is here: whatever others listen to, the
    /// server has read by then what was sent before, and given back what it had to say to that.
    pub(crate) async fn echo(&self) -> Result<Message, AskError> {
        let (reply, _asked, answer) = self.expect();
        self.client.publish(reply, Bytes::new()).await?;
        answer.await.map_err(|_| AskError::Closed)
    }

    /// Makes a place for an answer of many parts.
    pub(crate) fn expect_parts(&self) -> Answers<'_> {
        let (sender, parts) = mpsc::channel(PARTS);
        let (reply, asked) = self.place(Asker::Parts(sender));
        Answers { parts, reply, _asked: asked }
    }

    /// Makes a place for an answer, where it is waited for as long as it is not dropped.
    fn expect(&self) -> (String, Asked<'_>, oneshot::Receiver<Message>) {
        let (sender, answer) = oneshot::channel();
        let (reply, asked) = self.place(Asker::Once(sender));
        (reply, asked, answer)
    }

    /// Makes a place for the answers to several questions, until all are answered or nobody waits
    /// any more; returns where they are to be sent.
    pub(crate) fn expect_group(&self, asked: Together) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut waiting = locked(&self.waiting);
        waiting.insert(number, Asker::Several(asked));
        if waiting.len() >= self.look_at.load(Ordering::Relaxed) {
            waiting.retain(|_, asker| match asker {
                Asker::Several(asked) => asked.is_awaited(),
                Asker::Once(_) | Asker::Parts(_) => true,
            });
            self.look_at.store(2 * waiting.len() + SURPLUS, Ordering::Relaxed);
        }
        format!("{}.{number}", self.prefix)
    }

    /// Gives up several questions that could not be sent.
    pub(crate) fn give_up(&self, reply: &str) -> Option<Together> {
        match locked(&self.waiting).remove(&number_of(reply)?)? {
            Asker::Several(asked) => Some(asked),
            Asker::Once(_) | Asker::Parts(_) => None,
        }
    }

    fn place(&self, asker: Asker) -> (String, Asked<'_>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        locked(&self.waiting).insert(number, asker);
        (format!("{}.{number}", self.prefix), Asked { waiting: &self.waiting, number })
    }
}

fn number_of(reply: &str) -> Option<u64> {
    reply.rsplit('.').next().and_then(|number| number.parse().ok())
}

async fn read(mut answers: Subscriber, waiting: Waiting) {
    while let Some(answer) = answers.next().await {
        let Some(number) = number_of(&answer.subject) else { continue };
        let mut askers = locked(&waiting);
        match askers.get(&number) {
            // Who has so much to read gets the rest no more, and notices that it is missing.
            Some(Asker::Parts(asker)) => drop(asker.try_send(answer)),
            Some(Asker::Once(_) | Asker::Several(_)) => match askers.remove(&number) {
                Some(Asker::Once(asker)) => drop(asker.send(answer)),
                Some(Asker::Several(mut asked)) => {
                    // Others may ask while this is read.
                    drop(askers);
                    asked.take(&answer);
                    if asked.is_awaited() {
                        locked(&waiting).insert(number, Asker::Several(asked));
                    }
                }
                Some(Asker::Parts(_)) | None => {}
            },
            None => {}
        }
    }
    // The client has ended; nobody is answered any more.
    locked(&waiting).clear();
}

#[cfg(test)]
mod tests {
    use async_nats::StatusCode;

    use super::*;
    use crate::server::{Options, ThrowawayServer};

    #[tokio::test]
    async fn questions_are_forgotten_when_they_are_answered_or_given_up() {
        let server = ThrowawayServer::start(Options::default()).await.unwrap();
        let client = async_nats::connect(server.url()).await.unwrap();
        let mux = Mux::open(client.clone()).await.unwrap();
        let mut listener = client.subscribe("somebody").await.unwrap();
        client.flush().await.unwrap();
        let ask = |subject: &str| mux.ask(subject.to_owned(), None, Bytes::new());
        let nobody = ask("nobody").await.unwrap();
        assert_eq!(nobody.status, Some(StatusCode::NO_RESPONDERS));
        let answering = async {
            let asked = listener.next().await.unwrap();
            client.publish(asked.reply.unwrap(), "here".into()).await.unwrap();
        };
        let (answer, ()) = tokio::join!(ask("somebody"), answering);
        assert_eq!(answer.unwrap().payload, "here");
        let given_up = async {
            listener.next().await.unwrap();
            assert_eq!(locked(&mux.waiting).len(), 1);
        };
        tokio::select! {
            _ = ask("somebody") => panic!("nobody answered"),
            () = given_up => {}
        }
        assert!(locked(&mux.waiting).is_empty());
    }

    #[tokio::test]
    async fn an_answer_may_have_many_parts() {
        let server = ThrowawayServer::start(Options::default()).await.unwrap();
        let client = async_nats::connect(server.url()).await.unwrap();
        let mux = Mux::open(client.clone()).await.unwrap();
        let (mut first, mut second) = (mux.expect_parts(), mux.expect_parts());
        for (to, part) in [(&first, "1a"), (&second, "2a"), (&first, "1b")] {
            client.publish(to.reply.clone(), part.into()).await.unwrap();
        }
        assert_eq!(first.next().await.unwrap().payload, "1a");
        assert_eq!(first.next().await.unwrap().payload, "1b");
        assert_eq!(second.next().await.unwrap().payload, "2a");
        drop((first, second));
        assert!(locked(&mux.waiting).is_empty());
    }
}
