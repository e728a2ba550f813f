//! How often coordinators said that they are new.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use skep_protocol::PartitionId;
use tokio::sync::Notify;

/// How long an answer may take once there is a new coordinator: the one that took the reports is
/// probably gone.
const ANSWER_AFTER_ROLL_CALL: Duration = Duration::from_millis(500);
/// How long it may take once the partition has another owner: what was answered before is about to
/// arrive.
const ANSWER_AFTER_TAKE_OVER: Duration = Duration::from_millis(10);

/// How often there was a roll call. Wakes in the order in which was asked, so that what follows is
/// the same in a simulation.
#[derive(Debug, Default)]
pub(super) struct RollCalls {
    counts: Mutex<Counts>,
    heard: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    /// Those of which nobody knows for which partition.
    of_any: u64,
    of: BTreeMap<PartitionId, u64>,
}

impl RollCalls {
    pub(super) fn count(&self, partition: Option<PartitionId>) {
        let mut counts = self.counts.lock().expect("no holder panics");
        match partition {
            Some(partition) => *counts.of.entry(partition).or_default() += 1,
            None => counts.of_any += 1,
        }
        drop(counts);
        self.heard.notify_waiters();
    }

    /// Returns how many there were for a partition, and of any.
    pub(super) fn so_far(&self, partition: PartitionId) -> (u64, u64) {
        let counts = self.counts.lock().expect("no holder panics");
        (counts.of.get(&partition).copied().unwrap_or_default(), counts.of_any)
    }

    /// Waits until there were more than `known`: there is a new coordinator. Then waits for as long
    /// as an answer may still come.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn overtake(&self, partition: PartitionId, known: (u64, u64)) {
        let patience = loop {
            let heard = self.heard.notified();
            let (of, of_any) = self.so_far(partition);
            if of != known.0 {
                break ANSWER_AFTER_TAKE_OVER;
            }
            if of_any != known.1 {
                break ANSWER_AFTER_ROLL_CALL;
            }
            heard.await;
        };
        tokio::time::sleep(patience).await;
    }
}
