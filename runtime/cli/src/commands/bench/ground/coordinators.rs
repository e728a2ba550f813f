//! The coordinators of a cluster that was started here: when they serve it, and how they end.

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
        within("the partitions are not served", serving).await??;
        Ok(clock().saturating_sub(from))
    }
}

/// Waits until every partition is served, and each of so many coordinators serves its share: as they
/// say since a revision of what they say.
pub(super) async fn served(
    nats: &Nats,
    coordinators: usize,
    since: Revision,
) -> Result<PartitionCount, Error> {
    loop {
        let partitions = cluster::partitions(nats).await?;
        if let Some(partitions) = partitions {
            let (mut owned, mut most) = (0, 0);
            for name in nats.keys(Bucket::Coordinators, "").await.unwrap_or_default() {
                let entry = nats.get(Bucket::Coordinators, &name).await?;
                let entry = entry.filter(|entry| entry.revision > since);
                let member = entry.and_then(|entry| decode::<Member>(&entry.value).ok());
                if let Some(member) = member.filter(|m| m.phase == MemberPhase::Serving) {
                    owned += member.owns.len();
                    most = most.max(member.owns.len());
                }
            }
            // Of a cluster that is there already it is not known how many share it.
            let all = usize::from(partitions.get());
            if owned == all && most <= all.div_ceil(coordinators.max(1)) {
                return Ok(partitions);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
