//! The coordinators of a cluster that was started here: when they serve it, and how they end.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_broker::{Bucket, Registry as _, Revision};
use skep_nats::Nats;
use skep_protocol::{Member, MemberPhase, PartitionCount, decode};

use super::super::clock;
use super::{Cluster, LOOK_EVERY, within};
use crate::cluster;
use crate::error::Error;
use crate::process::Process;

impl Cluster {
    /// Ends all coordinators that were started here, as a crash would.
    pub(in super::super) fn kill_coordinators(&mut self) {
        self.coordinators.iter_mut().for_each(Process::kill);
    }

    /// Ends them in order.
    pub(in super::super) async fn drain_coordinators(&mut self) {
        self.coordinators.iter_mut().for_each(Process::drain);
        while self.coordinators.iter_mut().any(Process::runs) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Starts them again once they ended; returns how long it took until all partitions were
    /// served.
    pub(in super::super) async fn start_coordinators_again(&mut self) -> Result<Duration, Error> {
        let nats = self.client.broker();
        let mut before = Revision::ABSENT;
        for name in nats.keys(Bucket::Coordinators, "").await? {
            let entry = nats.get(Bucket::Coordinators, &name).await?;
            before = entry.map_or(before, |entry| entry.revision.max(before));
        }
        let from = clock();
        self.coordinators.iter_mut().try_for_each(Process::start_again)?;
        let serving = served(nats, self.coordinators.len(), before);
        let serving = within("the partitions are not served", serving);
        self.bears(Box::pin(async { serving.await? })).await?;
        Ok(clock().saturating_sub(from))
    }
}

/// How long partitions have to stay where they are before no more of them are expected to be handed
/// over: coordinators that came together hand over one in half a second or so.
const STAYED: Duration = Duration::from_millis(1_500);

/// Waits until coordinators that came together have handed over what belongs to others.
pub(super) async fn settled(nats: &Nats) -> Result<(), Error> {
    let (mut before, mut since) = (BTreeMap::new(), clock());
    while clock().saturating_sub(since) < STAYED {
        tokio::time::sleep(LOOK_EVERY).await;
        let mut owned = BTreeMap::new();
        for name in nats.keys(Bucket::Coordinators, "").await? {
            let entry = nats.get(Bucket::Coordinators, &name).await?;
            let member = entry.and_then(|entry| decode::<Member>(&entry.value).ok());
            owned.insert(name, member.map(|member| member.owns));
        }
        if owned != before {
            (before, since) = (owned, clock());
        }
    }
    Ok(())
}

/// Waits until every partition is served, and so many coordinators are there to serve them, some of
/// which may have drawn none: as they say since a revision of what they say.
pub(super) async fn served(
    nats: &Nats,
    coordinators: usize,
    since: Revision,
) -> Result<PartitionCount, Error> {
    loop {
        let partitions = cluster::partitions(nats).await?;
        if let Some(partitions) = partitions {
            let serving = serving(nats, since).await?;
            let owned: usize = serving.iter().map(|member| member.owns.len()).sum();
            if owned == usize::from(partitions.get()) && serving.len() >= coordinators.max(1) {
                return Ok(partitions);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Returns what coordinators say of themselves that are there to serve, as far as they said it
/// since a revision.
pub(super) async fn serving(nats: &Nats, since: Revision) -> Result<Vec<Member>, Error> {
    let mut serving = Vec::new();
    for name in nats.keys(Bucket::Coordinators, "").await.unwrap_or_default() {
        let entry = nats.get(Bucket::Coordinators, &name).await?;
        let entry = entry.filter(|entry| entry.revision > since);
        let member = entry.and_then(|entry| decode::<Member>(&entry.value).ok());
        serving.extend(member.filter(|member| member.phase == MemberPhase::Serving));
    }
    Ok(serving)
}
