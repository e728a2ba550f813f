//! Snapshots of a partition, and trimming the journal behind them.

use skep_broker::{Broker, Snapshot, host};
use skep_engine::{Frozen, Partition};
use skep_protocol::{PartitionId, Seq, Timestamp};
use tokio::sync::OwnedSemaphorePermit;

use super::Context;
use super::jobs::Done;
use super::load::chained;
use crate::chain::{Chain, Draft};
use crate::config::Config;
use crate::observe;

/// Which snapshots of a served partition are kept, and when the next one is taken: one partition at
/// a time has its turn, for each takes as much memory again as its text has.
#[derive(Debug)]
pub(crate) struct Snapshots {
    /// The last two, the newer one first.
    kept: Vec<Seq>,
    /// When the next one is due, however little happened.
    due: Timestamp,
    stage: Stage,
    /// How large the last one was that was taken here, in bytes.
    size: usize,
}

#[derive(Debug)]
enum Stage {
    Rests,
    Waits,
    HasTurn(OwnedSemaphorePermit),
    Runs,
}

/// A snapshot that is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    seq: Seq,
    size: usize,
}

impl Snapshots {
    pub(crate) const fn new(kept: Vec<Seq>, due: Timestamp) -> Self {
        Self { kept, due, stage: Stage::Rests, size: 0 }
    }

    /// Returns whether to wait for a turn, so many records after the last snapshot.
    pub(crate) fn is_due(&self, records: u64, config: &Config, now: Timestamp) -> bool {
        let enough = records >= config.snapshot_after_records || (records > 0 && now >= self.due);
        enough && matches!(self.stage, Stage::Rests)
    }

    pub(crate) fn wait(&mut self) {
        self.stage = Stage::Waits;
    }

    pub(crate) fn begin_turn(&mut self, turn: OwnedSemaphorePermit) {
        self.stage = Stage::HasTurn(turn);
    }

    /// Returns whether a snapshot is taken as soon as everything decided is durable.
    pub(crate) const fn has_turn(&self) -> bool {
        matches!(self.stage, Stage::HasTurn(_))
    }

    /// Returns whether somebody waits for the turn.
    pub(crate) const fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waits)
    }

    pub(crate) const fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Runs)
    }

    /// Gives the turn away, if there is one.
    pub(crate) fn take_turn(&mut self) -> Option<OwnedSemaphorePermit> {
        match std::mem::replace(&mut self.stage, Stage::Rests) {
            Stage::HasTurn(turn) => Some(turn),
            other @ (Stage::Rests | Stage::Waits | Stage::Runs) => {
                self.stage = other;
                None
            }
        }
    }

    /// A snapshot is being taken; the next one is due at a moment.
    pub(crate) fn begin(&mut self, due: Timestamp) {
        (self.stage, self.due) = (Stage::Runs, due);
    }

    pub(crate) fn ended(&mut self, kept: Option<Kept>) {
        self.stage = Stage::Rests;
        if let Some(Kept { seq, size }) = kept {
            self.size = size;
            self.kept.insert(0, seq);
            self.kept.truncate(2);
        }
    }
}

/// Keeps the state at the end of `chain`, then trims what no recovery and no reader needs: with two
/// snapshots the journal up to the older one, but never beyond the read model.
///
/// A state that cannot be read back is not kept: it would take the place of one that can, and the
/// journal behind it would be gone.
pub(crate) fn keep<B: Broker>(
    context: Context<B>,
    (chain, state): (Chain, Frozen),
    snapshots: &Snapshots,
    turn: OwnedSemaphorePermit,
) -> impl Future<Output = Done> + Send + 'static + use<B> {
    let (before, size) = (snapshots.kept.first().copied(), snapshots.size);
    async move {
        let id = context.id;
        // Whoever drops this does not end the writing, which is what takes the memory.
        let write = move || (write(id, chain, state, size), turn);
        let (written, turn) = match host::apart(write).await {
            Some((written, turn)) => (written, Some(turn)),
            None => (Err("writing it panicked".to_owned()), None),
        };
        let snapshot = match written {
            Ok(snapshot) => snapshot,
            Err(cause) => {
                observe::unusable_snapshot(id, chain.seq, &cause);
                return Done::Snapshot(None);
            }
        };
        let size = snapshot.bytes.len();
        if let Err(error) = context.broker.put_snapshot(id, snapshot).await {
            observe::given_up("keep a snapshot", &error);
            return Done::Snapshot(None);
        }
        drop(turn);
        observe::snapshot_kept(id, chain.seq);
        if let Some(older) = before
            && let Some(first_kept) =
                first_kept(older, context.positions.stored(id), context.config.keep_messages)
            && let Err(error) = context.broker.trim(id, first_kept).await
        {
            observe::given_up("trim a journal", &error);
        }
        Done::Snapshot(Some(Kept { seq: chain.seq, size }))
    }
}

/// Writes a state of about so many bytes, reads it back, and wants the same one.
fn write(id: PartitionId, chain: Chain, state: Frozen, size: usize) -> Result<Snapshot, String> {
    let mut draft = Draft::new(chain, size);
    state.write_onto(draft.bytes());
    // What it shares with the partition is copied there as long as it is here.
    drop(state);
    let (snapshot, state) = draft.seal();
    Partition::check_snapshot(id, &state).map_err(|error| chained(&error))?;
    Ok(snapshot)
}

fn first_kept(older: Seq, read: Seq, keep: u64) -> Option<Seq> {
    let last_dropped = older.min(read).get().checked_sub(keep)?;
    (last_dropped > 0).then(|| Seq::new(last_dropped).next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_cannot_be_read_back_is_of_no_use() {
        let id = PartitionId::new(3);
        let state = Partition::new(id).snapshot();
        let is_usable = |id, state: &[u8]| Partition::check_snapshot(id, state).is_ok();
        assert!(is_usable(id, &state));
        assert!(!is_usable(PartitionId::new(4), &state), "of another one");
        assert!(!is_usable(id, &state[1..]), "damaged");
        let text = String::from_utf8(state.to_vec()).unwrap().replace('{', "{ ");
        assert!(!is_usable(id, text.as_bytes()), "not the same bytes");
    }

    #[test]
    fn nothing_is_trimmed_that_somebody_needs() {
        let check = |older, read, keep, kept: Option<u64>| {
            let first = first_kept(Seq::new(older), Seq::new(read), keep);
            assert_eq!(first.map(Seq::get), kept, "{older} {read} {keep}");
        };
        check(10, 20, 0, Some(11));
        check(20, 10, 0, Some(11));
        check(20, 0, 0, None);
        check(20, 30, 5, Some(16));
        check(20, 30, 20, None);
        check(20, 30, 25, None);
    }
}
