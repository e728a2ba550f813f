//! Snapshots of a partition, and trimming the journal behind them.

use bytes::Bytes;
use skep_broker::{Broker, host};
use skep_engine::Partition;
use skep_protocol::{Hash, PartitionId, Seq};

use super::Context;
use super::jobs::Done;
use super::load::chained;
use crate::chain::{Chain, seal_snapshot};
use crate::observe;

/// Keeps the state at the end of `chain`, then trims what no recovery and no reader needs: with two
/// snapshots the journal up to the older one, but never beyond the read model.
///
/// A state that cannot be read back is not kept: it would take the place of one that can, and the
/// journal behind it would be gone.
pub(crate) async fn keep<B: Broker>(
    context: Context<B>,
    chain: Chain,
    state: Bytes,
    before: Option<Seq>,
) -> Done {
    if let Err(cause) = usable(context.id, state.clone()).await {
        observe::unusable_snapshot(context.id, chain.seq, &cause);
        return Done::Snapshot(None);
    }
    let snapshot = seal_snapshot(chain, &state);
    if let Err(error) = context.broker.put_snapshot(context.id, snapshot).await {
        observe::given_up("keep a snapshot", &error);
        return Done::Snapshot(None);
    }
    observe::snapshot_kept(context.id, chain.seq);
    if let Some(older) = before
        && let Some(first_kept) =
            first_kept(older, context.positions.stored(context.id), context.config.keep_messages)
        && let Err(error) = context.broker.trim(context.id, first_kept).await
    {
        observe::given_up("trim a journal", &error);
    }
    Done::Snapshot(Some(chain.seq))
}

/// Reads a state back, apart from the threads that serve, and wants the same one.
async fn usable(id: PartitionId, state: Bytes) -> Result<(), String> {
    let read = move || match Partition::restore(id, &state) {
        Ok(restored) if restored.digest() == Hash::of(&state) => Ok(()),
        Ok(_) => Err("it is read back as another state".to_owned()),
        Err(error) => Err(chained(&error)),
    };
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
