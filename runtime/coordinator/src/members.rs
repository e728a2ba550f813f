//! This coordinator among the others: its record, theirs, and what follows for each partition.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use skep_broker::{Bucket, Entry, PutError, Registry, Revision, Unavailable};
use skep_engine::placement::{Following, Ownership, Placement, RENEWED_EVERY, Round};
use skep_protocol::{
    CoordinatorId, Member, MemberPhase, PartitionCount, PartitionId, decode, encode,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, new_coordinator_id};
use crate::observe;

/// Records that are read at the same time.
const READ_AT_ONCE: usize = 16;
/// The least time between two writes: what changes together is written together.
const APART: Duration = Duration::from_millis(20);
/// How long the last word of a coordinator may take.
const FAREWELL_WITHIN: Duration = Duration::from_secs(1);

/// What this coordinator knows of itself and the others.
#[derive(Debug)]
pub(crate) struct Members {
    me: CoordinatorId,
    clock: Arc<Clock>,
    placement: Mutex<Placement>,
    /// What this coordinator says of itself has changed.
    changed: Notify,
    /// The others were looked at. Wakes in the order in which was asked, so that what follows is
    /// the same in a simulation.
    looked: Notify,
    has_looked: AtomicBool,
    /// Partitions were taken or left; it wakes as above.
    served: Notify,
}

impl Members {
    pub(crate) fn new(me: CoordinatorId, count: PartitionCount, clock: Arc<Clock>) -> Self {
        let placement = Mutex::new(Placement::new(me.clone(), count));
        let (changed, looked, served) = (Notify::new(), Notify::new(), Notify::new());
        let has_looked = AtomicBool::new(false);
        Self { me, clock, placement, changed, looked, has_looked, served }
    }

    /// Returns the name of this coordinator.
    pub(crate) const fn me(&self) -> &CoordinatorId {
        &self.me
    }

    /// Returns the others that may be there and have work, with the partitions that they serve.
    pub(crate) fn neighbours(&self) -> Vec<(CoordinatorId, Vec<PartitionId>)> {
        self.with(|placement| placement.neighbours())
    }

    /// Waits until the others were looked at.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn known(&self) {
        loop {
            let looked = self.looked.notified();
            if self.has_looked.load(Ordering::Acquire) {
                return;
            }
            looked.await;
        }
    }

    /// Returns how many others should take a partition sooner.
    pub(crate) fn rank(&self, partition: PartitionId) -> u32 {
        self.with(|placement| placement.rank(partition))
    }

    /// Returns whether another coordinator is to have a partition that this one serves.
    pub(crate) fn is_to_hand_over(&self, partition: PartitionId) -> bool {
        self.with(|placement| placement.is_to_hand_over(partition))
    }

    pub(crate) fn owns(&self, partition: PartitionId, owned: Ownership) {
        self.with(|placement| placement.owns(partition, owned));
        self.changed.notify_one();
        self.served.notify_waiters();
    }

    /// Waits until this coordinator serves nothing.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn serves_nothing(&self) {
        loop {
            let served = self.served.notified();
            if self.with(|placement| placement.serves_nothing()) {
                return;
            }
            served.await;
        }
    }

    pub(crate) fn follows(&self, partition: PartitionId, following: Following) {
        self.with(|placement| placement.follows(partition, following));
    }

    /// Returns whether another coordinator may be there.
    pub(crate) fn has_company(&self) -> bool {
        self.with(|placement| placement.has_company())
    }

    /// Returns how many journals are followed.
    pub(crate) fn followed(&self) -> u32 {
        self.with(|placement| u32::try_from(placement.followed()).unwrap_or(u32::MAX))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Placement) -> T) -> T {
        work(&mut self.placement.lock().expect("no holder panics"))
    }

    /// Writes this coordinator's record and reads those of the others, until `closing`; says that
    /// it leaves once `draining`.
    pub(crate) async fn keep<R: Registry>(
        self: Arc<Self>,
        registry: R,
        draining: CancellationToken,
        closing: CancellationToken,
    ) {
        let process = new_coordinator_id().to_string();
        let mut record = Record { registry, key: self.me.to_string(), process, revision: None };
        loop {
            if draining.is_cancelled() {
                self.with(|placement| placement.leaves(MemberPhase::Draining));
            }
            match self.round(&mut record).await {
                Ok(()) => {
                    self.has_looked.store(true, Ordering::Release);
                    self.looked.notify_waiters();
                }
                Err(error) => observe::trying_again("share the partitions", &error),
            }
            tokio::time::sleep(APART).await;
            tokio::select! {
                biased;
                () = closing.cancelled() => break,
                () = draining.cancelled(), if !draining_is_told(&self) => {}
                () = self.changed.notified() => {}
                () = tokio::time::sleep(RENEWED_EVERY.saturating_sub(APART)) => {}
            }
        }
        self.with(|placement| placement.leaves(MemberPhase::Left));
        let member = self.with(|placement| placement.member(&record.process));
        if tokio::time::timeout(FAREWELL_WITHIN, record.write(&member)).await.is_err() {
            observe::given_up("say goodbye to the other coordinators", &"it took too long");
        }
    }

    /// Writes and reads once.
    async fn round<R: Registry>(&self, record: &mut Record<R>) -> Result<(), Unavailable> {
        let member = self.with(|placement| placement.member(&record.process));
        let wrote = record.write(&member).await?;
        let members = record.read_all().await?.into_iter().collect();
        let round = Round { members, wrote };
        self.with(|placement| placement.looked(&round, self.clock.moment()));
        Ok(())
    }
}

