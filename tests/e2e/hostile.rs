//! What is made to do harm: files under `tests/hostile`, each refused for a cause that is told.

mod bystanders;
mod causes;
mod files;
mod live;
mod play;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use causes::{Cause, KINDS};
use files::{Case, cases, compare};
use live::MESSAGES;

/// The least number of cases.
const LEAST: usize = 150;
/// Of so many, it is told how long they took.
const SLOWEST: usize = 5;

#[test]
#[expect(clippy::print_stdout, reason = "how long it takes is for people to judge")]
fn each_is_refused_for_its_cause() -> Result<()> {
    let (mut took, mut problems) = (Vec::new(), Vec::new());
    for (kind, cause) in KINDS {
        let mut told = Vec::new();
        for case in cases(kind)? {
            match refused(&case, cause) {
                Ok((text, time)) => {
                    took.push((time, case.name.clone()));
                    told.push((case, text));
                }
                Err(problem) => problems.push(format!("{problem:#}")),
            }
        }
        problems.extend(compare(kind, &told).err().map(|problem| format!("{problem:#}")));
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    took.sort();
    for (time, name) in took.iter().rev().take(SLOWEST) {
        println!("{:>6} ms  {name}", time.as_millis());
    }
    Ok(())
}

/// Asks for the cause in a thread that has the name of the case, so that a panic tells it.
#[expect(clippy::disallowed_methods, reason = "it is measured, not decided by")]
fn refused(case: &Case, cause: Cause) -> Result<(String, Duration)> {
    let same = case.clone();
    let asked = thread::Builder::new().name(case.name.clone()).spawn(move || {
        let began = Instant::now();
        let cause = cause(&same);
        (cause, began.elapsed())
    })?;
    let Ok((cause, time)) = asked.join() else { bail!("{} makes it panic", case.name) };
    let cause = cause.with_context(|| case.name.clone())?;
    ensure!(!cause.is_empty(), "{}: there is no cause", case.name);
    Ok((cause, time))
}

#[test]
fn there_are_enough_of_them() -> Result<()> {
    let kinds = KINDS.iter().map(|(kind, _)| *kind).chain(MESSAGES);
    let count = kinds.map(|kind| cases(kind).map(|cases| cases.len())).sum::<Result<usize>>()?;
    ensure!(count >= LEAST, "there are {count} cases, not {LEAST}");
    Ok(())
}
