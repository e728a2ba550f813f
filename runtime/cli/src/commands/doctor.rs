//! `skep doctor`

use std::borrow::Cow;

use clap::Args;
use futures::future::join_all;
use serde::Serialize;
use skep_broker::{Commands as _, Queries as _, RequestError};
use skep_nats::{Inspection, Nats, OLDEST_SUPPORTED, SyncPolicy, server};
use skep_protocol::{
    Command, CommandReply, PartitionCount, PartitionId, Query, QueryReply, Rejection, RunId,
};

use crate::cli::Global;
use crate::cluster;
use crate::error::{Error, Exit, chain};
use crate::output::{self, Format, GREEN, RED, YELLOW, paint};
use crate::runtime;

/// Clocks that differ by more than this make deadlines and logs hard to understand.
const CLOCK_WITHIN_MS: i64 = 1_000;

/// Check everything that skep depends on: versions, streams, durability, clocks.
#[derive(Debug, Args)]
pub(crate) struct Doctor {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<Cow<'static, str>>,
}

impl Check {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), advice: None }
    }

    fn warn(check: &'static str, found: impl Into<String>, advice: &'static str) -> Self {
        Self { check, verdict: Verdict::Warn, found: found.into(), advice: Some(advice.into()) }
    }

    fn fail(
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { check, verdict: Verdict::Fail, found: found.into(), advice: Some(advice.into()) }
    }
}

impl Doctor {
    pub(crate) fn perform(self, global: &Global) -> Result<Exit, Error> {
        let checks = runtime::small()?.block_on(look(global))?;
        let failed = checks.iter().any(|check| check.verdict == Verdict::Fail);
        match global.output {
            Format::Json => output::json(&checks),
            Format::Text => checks.iter().for_each(show),
        }
        Ok(if failed { Exit::Unreachable } else { Exit::Ok })
    }
}

fn show(check: &Check) {
    let mark = match check.verdict {
        Verdict::Ok => paint(GREEN, "ok  "),
        Verdict::Warn => paint(YELLOW, "warn"),
        Verdict::Fail => paint(RED, "FAIL"),
    };
    output::data(format!("{mark}  {:<12} {}", check.check, check.found));
    if let Some(advice) = &check.advice {
        output::data(format!("      {:<12} → {advice}", ""));
    }
}

async fn look(global: &Global) -> Result<Vec<Check>, Error> {
    let mut checks = vec![Check::ok("skep", env!("CARGO_PKG_VERSION"))];
    checks.push(match server::find().await {
        Ok(found) => {
            Check::ok("nats-server", format!("{} at {}", found.version, found.path.display()))
        }
        Err(error) => Check::warn(
            "nats-server",
            chain(&error).lines().next().unwrap_or_default().to_owned(),
            "only `skep dev` and the tests need one on this machine, and fetch it by themselves",
        ),
    });
    let address = cluster::address(&global.cluster)?;
    match cluster::connect(&global.cluster).await {
        Ok(nats) => {
            checks.push(Check::ok("connection", format!("connected to {address}")));
            inspected(&nats, &mut checks).await?;
        }
        Err(error) => {
            checks.push(Check::fail("connection", error.to_string(), error.advice().join("; ")));
        }
    }
    Ok(checks)
}

async fn inspected(nats: &Nats, checks: &mut Vec<Check>) -> Result<(), Error> {
    let seen = nats.inspect().await?;
    checks.push(Check::ok(
        "server",
        format!("{} {} (at least {OLDEST_SUPPORTED} is needed)", seen.server, seen.version),
    ));
    let count = match cluster::partitions(nats).await {
        Ok(count) => count,
        Err(error) => {
            let advice = "look at the bucket with the settings of the cluster: nats kv ls";
            checks.push(Check::fail("settings", error.to_string(), advice));
            None
        }
    };
    let missing = count.map(|count| nats.missing(count, &seen)).unwrap_or_default();
    checks.push(streams(&seen, &missing));
    checks.push(replicas(&seen));
    checks.push(durability(&seen));
    checks.push(clock(&seen));
    if seen.round_trip_us > 0 {
        let round_trip = format!("{:.2} ms", seen.round_trip_us as f64 / 1_000.0);
        checks.push(Check::ok("round trip", round_trip));
    }
    checks.push(onlookers(nats).await);
    let answer = nats.query(Query::Agents { everywhere: false }).await;
    if let Ok(QueryReply::Agents(agents)) = &answer {
        let advice = "start one: skep agent exec --agent NAME=./PROGRAM";
        checks.push(match agents.len() {
            0 => Check::warn("agents", "none", advice),
            some => Check::ok("agents", format!("{some} alive")),
        });
    }
    let answers = matches!(&answer, Ok(QueryReply::Agents(_)));
    checks.push(match answer {
        Ok(QueryReply::Agents(_)) => Check::ok("coordinator", "answers"),
        Ok(other) => Check::fail(
            "coordinator",
            format!("it answers {other:?}"),
            "is it of another version than this skep?",
        ),
        Err(error) => Check::fail("coordinator", chain(&error), "start one: skep serve"),
    });
    match count {
        Some(count) if answers => checks.extend(partitions(nats, count).await),
        None if answers => checks.push(Check::fail(
            "partitions",
            "a coordinator answers, but the server does not have the settings of its cluster",
            "was the store of the NATS server replaced under it?",
        )),
        Some(_) | None => {}
    }
    Ok(())
}

