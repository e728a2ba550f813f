//! Lets the faults of a schedule happen, and mends everything in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::schedule::{Blow, Target};
use super::stage::Stage;
use crate::error::Error;
use crate::output::{self, DIM, paint};

/// How often it is looked whether something ended by itself.
const KEEP_EVERY: Duration = Duration::from_millis(500);

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Faults, by kind and by what they hit.
    pub(super) faults: BTreeMap<(&'static str, &'static str), usize>,
    /// What ended by itself.
    pub(super) ended: Vec<String>,
}

/// Lets everything happen, one thing after the other, for as long as it is to last, or until it is
/// to be over: then what is broken is mended at once.
pub(super) async fn direct(
    stage: &mut Stage,
    blows: &[Blow],
    lasts: Duration,
    over: &CancellationToken,
) -> Result<Done, Error> {
    let (begun, mut done) = (Instant::now(), Done::default());
    let mut acts: Vec<(Duration, Act, usize)> = Vec::new();
    for (number, blow) in blows.iter().enumerate() {
        acts.push((blow.at, Act::Strike, number));
        acts.push(((blow.at + blow.lasts).min(lasts), Act::Relieve, number));
    }
    acts.sort_by_key(|(at, ..)| *at);
    let mut struck = BTreeSet::new();
    for (at, act, number) in acts {
        let blow = &blows[number];
        wait(stage, begun + at, &mut done, over).await?;
        match act {
            Act::Strike if over.is_cancelled() => {}
            Act::Strike => {
                tell(begun.elapsed(), blow);
                let key = (blow.fault.word(), group(blow.target));
                *done.faults.entry(key).or_default() += 1;
                stage.strike(blow.target, blow.fault);
                struck.insert(number);
            }
            Act::Relieve if struck.contains(&number) => {
                stage.relieve(blow.target, blow.fault).await?;
            }
            Act::Relieve => {}
        }
    }
    wait(stage, begun + lasts, &mut done, over).await?;
    Ok(done)
}

/// Keeps what there is alive for as long as it is needed.
pub(super) async fn keep<T>(
    stage: &mut Stage,
    done: &mut Done,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! { biased;
            output = &mut work => return Ok(output),
            () = tokio::time::sleep(KEEP_EVERY) => look(stage, done)?,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Strike,
    Relieve,
}

async fn wait(
    stage: &mut Stage,
    until: Instant,
    done: &mut Done,
    over: &CancellationToken,
) -> Result<(), Error> {
    keep(stage, done, over.run_until_cancelled(sleep_until(until))).await.map(drop)
}

fn look(stage: &mut Stage, done: &mut Done) -> Result<(), Error> {
    let ended = stage.keep()?;
    ended.iter().for_each(output::note);
    done.ended.extend(ended);
    Ok(())
}

fn tell(at: Duration, blow: &Blow) {
    let Blow { lasts, target, fault, .. } = blow;
    let (at, lasts) = (at.as_secs_f64(), lasts.as_secs_f64());
    let (word, dim) = (fault.word(), paint(DIM, format!("for {lasts:.1} s")));
    output::note(format!("{at:7.1} s  {word} {target} {dim}"));
}

const fn group(target: Target) -> &'static str {
    match target {
        Target::Coordinator(_) => "coordinators",
        Target::Agent(_) => "agents",
        Target::Server(_) => "nats_servers",
        Target::Other(_) => "processes",
    }
}
