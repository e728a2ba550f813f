//! One partition: standing by, taking over, serving, stopping.

mod at_hand;
mod commit;
mod jobs;
mod load;
mod preparing;
mod report;
mod requests;
mod retry;
mod serve;
mod snapshots;
mod stand_by;
mod stopped;
mod stuck;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use futures::FutureExt as _;
use skep_broker::{Broker, host};
use skep_protocol::{
    CoordinatorId, PartitionCount, PartitionId, PausedView, RunId, RunStatus, StepPath, WaitingView,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::Config;
use crate::fleet_loop::{FleetHandle, Inbox};
use crate::members::Members;
use crate::observe;
use crate::ownership::Ownership;
use crate::queries::Asked;
use crate::read_model::{Positions, ReadModel};
use crate::room::Room;
use crate::untouched::Untouched;
use stuck::Stuck;

pub(crate) use jobs::unwound;
pub(crate) use load::chained;

/// An owner that was replaced sooner than this after it read the journal may be so again at once.
const SOON: Duration = Duration::from_secs(1);

/// A question about live state, answered by the loop that owns the partition.
#[derive(Debug)]
pub(crate) struct LiveQuestion {
    pub(crate) run: RunId,
    /// What they wait for is told in any case.
    pub(crate) steps: Vec<StepPath>,
    pub(crate) answer: oneshot::Sender<LiveAnswer>,
}

/// What a partition knows of a live run.
#[derive(Debug, Default)]
pub(crate) struct LiveAnswer {
    pub(crate) status: Option<RunStatus>,
    pub(crate) waiting: Vec<WaitingView>,
    pub(crate) paused: Option<PausedView>,
}

/// The partitions that this coordinator serves, and the way to ask them.
pub(crate) type LivePartitions = Arc<DashMap<PartitionId, mpsc::Sender<LiveQuestion>>>;

/// What a partition needs of the coordinator around it.
#[derive(Debug, Clone)]
pub(crate) struct Context<B> {
    pub(crate) broker: B,
    pub(crate) id: PartitionId,
    pub(crate) count: PartitionCount,
    pub(crate) coordinator: CoordinatorId,
    pub(crate) clock: Arc<Clock>,
    pub(crate) fleet: FleetHandle,
    pub(crate) catalog: Catalog<B>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) ownership: Arc<Ownership>,
    pub(crate) untouched: Arc<Untouched>,
    pub(crate) members: Arc<Members>,
    pub(crate) live: LivePartitions,
    /// Questions of other coordinators to the owner.
    pub(crate) asked: mpsc::Sender<Asked>,
    pub(crate) serving: Arc<watch::Sender<usize>>,
    pub(crate) positions: Positions,
    pub(crate) read_model: ReadModel,
    pub(crate) config: Arc<Config>,
    /// The memory that all partitions share.
    pub(crate) room: Arc<Room>,
}

/// Why a partition is not served any more.
#[derive(Debug)]
pub(crate) enum End {
    /// The coordinator drains.
    Drained,
    /// Another coordinator is to have it.
    HandedOver,
    /// Somebody else writes the journal.
    Replaced,
    /// The journal takes nothing in, or cannot be read.
    Stuck(String),
    /// What was decided cannot be stored, and so has not happened.
    Refused(String),
    /// It cannot go on.
    Broken(String),
}

/// Whether an owner that cannot go on counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    /// It does not: this coordinator may be able to.
    IsVacant,
    /// It does: this coordinator could not go on either.
    IsOwned,
}

/// Owns the partition for as long as nobody else does.
pub(crate) async fn run<B: Broker>(context: Context<B>, draining: CancellationToken) {
    let (mut pause, mut refused, mut contested) = (Pause::new(), Pause::new(), Pause::CONTESTED);
    let mut stopped = Stopped::IsVacant;
    let mut stuck = Stuck::default();
    loop {
        let (standby, epoch) = tokio::select! {
            biased;
            () = draining.cancelled() => return,
            vacant = stand_by::until_vacant(&context, stopped) => vacant,
        };
        let loaded = tokio::select! {
            biased;
            () = draining.cancelled() => return,
            loaded = load::load(&context, standby) => loaded,
        };
        let since = context.clock.moment();
        let end = match loaded {
            // While it was read, another coordinator was faster.
            Ok(loaded) if epoch.is_some_and(|epoch| loaded.engine.epoch() > epoch) => continue,
            Ok(loaded) => {
                pause = Pause::new();
                serve(&context, loaded, &mut stuck, &draining).await
            }
            Err(load::LoadError::Unavailable(error)) => {
                observe::trying_again("load a partition", &error);
                let reason = error.to_string();
                let again = stuck.unreadable(&context, &reason, &mut pause);
                let _ = draining.run_until_cancelled(again).await;
                continue;
            }
            Err(load::LoadError::Damaged(cause)) => End::Broken(cause),
        };
        context.ownership.doubted();
        context.fleet.dropped(context.id).await;
        match end {
            End::Drained => return,
            End::HandedOver => observe::handed_over(context.id),
            End::Replaced => {
                if context.clock.moment().saturating_sub(since) >= SOON {
                    contested = Pause::CONTESTED;
                }
                observe::replaced(context.id, contested.0);
                let _ = draining.run_until_cancelled(contested.rest()).await;
            }
            End::Stuck(cause) => stuck.tell(&context, &cause),
            End::Refused(cause) => {
                observe::refused(context.id, &cause);
                refused.rest().await;
            }
            End::Broken(cause) => {
                observe::stopped(context.id, &cause);
                stopped = Stopped::IsOwned;
                stopped::answer(&context, &cause, &draining).await;
            }
        }
    }
}

/// Serves the partition; a panic of its loop stops it as damage does.
async fn serve<B: Broker>(
    context: &Context<B>,
    loaded: load::Loaded,
    stuck: &mut Stuck,
    draining: &CancellationToken,
) -> End {
    let serving = AssertUnwindSafe(serve::serve(context.clone(), loaded, stuck, draining));
    match serving.catch_unwind().await {
        Ok(end) => end,
        Err(_) => End::Broken("its loop panicked; the log of the coordinator says where".into()),
    }
}

/// Back-off of the shell's own retries: how long the next one waits, and the longest may.
#[derive(Debug)]
pub(crate) struct Pause(Duration, Duration);

impl Pause {
    /// Before a partition is taken back from somebody else.
    const CONTESTED: Self = Self(Duration::from_millis(100), Duration::from_secs(5));

    pub(crate) const fn new() -> Self {
        Self(Duration::from_millis(20), Duration::from_secs(2))
    }

    /// Waits, the next time for longer; up to half as long again, so that those who failed together
    /// do not come back together.
    pub(crate) async fn rest(&mut self) {
        let share = f64::from((host::random() >> 32) as u32) / f64::from(u32::MAX);
        tokio::time::sleep(self.0 + self.0.mul_f64(share / 2.0)).await;
        self.0 = (self.0 * 2).min(self.1);
    }
}
