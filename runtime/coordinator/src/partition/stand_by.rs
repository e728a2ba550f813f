//! Standing by: watching the owner of a partition, and following its journal to take it over.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use skep_broker::{Broker, RequestError};
use skep_engine::placement::{Following, Probe, Verdict, Vigil};
use skep_protocol::{Batch, Command, CommandReply, Rejection, RunId};

use super::load::Standby;
use super::{Context, Pause, Stopped};
use crate::observe;

/// How long an owner may take over an answer. It has several tries before it counts as hung.
const ANSWER_WITHIN: Duration = Duration::from_millis(400);
/// It is asked again while it takes its time: what it was asked in the moment before it was killed
/// nobody ever answers, and of what is asked after that it is known at once.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How often those look who are not the designated successor.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Who stands by for many partitions asks each less often: it takes this much time for each.
const APART: Duration = Duration::from_millis(2);
/// After an outage of the link others need time to come back, too: silence proves nothing.
const SETTLED_AFTER: Duration = Duration::from_secs(4);
/// Whoever has just taken the partition over needs so long at most until it listens.
const LISTENS_WITHIN: Duration = Duration::from_millis(500);
/// How long a journal may take to tell its end, if it is well.
const JOURNAL_WITHIN: Duration = Duration::from_millis(500);

/// Waits until the partition is to be taken over by this coordinator, and follows its journal for
/// as long as this is the designated successor. Returns what was followed, and how often the
/// partition was taken over before, if that matters.
pub(super) async fn until_vacant<B: Broker>(
    context: &Context<B>,
    stopped: Stopped,
) -> (Option<Standby>, Option<u64>) {
    context.members.known().await;
    let mut standby = None;
    let read = Read::default();
    let epoch = tokio::select! {
        biased;
        epoch = watch(context, stopped, &read) => epoch,
        never = follow(context, &mut standby, &read) => match never {},
    };
    context.members.follows(context.id, Following::No);
    (standby, epoch)
}

/// What was read of the journal lately.
#[derive(Default)]
struct Read {
    /// Something, since this was looked at last.
    more: AtomicBool,
    /// How often the partition was taken over; 0 if that is not known.
    epoch: AtomicU64,
}

/// Asks the owner again and again, until there is none.
async fn watch<B: Broker>(context: &Context<B>, stopped: Stopped, read: &Read) -> Option<u64> {
    let mut vigil = Vigil::default();
    let mut lost = None;
    let mut taken = Taken::default();
    loop {
        let mut probe = probe(context, stopped).await;
        let (now, answered) = (context.clock.moment(), probe == Probe::Answered);
        if probe == Probe::Unknown {
            lost = Some(now);
        } else if probe == Probe::Unanswered {
            let settles = |lost| now.saturating_sub(lost) < SETTLED_AFTER;
            if lost.is_some_and(settles) {
                probe = Probe::Unknown;
            } else if read.more.swap(false, Ordering::Relaxed) {
                probe = Probe::Answered;
            }
        }
        let rank = context.members.rank(context.id);
        taken.seen(read.epoch.load(Ordering::Relaxed), now);
        taken.listens |= answered;
        match vigil.probed(probe, rank, now) {
            Verdict::Wait => {}
            Verdict::Vacant if !context.members.has_company() => return None,
            Verdict::Vacant if taken.is_settled(context).await => {
                observe::vacant(context.id);
                return taken.epoch;
            }
            // Another coordinator has just taken it over, and is about to listen.
            Verdict::Vacant => {}
            // A journal without a leader makes every owner look hung.
            Verdict::Hung if journal_is_well(context).await => {
                observe::hung(context.id);
                return taken.epoch;
            }
            Verdict::Hung => vigil = Vigil::default(),
        }
        tokio::time::sleep(pause(context, probe, rank)).await;
    }
}

/// When the partition was taken over last, as far as that was seen.
#[derive(Default)]
struct Taken {
    epoch: Option<u64>,
    since: Duration,
    /// Its author was heard since then.
    listens: bool,
}

impl Taken {
    fn seen(&mut self, epoch: u64, now: Duration) {
        if epoch > 0 && self.epoch.is_none_or(|known| known < epoch) {
            *self = Self { epoch: Some(epoch), since: now, listens: false };
        }
    }

    /// Returns whether the author of the last take-over would listen by now: it did, or it has had
    /// the time. Who does not follow the journal looks at its end.
    async fn is_settled<B: Broker>(&mut self, context: &Context<B>) -> bool {
        let end = tokio::time::timeout(JOURNAL_WITHIN, context.broker.last(context.id));
        let now = context.clock.moment();
        match end.await {
            Ok(Ok(None)) => return true,
            Ok(Ok(Some(last))) => match Batch::read(&last.bytes) {
                Ok(batch) => self.seen(batch.epoch, now),
                // The load finds out what is wrong with it.
                Err(_) => return true,
            },
            Ok(Err(_)) | Err(_) => return false,
        }
        self.listens || now.saturating_sub(self.since) >= LISTENS_WITHIN
    }
}

