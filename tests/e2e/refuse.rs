//! What `skep …` refuses on a cluster, and what it says then.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use skep_nats::server::{Options, ThrowawayServer};
use skep_tests::{Cluster, call, command};

use crate::expect::{exits, holds, keys, ok, refused};
use crate::operate::PUBLISH;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_before_there_is_a_run() -> Result<()> {
    let cluster = Cluster::start().await?;
    fs::write(cluster.path().join("publish.skep.yaml"), PUBLISH)?;
    fs::write(cluster.path().join("broken.skep.yaml"), PUBLISH.replace("[draft]", "[drift]"))?;
    ok(&cluster, &["apply", "publish.skep.yaml"]).await?;
    for target in ["publish", "publish.skep.yaml"] {
        let args = ["run", target, "-i", "copies=0", "-i", "topics=x"];
        let error = exits(cluster.skep(&args).await?, 2)?.error()?;
        let message = error["message"].as_str().unwrap_or_default();
        for part in [
            "input `topic`: it is required",
            "{\"type\":\"string\"}",
            "input `copies`: ",
            "\"minimum\":1",
            "input `topics`: there is no such input; did you mean `topic`?",
        ] {
            ensure!(message.contains(part), "`{part}` is missing: {error}");
        }
    }
    let error = exits(cluster.skep(&["run", "publish", "-i", "topic"]).await?, 2)?.error()?;
    keys(&error, &["exit", "message", "help"])?;
    for (name, message) in [
        ("nonsense", "there is no run `nonsense`"),
        ("01", "there is no run `01`"),
        ("", "there is no run ``"),
        ("latest", "nothing has run yet"),
    ] {
        refused(&cluster, &["get", name], json!({ "exit": 4, "message": message })).await?;
        let parent = json!({ "exit": 4, "message": message });
        refused(&cluster, &["list", "--parent", name], parent).await?;
    }
    let invalid = exits(cluster.skep(&["apply", "broken.skep.yaml"]).await?, 3)?.error()?;
    ensure!(invalid["diagnostics"][0]["code"].is_string(), "{invalid}");
    let unknown = json!({ "exit": 4, "message": "no workflow `nobody` is registered" });
    refused(&cluster, &["run", "nobody"], unknown).await?;
    ensure!(ok(&cluster, &["list"]).await? == json!([]), "there is a run");

    let run = "01234567-89ab-7def-8123-456789abcdef";
    let unknown = json!({ "exit": 4, "message": format!("there is no run {run}") });
    let commands = ["get", "history", "logs", "watch", "pause", "resume", "cancel"];
    for command in commands {
        refused(&cluster, &[command, run], unknown.clone()).await?;
    }
    refused(&cluster, &["signal", run, "approved"], unknown).await?;
    let prefix = json!({ "exit": 4, "message": "there is no run `abcd`" });
    refused(&cluster, &["get", "abcd"], prefix).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_that_is_not_there_is_named_by_every_command() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("publish.skep.yaml"), PUBLISH)?;
    // Nothing listens on the port of a listener that was closed.
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let run = "01234567-89ab-7def-8123-456789abcdef";
    for args in [
        &["apply", "publish.skep.yaml"][..],
        &["run", "publish.skep.yaml", "-i", "topic=x", "--detach"],
        &["run", "publish"],
        &["list"],
        &["get", run],
        &["history", run],
        &["logs", run],
        &["watch", run],
        &["pause", run],
        &["resume", run],
        &["signal", run, "approved"],
        &["cancel", run],
        &["agents"],
        &["serve"],
        &["agent", "http"],
    ] {
        let mut command = command()?;
        command.args(args).args(["--output", "json"]).current_dir(folder.path());
        command.env("SKEP_NATS_URL", format!("nats://{address}"));
        let error = exits(call(command).await?, 5)?.error()?;
        keys(&error, &["exit", "message", "help"])?;
        let message = error["message"].as_str().unwrap_or_default();
        ensure!(message.contains(&address), "{args:?} does not name {address}: {error}");
        let help = error["help"].to_string();
        let told = help.contains("nats-server -js") && help.contains("--nats URL");
        ensure!(told, "{args:?} does not say what to try: {error}");
    }
    let mut command = command()?;
    command.args(["doctor", "--nats", &format!("nats://{address}"), "--output", "json"]);
    let checks = exits(call(command).await?, 5)?.json()?;
    let failed = checks.as_array().and_then(|checks| checks.last()).context("a list of checks")?;
    holds(failed, json!({ "check": "connection", "verdict": "fail" }))?;
    ensure!(failed["found"].to_string().contains(&address), "{address} is not named: {failed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nats_without_a_coordinator_is_told_from_none() -> Result<()> {
    let server = ThrowawayServer::start(Options::default()).await?;
    for args in [&["list"][..], &["bench", "latency"], &["bench", "chain", "--lane", "queue"]] {
        let mut command = command()?;
        command.args(args).args(["--nats", &server.url(), "--output", "json"]);
        let error = exits(call(command).await?, 5)?.error()?;
        for part in ["no coordinator was ever started", &server.url(), "start one: skep serve"] {
            ensure!(error.to_string().contains(part), "{args:?}: `{part}` is missing: {error}");
        }
    }
    Ok(())
}
