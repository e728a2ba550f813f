//! Snapshots of a partition, and trimming the journal behind them.

use bytes::Bytes;
use skep_broker::{Broker, host};
use skep_engine::Partition;
use skep_protocol::{PartitionId, Seq};

use super::Context;
use super::jobs::Done;
use super::load::chained;
use crate::chain::Draft;
use crate::observe;

/// Keeps a state, then trims what no recovery and no reader needs: with two
/// snapshots the journal up to the older one, but never beyond the read model.
///
/// A state that cannot be read back is not kept: it would take the place of one that can, and the
/// journal behind it would be gone.
pub(crate) async fn keep<B: Broker>(
    context: Context<B>,
    draft: Draft,
    before: Option<Seq>,
) -> Done {
    let (snapshot, state) = draft.seal();
    let seq = snapshot.seq;
    if let Err(cause) = usable(context.id, state).await {
        observe::unusable_snapshot(context.id, seq, &cause);
        return Done::Snapshot(None);
    }
    if let Err(error) = context.broker.put_snapshot(context.id, snapshot).await {
        observe::given_up("keep a snapshot", &error);
        return Done::Snapshot(None);
    }
    observe::snapshot_kept(context.id, seq);
    if let Some(older) = before
        && let Some(first_kept) =
            first_kept(older, context.positions.stored(context.id), context.config.keep_messages)
        && let Err(error) = context.broker.trim(context.id, first_kept).await
    {
        observe::given_up("trim a journal", &error);
    }
    Done::Snapshot(Some(seq))
}

/// Reads a state back, apart from the threads that serve, and wants the same one.
async fn usable(id: PartitionId, state: Bytes) -> Result<(), String> {
    let read = move || Partition::check_snapshot(id, &state).map_err(|error| chained(&error));
    host::apart(read).await.unwrap_or_else(|| Err("reading it back panicked".to_owned()))
}

fn first_kept(older: Seq, read: Seq, keep: u64) -> Option<Seq> {
    let last_dropped = older.min(read).get().checked_sub(keep)?;
    (last_dropped > 0).then(|| Seq::new(last_dropped).next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_state_that_cannot_be_read_back_is_of_no_use() {
        let id = PartitionId::new(3);
        let state = Partition::new(id).snapshot();
        assert_eq!(usable(id, state.clone()).await, Ok(()));
        assert!(usable(PartitionId::new(4), state.clone()).await.is_err(), "of another one");
        assert!(usable(id, state.slice(1..)).await.is_err(), "damaged");
        let text = String::from_utf8(state.to_vec()).unwrap().replace('{', "{ ");
        assert!(usable(id, text.into()).await.is_err(), "not the same bytes");
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
