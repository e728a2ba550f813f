//! Starting and stopping a coordinator: it owns every task it starts.

use std::fmt;
use std::sync::Arc;

use dashmap::DashMap;
use skep_broker::Broker;
use skep_protocol::{CoordinatorId, PartitionCount, PartitionId};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::catalog::Catalog;
use crate::clock::{Clock, new_coordinator_id};
use crate::config::Config;
use crate::fleet_loop::{Desk, FleetLoop};
use crate::members::Members;
use crate::partition::{Context, LivePartitions};
use crate::read_model::{OpenError, ReadModel};
use crate::room::Room;
use crate::settings::{SettingsError, agree};
use crate::{observe, partition, queries};

/// Drives the runs of the partitions it owns.
#[derive(Debug)]
pub struct Coordinator;

/// Why a coordinator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings of the cluster cannot be used.
    #[error("cannot agree on the settings of the cluster")]
    Settings(#[from] SettingsError),
    /// The read model cannot be opened.
    #[error("cannot open the read model")]
    ReadModel(#[from] OpenError),
}

/// A coordinator that was started. Dropping it ends everything at once, as a crash would.
pub struct Handle {
    id: CoordinatorId,
    partitions: PartitionCount,
    draining: CancellationToken,
    serving: watch::Receiver<usize>,
    live: LivePartitions,
    supervisor: JoinHandle<()>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Coordinator {
    /// Starts a coordinator on `broker`: it agrees with the others on the settings of the cluster,
    /// takes over every partition that nobody owns, and gets its share of the others. It returns
    /// before that is done; see [`Handle::serving`] and [`Handle::owned`].
    ///
    /// # Errors
    /// [`StartError`] if the settings or the read model cannot be used.
    ///
    /// # Cancel safety
    /// Dropping the future before it is done starts nothing.
    pub async fn start<B: Broker>(broker: B, config: Config) -> Result<Handle, StartError> {
        let id = config.coordinator.clone().unwrap_or_else(new_coordinator_id);
        let cluster = new_coordinator_id().to_string();
        let settings = agree(&broker, config.partitions, cluster).await?;
        let partitions = settings.partitions;
        let read_model = ReadModel::open(&config, &settings)?;
        let (draining, closing) = (CancellationToken::new(), CancellationToken::new());
        let (serving_sender, serving) = watch::channel(0);

        let clock = Arc::new(Clock::new());
        let desks: Arc<[Desk]> = partitions.all().map(|_| Desk::new(&clock)).collect();
        let (me, time, shared) = (id.clone(), Arc::clone(&clock), Arc::clone(&desks));
        let (fleet_loop, fleet) = FleetLoop::new(broker.clone(), me, time, partitions, shared);
        let live: LivePartitions = Arc::new(DashMap::new());
        let members = Arc::new(Members::new(id.clone(), partitions, Arc::clone(&clock)));
        let catalog = Catalog::new(broker.clone());
        let config = Arc::new(config);
        let serving_sender = Arc::new(serving_sender);

        let (asked, questions) = mpsc::channel(queries::ASKED);
        let room = Room::new(config.max_run_bytes);

        let mut owners = JoinSet::new();
        for (partition, desk) in partitions.all().zip(desks.iter()) {
            let context = Context {
                broker: broker.clone(),
                id: partition,
                count: partitions,
                coordinator: id.clone(),
                clock: Arc::new(clock.of_journal()),
                fleet: fleet.clone(),
                catalog: catalog.clone(),
                inbox: Arc::clone(&desk.inbox),
                ownership: Arc::clone(&desk.ownership),
                untouched: Arc::clone(&desk.untouched),
                members: Arc::clone(&members),
                live: Arc::clone(&live),
                asked: asked.clone(),
                serving: Arc::clone(&serving_sender),
                positions: read_model.positions(),
                read_model: read_model.clone(),
                config: Arc::clone(&config),
                room: Arc::clone(&room),
            };
            let span = observe::partition_span(partition, &id);
            owners.spawn(partition::run(context, draining.clone()).instrument(span));
        }

        let mut membership = JoinSet::new();
        let known = Arc::clone(&members);
        membership.spawn(known.keep(broker.clone(), draining.clone(), closing.clone()));
        let mut helpers = JoinSet::new();
        helpers.spawn(fleet_loop.run(closing.clone()));
        for partition in partitions.all() {
            helpers.spawn(read_model.follow(broker.clone(), partition));
        }
        let served = Arc::clone(&live);
        let count = partitions;
        let state = queries::State { broker, count, fleet, live, catalog, read_model, members };
        helpers.spawn(queries::serve(state, questions, closing.clone()));
        let tasks = Tasks { owners, helpers, membership };
        let supervisor = tokio::spawn(supervise(tasks, draining.clone(), closing));
        Ok(Handle { id, partitions, draining, serving, live: served, supervisor })
    }
}

impl Handle {
    /// Returns the name of the coordinator.
    pub const fn id(&self) -> &CoordinatorId {
        &self.id
    }

    /// Returns how many partitions the cluster has.
    pub const fn partitions(&self) -> PartitionCount {
        self.partitions
    }

    /// Waits until this coordinator, as the only one, serves every partition of the cluster.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn serving(&self) {
        let all = usize::from(self.partitions.get());
        let mut serving = self.serving.clone();
        // The sender lives as long as the partitions do; without it there is nothing to wait for.
        let _ = serving.wait_for(|owned| *owned == all).await;
    }

    /// Returns the partitions that this coordinator serves, in order.
    pub fn owned(&self) -> Vec<PartitionId> {
        let mut owned: Vec<_> = self.live.iter().map(|entry| *entry.key()).collect();
        owned.sort_unstable();
        owned
    }

    /// Waits until this coordinator serves other partitions than when it was asked last.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn owned_changed(&mut self) {
        // The sender lives as long as the partitions do; without it there is nothing to wait for.
        let _ = self.serving.changed().await;
    }

    /// Waits until the coordinator has ended.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn stopped(&mut self) {
        let _ = (&mut self.supervisor).await;
    }

    /// Asks the coordinator to hand over: it takes in nothing more, makes durable what it has, and
    /// ends. See [`stopped`](Self::stopped).
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Drains, and waits for the end.
    ///
    /// # Cancel safety
    /// Dropping the future ends everything at once, as a crash would.
    pub async fn shutdown(mut self) {
        self.drain();
        self.stopped().await;
    }

    /// Ends everything at once, as a crash would. Whatever runs at this moment stops where it waits
    /// next, perhaps only after this returns.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn kill(mut self) {
        self.supervisor.abort();
        self.stopped().await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}

/// Everything that a coordinator does.
struct Tasks {
    owners: JoinSet<()>,
    helpers: JoinSet<()>,
    membership: JoinSet<()>,
}

/// Waits for all tasks. Without one of the helpers the partitions are of no use to anybody: they
/// are handed over.
async fn supervise(mut tasks: Tasks, draining: CancellationToken, closing: CancellationToken) {
    let Tasks { owners, helpers, membership } = &mut tasks;
    loop {
        tokio::select! {
            biased;
            ended = owners.join_next() => match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => observe::task_died("partition", &error),
                None => break,
            },
            Some(Err(error)) = helpers.join_next() => {
                observe::task_died("helper of the partitions", &error);
                draining.cancel();
            }
            Some(Err(error)) = membership.join_next() => {
                observe::task_died("membership of the coordinator", &error);
                draining.cancel();
            }
        }
    }
    closing.cancel();
    helpers.abort_all();
    while helpers.join_next().await.is_some() {}
    // It says goodbye.
    while membership.join_next().await.is_some() {}
}
