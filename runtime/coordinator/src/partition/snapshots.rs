//! Snapshots of a partition, and trimming the journal behind them.

use bytes::Bytes;
use skep_broker::Broker;
use skep_protocol::Seq;

use super::Context;
use super::jobs::Done;
use crate::chain::{Chain, seal_snapshot};
use crate::observe;

/// Keeps the state at the end of `chain`, then trims what no recovery and no reader needs: with two
/// snapshots the journal up to the older one, but never beyond the read model.
pub(crate) async fn keep<B: Broker>(
    context: Context<B>,
    chain: Chain,
    state: Bytes,
    before: Option<Seq>,
) -> Done {
    let snapshot = seal_snapshot(chain, &state);
    if let Err(error) = context.broker.put_snapshot(context.id, snapshot).await {
        observe::trying_again("keep a snapshot", &error);
        return Done::Snapshot(None);
    }
    observe::snapshot_kept(context.id, chain.seq);
    if let Some(older) = before
        && let Some(first_kept) =
            first_kept(older, context.positions.of(context.id), context.config.keep_messages)
        && let Err(error) = context.broker.trim(context.id, first_kept).await
    {
        observe::trying_again("trim a journal", &error);
    }
    Done::Snapshot(Some(chain.seq))
}

fn first_kept(older: Seq, read: Seq, keep: u64) -> Option<Seq> {
    let last_dropped = older.min(read).get().checked_sub(keep)?;
    (last_dropped > 0).then(|| Seq::new(last_dropped).next())
}

#[cfg(test)]
mod tests {
    use super::*;

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
