//! Pulled tasks that are done with: many share one confirmation.

use async_nats::Subject;
use async_nats::jetstream::message::AckKind;
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use skep_broker::Unavailable;
use tokio::sync::oneshot;

use crate::mux::AskError;
use crate::nats::{Nats, locked};

/// Acknowledgements that share one confirmation.
const TOGETHER: usize = 256;

/// A task that is to leave its queue, and whoever waits until it has.
#[derive(Debug)]
pub(crate) struct Done {
    reply: Subject,
    confirmed: oneshot::Sender<Result<(), Unavailable>>,
}

impl Nats {
    /// Acknowledges a task, and waits until the consumer of its capability has understood. What is
    /// done at the same moment shares the confirmation.
    pub(super) fn acknowledge(
        &self,
        capability: &str,
        reply: Subject,
    ) -> BoxFuture<'static, Result<(), Unavailable>> {
        let (confirmed, confirmation) = oneshot::channel();
        let done = Done { reply, confirmed };
        let mut gathered = locked(&self.shared.done);
        match gathered.get_mut(capability) {
            Some(others) => others.push(done),
            None => {
                gathered.insert(capability.to_owned(), vec![done]);
                // It has its turn after whoever says what is done.
                tokio::spawn(self.clone().acknowledge_all(capability.to_owned()));
            }
        }
        let closed = || Unavailable {
            attempted: "acknowledge a task",
            reason: "the process is about to end".to_owned(),
        };
        async move { confirmation.await.unwrap_or_else(|_| Err(closed())) }.boxed()
    }

    async fn acknowledge_all(self, capability: String) {
        let mut done = locked(&self.shared.done).remove(&capability).unwrap_or_default();
        let mut groups = Vec::with_capacity(done.len().div_ceil(TOGETHER));
        while !done.is_empty() {
            let rest = done.split_off(done.len().min(TOGETHER));
            groups.push(self.acknowledge_together(std::mem::replace(&mut done, rest)));
        }
        join_all(groups).await;
    }

    /// Acknowledges tasks of one consumer. It takes them in their order, so that the last one's
    /// confirmation is that of all. If it moves to another server meanwhile it may miss one of the
    /// others: that comes again, to an agent which is told that it is done.
    async fn acknowledge_together(&self, done: Vec<Done>) {
        let (replies, waiting): (Vec<Subject>, Vec<_>) =
            done.into_iter().map(|one| (one.reply, one.confirmed)).unzip();
        let nats = self.clone();
        let told = self.api("acknowledge a task", async move {
            let Some((last, others)) = replies.split_last() else { return Ok(()) };
            for reply in others {
                nats.shared.client.publish(reply.clone(), AckKind::Ack.into()).await?;
            }
            // That nobody listens is an answer, too: the queue has vanished, and the tasks with it.
            nats.shared.mux.ask(last.to_string(), None, AckKind::Ack.into()).await?;
            Ok::<_, AskError>(())
        });
        let told = told.await;
        for one in waiting {
            // Whoever settled it may wait no more.
            let _ = one.send(told.clone());
        }
    }
}
