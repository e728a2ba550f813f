//! What all coordinators know of something of which each has a share: it sees its own runs alone.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use skep_broker::Broker;
use skep_protocol::{Command, CommandReply, CoordinatorId, PartitionId, Query, QueryReply};
use tokio::time::{Instant, timeout_at};

use super::State;
use super::turns::Turn;
use crate::fleet_loop::FleetHandle;

/// How long the others may take to say what they know.
const WITHIN: Duration = Duration::from_secs(1);
/// Partitions by which one of them is asked: it may have handed over those before.
const TRIES: usize = 4;

/// Something of which each coordinator has a share.
pub(super) trait Shared: Sized + Send {
    /// Asks whoever is asked for all that there is.
    const QUESTION: Query;

    /// Returns what this coordinator has.
    fn own(fleet: &FleetHandle) -> impl Future<Output = Vec<Self>> + Send;

    /// Reads what another one has, and its name; an older one does not say that. `None` if it is
    /// the answer to another question.
    fn read(reply: QueryReply) -> Option<(Option<CoordinatorId>, Vec<Self>)>;
}

/// What coordinators have, by their names.
type Shares<T> = BTreeMap<CoordinatorId, Vec<T>>;

/// What was found out.
#[derive(Debug)]
pub(super) struct Gathered<T> {
    pub(super) shares: Shares<T>,
    /// Those who did not answer.
    pub(super) missing: Vec<CoordinatorId>,
}

impl<B: Broker> State<B> {
    /// Returns what this coordinator has.
    pub(super) async fn own<T: Shared>(&self) -> Gathered<T> {
        Gathered { shares: self.own_share().await, missing: Vec::new() }
    }

    /// Asks every coordinator that has work. Who does not answer in time is named.
    pub(super) async fn gathered<T: Shared>(&self, turn: &mut Turn) -> Gathered<T> {
        let until = Instant::now() + WITHIN;
        // Who has not looked yet knows nobody to ask.
        let _ = turn.while_waiting(timeout_at(until, self.members.known())).await;
        let others = self.members.neighbours();
        let asking = others.iter().map(|(id, serves)| self.share_of(id, serves, until));
        // With too many questions under way, nobody is asked.
        let told = turn.while_waiting(join_all(asking)).await.unwrap_or_default();
        let mut told = told.into_iter();
        let mut shares = self.own_share().await;
        let mut missing = Vec::new();
        for (id, _) in others {
            match told.next() {
                Some(Some(more)) => shares.extend(more),
                Some(None) | None => missing.push(id),
            }
        }
        missing.retain(|id| !shares.contains_key(id));
        Gathered { shares, missing }
    }

    async fn own_share<T: Shared>(&self) -> Shares<T> {
        Shares::from([(self.members.me().clone(), T::own(&self.fleet).await)])
    }

    /// Asks a coordinator for its share, by the partitions that it is said to serve. Others answer
    /// for those that it handed over since, and have a share as well; if that is so of all of them,
    /// it has no work any more. `None` if somebody did not answer.
    async fn share_of<T: Shared>(
        &self,
        id: &CoordinatorId,
        serves: &[PartitionId],
        until: Instant,
    ) -> Option<Shares<T>> {
        let (mut shares, mut answered) = (Shares::new(), true);
        for partition in serves.iter().take(TRIES) {
            match self.share_by(*partition, until).await {
                Some((who, share)) => {
                    // An older one does not say who it is.
                    shares.insert(who.unwrap_or_else(|| id.clone()), share);
                }
                None => answered = false,
            }
            if shares.contains_key(id) {
                return Some(shares);
            }
        }
        answered.then_some(shares)
    }

    /// Asks whoever serves a partition who it is and what it has.
    async fn share_by<T: Shared>(
        &self,
        partition: PartitionId,
        until: Instant,
    ) -> Option<(Option<CoordinatorId>, Vec<T>)> {
        let ask = Command::Ask(T::QUESTION);
        let asked = timeout_at(until, self.broker.command(partition, ask)).await;
        let Ok(Ok(CommandReply::Answer(reply))) = asked else { return None };
        T::read(*reply)
    }
}
