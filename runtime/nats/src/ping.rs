//! Noticing that whoever took a request is gone. Who waits for an answer pings where it asked, now
//! and then: if nobody listens there any more, or only somebody who came after the request was
//! sent, then whoever took it will not answer.

use std::future::ready;
use std::time::Duration;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::time::{Instant, timeout};

use crate::ask::nobody_listens;
use crate::nats::Nats;

/// Marks a request that only asks whether somebody listens; its payload is empty. The answer is
/// for how long, in microseconds.
const PING: &str = "Skep-Ping";
/// An asker without an answer pings after this long, and then ever less often.
const FIRST: Duration = Duration::from_millis(100);
const AFTER: Duration = Duration::from_secs(1);

/// Returns whether a message only asks whether somebody listens.
pub(crate) fn is_ping(message: &Message) -> bool {
    message.headers.as_ref().is_some_and(|headers| headers.get(PING).is_some())
}

impl Nats {
    /// Takes the pings out of what is listened to from now on, and answers them. What came a moment
    /// before may be taken for lost by its asker, who asks again.
    pub(crate) fn answering_pings<S: Stream<Item = Message>>(
        &self,
        messages: S,
    ) -> impl Stream<Item = Message> + use<S> {
        let (nats, since) = (self.clone(), Instant::now());
        messages.filter(move |message| {
            let is_ping = is_ping(message);
            if is_ping && let Some(asker) = &message.reply {
                let listened = since.elapsed().as_micros().to_string();
                nats.reply(asker.clone(), Bytes::from(listened));
            }
            ready(!is_ping)
        })
    }

    /// Waits until nobody listens where a request is sent, or only who came later than it.
    pub(crate) async fn deserted(&self, subject: &str) {
        let (asked, mut pause) = (Instant::now(), FIRST);
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AFTER);
            let mut headers = HeaderMap::new();
            headers.insert(PING, "1");
            let waited = asked.elapsed();
            // Seldom needed: those who ask need no room for it.
            let pinged = self.shared.mux.ask(subject.to_owned(), Some(headers), Bytes::new());
            let Ok(Ok(answer)) = Box::pin(timeout(AFTER, pinged)).await else { continue };
            let came_later = listened(&answer).is_some_and(|listened| listened < waited);
            if (came_later || nobody_listens(&answer)) && !self.shared.link.is_settling() {
                return;
            }
        }
    }
}

/// Reads the answer to a ping.
fn listened(answer: &Message) -> Option<Duration> {
    let micros = str::from_utf8(&answer.payload).ok()?;
    micros.parse().ok().map(Duration::from_micros)
}
