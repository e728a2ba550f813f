//! Requests and answers that are larger than one message of the server, as messages that follow
//! each other: all but the last one say that more comes.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::client::PublishError;
use async_nats::{Client, HeaderMap, Message, Subject};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use skep_protocol::limits::MAX_MESSAGE;
use tokio::time::Instant;

/// Says that the next message for the same reader continues this one.
const MORE: &str = "Skep-More";
/// Says how many bytes all parts have together, on each of them: who has fewer has lost some.
const SIZE: &str = "Skep-Size";
/// Says that what was to be sent has this many bytes, and that none of them follow.
const TOO_LARGE: &str = "Skep-Too-Large";
/// Bytes of one part; other messages of the connection go in between.
const PART: usize = 256 * 1024;
/// Requests of which only the beginning is here. Beyond it the oldest one is given up.
const MAX_BEGUN: usize = 32;
/// Bytes of requests of which only the beginning is here. Beyond it the oldest one is given up.
const MAX_BEGUN_BYTES: usize = 2 * MAX_MESSAGE;
/// A request whose next part is not here after this long is given up.
const NEXT_PART_WITHIN: Duration = Duration::from_secs(30);

/// Sends `payload`, in parts if it has to be.
pub(crate) async fn send(
    client: &Client,
    to: Subject,
    reply: Option<Subject>,
    payload: Bytes,
) -> Result<(), PublishError> {
    if payload.len() > MAX_MESSAGE {
        let headers = header(TOO_LARGE, &payload.len().to_string());
        return publish(client, to, reply, Some(headers), Bytes::new()).await;
    }
    let mut rest = payload;
    // With the server's default of 1 MiB, what fits into one message stays one.
    let whole = client.max_payload();
    if rest.len() <= whole {
        return publish(client, to, reply, None, rest).await;
    }
    let last = header(SIZE, &rest.len().to_string());
    let mut more = last.clone();
    more.insert(MORE, "1");
    let part = PART.min(whole / 2).max(1);
    while rest.len() > part {
        let headers = Some(more.clone());
        publish(client, to.clone(), reply.clone(), headers, rest.split_to(part)).await?;
    }
    publish(client, to, reply, Some(last), rest).await
}

async fn publish(
    client: &Client,
    to: Subject,
    reply: Option<Subject>,
    headers: Option<HeaderMap>,
    payload: Bytes,
) -> Result<(), PublishError> {
    match (reply, headers) {
        (None, None) => client.publish(to, payload).await,
        (None, Some(headers)) => client.publish_with_headers(to, headers, payload).await,
        (Some(reply), None) => client.publish_with_reply(to, reply, payload).await,
        (Some(reply), Some(headers)) => {
            client.publish_with_reply_and_headers(to, reply, headers, payload).await
        }
    }
}

fn header(name: &str, value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(name, value);
    headers
}

fn has_more(message: &Message) -> bool {
    message.headers.as_ref().is_some_and(|headers| headers.get(MORE).is_some())
}

/// Returns the size of what was too large to be sent.
fn too_large(message: &Message) -> Option<usize> {
    size(message, TOO_LARGE)
}

/// Returns the number of bytes that a header names.
fn size(message: &Message, name: &str) -> Option<usize> {
    let size = message.headers.as_ref()?.get(name)?;
    Some(size.as_str().parse().unwrap_or(usize::MAX))
}

/// One message that arrives in parts.
#[derive(Debug, Default)]
pub(crate) struct Whole(BytesMut);

impl Whole {
    /// Takes the next part, and returns the whole once it is here.
    ///
    /// # Errors
    /// The size of a message that is larger than it may be.
    pub(crate) fn take(&mut self, part: &Message) -> Result<Option<Bytes>, usize> {
        if let Some(size) = too_large(part) {
            return Err(size);
        }
        let (more, size) = (has_more(part), self.0.len() + part.payload.len());
        if size > MAX_MESSAGE {
            return Err(size);
        }
        if self.0.is_empty() && !more {
            return Ok(Some(part.payload.clone()));
        }
        self.0.extend_from_slice(&part.payload);
        Ok((!more).then(|| std::mem::take(&mut self.0).freeze()))
    }
}

/// Requests that arrive in parts, several at a time; each has a reply subject of its own.
#[derive(Debug, Default)]
pub(crate) struct Begun(BTreeMap<String, (Instant, Whole)>);

impl Begun {
    /// Takes a message, and returns the request that it completes, or makes too large.
    pub(crate) fn take(&mut self, mut message: Message, now: Instant) -> Option<Message> {
        if self.0.is_empty() && message.headers.is_none() {
            return Some(message);
        }
        let asker = message.reply.as_ref()?.to_string();
        self.expire(now);
        let (_, mut whole) = self.0.remove(&asker).unwrap_or_else(|| (now, Whole::default()));
        match whole.take(&message) {
            // Whoever asks again has another chance; what is here of it says nothing.
            Ok(Some(payload)) if size(&message, SIZE).is_some_and(|all| all != payload.len()) => {
                tracing::warn!(size = payload.len(), "a request was dropped: parts of it are lost");
                None
            }
            Ok(Some(payload)) => {
                message.payload = payload;
                Some(message)
            }
            Ok(None) => {
                self.make_room(whole.0.len());
                self.0.insert(asker, (now, whole));
                None
            }
            Err(size) => {
                message.headers = Some(header(TOO_LARGE, &size.to_string()));
                Some(message)
            }
        }
    }

