//! The board that the coordinators of a cluster share: one small fact, changed by compare-and-set.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use skep_broker::{Bucket, PutError, Registry, Revision};
use skep_engine::fleet::Post;
use skep_protocol::limits::MAX_ON_BOARD;
use skep_protocol::{Board, CoordinatorId, Order, Rejection, decode, encode};
use skep_protocol::{BreakerPhase, BreakerRecord, QuarantineRecord, Timestamp};
use tokio::sync::oneshot;

use crate::observe;

/// Where the board hangs.
const KEY: &str = "board";
/// Clocks agree if they differ by no more than this, the time included that it takes to look.
const CLOCKS_AGREE: Duration = Duration::from_secs(5);
/// The pause before a board that could not be reached is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// What came of something that was to be put on the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is there.
    Done,
    /// The board has no room for it, or nothing that it takes away.
    Nothing,
    /// A newer release keeps the board.
    Foreign,
}

/// Something for the board, and who wants to know what came of it.
#[derive(Debug)]
pub(super) struct Item {
    /// The number that the fleet gave it; 0 for one of a person.
    pub(super) number: u64,
    pub(super) post: Post,
    pub(super) done: Option<oneshot::Sender<Outcome>>,
}

/// The board as it was seen at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) revision: Revision,
    pub(super) board: Board,
    /// Only a newer release can read what hangs there. It is left alone, and `board` is what this
    /// coordinator found out by itself.
    is_foreign: bool,
}

/// The board after something was put there, or after it was looked at.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) known: Known,
    /// The highest number that is on it, if any was to be.
    pub(super) posted: Option<u64>,
    pub(super) done: Vec<(oneshot::Sender<Outcome>, Outcome)>,
}

