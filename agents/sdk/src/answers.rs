//! What coordinators hear of the tasks that they delivered: if nothing else is to be done, once
//! their handlers had a turn, so that it shares a packet with the reports of those that were over
//! at once.

use std::future::poll_fn;
use std::task::Poll;

use skep_broker::Responder;
use skep_protocol::Delivery;

/// How often the loop looks for something else before the answers leave: at once, and when it
/// waits, which lets handlers have their turn.
const TURNS: u8 = 2;

/// Answers that are owed.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    owed: Vec<(Responder<Delivery>, Delivery)>,
    turns: u8,
}

impl Answers {
    /// Adds one.
    pub(crate) fn owe(&mut self, responder: Responder<Delivery>, answer: Delivery) {
        if self.owed.is_empty() {
            self.turns = TURNS;
        }
        self.owed.push((responder, answer));
    }

    /// Waits until there are any, and everything else that was ready had its turn.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn are_due(&mut self) {
        let (are_none, turns) = (self.owed.is_empty(), &mut self.turns);
        poll_fn(|cx| match turns.checked_sub(1) {
            _ if are_none => Poll::Pending,
            None => Poll::Ready(()),
            Some(left) => {
                *turns = left;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        })
        .await;
    }

    /// Sends them.
    pub(crate) fn send(&mut self) {
        self.owed.drain(..).for_each(|(responder, answer)| responder.send(answer));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn answers_leave_after_what_was_ready() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let responder = |name: &'static str| {
            let heard = Arc::clone(&heard);
            Responder::new(move |_| heard.lock().unwrap().push(name))
        };
        let mut answers = Answers::default();
        assert!(answers.are_due().now_or_never().is_none(), "there are none");
        answers.owe(responder("answer"), Delivery::from(Vec::new()));
        // The loop looks whether there is more before it waits.
        assert!(answers.are_due().now_or_never().is_none());
        let handler = Arc::clone(&heard);
        tokio::spawn(async move { handler.lock().unwrap().push("handler") });
        answers.are_due().await;
        answers.send();
        assert_eq!(*heard.lock().unwrap(), ["handler", "answer"]);
        assert!(answers.are_due().now_or_never().is_none(), "all are sent");
    }

    #[tokio::test]
    async fn further_deliveries_do_not_put_answers_off() {
        let mut answers = Answers::default();
        for looks in 0..=TURNS {
            answers.owe(Responder::new(drop), Delivery::from(Vec::new()));
            let are_due = answers.are_due().now_or_never().is_some();
            assert_eq!(are_due, looks == TURNS, "after {looks} looks");
        }
    }
}
