//! Listening for requests that may share a message, or come in several.

use std::sync::Arc;

use async_nats::Message;
use futures::StreamExt as _;
use futures::future::Either;
use futures::stream::iter;
use serde::Serialize;
use skep_broker::{Request, Requests, Responder, Unavailable};
use skep_protocol::{Answer, encode};

use crate::groups::{self, Asker, is_list};
use crate::nats::{Nats, Reader};
use crate::{intake, parts};

/// Leaves of a message that is to be refused only how many requests share it; 0 if it is one alone.
fn shrink(message: &mut Message) {
    let payload = std::mem::take(&mut message.payload);
    let several = is_list(&payload).then(|| groups::requests(&payload));
    message.length = several.and_then(Result::ok).map_or(0, |requests| requests.len());
}

impl Nats {
    /// Listens for requests that may come in parts, or several in one message. A bounded number of
    /// messages waits; to the others it is said that there is no room, by whoever takes requests,
    /// in their turn.
    pub(crate) async fn serve_shared<M, R>(
        &self,
        attempted: &'static str,
        subject: String,
        reader: Reader<M>,
    ) -> Result<Requests<M, R>, Unavailable>
    where
        M: Send + 'static,
        R: Serialize + Answer + 'static,
    {
        let messages = self.listen(attempted, subject, None).await?;
        let refusing = self.clone();
        let refuse = move |message: Message| refusing.refuse::<R>(message);
        let messages = parts::whole(self.answering_pings(messages)).boxed();
        let messages = intake::bounded(messages, shrink, refuse);
        let nats = self.clone();
        let requests = messages.flat_map(move |message| {
            if is_list(&message.payload) && parts::one(&message).is_ok() {
                Either::Left(iter(nats.each(message, reader)))
            } else {
                Either::Right(iter(nats.clone().request(message, reader)))
            }
        });
        Ok(requests.boxed())
    }

    /// Says that there is no room for what a message asks.
    fn refuse<R: Serialize + Answer>(&self, message: Message) {
        let (Some(reply), Some(busy)) = (message.reply, R::busy()) else { return };
        if message.length == 0 {
            return self.reply(reply, encode(&busy));
        }
        let asker = Asker::new(reply);
        for place in 0..message.length {
            self.shared.shared_answers.answer(&asker, place, &busy);
        }
    }

    /// Reads the requests of a list; those that cannot be read are answered at once.
    fn each<M, R>(&self, message: Message, reader: Reader<M>) -> Vec<Request<M, R>>
    where
        R: Serialize + Answer + 'static,
    {
        let Message { subject, reply: Some(reply), payload, .. } = message else {
            return Vec::new();
        };
        let requests = match groups::requests(&payload) {
            Ok(requests) => requests,
            Err(cause) => {
                self.reply(reply, encode(&R::unreadable(cause)));
                return Vec::new();
            }
        };
        let asker = Asker::new(reply);
        let read = requests.iter().enumerate().filter_map(|(place, request)| {
            let answering = self.clone();
            match reader(&subject, request) {
                Ok(message) => {
                    let asker = Arc::clone(&asker);
                    let send = move |answer: R| {
                        answering.shared.shared_answers.answer(&asker, place, &answer);
                    };
                    Some(Request { message, responder: Responder::new(send) })
                }
                Err(cause) => {
                    self.warn_once::<M>(&subject, &cause);
                    answering.shared.shared_answers.answer(&asker, place, &R::unreadable(cause));
                    None
                }
            }
        });
        read.collect()
    }
}