/// Puts everything on the board; tries until it knows how that ended. `known` is the board as it
/// was seen last.
pub(super) async fn keep<R: Registry>(
    registry: R,
    me: CoordinatorId,
    (items, known): (Vec<Item>, Option<Known>),
    now: impl Fn() -> Timestamp + Send,
) -> Seen {
    loop {
        match try_keep(&registry, &me, (&items, known.as_ref()), now()).await {
            Ok((known, outcomes)) => {
                let posted = items.iter().map(|item| item.number).max();
                let done = items.into_iter().zip(outcomes);
                let done = done.filter_map(|(item, outcome)| Some((item.done?, outcome)));
                return Seen { known, posted, done: done.collect() };
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
    (items, known): (&[Item], Option<&Known>),
    now: Timestamp,
) -> Result<(Known, Vec<Outcome>), PutError> {
    let entry = registry.get(Bucket::Cluster, KEY).await?;
    let revision = entry.as_ref().map_or(Revision::ABSENT, |entry| entry.revision);
    let mut kept = match (entry, known) {
        (None, _) => Known { revision, board: empty(), is_foreign: false },
        (Some(_), Some(known)) if known.revision == revision => known.clone(),
        (Some(entry), _) if is_newer(&entry.value) => {
            let own = known.filter(|known| known.is_foreign).map(|known| known.board.clone());
            Known { revision, board: own.unwrap_or_else(empty), is_foreign: true }
        }
        (Some(entry), _) => {
            Known { revision, board: by_our_clock(read(&entry.value), now), is_foreign: false }
        }
    };
    let outcomes: Vec<Outcome> = items.iter().map(|item| kept.take(item, me, now)).collect();
    if outcomes.contains(&Outcome::Done) && !kept.is_foreign {
        kept.board.at = now;
        let board = encode(&kept.board);
        kept.revision = registry.put(Bucket::Cluster, KEY, board, revision).await?;
    }
    Ok((kept, outcomes))
}

impl Known {
    /// Puts something on the board. What a person wants is for all coordinators or for none.
    fn take(&mut self, item: &Item, me: &CoordinatorId, now: Timestamp) -> Outcome {
        if self.is_foreign && item.done.is_some() {
            return Outcome::Foreign;
        }
        match item.post.onto(&mut self.board, me, now) {
            true => Outcome::Done,
            false => Outcome::Nothing,
        }
    }
}

/// Reads the board. One that cannot be read is of no use to anybody: what stood there is found out
/// once more.
fn read(bytes: &Bytes) -> Board {
    decode(bytes).unwrap_or_else(|error| {
        observe::given_up("read the board of breakers and agents", &error);
        empty()
    })
}

fn is_newer(bytes: &Bytes) -> bool {
    decode::<Version>(bytes).is_ok_and(|version| version.v > Board::VERSION)
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

/// Returns what an order means for the board; `capability` is that of the breaker to trip.
pub(super) fn ordered(order: Order, capability: Option<String>, now: Timestamp) -> Post {
    let (since, until, by) = (now, None, None);
    match order {
        Order::TripBreaker { name, reason } => {
            let capability = capability.unwrap_or_else(|| name.clone());
            let (phase, cause, trips) = (BreakerPhase::Open, reason, 1);
            let record = BreakerRecord { capability, phase, since, until, cause, trips, by };
            Post::Opened { name, record }
        }
        Order::ResetBreaker { name } => Post::Reset { name },
        Order::QuarantineAgent { agent, reason } => {
            let record = QuarantineRecord { since, until, cause: reason, times: 1, by };
            Post::Quarantined { agent, record, pools: Vec::new() }
        }
        Order::ReleaseAgent { agent } => Post::Released { agent },
    }
}

/// Returns why a person's order came to nothing.
pub(super) fn refusal(post: &Post, outcome: Outcome) -> Option<Rejection> {
    match (outcome, post) {
        (Outcome::Done, _) => None,
        (Outcome::Foreign, _) => Some(Rejection::CannotObey {
            cause: "a newer release of skep keeps the breakers and the quarantine of this cluster"
                .to_owned(),
            help: "have every coordinator run that release: skep doctor".to_owned(),
        }),
        (Outcome::Nothing, Post::Reset { name }) => {
            Some(Rejection::NotThere { what: format!("circuit breaker `{name}` that is open") })
        }
        (Outcome::Nothing, Post::Released { agent }) => {
            Some(Rejection::NotThere { what: format!("agent `{agent}` in quarantine") })
        }
        (Outcome::Nothing, _) => Some(Rejection::CannotObey {
            cause: format!("the cluster keeps at most {MAX_ON_BOARD} of these"),
            help: "end some of them: skep breakers reset, skep agents release".to_owned(),
        }),
    }
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

    fn opened(until: Option<Timestamp>) -> Post {
        let record = BreakerRecord {
            capability: "c".to_owned(),
            phase: BreakerPhase::Open,
            since: at(1),
            until,
            cause: "why".to_owned(),
            trips: 1,
            by: None,
        };
        Post::Opened { name: "c".to_owned(), record }
    }

    async fn keep_by(
        who: &str,
        registry: &Embedded,
        items: Vec<Item>,
        known: Option<Known>,
        now: Timestamp,
    ) -> Known {
        let me = CoordinatorId::new(who).unwrap();
        keep(registry.clone(), me, (items, known), move || now).await.known
    }

    #[tokio::test]
    async fn a_lease_ends_in_time_whatever_the_clock_of_its_holder_shows() {
        let (registry, cooldown) = (Embedded::new(), Duration::from_secs(15));
        let opened = opened(Some(at(9).after(cooldown)));
        keep_by("ahead", &registry, vec![item(opened)], None, at(9)).await;
        let until = |board: &Board| board.breakers["c"].until.unwrap();
        let seen = keep_by("behind", &registry, Vec::new(), None, at(7)).await;
        assert_eq!(until(&seen.board), at(7).after(cooldown));
        // It counts from when it was seen first.
        let later = at(7).after(cooldown);
        let seen = keep_by("behind", &registry, Vec::new(), Some(seen), later).await;
        assert_eq!(until(&seen.board), later);
        let probe = Post::Probe { name: "c".to_owned(), lease: cooldown };
        let board = keep_by("behind", &registry, vec![item(probe)], Some(seen), later).await.board;
        assert_eq!(
            (board.breakers["c"].phase, until(&board)),
            (BreakerPhase::HalfOpen, later.after(cooldown))
        );
        let board = keep_by("ahead", &registry, Vec::new(), None, at(10)).await.board;
        assert_eq!(until(&board), at(10).after(cooldown));
    }

    #[tokio::test]
    async fn the_board_of_a_newer_release_is_left_alone() {
        let registry = Embedded::new();
        let newer = Bytes::from_static(br#"{"v":2,"breakers":["another form"]}"#);
        registry.put(Bucket::Cluster, KEY, newer.clone(), Revision::ABSENT).await.unwrap();
        let looked = keep_by("old", &registry, Vec::new(), None, at(1)).await;
        assert_eq!(looked.board, empty());
        // What it finds out by itself counts for itself.
        let until = Some(at(3));
        let found = || vec![item(opened(until))];
        let alone = keep_by("old", &registry, found(), Some(looked), at(2)).await;
        assert_eq!(alone.board.breakers["c"].until, until);
        let again = keep_by("old", &registry, Vec::new(), Some(alone.clone()), at(2)).await;
        assert_eq!(again, alone);
        // What a person wants is refused.
        let (done, answer) = oneshot::channel();
        let tripped = Item { number: 0, post: opened(None), done: Some(done) };
        let me = CoordinatorId::new("old").unwrap();
        let seen = keep(registry.clone(), me, (vec![tripped], Some(again)), || at(2)).await;
        assert_eq!(seen.known, alone);
        for (done, outcome) in seen.done {
            done.send(outcome).unwrap();
        }
        assert_eq!(answer.await, Ok(Outcome::Foreign));
        let kept = registry.get(Bucket::Cluster, KEY).await.unwrap().unwrap();
        assert_eq!(kept.value, newer);
    }
}
