//! The board that the coordinators of a cluster share: one small fact, changed by compare-and-set.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use skep_broker::{Bucket, PutError, Registry, Revision};
use skep_engine::fleet::Post;
use skep_protocol::{Board, CoordinatorId, Order, decode, encode};
use skep_protocol::{BreakerPhase, BreakerRecord, QuarantineRecord, Timestamp};
use tokio::sync::oneshot;

use crate::observe;

/// Where the board hangs.
const KEY: &str = "board";
/// Clocks agree if they differ by no more than this, the time included that it takes to look.
const CLOCKS_AGREE: Duration = Duration::from_secs(5);
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

/// Puts everything on the board; tries until it knows how that ended. `known` is the board as it
/// was seen last.
pub(super) async fn keep<R: Registry>(
    registry: R,
    me: CoordinatorId,
    (items, known): (Vec<Item>, Option<(Revision, Board)>),
    now: impl Fn() -> Timestamp + Send,
) -> Seen {
    loop {
        match try_keep(&registry, &me, (&items, known.as_ref()), now()).await {
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
    (items, known): (&[Item], Option<&(Revision, Board)>),
    now: Timestamp,
) -> Result<(Board, Revision), PutError> {
    let entry = registry.get(Bucket::Cluster, KEY).await?;
    let revision = entry.as_ref().map_or(Revision::ABSENT, |entry| entry.revision);
    let mut board = match (entry, known) {
        (None, _) => empty(),
        (Some(_), Some((seen, board))) if *seen == revision => board.clone(),
        (Some(entry), _) => by_our_clock(read(&entry.value), now),
    };
    if board.v > Board::VERSION {
        return Ok((empty(), revision));
    }
    let mut changed = false;
    for item in items {
        changed |= item.post.onto(&mut board, me, now);
    }
    if !changed {
        return Ok((board, revision));
    }
    board.at = now;
    let revision = registry.put(Bucket::Cluster, KEY, encode(&board), revision).await?;
    Ok((board, revision))
}

/// Reads the board. One that cannot be read is of no use to anybody: what stood there is found out
/// once more. Only that of a newer release is left to those who can read it.
fn read(bytes: &Bytes) -> Board {
    decode(bytes).unwrap_or_else(|error| {
        observe::given_up("read the board of breakers and agents", &error);
        let newer = decode::<Version>(bytes).is_ok_and(|version| version.v > Board::VERSION);
        Board { v: if newer { Board::VERSION + 1 } else { Board::VERSION }, ..Board::default() }
    })
}

/// What every version of the board has.
#[derive(Debug, Deserialize)]
struct Version {
    v: u32,
}

/// Returns a board as if it had been written now, if the clock of whoever wrote it differs: what
/// ends on it ends as long from now as it did from then.
fn by_our_clock(mut board: Board, now: Timestamp) -> Board {
    let (behind, ahead) = (now.since(board.at), board.at.since(now));
    if behind.max(ahead) <= CLOCKS_AGREE {
        return board;
    }
    let breakers = board.breakers.values_mut().map(|breaker| &mut breaker.until);
    let agents = board.agents.values_mut().map(|agent| &mut agent.until);
    for until in breakers.chain(agents).flatten() {
        *until = now.after(until.since(board.at));
    }
    board
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

#[cfg(test)]
mod tests {
    use skep_broker::Embedded;

    use super::*;

    const AN_HOUR: Duration = Duration::from_secs(3_600);

    fn at(hours: u32) -> Timestamp {
        Timestamp::EPOCH.after(AN_HOUR * hours)
    }

    fn item(post: Post) -> Item {
        Item { number: 1, post, done: None }
    }

    async fn keep_by(
        who: &str,
        registry: &Embedded,
        items: Vec<Item>,
        known: Option<(Revision, Board)>,
        now: Timestamp,
    ) -> (Revision, Board) {
        let me = CoordinatorId::new(who).unwrap();
        let seen = keep(registry.clone(), me, (items, known), move || now).await;
        (seen.revision, seen.board)
    }

    #[tokio::test]
    async fn a_lease_ends_in_time_whatever_the_clock_of_its_holder_shows() {
        let (registry, cooldown) = (Embedded::new(), Duration::from_secs(15));
        let record = BreakerRecord {
            capability: "c".to_owned(),
            phase: BreakerPhase::Open,
            since: at(9),
            until: Some(at(9).after(cooldown)),
            cause: "why".to_owned(),
            trips: 1,
            by: None,
        };
        let opened = Post::Opened { name: "c".to_owned(), record };
        keep_by("ahead", &registry, vec![item(opened)], None, at(9)).await;
        let until = |board: &Board| board.breakers["c"].until.unwrap();
        let seen = keep_by("behind", &registry, Vec::new(), None, at(7)).await;
        assert_eq!(until(&seen.1), at(7).after(cooldown));
        // It counts from when it was seen first.
        let later = at(7).after(cooldown);
        let seen = keep_by("behind", &registry, Vec::new(), Some(seen), later).await;
        assert_eq!(until(&seen.1), later);
        let probe = Post::Probe { name: "c".to_owned(), lease: cooldown };
        let (_, board) = keep_by("behind", &registry, vec![item(probe)], Some(seen), later).await;
        assert_eq!(
            (board.breakers["c"].phase, until(&board)),
            (BreakerPhase::HalfOpen, later.after(cooldown))
        );
        let (_, board) = keep_by("ahead", &registry, Vec::new(), None, at(10)).await;
        assert_eq!(until(&board), at(10).after(cooldown));
    }

    #[tokio::test]
    async fn the_board_of_a_newer_release_is_left_alone() {
        let registry = Embedded::new();
        let newer = Bytes::from_static(br#"{"v":2,"breakers":["another form"]}"#);
        registry.put(Bucket::Cluster, KEY, newer.clone(), Revision::ABSENT).await.unwrap();
        let reset = || vec![item(Post::Reset { name: "c".to_owned() })];
        let (_, board) = keep_by("old", &registry, reset(), None, at(1)).await;
        assert_eq!(board, empty());
        let kept = registry.get(Bucket::Cluster, KEY).await.unwrap().unwrap();
        assert_eq!(kept.value, newer);
    }
}
