//! Requests between the connection and whoever takes them: a bounded number waits, the others are
//! refused. The client would keep very many of any size, and then drop what comes without a word.

use std::sync::Arc;

use async_nats::Message;
use futures::{Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Requests that may wait.
const MOST: usize = 4_096;
/// What they may take together, in KiB; a larger one waits alone.
const MOST_KIB: usize = 16 * 1024;
/// What a request takes beside its text, in bytes.
const BESIDE: usize = 512;

/// Takes requests in as they come, until this is dropped.
struct Intake {
    waiting: mpsc::Receiver<(Message, OwnedSemaphorePermit)>,
    taking: JoinHandle<()>,
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.taking.abort();
    }
}

/// Hands requests on in their order, and to `refuse` what finds no room.
pub(crate) fn bounded(
    mut requests: impl Stream<Item = Message> + Send + Unpin + 'static,
    refuse: impl Fn(Message) + Send + 'static,
) -> impl Stream<Item = Message> + Send {
    let (sender, waiting) = mpsc::channel(MOST);
    let room = Arc::new(Semaphore::new(MOST_KIB));
    let taking = tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let kib = (request.payload.len() + BESIDE).div_ceil(1024).min(MOST_KIB);
            let kib = u32::try_from(kib).expect("it has an upper bound");
            match (Arc::clone(&room).try_acquire_many_owned(kib), sender.try_reserve()) {
                (Ok(permit), Ok(place)) => place.send((request, permit)),
                (_, Err(mpsc::error::TrySendError::Closed(()))) => return,
                (Err(_), _) | (_, Err(mpsc::error::TrySendError::Full(()))) => refuse(request),
            }
        }
    });
    let intake = Intake { waiting, taking };
    futures::stream::unfold(intake, |mut intake| async {
        let (request, _room) = intake.waiting.recv().await?;
        Some((request, intake))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;

    use super::*;

    fn request(number: usize, size: usize) -> Message {
        Message {
            subject: number.to_string().into(),
            reply: None,
            payload: Bytes::from(vec![b'x'; size]),
            headers: None,
            status: None,
            description: None,
            length: size,
        }
    }

    /// Sends requests of a size while nobody takes any; returns those that were taken in, and how
    /// many were refused.
    async fn flood(count: usize, size: usize) -> (Vec<usize>, usize) {
        let refused = Arc::new(AtomicUsize::new(0));
        let (counted, done) = (Arc::clone(&refused), Arc::new(Semaphore::new(0)));
        let end = Arc::clone(&done);
        let requests = futures::stream::iter((0..count).map(move |number| request(number, size)));
        let requests = requests.chain(futures::stream::poll_fn(move |_| {
            end.add_permits(1);
            std::task::Poll::Ready(None)
        }));
        let refuse = move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let taken = bounded(requests.boxed(), refuse);
        let _done = done.acquire().await.unwrap();
        let taken = taken.map(|request| request.subject.parse::<usize>().unwrap()).collect().await;
        (taken, refused.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn what_finds_no_room_is_refused_and_the_rest_stays_in_order() {
        let small = flood(MOST + 100, 10).await;
        assert_eq!(small, ((0..MOST).collect(), 100));
        let (taken, refused) = flood(1_000, 60_000).await;
        assert_eq!(taken, (0..taken.len()).collect::<Vec<_>>());
        assert!(taken.len() * 60_000 <= MOST_KIB * 1024 && taken.len() * 61_440 > 15 * 1024 * 1024);
        assert_eq!(taken.len() + refused, 1_000);
        assert_eq!(flood(2, 2 * MOST_KIB * 1024).await, (vec![0], 1));
    }
}
