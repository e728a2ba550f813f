//! Requests between the connection and whoever takes them: a bounded number waits, and of the
//! others only who asked, to be refused. The client would keep very many of any size, and then drop
//! what comes without a word.
//!
//! All of them are taken in their order, and refused only then: who takes none says nothing, so
//! that somebody else may be the one who answers.

use std::sync::Arc;

use async_nats::Message;
use futures::{Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

/// Requests that may wait.
const MOST: usize = 4_096;
/// Those that are to be refused and may wait for that; with more, no answer is given.
const REFUSED: usize = 12_288;
/// What requests may take together, in KiB; a larger one waits alone.
const MOST_KIB: usize = 16 * 1024;
/// What a request takes beside its text, in bytes.
const BESIDE: usize = 512;

/// Takes requests in as they come, until this is dropped.
struct Intake {
    waiting: mpsc::Receiver<Waiting>,
    taking: JoinHandle<()>,
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.taking.abort();
    }
}

/// A request with the room that it takes; one without is to be refused.
struct Waiting {
    request: Message,
    room: Option<Taken>,
}

/// Room for one request, and for its text.
type Taken = (OwnedSemaphorePermit, OwnedSemaphorePermit);

/// Hands requests on in their order, and to `refuse` what found no room: of that, what `shrink`
/// leaves.
pub(crate) fn bounded(
    mut requests: impl Stream<Item = Message> + Send + Unpin + 'static,
    shrink: impl Fn(&mut Message) + Send + 'static,
    refuse: impl Fn(Message) + Send + 'static,
) -> impl Stream<Item = Message> + Send {
    let (sender, waiting) = mpsc::channel(MOST + REFUSED);
    let (places, room) = (Arc::new(Semaphore::new(MOST)), Arc::new(Semaphore::new(MOST_KIB)));
    let taking = tokio::spawn(async move {
        while let Some(mut request) = requests.next().await {
            let kib = (request.payload.len() + BESIDE).div_ceil(1024).min(MOST_KIB);
            let kib = u32::try_from(kib).expect("it has an upper bound");
            let place = Arc::clone(&places).try_acquire_owned();
            let room =
                place.and_then(|place| Ok((place, Arc::clone(&room).try_acquire_many_owned(kib)?)));
            if room.is_err() {
                shrink(&mut request);
            }
            let waiting = Waiting { request, room: room.ok() };
            if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(waiting) {
                return;
            }
        }
    });
    let intake = Intake { waiting, taking };
    futures::stream::unfold((intake, refuse), |(mut intake, refuse)| async {
        loop {
            let Waiting { request, room } = intake.waiting.recv().await?;
            match room {
                Some(_taken) => return Some((request, (intake, refuse))),
                None => refuse(request),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;

    use super::*;

    fn shrink(message: &mut Message) {
        message.payload = Bytes::new();
    }

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
        let taken = bounded(requests.boxed(), shrink, refuse);
        let _done = done.acquire().await.unwrap();
        let taken = taken.map(|request| request.subject.parse::<usize>().unwrap()).collect().await;
        (taken, refused.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn who_takes_nothing_refuses_nothing() {
        let done = Arc::new(Semaphore::new(0));
        let end = Arc::clone(&done);
        let requests = futures::stream::iter((0..MOST + 10).map(|number| request(number, 10)));
        let requests = requests.chain(futures::stream::poll_fn(move |_| {
            end.add_permits(1);
            std::task::Poll::Pending
        }));
        let (refused, mut told) = mpsc::unbounded_channel();
        let refuse = move |request: Message| refused.send(request.subject).unwrap();
        let taken = bounded(requests.boxed(), shrink, refuse);
        let _done = done.acquire().await.unwrap();
        tokio::pin!(taken);
        for _ in 0..MOST {
            taken.next().await.unwrap();
            assert!(told.try_recv().is_err());
        }
        assert!(futures::poll!(taken.next()).is_pending());
        let told: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
        assert_eq!(told.len(), 10);
        assert_eq!(told[0].as_str(), MOST.to_string());
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
