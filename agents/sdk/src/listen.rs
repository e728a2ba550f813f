//! Subscriptions that come back.

use std::future::Future;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use skep_broker::Unavailable;

use crate::backoff::Backoff;

/// Opens a subscription, trying again until it is there, and opens it again whenever it ends. The
/// stream never ends.
pub(crate) async fn keep_open<T, F, Fut>(what: &'static str, open: F) -> BoxStream<'static, T>
where
    T: Send + 'static,
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<BoxStream<'static, T>, Unavailable>> + Send,
{
    let first = open_at_last(what, &open).await;
    let items = stream::unfold((open, first), move |(open, mut current)| async move {
        loop {
            if let Some(item) = current.next().await {
                return Some((item, (open, current)));
            }
            tracing::warn!(what, "the subscription ended and is opened again");
            tokio::time::sleep(Backoff::default().next_delay()).await;
            current = open_at_last(what, &open).await;
        }
    });
    items.boxed()
}

async fn open_at_last<T, F, Fut>(what: &'static str, open: &F) -> BoxStream<'static, T>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<BoxStream<'static, T>, Unavailable>>,
{
    let mut backoff = Backoff::default();
    loop {
        match open().await {
            Ok(stream) => return stream,
            Err(error) => tracing::warn!(what, %error, "cannot listen, trying again"),
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}
