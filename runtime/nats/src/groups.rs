//! Several requests that share a message, and answers that do.
//!
//! Who asks alone sends its request as it is. What is asked for at one subject while something else
//! is under way there gathers until the sender has its turn, and goes as one message: a list of
//! requests. Its answers are lists, too: of pairs, each the place of a request in the list that was
//! sent and the answer to it. Each request is answered when it is done, with what else is done by
//! then; none waits for another one. Whoever knows of no lists gives one answer that is none: then
//! each is sent alone, for a while.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::{Client, Message, Subject};
use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::ask::nobody_listens;
use crate::connect::chain;
use crate::mux::Mux;
use crate::nats::locked;
use crate::parts::{self, Whole};

/// Requests that share a message at most.
pub(crate) const MOST: usize = 64;
/// What they take together at most, in bytes; a request that takes a quarter of it goes alone. When
/// answers take more, the next ones are another message.
const MOST_BYTES: usize = 64 * 1024;
/// What the connection does not take within this time is not sent much later, either.
const SEND_WITHIN: Duration = Duration::from_secs(1);
/// How long everything is sent alone to who knows of no lists.
const ALONE_FOR: Duration = Duration::from_secs(60);

/// What comes back for a request that shared a message.
#[derive(Debug)]
pub(crate) enum Shared {
    /// The answer.
    Answer(Bytes),
    /// Nobody listens.
    Nobody,
    /// It has to be sent alone.
    Alone,
    /// It was not sent, and why.
    Unsent(String),
}

/// A request that waits for its message, or for its answer.
#[derive(Debug)]
struct Waiter {
    request: Bytes,
    answer: oneshot::Sender<Shared>,
}

#[derive(Debug, Default)]
struct AtSubject {
    under_way: usize,
    gathered: Vec<Waiter>,
    alone_until: Option<Instant>,
}

type Subjects = Arc<Mutex<BTreeMap<String, AtSubject>>>;

/// What gathers, by subject.
#[derive(Debug)]
pub(crate) struct Groups {
    subjects: Subjects,
    gathers: Arc<Notify>,
    sending: JoinHandle<()>,
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

/// A request that is under way.
pub(crate) struct UnderWay<'a> {
    groups: &'a Groups,
    subject: &'a str,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(at) = locked(&self.groups.subjects).get_mut(self.subject) {
            at.under_way -= 1;
        }
    }
}

impl UnderWay<'_> {
    /// Sends everything alone for a while.
    pub(crate) fn alone_from_here(&self) {
        if let Some(at) = locked(&self.groups.subjects).get_mut(self.subject) {
            at.alone_until = Some(Instant::now() + ALONE_FOR);
        }
    }
}

impl Groups {
    pub(crate) fn new(client: Client, mux: Arc<Mux>) -> Self {
        let (subjects, gathers) = (Subjects::default(), Arc::new(Notify::new()));
        let sending = tokio::spawn(send(client, mux, Arc::clone(&subjects), Arc::clone(&gathers)));
        Self { subjects, gathers, sending }
    }

    /// Begins a request. Returns where its answer comes if it shares a message: it does not if it
    /// is large, or the only one under way.
    pub(crate) fn begin<'a>(
        &'a self,
        subject: &'a str,
        request: &Bytes,
    ) -> (UnderWay<'a>, Option<oneshot::Receiver<Shared>>) {
        let mut subjects = locked(&self.subjects);
        let at = match subjects.get_mut(subject) {
            Some(at) => at,
            None => subjects.entry(subject.to_owned()).or_default(),
        };
        at.under_way += 1;
        let under_way = UnderWay { groups: self, subject };
        let is_small = request.len() <= MOST_BYTES / 4;
        let alone = at.alone_until.is_some_and(|until| Instant::now() < until);
        if at.under_way == 1 || !is_small || alone {
            return (under_way, None);
        }
        let (sender, answer) = oneshot::channel();
        at.gathered.push(Waiter { request: request.clone(), answer: sender });
        if at.gathered.len() == 1 {
            self.gathers.notify_one();
        }
        (under_way, Some(answer))
    }
}

/// Sends what has gathered, whenever something has.
async fn send(client: Client, mux: Arc<Mux>, subjects: Subjects, gathers: Arc<Notify>) {
    loop {
        gathers.notified().await;
        let gathered: Vec<(String, Vec<Waiter>)> = locked(&subjects)
            .iter_mut()
            .filter(|(_, at)| !at.gathered.is_empty())
            .map(|(subject, at)| (subject.clone(), mem::take(&mut at.gathered)))
            .collect();
        for (subject, mut waiters) in gathered {
            // Who has given up meanwhile wants nothing sent.
            waiters.retain(|waiter| !waiter.answer.is_closed());
            let most = MOST_BYTES.min(client.max_payload());
            while !waiters.is_empty() {
                let rest = waiters.split_off(fitting(&waiters, most));
                let (message, asked) = together(mem::replace(&mut waiters, rest));
                let reply = mux.expect_group(Asked::new(asked));
                let sent = client.publish_with_reply(subject.clone(), reply.clone(), message);
                let failed = match timeout(SEND_WITHIN, sent).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => Some(error),
                    Err(_) => None,
                };
                let shared = || match &failed {
                    Some(e) if e.kind() == PublishErrorKind::MaxPayloadExceeded => Shared::Alone,
                    Some(error) => Shared::Unsent(chain(error)),
                    None => Shared::Unsent("the connection to NATS takes nothing".to_owned()),
                };
                mux.give_up(&reply).into_iter().for_each(|mut asked| asked.tell_all(shared));
            }
        }
    }
}