fn pause<B: Broker>(context: &Context<B>, probe: Probe, rank: u32) -> Duration {
    match probe {
        // It took its time.
        Probe::Unanswered => Duration::ZERO,
        Probe::Answered | Probe::Nobody | Probe::Unknown if rank > 0 => LOOK_EVERY,
        Probe::Answered | Probe::Nobody | Probe::Unknown => {
            context.config.standby_every.max(APART * context.members.followed())
        }
    }
}

/// Asks the owner something that changes nothing: no run has the id.
async fn probe<B: Broker>(context: &Context<B>, stopped: Stopped) -> Probe {
    let run = RunId::from_uuid(uuid::Uuid::nil());
    let ask = || {
        let ping = Command::Resume { run, by: "standby".to_owned() };
        context.broker.command(context.id, ping)
    };
    let asked = async {
        loop {
            match first_answer(ask).await {
                // Whoever took it is gone. Is there nobody, or already the next one?
                Err(RequestError::NoResponders { sent: true, .. }) => {}
                answer => return answer,
            }
        }
    };
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(Err(RequestError::NoResponders { .. })) => Probe::Nobody,
        Ok(Ok(CommandReply::Rejected(Rejection::PartitionStopped { .. })))
            if stopped == Stopped::IsVacant =>
        {
            Probe::Nobody
        }
        Ok(Ok(_)) => {
            observe::standing_by(context.id);
            Probe::Answered
        }
        Ok(Err(RequestError::TimedOut { .. })) | Err(_) if context.broker.is_connected() => {
            Probe::Unanswered
        }
        Ok(Err(error)) => {
            observe::trying_again("look for the owner of a partition", &error);
            Probe::Unknown
        }
        Err(_) => Probe::Unknown,
    }
}

/// Asks again and again, until something that was asked is answered.
async fn first_answer<A: Future>(ask: impl Fn() -> A) -> A::Output {
    let mut asked = FuturesUnordered::from_iter([ask()]);
    loop {
        tokio::select! {
            biased;
            Some(answer) = asked.next() => return answer,
            () = tokio::time::sleep(ASK_EVERY) => asked.push(ask()),
        }
    }
}

async fn journal_is_well<B: Broker>(context: &Context<B>) -> bool {
    let end = tokio::time::timeout(JOURNAL_WITHIN, context.broker.last(context.id));
    matches!(end.await, Ok(Ok(_)))
}

/// Keeps the state at the end of the journal, for as long as this is the designated successor.
async fn follow<B: Broker>(
    context: &Context<B>,
    standby: &mut Option<Standby>,
    read: &Read,
) -> Infallible {
    let mut pause = Pause::new();
    loop {
        if context.members.rank(context.id) > 0 {
            *standby = None;
            context.members.follows(context.id, Following::No);
            tokio::time::sleep(LOOK_EVERY).await;
            continue;
        }
        let followed = match standby {
            Some(standby) => {
                let next = tokio::time::timeout(LOOK_EVERY, standby.next(context)).await;
                if matches!(next, Ok(Ok(()))) {
                    read.more.store(true, Ordering::Relaxed);
                    read.epoch.store(standby.epoch(), Ordering::Relaxed);
                }
                next
            }
            None => match Standby::open(context).await {
                Ok(open) => {
                    read.epoch.store(open.epoch(), Ordering::Relaxed);
                    *standby = Some(open);
                    pause = Pause::new();
                    context.members.follows(context.id, Following::Closely);
                    Ok(Ok(()))
                }
                Err(error) => Ok(Err(error)),
            },
        };
        // Nothing new is as good as something.
        if let Ok(Err(error)) = followed {
            observe::trying_again("follow the journal of a partition", &error);
            *standby = None;
            context.members.follows(context.id, Following::No);
            pause.rest().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::FutureExt as _;
    use futures::future::{pending, ready};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_nobody_answers_any_more_is_asked_again() {
        let (began, asked) = (Instant::now(), Cell::new(0));
        let ask = || {
            asked.set(asked.get() + 1);
            match asked.get() {
                1 => pending().boxed_local(),
                number => ready(number).boxed_local(),
            }
        };
        assert_eq!(first_answer(ask).await, 2);
        assert_eq!(began.elapsed(), ASK_EVERY);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_his_time_is_waited_for() {
        let slow = || async {
            tokio::time::sleep(ANSWER_WITHIN - ASK_EVERY).await;
            "well"
        };
        let answer = tokio::time::timeout(ANSWER_WITHIN, first_answer(slow)).await;
        assert_eq!(answer, Ok("well"));
    }
}
