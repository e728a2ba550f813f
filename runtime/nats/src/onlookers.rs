//! Onlookers: those who listen to requests without answering them, as a person does who watches
//! everything below the namespace.
//!
//! To the server each of them is somebody who may answer: of a subject that one listens to it never
//! says that nobody does.

use std::pin::pin;

use async_nats::Message;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{Either, select};
use skep_broker::Unavailable;

use crate::ask::nobody_listens;
use crate::mux::AskError;
use crate::nats::Nats;

impl Nats {
    /// Waits until the server has seen everything that was sent before, whoever looks on.
    pub(crate) async fn synchronise(&self, attempted: &'static str) -> Result<(), Unavailable> {
        let seen = self.ask_until_echo(self.layout().sync());
        match self.while_connected(self.patience(), seen).await {
            // Whatever came first: the server has read on as far as here.
            Ok(Ok(_) | Err(_)) => Ok(()),
            Err(interrupted) => Err(Unavailable { attempted, reason: interrupted.to_string() }),
        }
    }

    /// Returns the kinds of requests, as patterns of subjects, to which somebody listens beside
    /// those who answer them. Of these the server tells nobody that whoever did answer is gone: it
    /// takes seconds of silence to know.
    ///
    /// # Errors
    /// There is no connection.
    ///
    /// # Cancel safety
    /// Safe: nothing is changed.
    pub async fn onlookers(&self) -> Result<Vec<String>, Unavailable> {
        let inbox = self.shared.client.new_inbox();
        let nobody = inbox.rsplit('.').next().unwrap_or_default();
        let mut watched = Vec::new();
        for (subject, pattern) in self.layout().served_by_nobody(nobody) {
            let answer = self.api("look for onlookers", self.ask_until_echo(subject)).await?;
            if !answer.as_ref().is_some_and(nobody_listens) {
                watched.push(pattern);
            }
        }
        Ok(watched)
    }

    /// Asks, and waits for the answer until an echo of what is sent after it is here: the server's
    /// word that nobody listens comes before that, if it comes. Whoever may not send to its own
    /// inbox gets no echo, and has the answer alone.
    async fn ask_until_echo(&self, subject: String) -> Result<Option<Message>, AskError> {
        let asked = pin!(self.shared.mux.ask(subject, None, Bytes::new()));
        let echoed = pin!(self.shared.mux.echo());
        match select(asked, echoed).await {
            Either::Left((answer, _)) => answer.map(Some),
            // Both may have come since the answer was looked for.
            Either::Right((echo, asked)) => echo.and_then(|_| asked.now_or_never().transpose()),
        }
    }
}