/// Returns how many requests share the next message.
fn fitting(waiters: &[Waiter], most: usize) -> usize {
    let mut size = 2;
    let fits = |waiter: &&Waiter| {
        size += waiter.request.len() + 1;
        size <= most
    };
    waiters.iter().take(MOST).take_while(fits).count().max(1)
}

fn together(mut waiters: Vec<Waiter>) -> (Bytes, Vec<oneshot::Sender<Shared>>) {
    if waiters.len() == 1
        && let Some(Waiter { request, answer }) = waiters.pop()
    {
        return (request, vec![answer]);
    }
    let size = waiters.iter().map(|waiter| waiter.request.len() + 1).sum::<usize>();
    let mut message = BytesMut::with_capacity(size + 1);
    let mut asked = Vec::with_capacity(waiters.len());
    for Waiter { request, answer } in waiters {
        message.put_u8(if asked.is_empty() { b'[' } else { b',' });
        message.put(request);
        asked.push(answer);
    }
    message.put_u8(b']');
    (message.freeze(), asked)
}

/// Whoever waits for the answers to one message.
#[derive(Debug)]
pub(crate) struct Asked {
    waiting: Vec<Option<oneshot::Sender<Shared>>>,
    whole: Whole,
}

impl Asked {
    fn new(asked: Vec<oneshot::Sender<Shared>>) -> Self {
        Self { waiting: asked.into_iter().map(Some).collect(), whole: Whole::default() }
    }

    /// Returns whether anybody waits yet.
    pub(crate) fn is_awaited(&self) -> bool {
        self.waiting.iter().flatten().any(|one| !one.is_closed())
    }

    /// Hands an answer to whoever it is for.
    pub(crate) fn take(&mut self, part: &Message) {
        if nobody_listens(part) {
            return self.tell_all(|| Shared::Nobody);
        }
        let answer = match self.whole.take(part) {
            Ok(Some(answer)) => answer,
            Ok(None) => return,
            Err(_) => return self.tell_all(|| Shared::Alone),
        };
        if !is_list(&answer) && self.waiting.len() == 1 {
            return self.tell_all(|| Shared::Answer(answer.clone()));
        }
        let Ok(answers) = serde_json::from_slice::<Vec<(usize, &RawValue)>>(&answer) else {
            return self.tell_all(|| Shared::Alone);
        };
        for (place, one) in answers {
            if let Some(asker) = self.waiting.get_mut(place).and_then(Option::take) {
                asker.send(Shared::Answer(answer.slice_ref(one.get().as_bytes()))).ok();
            }
        }
    }

    fn tell_all(&mut self, what: impl Fn() -> Shared) {
        for asker in self.waiting.iter_mut().filter_map(Option::take) {
            asker.send(what()).ok();
        }
    }
}

/// Returns whether a message is a list.
pub(crate) fn is_list(message: &[u8]) -> bool {
    message.first() == Some(&b'[')
}

/// Takes a list of requests apart.
pub(crate) fn requests(message: &Bytes) -> Result<Vec<Bytes>, String> {
    if message.len() > MOST_BYTES {
        return Err(format!("requests that share a message have {MOST_BYTES} bytes at most"));
    }
    let requests: Vec<&RawValue> =
        serde_json::from_slice(message).map_err(|error| error.to_string())?;
    if requests.is_empty() || requests.len() > MOST {
        return Err(format!("1 to {MOST} requests share a message"));
    }
    Ok(requests.into_iter().map(|one| message.slice_ref(one.get().as_bytes())).collect())
}

/// Where the answers to the requests of one message go.
#[derive(Debug)]
pub(crate) struct Asker {
    to: Subject,
    /// Answers that wait to be sent, message for message; more are added to the last one.
    written: Mutex<Vec<Vec<u8>>>,
}

/// Sends answers that share messages.
#[derive(Debug)]
pub(crate) struct Answering {
    waiting: mpsc::Sender<Arc<Asker>>,
    sending: JoinHandle<()>,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

impl Answering {
    pub(crate) fn new(client: Client, most: usize) -> Self {
        let (waiting, askers) = mpsc::channel(most);
        Self { waiting, sending: tokio::spawn(answer(client, askers)) }
    }

    /// Answers one of the requests that shared a message.
    pub(crate) fn answer<R: Serialize>(&self, asker: &Arc<Asker>, place: usize, answer: &R) {
        let mut messages = locked(&asker.written);
        let is_first = messages.is_empty();
        let written = match messages.pop_if(|last| last.len() < MOST_BYTES) {
            Some(mut last) => {
                last.push(b',');
                messages.push_mut(last)
            }
            None => messages.push_mut(vec![b'[']),
        };
        serde_json::to_writer(written, &(place, answer))
            .expect("types of the protocol have a JSON form");
        if is_first && self.waiting.try_send(Arc::clone(asker)).is_err() {
            messages.clear();
            tracing::warn!(subject = %asker.to, "an answer was dropped: too many wait");
        }
    }
}

impl Asker {
    pub(crate) fn new(to: Subject) -> Arc<Self> {
        Arc::new(Self { to, written: Mutex::default() })
    }
}

async fn answer(client: Client, mut askers: mpsc::Receiver<Arc<Asker>>) {
    while let Some(asker) = askers.recv().await {
        let messages = mem::take(&mut *locked(&asker.written));
        for mut message in messages {
            message.push(b']');
            if let Err(error) = parts::send(&client, asker.to.clone(), None, message.into()).await {
                tracing::warn!(subject = %asker.to, reason = chain(&error), "answers were dropped");
            }
        }
    }
}

#[cfg(test)]
mod tests;