/// Looks for those who keep the server from saying that nobody is there.
async fn onlookers(nats: &Nats) -> Check {
    match nats.onlookers().await {
        Ok(watched) if watched.is_empty() => Check::ok("onlookers", "none"),
        Ok(watched) => Check::warn(
            "onlookers",
            format!("somebody else subscribes to {}", watched.join(", ")),
            "to the server that is somebody who may answer: who was killed is missed after seconds \
             and not at once, and who asks nobody waits; subscribe to less, such as skep.beat.* or \
             skep.journal.*, or use skep watch and skep logs. It looks the same to a user who may \
             not send there",
        ),
        Err(error) => Check::warn(
            "onlookers",
            chain(&error),
            "may this user publish to its own inbox? without that it cannot be found out",
        ),
    }
}

/// Asks the owner of each partition about a run that there is not.
async fn partitions(nats: &Nats, count: PartitionCount) -> Vec<Check> {
    let looks = count.all().map(async |partition| {
        let run = RunId::from_key("doctor", "doctor");
        let answer = nats.command(partition, Command::Ask(Query::run(run))).await;
        unwell(partition, answer)
    });
    let unwell: Vec<Check> = join_all(looks).await.into_iter().flatten().collect();
    if unwell.is_empty() {
        return vec![Check::ok("partitions", format!("all {} answer", count.get()))];
    }
    unwell
}

fn unwell(partition: PartitionId, answer: Result<CommandReply, RequestError>) -> Option<Check> {
    match answer {
        Ok(CommandReply::Rejected(Rejection::PartitionStopped { cause })) => Some(Check::fail(
            "partitions",
            format!("partition {partition} has stopped: {cause}"),
            "its runs stand still, the other partitions go on; keep a copy of its journal before \
             anything is changed: nats stream backup",
        )),
        // Whatever it says: its owner is awake.
        Ok(_) => None,
        Err(error) => Some(Check::fail(
            "partitions",
            format!("partition {partition}: {}", chain(&error)),
            "if it does not go on in a minute, see what the coordinators write to their logs",
        )),
    }
}

fn streams(seen: &Inspection, missing: &[String]) -> Check {
    let advice = "they are made when the first coordinator starts: skep serve";
    let behind: Vec<&str> =
        seen.streams.iter().filter(|one| !one.behind.is_empty()).map(|one| &*one.name).collect();
    if seen.streams.is_empty() {
        return Check::fail("streams", "skep has none on this server", advice);
    }
    if !missing.is_empty() {
        let advice = "what they held is lost, unless there is a backup: nats stream restore; \
                      a coordinator that starts makes them again, empty";
        return Check::fail("streams", format!("missing: {}", missing.join(", ")), advice);
    }
    let differing: Vec<String> = seen
        .streams
        .iter()
        .flat_map(|one| one.differs.iter().map(move |how| format!("{} has {how}", one.name)))
        .collect();
    if !differing.is_empty() {
        let advice = "a coordinator that starts brings streams of earlier versions up to date; \
                      change others back: nats stream edit";
        return Check::warn("streams", differing.join("; "), advice);
    }
    if !behind.is_empty() {
        let found = format!("replicas lag behind: {}", behind.join(", "));
        return Check::warn("streams", found, "look at the servers of the NATS cluster");
    }
    let bytes: u64 = seen.streams.iter().map(|stream| stream.bytes).sum();
    let count = seen.streams.len();
    Check::ok("streams", format!("{count} streams, {} KiB", bytes.div_ceil(1024)))
}

fn replicas(seen: &Inspection) -> Check {
    let kept = seen.streams.iter().filter(|stream| stream.storage == "file");
    match kept.map(|stream| stream.replicas).min() {
        None => Check::warn("replicas", "no streams to look at", "start a coordinator: skep serve"),
        Some(1) if seen.cluster.is_some() => Check::warn(
            "replicas",
            "1, although the server is part of a cluster",
            "start the first coordinator with SKEP_REPLICAS=3",
        ),
        Some(1) => Check::warn(
            "replicas",
            "1: the loss of this server's disk loses the journals",
            "fine on a laptop; in production use three servers and SKEP_REPLICAS=3",
        ),
        Some(some) => Check::ok("replicas", some.to_string()),
    }
}

fn durability(seen: &Inspection) -> Check {
    let advice = "in production set `jetstream { sync_interval: always }` in the server's file";
    match seen.sync {
        Some(SyncPolicy::Always) => Check::ok("sync", "always"),
        Some(SyncPolicy::IntervalMs(ms)) => {
            let found =
                format!("every {} s: a power failure loses what was written since", ms / 1_000);
            Check::warn("sync", found, advice)
        }
        None => Check::warn("sync", "the server does not tell outside its system account", advice),
    }
}

fn clock(seen: &Inspection) -> Check {
    match seen.clock_ahead_ms {
        None => Check::warn("clock", "cannot be compared yet", "start a coordinator: skep serve"),
        Some(ahead) if ahead.abs() > CLOCK_WITHIN_MS => Check::warn(
            "clock",
            format!("the server's is {ahead} ms ahead of ours"),
            "run NTP on both machines: timers and deadlines follow the coordinator's clock",
        ),
        Some(ahead) => Check::ok("clock", format!("the server's is {ahead} ms ahead of ours")),
    }
}
