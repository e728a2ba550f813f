//! What a person orders about breakers and agents.

use skep_broker::Broker;
use skep_protocol::{Order, Rejection};
use tokio::sync::oneshot;

use super::board::Item;
use super::{FleetLoop, board};
use crate::observe;

impl<B: Broker> FleetLoop<B> {
    /// Puts an order on the board, and answers once the whole cluster can know.
    pub(super) fn order(
        &mut self,
        (order, capability): (Order, Option<String>),
        answer: oneshot::Sender<Result<(), Rejection>>,
    ) {
        if let Order::QuarantineAgent { agent, .. } = &order
            && !self.fleet.heeds_quarantine(agent)
        {
            let cause = format!(
                "agent {agent} pulls from the queue, and does not say that it stops when told to"
            );
            let help = "stop its process, or build it with a release that does".to_owned();
            let _ = answer.send(Err(Rejection::CannotObey { cause, help }));
            return;
        }
        let post = board::ordered(order, capability, self.clock.now());
        observe::posted(&post);
        let (done, is_done) = oneshot::channel();
        self.items.push(Item { number: 0, post: post.clone(), done: Some(done) });
        self.jobs.spawn(async move {
            if let Ok(outcome) = is_done.await {
                let _ = answer.send(board::refusal(&post, outcome).map_or(Ok(()), Err));
            }
            None
        });
    }
}
