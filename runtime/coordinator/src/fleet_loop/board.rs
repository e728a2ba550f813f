//! The board that the coordinators of a cluster share: one small fact, changed by compare-and-set.

use std::time::Duration;

use bytes::Bytes;
use skep_broker::{Bucket, PutError, Registry, Revision};
use skep_engine::fleet::Post;
use skep_protocol::{Board, CoordinatorId, Order, decode, encode};
use skep_protocol::{BreakerPhase, BreakerRecord, QuarantineRecord, Timestamp};
use tokio::sync::oneshot;

use crate::observe;

/// Where the board hangs.
const KEY: &str = "board";
/// The pause before a board that could not be reached is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// Something for the board, and who wants to know when it is there.
#[derive(Debug)]
pub(super) struct Item {
    /// The number that the fleet gave it; 0 for one of a person.
    pub(super) number: u64,
    pub(super) post: Post,
    pub(super) done: Option<oneshot::Sender<()>>,
}

/// The board after something was put there, or after it was looked at.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) board: Board,
    pub(super) revision: Revision,
    /// The highest number that is on it, if any was to be.
    pub(super) posted: Option<u64>,
    pub(super) done: Vec<oneshot::Sender<()>>,
}

/// Puts everything on the board; tries until it knows how that ended.
pub(super) async fn keep<R: Registry>(
    registry: R,
    me: CoordinatorId,
    items: Vec<Item>,
    now: impl Fn() -> Timestamp + Send,
) -> Seen {
    loop {
        match try_keep(&registry, &me, &items, now()).await {
            Ok((board, revision)) => {
                let posted = items.iter().map(|item| item.number).max();
                let done = items.into_iter().filter_map(|item| item.done).collect();
                return Seen { board, revision, posted, done };
            }
            // Somebody else was faster: what they wrote is looked at first.
            Err(PutError::Conflict { .. }) => {}
            Err(error) => {
                observe::trying_again("keep the board of breakers and agents", &error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn try_keep<R: Registry>(
    registry: &R,
    me: &CoordinatorId,
    items: &[Item],
    now: Timestamp,
) -> Result<(Board, Revision), PutError> {
    let entry = registry.get(Bucket::Cluster, KEY).await?;
    let revision = entry.as_ref().map_or(Revision::ABSENT, |entry| entry.revision);
    let mut board = entry.map_or_else(empty, |entry| read(&entry.value));
    let mut changed = false;
    for item in items {
        changed |= item.post.onto(&mut board, me, now);
    }
    if !changed {
        return Ok((board, revision));
    }
    let revision = registry.put(Bucket::Cluster, KEY, encode(&board), revision).await?;
    Ok((board, revision))
}

/// Reads the board. One that cannot be read is of no use to anybody: what stood there is found out
/// once more.
fn read(bytes: &Bytes) -> Board {
    decode(bytes).unwrap_or_else(|error| {
        observe::given_up("read the board of breakers and agents", &error);
        empty()
    })
}

fn empty() -> Board {
    Board { v: Board::VERSION, ..Board::default() }
}

/// Returns what an order means for the board; `capability` is that of a breaker which is known.
pub(super) fn ordered(order: Order, capability: Option<String>, now: Timestamp) -> Option<Post> {
    let (since, until, by) = (now, None, None);
    Some(match order {
        Order::TripBreaker { name, reason } => {
            let of_capability = || (!name.contains('/')).then(|| name.clone());
            let capability = capability.or_else(of_capability)?;
            let (phase, cause, trips) = (BreakerPhase::Open, reason, 1);
            let record = BreakerRecord { capability, phase, since, until, cause, trips, by };
            Post::Opened { name, record }
        }
        Order::ResetBreaker { name } => Post::Reset { name },
        Order::QuarantineAgent { agent, reason } => {
            let record = QuarantineRecord { since, until, cause: reason, times: 1, by };
            Post::Quarantined { agent, record }
        }
        Order::ReleaseAgent { agent } => Post::Released { agent },
    })
}
