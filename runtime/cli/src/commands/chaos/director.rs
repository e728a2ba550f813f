//! Lets the faults of a schedule happen, and mends everything in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

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

/// Lets everything happen, one thing after the other, for as long as it is to last.
pub(super) async fn direct(
    stage: &mut Stage,
    blows: &[Blow],
    lasts: Duration,
) -> Result<Done, Error> {
    let (begun, mut done) = (Instant::now(), Done::default());
    let mut acts: Vec<(Duration, Act, &Blow)> = Vec::new();
    for blow in blows {
        acts.push((blow.at, Act::Strike, blow));
        acts.push(((blow.at + blow.lasts).min(lasts), Act::Relieve, blow));
    }
    acts.sort_by_key(|(at, ..)| *at);
    for (at, act, blow) in acts {
        wait(stage, begun + at, &mut done).await?;
        match act {
            Act::Strike => {
                tell(begun.elapsed(), blow);
                let key = (blow.fault.word(), group(blow.target));
                *done.faults.entry(key).or_default() += 1;
                stage.strike(blow.target, blow.fault);
            }
            Act::Relieve => stage.relieve(blow.target, blow.fault).await?,
        }
    }
    wait(stage, begun + lasts, &mut done).await?;
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

async fn wait(stage: &mut Stage, until: Instant, done: &mut Done) -> Result<(), Error> {
    keep(stage, done, sleep_until(until)).await
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