fn draining_is_told(members: &Members) -> bool {
    members.with(|placement| placement.phase() != MemberPhase::Serving)
}

/// The record of this coordinator in the registry.
struct Record<R> {
    registry: R,
    key: String,
    process: String,
    /// Where the record is; unknown if the last write may have happened or not.
    revision: Option<Revision>,
}

impl<R: Registry> Record<R> {
    /// Writes the record; returns whether it was written.
    async fn write(&mut self, member: &Member) -> Result<bool, Unavailable> {
        let expected = match self.revision.take() {
            Some(revision) => revision,
            None => self.find().await?,
        };
        let put = self.registry.put(Bucket::Coordinators, &self.key, encode(member), expected);
        match put.await {
            Ok(revision) => {
                self.revision = Some(revision);
                Ok(true)
            }
            // It vanished, or an earlier write had an unknown outcome, or somebody has the name.
            Err(PutError::Conflict { .. }) => {
                self.revision = Some(self.find().await?);
                Ok(false)
            }
            Err(PutError::Unavailable(error)) => Err(error),
            Err(error) => {
                let reason = error.to_string();
                Err(Unavailable { attempted: "write the record of a coordinator", reason })
            }
        }
    }

    async fn find(&self) -> Result<Revision, Unavailable> {
        let found = self.registry.get(Bucket::Coordinators, &self.key).await?;
        let Some(Entry { value, revision }) = found else { return Ok(Revision::ABSENT) };
        let other = decode::<Member>(&value)
            .ok()
            .filter(|member| member.process != self.process && member.phase != MemberPhase::Left);
        if other.is_some() {
            observe::namesake(&self.key);
        }
        Ok(revision)
    }

    /// Reads the records of all others; what cannot be read says nothing.
    async fn read_all(&self) -> Result<Vec<(CoordinatorId, (u64, Member))>, Unavailable> {
        let keys = self.registry.keys(Bucket::Coordinators, "").await?;
        let others = keys.into_iter().filter(|key| *key != self.key);
        let read = others.map(|key| async move {
            let entry = self.registry.get(Bucket::Coordinators, &key).await?;
            Ok(entry.and_then(|entry| {
                let member = decode::<Member>(&entry.value).ok()?;
                let id = CoordinatorId::new(&key).ok()?;
                (member.v <= Member::VERSION).then_some((id, (entry.revision.get(), member)))
            }))
        });
        let mut read = futures::stream::iter(read).buffer_unordered(READ_AT_ONCE);
        let mut members = Vec::new();
        while let Some(member) = read.next().await {
            members.extend(member?);
        }
        Ok(members)
    }
}
