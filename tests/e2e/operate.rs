//! What a person or a script does with a cluster by `skep …`: exit codes, and the JSON of each.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use skep_tests::{Cluster, LOOK_EVERY, command};

use crate::expect::{agents, change, exits, holds, keys, ok, refused, until};

pub(crate) const PUBLISH: &str = "\
name: publish
version: '1'
inputs:
  topic: { type: string }
  copies: { type: integer, minimum: 1, default: 2 }
steps:
  draft: { agent: write, with: { text: \"All about ${{ inputs.topic }}.\" } }
  approve:
    needs: [draft]
    wait_for: { signal: approved, timeout: 24h, on_timeout: fail }
  print:
    agent: write
    with: { text: \"${{ steps.draft.output.text }}\", by: \"${{ steps.approve.output.by }}\" }
outputs:
  text: ${{ steps.print.output.text }}
  by: ${{ steps.print.output.by }}
";

/// Keys of a run in a list; `get` has more.
const SUMMARY: [&str; 9] = [
    "run",
    "workflow",
    "digest",
    "status",
    "started",
    "ended",
    "duration_ms",
    "steps",
    "steps_ended",
];
const DETAIL: [&str; 4] = ["inputs", "outputs", "error", "waiting"];
/// Keys of how a run ended.
const ENDED: [&str; 7] = ["run", "workflow", "status", "outputs", "error", "duration_ms", "steps"];

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_operated_from_its_definition_to_its_end() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let told = operate(&mut cluster).await;
    told.with_context(|| format!("the processes printed:\n{}", cluster.printed()))
}

async fn operate(cluster: &mut Cluster) -> Result<()> {
    let digest = apply(cluster).await?;
    let run = start_and_wait_for_an_agent(cluster, &digest).await?;
    let run = run.as_str();
    join(cluster).await?;
    pause_approve_and_resume(cluster, run).await?;
    look_back(cluster, run).await?;
    let over = json!({ "exit": 6, "message": format!("run {run} is over: completed") });
    for args in [&["pause", run][..], &["resume", run], &["cancel", run], &["signal", run, "x"]] {
        refused(cluster, args, over.clone()).await?;
    }
    Ok(())
}

/// `apply` and `list --workflows`.
async fn apply(cluster: &Cluster) -> Result<String> {
    fs::write(cluster.path().join("publish.skep.yaml"), PUBLISH)?;
    let applied = ok(cluster, &["apply", "publish.skep.yaml"]).await?;
    keys(&applied[0], &["workflow", "version", "digest"])?;
    holds(&applied, json!([{ "workflow": "publish", "version": "1" }]))?;
    let list = ok(cluster, &["list", "--workflows"]).await?;
    holds(&list, applied.clone())?;
    holds(&list, json!([{ "current": true }]))?;
    applied[0]["digest"].as_str().map(str::to_owned).context("a digest is text")
}

/// `run NAME --detach` and `get`, `list`, `agents` while nobody offers what the run needs.
async fn start_and_wait_for_an_agent(cluster: &Cluster, digest: &str) -> Result<String> {
    ensure!(agents(cluster, &[]).await?.is_empty(), "there should be no agent");
    let start = ["run", "publish@1", "-i", "topic=bees", "--key", "first", "--detach"];
    let started = ok(cluster, &start).await?;
    keys(&started, &["run", "existing"])?;
    ensure!(started["existing"] == false, "it is new: {started}");
    let run = started["run"].as_str().context("an id is text")?;
    let again = json!({ "run": run, "existing": true });
    ensure!(ok(cluster, &start).await? == again, "the same key is the same run");

    let got = until(cluster, run, "draft waits for an agent", |got| {
        let told = json!({ "step": "draft", "reason": "no live agent offers write" });
        got["waiting"].as_array().is_some_and(|waiting| waiting.contains(&told))
    });
    let got = got.await?;
    keys(&got, &[&SUMMARY[..], &DETAIL].concat())?;
    let attempt = json!({ "attempt": 1, "status": "scheduled", "agent": null, "ended": null });
    let draft = json!({ "status": "scheduled", "attempts": 1, "tries": [attempt], "output": null });
    let print = json!({ "status": "pending", "attempts": 0, "tries": [] });
    let expected = json!({
        "run": run, "workflow": "publish", "digest": digest, "status": "running", "ended": null,
        "inputs": { "topic": "bees", "copies": 2 }, "outputs": null, "error": null,
        "steps": { "draft": draft, "print": print },
    });
    holds(&got, expected)?;
    let why = ok(cluster, &["why", run, "print"]).await?;
    let help = "start one: skep agent exec --agent write=./PROGRAM";
    let nobody = "no live agent offers write";
    let because = json!([
        { "step": "print", "waits_for": "draft", "and_for": ["approve"], "help": null },
        { "step": "approve", "waits_for": "draft", "and_for": [], "signal": null, "help": null },
        { "step": "draft", "reason": nobody, "waits_for": null, "help": help },
    ]);
    holds(&why, json!({ "run": run, "status": "running", "because": because }))?;
    refused(cluster, &["why", run, "prin"], json!({ "exit": 4 })).await?;
    for name in [&run[run.len() - 8..], &run[..13], "latest"] {
        holds(&ok(cluster, &["get", name]).await?, json!({ "run": run }))?;
    }
    let list = ok(cluster, &["list", "--status", "running", "--workflow", "publish"]).await?;
    holds(&list, json!([{ "run": run, "digest": digest, "ended": null, "steps_ended": 0 }]))?;
    keys(&list[0], &SUMMARY)?;
    ensure!(ok(cluster, &["list", "--status", "completed"]).await? == json!([]), "{list}");
    Ok(run.to_owned())
}

/// `skep agent` and `agents`.
async fn join(cluster: &mut Cluster) -> Result<()> {
    let mut agent = command()?;
    agent.args(["agent", "exec", "--agent", "write=cat", "--slots", "3"]);
    cluster.start_agent(agent)?;
    let agents = loop {
        let agents = agents(cluster, &["--capability", "write"]).await?;
        if !agents.is_empty() {
            break Value::from(agents);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let offers = json!([{ "capability": "write", "slots": 3 }]);
    holds(&agents, json!([{ "lane": "direct", "offers": offers, "draining": false }]))?;
    let names = [
        "agent", "lane", "offers", "labels", "held", "draining", "ration", "health", "seen",
        "software",
    ];
    keys(&agents[0], &names)?;
    let others = crate::expect::agents(cluster, &["--capability", "read"]).await?;
    ensure!(others.is_empty(), "{others:?}");
    Ok(())
}

/// `pause`, `signal`, `watch`, `resume`: while it is paused, what was approved is not printed.
async fn pause_approve_and_resume(cluster: &Cluster, run: &str) -> Result<()> {
    let waits = |got: &Value| got["status"] == "waiting";
    let got = until(cluster, run, "the run waits for the signal", waits).await?;
    let reason = got["waiting"][0]["reason"].as_str().context("there is a reason")?;
    ensure!(reason.contains("approved"), "the signal is not named: {reason}");
    let step = ok(cluster, &["get", run, "--step", "draft"]).await?;
    let names = ["status", "started", "ended", "duration_ms", "attempts", "tries", "output"];
    keys(&step, &names)?;
    let output = json!({ "text": "All about bees." });
    holds(&step, json!({ "status": "completed", "output": output }))?;

    change(cluster, &["pause", run], "paused").await?;
    change(cluster, &["signal", run, "approved", "-i", "by=Ada", "--id", "x"], "signalled").await?;
    let again = ok(cluster, &["signal", run, "approved", "-i", "by=Eve", "--id", "x"]).await?;
    holds(&again, json!({ "run": run, "done": "signalled", "existing": true }))?;
    let paused = |got: &Value| got["steps"]["approve"]["status"] == "completed";
    let got = until(cluster, run, "the signal is taken", paused).await?;
    holds(&got, json!({ "status": "paused" }))?;
    ensure!(got["steps"]["print"]["attempts"] == 0, "a paused run prints: {got:#}");
    ensure!(got["paused"]["by"].is_string() && got["paused"]["since"].is_string(), "{got:#}");
    let why = ok(cluster, &["why", run, "print"]).await?;
    let because = json!([{ "cause": { "kind": "paused" }, "help": format!("skep resume {run}") }]);
    holds(&why, json!({ "status": "paused", "because": because }))?;

    let (watch, resume) = (["watch", run], ["resume", run]);
    let resuming = change(cluster, &resume, "resumed");
    let (watched, resumed) = tokio::join!(cluster.skep(&watch), resuming);
    resumed?;
    let ended = exits(watched?, 0)?.json()?;
    keys(&ended, &ENDED)?;
    let expected = json!({
        "run": run, "workflow": "publish", "status": "completed", "error": null,
        "outputs": { "text": "All about bees.", "by": "Ada" },
        "steps": { "print": { "status": "completed", "attempts": 1 } },
    });
    holds(&ended, expected)
}

/// `get`, `history`, `logs` and `list` of a run that is over.
async fn look_back(cluster: &Cluster, run: &str) -> Result<()> {
    let got = ok(cluster, &["get", run]).await?;
    holds(&got, json!({ "status": "completed", "waiting": [], "steps_ended": 3 }))?;
    let history = exits(cluster.skep(&["history", run]).await?, 0)?;
    let facts = history.json_lines()?;
    for (number, fact) in (1..).zip(&facts) {
        holds(fact, json!({ "number": number, "run": run }))?;
        ensure!(fact["at"].is_string() && fact["event"].is_string(), "{fact}");
    }
    let events: Vec<&str> = facts.iter().filter_map(|fact| fact["event"].as_str()).collect();
    let place = |event: &str| events.iter().position(|one| *one == event);
    ensure!(events.first() == Some(&"run_started"), "{events:?}");
    ensure!(events.last() == Some(&"run_completed"), "{events:?}");
    let printed = facts
        .iter()
        .position(|fact| fact["event"] == "attempt_scheduled" && fact["step"] == "print");
    let order = [place("run_paused"), place("run_resumed"), printed];
    ensure!(order.is_sorted() && order[0].is_some(), "{order:?} in {events:?}");
    for args in [&["logs", run][..], &["logs", run, "--follow"]] {
        let logs = exits(cluster.skep(args).await?, 0)?;
        ensure!(logs.stdout == history.stdout, "other facts: {}", logs.text());
    }
    let list = ok(cluster, &["list", "-n", "5"]).await?;
    holds(&list, json!([{ "run": run, "status": "completed", "steps": 3, "steps_ended": 3 }]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_takes_too_long_is_left_and_cancelled() -> Result<()> {
    let cluster = Cluster::start().await?;
    fs::write(cluster.path().join("publish.skep.yaml"), PUBLISH)?;
    let run = ["run", "publish.skep.yaml", "-i", "topic=bees", "--timeout", "1ms", "--quiet"];
    let left = exits(cluster.skep(&run).await?, 124)?;
    for part in ["--timeout passed: the run goes on", "skep watch", "skep cancel"] {
        ensure!(left.stderr.contains(part), "`{part}` is missing: {}", left.text());
    }
    let left = left.json()?;
    keys(&left, &ENDED)?;
    holds(&left, json!({ "workflow": "publish", "status": "running", "duration_ms": null }))?;
    let run = left["run"].as_str().context("an id is text")?;
    change(&cluster, &["cancel", run, "--reason", "nobody reads"], "cancelling").await?;
    let watched = exits(cluster.skep(&["watch", run]).await?, 1)?.json()?;
    keys(&watched, &ENDED)?;
    let steps = json!({ "draft": { "status": "cancelled" }, "print": { "status": "skipped" } });
    holds(&watched, json!({ "status": "cancelled", "outputs": null, "steps": steps }))?;
    change(&cluster, &["cancel", run], "cancelling").await?;
    let history = cluster.skep(&["history", run]).await?.json_lines()?;
    let asked: Vec<_> = history.iter().filter(|fact| fact["event"] == "cancel_requested").collect();
    ensure!(asked.len() == 1 && asked[0]["reason"] == "nobody reads", "{history:?}");
    holds(&ok(&cluster, &["list", "--status", "cancelled"]).await?, json!([{ "run": run }]))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_looks_at_everything() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let checks = ok(&cluster, &["doctor"]).await?;
    let checks = checks.as_array().context("a list of checks")?;
    let names: Vec<_> = checks.iter().filter_map(|check| check["check"].as_str()).collect();
    let all = [
        "skep",
        "nats-server",
        "connection",
        "server",
        "streams",
        "replicas",
        "sync",
        "clock",
        "round trip",
        "onlookers",
        "agents",
        "coordinator",
        "partitions",
    ];
    ensure!(names == all, "other checks: {names:?}");
    for check in checks {
        match check["verdict"].as_str() {
            Some("ok") => keys(check, &["check", "verdict", "found"])?,
            Some("warn") => keys(check, &["check", "verdict", "found", "advice"])?,
            _ => bail!("it is well, but {check}"),
        }
    }
    cluster.kill_coordinator()?;
    let checks = exits(cluster.skep(&["doctor"]).await?, 5)?.json()?;
    let failed = checks.as_array().and_then(|all| all.iter().find(|one| one["verdict"] == "fail"));
    let expected = json!({ "check": "coordinator", "advice": "start one: skep serve" });
    holds(failed.context("nothing failed")?, expected)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_what_is_gone_and_what_has_stopped() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    ok(&cluster, &["doctor"]).await?;
    cluster.kill_coordinator()?;
    let js = async_nats::jetstream::new(async_nats::connect(cluster.server.url()).await?);
    js.publish("skep.journal.3", "garbage".into()).await?.await?;
    cluster.start_coordinator()?;
    loop {
        let checks = cluster.skep(&["doctor"]).await?.json()?;
        let checks = checks.as_array().context("a list of checks")?;
        let failed: Vec<_> = checks.iter().filter(|one| one["verdict"] == "fail").collect();
        let found: Vec<_> = failed.iter().filter_map(|one| one["found"].as_str()).collect();
        if matches!(found[..], [one] if one.starts_with("partition 3 has stopped: ")) {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    js.delete_stream("skep_blobs").await?;
    js.delete_stream("skep_journal_7").await?;
    let checks = exits(cluster.skep(&["doctor"]).await?, 5)?.json()?;
    let failed = checks.as_array().and_then(|all| all.iter().find(|one| one["verdict"] == "fail"));
    let expected = json!({ "check": "streams", "found": "missing: skep_journal_7, skep_blobs" });
    holds(failed.context("nothing failed")?, expected)
}