    /// Gives up what has come to nothing for too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.0.retain(|_, (last, _)| now.duration_since(*last) < NEXT_PART_WITHIN);
    }

    /// Returns when something has come to nothing for too long.
    pub(crate) fn expires_at(&self) -> Option<Instant> {
        self.0.values().map(|(last, _)| *last + NEXT_PART_WITHIN).min()
    }

    fn make_room(&mut self, bytes: usize) {
        let held = |begun: &Self| begun.0.values().map(|(_, whole)| whole.0.len()).sum::<usize>();
        while self.0.len() >= MAX_BEGUN || held(self) + bytes > MAX_BEGUN_BYTES {
            let oldest = self.0.iter().min_by_key(|(_, (last, _))| *last);
            let Some(asker) = oldest.map(|(asker, _)| asker.clone()) else { return };
            self.0.remove(&asker);
        }
    }
}

/// Returns the requests that messages bring, each whole.
pub(crate) fn whole(
    messages: impl Stream<Item = Message> + Send + Unpin,
) -> impl Stream<Item = Message> + Send {
    futures::stream::unfold((messages, Begun::default()), |(mut messages, mut begun)| async {
        loop {
            let expiry = begun.expires_at();
            let wake = tokio::time::sleep_until(expiry.unwrap_or_else(Instant::now));
            tokio::select! {
                biased;
                message = messages.next() => {
                    if let Some(message) = begun.take(message?, Instant::now()) {
                        return Some((message, (messages, begun)));
                    }
                }
                () = wake, if expiry.is_some() => begun.expire(Instant::now()),
            }
        }
    })
}

/// Says what is wrong with a message that is to be all there is.
pub(crate) fn one(message: &Message) -> Result<(), String> {
    if let Some(size) = too_large(message) {
        return Err(format!("it has {size} bytes, at most {MAX_MESSAGE} are taken"));
    }
    if has_more(message) {
        Err("it comes in parts, which only commands may".to_owned())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says that it is a part of so many bytes.
    fn sized(mut message: Message, size: usize) -> Message {
        message.headers.get_or_insert_default().insert(SIZE, size.to_string());
        message
    }

    fn message(reply: &str, payload: &str, more: bool) -> Message {
        Message {
            subject: "s".into(),
            reply: Some(reply.into()),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
            headers: more.then(|| header(MORE, "1")),
            status: None,
            description: None,
            length: payload.len(),
        }
    }

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn taken(begun: &mut Begun, message: Message, now: Instant) -> Option<String> {
        let whole = begun.take(message, now)?;
        Some(String::from_utf8_lossy(&whole.payload).into_owned())
    }

    #[test]
    fn parts_of_several_askers_do_not_mix() {
        let (mut begun, now) = (Begun::default(), Instant::now());
        assert_eq!(taken(&mut begun, message("a", "1", true), now), None);
        assert_eq!(taken(&mut begun, message("b", "x", true), now), None);
        assert_eq!(taken(&mut begun, message("c", "small", false), now).as_deref(), Some("small"));
        assert_eq!(taken(&mut begun, message("a", "2", false), now).as_deref(), Some("12"));
        assert_eq!(taken(&mut begun, message("b", "y", false), now).as_deref(), Some("xy"));
    }

    #[test]
    fn what_has_lost_a_part_is_not_taken_for_the_whole() {
        let (mut begun, now) = (Begun::default(), Instant::now());
        assert_eq!(taken(&mut begun, sized(message("a", "1", true), 3), now), None);
        assert_eq!(taken(&mut begun, sized(message("a", "3", false), 3), now), None);
        assert_eq!(taken(&mut begun, sized(message("b", "3", false), 3), now), None);
        assert_eq!(taken(&mut begun, sized(message("a", "12", true), 3), now), None);
        let whole = taken(&mut begun, sized(message("a", "3", false), 3), now);
        assert_eq!(whole.as_deref(), Some("123"));
        assert!(begun.0.is_empty());
    }

    #[test]
    fn what_is_too_large_comes_out_with_its_size() {
        let (mut begun, now) = (Begun::default(), Instant::now());
        let half = "x".repeat(MAX_MESSAGE / 2);
        for _ in 0..2 {
            assert!(begun.take(message("a", &half, true), now).is_none());
        }
        let large = begun.take(message("a", "xx", true), now).unwrap();
        let cause = format!("it has {} bytes, at most {MAX_MESSAGE} are taken", MAX_MESSAGE + 2);
        assert_eq!(one(&large), Err(cause));
        assert!(begun.0.is_empty());
    }

    #[test]
    fn what_is_never_completed_is_bounded_in_number_time_and_size() {
        let (mut begun, now) = (Begun::default(), Instant::now());
        for asker in 0..10 * MAX_BEGUN {
            taken(&mut begun, message(&asker.to_string(), "1", true), now);
        }
        assert_eq!(begun.0.len(), MAX_BEGUN);
        taken(&mut begun, message("late", "1", true), now + NEXT_PART_WITHIN);
        assert_eq!(begun.0.keys().collect::<Vec<_>>(), ["late"]);

        assert_eq!(begun.expires_at(), Some(now + 2 * NEXT_PART_WITHIN));
        begun.expire(now + 2 * NEXT_PART_WITHIN);
        assert!(begun.0.is_empty() && begun.expires_at().is_none());

        let half = "x".repeat(MAX_MESSAGE / 2);
        for asker in 0..5 {
            taken(&mut begun, message(&asker.to_string(), &half, true), now + seconds(asker));
        }
        assert_eq!(begun.0.keys().collect::<Vec<_>>(), ["1", "2", "3", "4"]);
        let mut whole = Whole::default();
        assert_eq!(whole.take(&message("a", &half, true)), Ok(None));
        assert_eq!(whole.take(&message("a", &half, true)), Ok(None));
        assert_eq!(whole.take(&message("a", "x", false)), Err(MAX_MESSAGE + 1));
    }
}
