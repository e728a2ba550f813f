//! What an operator may choose.

use std::path::PathBuf;
use std::time::Duration;

use skep_protocol::limits::{MAX_RUN_BYTES, MAX_RUNS_PER_PARTITION};
use skep_protocol::{CoordinatorId, PartitionCount};

/// The settings of one coordinator.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its name; one is made up if there is none.
    pub coordinator: Option<CoordinatorId>,
    /// The number of partitions, should this coordinator be the one that creates the cluster.
    pub partitions: PartitionCount,
    /// Where the read model lies.
    pub read_model: ReadModelAt,
    /// What it keeps of runs that are over.
    pub retention: Retention,
    /// A snapshot is due after so many records.
    pub snapshot_after_records: u64,
    /// A snapshot is due after this time, if anything was recorded.
    pub snapshot_every: Duration,
    /// Journal messages that are kept beyond what a recovery needs, so that a new read model knows
    /// of runs that ended.
    pub keep_messages: u64,
    /// How often the designated successor of an owner looks whether it is there; others look much
    /// less often.
    pub standby_every: Duration,
    /// Runs of one partition that may be live; beyond it, starts are refused as busy.
    pub max_runs_per_partition: usize,
    /// Memory that the live runs of all partitions may take, about, in bytes, as far as that
    /// follows from what they were given and what came out of their steps; beyond it, starts are
    /// refused as busy, but for those of sub-workflows; beyond twice as much, so are signals that
    /// no step waits for.
    pub max_run_bytes: usize,
}

/// Where the read model lies. It can be thrown away at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadModelAt {
    /// In memory, and beyond a few megabytes in a file for temporary data; rebuilt at each start.
    Temporary,
    /// In this file; picked up where it was.
    File(PathBuf),
    /// Nowhere: lists and histories are not answered. For simulations, which have no threads.
    Nowhere,
}

/// How much the read model keeps of runs that are over: beyond either bound, those that were
/// started first are dropped, and nothing finds them any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// So many runs, those that go on included.
    pub runs: u64,
    /// So many bytes, as far as at least the last hundred runs are kept.
    pub bytes: u64,
}

impl Retention {
    /// For a read model that goes with its process.
    pub const TEMPORARY: Self = Self { runs: 20_000, bytes: 256 * 1024 * 1024 };
    /// For a read model in a file.
    pub const FILE: Self = Self { runs: 1_000_000, bytes: 32 * 1024 * 1024 * 1024 };
}

impl Default for Config {
    fn default() -> Self {
        Self {
            coordinator: None,
            partitions: PartitionCount::DEFAULT,
            read_model: ReadModelAt::Temporary,
            retention: Retention::TEMPORARY,
            snapshot_after_records: 100_000,
            snapshot_every: Duration::from_secs(60),
            keep_messages: 100_000,
            standby_every: Duration::from_millis(50),
            max_runs_per_partition: MAX_RUNS_PER_PARTITION,
            max_run_bytes: MAX_RUN_BYTES,
        }
    }
}

impl Config {
    /// Returns the settings for a coordinator inside another program: nothing is kept beyond its
    /// end, and no messages that nobody needs.
    pub fn embedded() -> Self {
        Self { keep_messages: 0, ..Self::default() }
    }

    /// Returns the settings for a daemon that keeps its read model in `file`.
    pub fn daemon(file: PathBuf) -> Self {
        let (read_model, retention) = (ReadModelAt::File(file), Retention::FILE);
        Self { read_model, retention, ..Self::default() }
    }
}
