//! A run whose agents come from the process that started it; finding it again.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use skep_tests::{Cluster, call, command};

use crate::expect::{exits, holds, ok, refused};

const LOOK: &str = "\
name: look
inputs: { files: { type: array, default: [a, b, c] } }
steps:
  each:
    for_each: ${{ inputs.files }}
    agent: exec
    with: { argv: [echo, \"${{ item }}\"] }
  sum: { agent: exec, with: { argv: [echo, \"n=${{ steps.each.outputs | length }}\"] } }
outputs: { sum: \"${{ steps.sum.output.stdout }}\" }
";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_brings_its_agents_and_is_found_by_its_label() -> Result<()> {
    let cluster = Cluster::start().await?;
    let told = brought(&cluster).await;
    told.with_context(|| format!("the processes printed:\n{}", cluster.printed()))
}

async fn brought(cluster: &Cluster) -> Result<()> {
    fs::write(cluster.path().join("look.skep.yaml"), LOOK)?;
    let file = ["run", "look.skep.yaml", "--label", "team=bees"];
    let waits = cluster.skep(&[&file[..], &["--timeout", "1ms"]].concat()).await?;
    let waits = exits(waits, 124)?;
    for part in [
        "no live agent of the cluster offers `exec`: the run waits until one does",
        "start a ready-made agent for the run: --allow-command NAME",
    ] {
        ensure!(waits.stderr.contains(part), "`{part}` is missing: {}", waits.text());
    }
    let first = waits.json()?["run"].as_str().context("an id is text")?.to_owned();
    exits(cluster.skep(&["cancel", &first, "--reason", "too dear"]).await?, 0)?;
    holds(&ok(cluster, &["get", &first]).await?, json!({ "cancelled": "too dear" }))?;

    let brings = [&file[..], &["--allow-command", "echo"]].concat();
    let ended = ok(cluster, &brings).await?;
    holds(&ended, json!({ "status": "completed", "outputs": { "sum": "n=3\n" } }))?;
    let run = ended["run"].as_str().context("an id is text")?;
    let leaves = [&brings[..], &["--detach"]].concat();
    let error = exits(cluster.skep(&leaves).await?, 2)?.error()?;
    ensure!(error["message"].to_string().contains("--detach leaves at once"), "{error}");

    // Two steps of the definition, three items.
    let counts = json!({ "run": run, "steps": 5, "steps_ended": 5 });
    let labelled = ok(cluster, &["list", "--label", "team=bees", "-n", "0"]).await?;
    holds(&labelled, json!([counts, { "run": first, "steps": 5 }]))?;
    ensure!(ok(cluster, &["list", "--label", "team=wasps"]).await? == json!([]), "{labelled}");
    let step = ok(cluster, &["get", run, "--step", "each"]).await?;
    let output = |text: &str| json!({ "exit_code": 0, "stdout": text });
    let outputs = json!([output("a\n"), output("b\n"), output("c\n")]);
    holds(&step, json!({ "status": "completed", "items": 3, "outputs": outputs }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_says_who_waited_for_it() -> Result<()> {
    let cluster = Cluster::start().await?;
    let text = "name: ask\nsteps:\n  a: { wait_for: { signal: yes } }\n  \
                b: { needs: [a], wait_for: { signal: then } }\n  \
                c: { needs: [b], wait_for: { signal: late } }\n";
    fs::write(cluster.path().join("ask.skep.yaml"), text)?;
    ok(&cluster, &["run", "ask.skep.yaml", "--detach"]).await?;
    for (args, told) in [
        (&["late", "--id", "one"][..], "no step waits for `late` yet; it is kept until one does"),
        (&["yes", "-i", "by=Ada"], "step `a` waited for it"),
    ] {
        let mut command = command()?;
        command.args(["signal", "latest"]).args(args).current_dir(cluster.path());
        command.env("SKEP_NATS_URL", cluster.server.url());
        let called = exits(call(command).await?, 0)?;
        ensure!(called.stderr.contains(told), "`{told}` is missing: {}", called.text());
        ensure!(called.stdout.contains(&format!("sent the signal `{}`", args[0])), "{called:?}");
    }
    let again = ok(&cluster, &["signal", "latest", "then", "--id", "one"]).await?;
    holds(&again, json!({ "done": "signalled", "existing": true }))?;
    let twice = ["signal", "latest", "then", "-p", r#"{"a": 1, "a": 2}"#];
    let message = "the JSON of the payload has the key `a` twice at line 1 column 12";
    refused(&cluster, &twice, json!({ "exit": 2, "message": message })).await?;
    let message = "no step of `ask` waits for the signal `thn`";
    refused(&cluster, &["signal", "latest", "thn"], json!({ "exit": 2, "message": message })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_dots_reach_their_workflow_and_their_agent() -> Result<()> {
    let cluster = Cluster::start().await?;
    let text = "name: team.hello\nsteps:\n  a: { agent: team.greet }\n\
                outputs: { said: \"${{ steps.a.output }}\" }\n";
    fs::write(cluster.path().join("hello.skep.yaml"), text)?;
    ok(&cluster, &["apply", "hello.skep.yaml"]).await?;
    let ended = ok(&cluster, &["run", "team.hello", "--agent", "team.greet=echo hello"]).await?;
    holds(&ended, json!({ "status": "completed", "outputs": { "said": "hello" } }))
}
