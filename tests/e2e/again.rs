//! Runs that failed are done over, by people.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use skep_tests::{Cluster, LOOK_EVERY, command};

use crate::expect::{agents, exits, holds, ok, refused};

const SHOP: &str = "\
name: shop
inputs:
  order: { type: integer }
  note: { type: string, default: none }
steps:
  reserve: { agent: write, with: { order: \"${{ inputs.order }}\", note: \"${{ inputs.note }}\" } }
  charge:
    agent: charge
    needs: [reserve]
    retry: { attempts: 1 }
    with: { order: \"${{ inputs.order }}\", note: \"${{ inputs.note }}\" }
  ship: { agent: write, with: { paid: \"${{ steps.charge.output.order }}\" } }
outputs:
  order: ${{ steps.ship.output.paid }}
";

/// An agent that writes down what it is asked, and fails for as long as a file is there.
const CHARGE: &str = "#!/bin/sh\ninput=$(cat)\necho \"$input\" >> charged\n\
    if [ -e broken ]; then echo 'the till is shut' >&2; exit 3; fi\necho \"$input\"\n";

/// A cluster with a shop whose till is shut.
pub(crate) struct Shop {
    pub(crate) cluster: Cluster,
}

impl Shop {
    pub(crate) async fn open() -> Result<Self> {
        let mut cluster = Cluster::start().await?;
        fs::write(cluster.path().join("shop.skep.yaml"), SHOP)?;
        fs::write(cluster.path().join("broken"), "")?;
        ok(&cluster, &["apply", "shop.skep.yaml"]).await?;
        let charge = program(cluster.path())?;
        let mut agent = command()?;
        let charge = format!("charge={}", charge.display());
        agent.args(["agent", "exec", "--agent", "write=cat", "--agent", &charge, "--slots", "3"]);
        agent.current_dir(cluster.path());
        cluster.start_agent(agent)?;
        while agents(&cluster, &["--capability", "charge"]).await?.is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(Self { cluster })
    }

    /// Opens the till.
    pub(crate) fn mend(&self) -> Result<()> {
        Ok(fs::remove_file(self.cluster.path().join("broken"))?)
    }

    /// Lets an order fail, and returns its run.
    pub(crate) async fn order(&self, number: u32) -> Result<String> {
        let order = format!("order={number}");
        let called = self.cluster.skep(&["run", "shop", "-i", &order, "--quiet"]).await?;
        let ended = exits(called, 1)?.json()?;
        holds(&ended, json!({ "status": "failed", "steps": { "ship": { "status": "skipped" } } }))?;
        ended["run"].as_str().map(str::to_owned).context("an id is text")
    }

    /// Returns what was charged, one entry for each time.
    pub(crate) fn charged(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.cluster.path().join("charged"))?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

fn program(folder: &Path) -> Result<PathBuf> {
    let program = folder.join("charge.sh");
    fs::write(&program, CHARGE)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(program)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_done_over_from_where_it_failed() -> Result<()> {
    let shop = Shop::open().await?;
    let told = retry(&shop).await;
    told.with_context(|| format!("the processes printed:\n{}", shop.cluster.printed()))
}

async fn retry(shop: &Shop) -> Result<()> {
    let cluster = &shop.cluster;
    let run = shop.order(7).await?;
    let step = json!({ "exit": 6, "help": ["its steps are reserve, charge, ship"] });
    refused(cluster, &["retry", &run, "--from", "shipp"], step).await?;
    let only = exits(cluster.skep(&["retry", &run, "--only"]).await?, 2)?;
    ensure!(only.stderr.contains("--from"), "{}", only.text());
    shop.mend()?;

    let ended = exits(cluster.skep(&["retry", &run, "--quiet"]).await?, 0)?.json()?;
    holds(&ended, json!({ "status": "completed", "outputs": { "order": 7 } }))?;
    let again = ended["run"].as_str().context("an id is text")?;
    let got = ok(cluster, &["get", again]).await?;
    let steps = json!({
        "reserve": { "kept": true, "attempts": 0, "output": { "order": 7 } },
        "charge": { "attempts": 1, "tries": [{ "attempt": 2 }] },
    });
    holds(&got, json!({ "retry_of": run, "steps": steps }))?;
    holds(&ok(cluster, &["get", &run]).await?, json!({ "retried_by": [again] }))?;
    let same = ok(cluster, &["retry", &run, "--detach"]).await?;
    holds(&same, json!({ "run": again, "retry_of": run, "existing": true }))?;
    let history = cluster.skep(&["history", again]).await?.json_lines()?;
    holds(&history[0], json!({ "event": "run_started", "retry": { "run": run } }))?;
    let kept: Vec<&str> = history
        .iter()
        .filter(|fact| fact["event"] == "step_kept" && fact["status"] == "completed")
        .filter_map(|fact| fact["step"].as_str())
        .collect();
    ensure!(kept == ["reserve"], "{kept:?} were kept");
    ensure!(shop.charged()?.len() == 2, "it was charged again and again");

    // It is over and well; a step may run again all the same, with another input.
    let none = json!({ "exit": 6, "message": format!(
        "run {again} cannot be retried: it is completed, and every step of it completed"
    ) });
    refused(cluster, &["retry", again], none).await?;
    let from = ["retry", again, "--from", "charge", "--only", "-i", "note=again", "--quiet"];
    let ended = exits(cluster.skep(&from).await?, 0)?.json()?;
    let third = ended["run"].as_str().context("an id is text")?;
    let got = ok(cluster, &["get", third]).await?;
    holds(&got["inputs"], json!({ "order": 7, "note": "again" }))?;
    let steps = json!({ "reserve": { "kept": true }, "ship": { "kept": true } });
    holds(&got, json!({ "retry_of": again, "status": "completed", "steps": steps }))?;
    holds(&shop.charged()?[2], json!({ "note": "again" }))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_on_is_listed_redriven_and_dropped() -> Result<()> {
    let mut shop = Shop::open().await?;
    let told = letters(&mut shop).await;
    told.with_context(|| format!("the processes printed:\n{}", shop.cluster.printed()))
}

async fn letters(shop: &mut Shop) -> Result<()> {
    let runs = find_letters(shop).await?;
    deal_with_letters(shop, &runs).await
}

/// Counts the dead letters that these options find.
async fn count(cluster: &Cluster, args: &[&str]) -> Result<usize> {
    let args = [&["deadletters", "list"], args].concat();
    let found = ok(cluster, &args).await?;
    Ok(found.as_array().context("a list")?.len())
}

/// `list` and `show`; returns the runs of three letters.
async fn find_letters(shop: &Shop) -> Result<[String; 3]> {
    ensure!(ok(&shop.cluster, &["deadletters"]).await? == json!([]), "there are none");
    let (first, second, third) = (shop.order(1).await?, shop.order(2).await?, shop.order(3).await?);
    let cluster = &shop.cluster;
    let all = ok(cluster, &["deadletters", "list"]).await?;
    holds(
        &all,
        json!([
            { "run": third, "workflow": "shop", "step": "charge", "capability": "charge",
              "attempts": 1, "error": { "kind": "agent" }, "redriven_by": [], "dropped": null },
            { "run": second },
            { "run": first },
        ]),
    )?;
    let code = all[0]["error"]["code"].as_str().context("a code")?.to_owned();
    let agent = all[0]["agent"].as_str().context("an agent")?.to_owned();
    for (args, found) in [
        (&["-n", "2"][..], 2),
        (&["--run", &first], 1),
        (&["--code", &code, "--agent", &agent, "--kind", "agent", "--since", "1h"], 3),
        (&["--capability", "charge", "--workflow", "shop", "--step", "charge"], 3),
        (&["--capability", "write"], 0),
        (&["--code", "nope"], 0),
        (&["--before", "1h"], 0),
        (&["--step", "char"], 0),
    ] {
        ensure!(count(cluster, args).await? == found, "{args:?} do not find {found}");
    }
    let shown = ok(cluster, &["deadletters", "show", &first, "charge"]).await?;
    let input = json!({ "order": 1, "note": "none" });
    let tries = json!([{ "attempt": 1, "status": "failed", "agent": agent }]);
    holds(&shown, json!([{ "run": first, "input": input, "tries": tries }]))?;
    Ok([first, second, third])
}

/// `redrive` and `drop`, and what is known of them to a coordinator that begins anew.
async fn deal_with_letters(shop: &mut Shop, [first, second, third]: &[String; 3]) -> Result<()> {
    let cluster = &shop.cluster;
    refused(cluster, &["deadletters", "redrive"], json!({ "exit": 2 })).await?;
    let unsure = json!({ "exit": 2, "message": "3 dead letters of 3 runs would be dealt with" });
    refused(cluster, &["deadletters", "drop", "--every"], unsure).await?;
    let dry = ok(cluster, &["deadletters", "redrive", "--every", "--dry-run"]).await?;
    ensure!(dry.as_array().is_some_and(|dry| dry.len() == 3), "{dry}");
    ensure!(count(cluster, &[]).await? == 3, "a rehearsal did something");

    let dropped = ok(cluster, &["deadletters", "drop", first, "charge"]).await?;
    holds(&dropped, json!({ "done": [{ "run": first, "dropped": ["charge"] }], "failed": [] }))?;
    let again = json!({ "exit": 6 });
    refused(cluster, &["deadletters", "drop", first], again.clone()).await?;
    fs::remove_file(cluster.path().join("broken"))?;
    let redrive = ["deadletters", "redrive", "--workflow", "shop", "--yes"];
    let redriven = ok(cluster, &redrive).await?;
    holds(&redriven, json!({ "done": [{ "run": second }, { "run": third }], "failed": [] }))?;
    let by = redriven["done"][0]["redriven_by"].as_str().context("a run")?;
    exits(cluster.skep(&["watch", by]).await?, 0)?;
    refused(cluster, &["deadletters", "redrive", second], again).await?;
    ensure!(count(cluster, &[]).await? == 0, "letters are left");
    ensure!(count(cluster, &["--all"]).await? == 3, "letters are gone");
    let none = ok(cluster, &redrive).await?;
    holds(&none, json!({ "done": [], "failed": [] }))?;

    // What was dealt with is in the journals: a coordinator that begins from them knows it.
    let cluster = &mut shop.cluster;
    cluster.kill_coordinator()?;
    fs::remove_dir_all(cluster.path().join("data"))?;
    cluster.start_coordinator()?;
    let all = ok(cluster, &["deadletters", "list", "--all"]).await?;
    holds(&all, json!([{ "run": third }, { "redriven_by": [by] }, { "run": first }]))?;
    ensure!(all[2]["dropped"]["by"].is_string(), "{all}");
    ensure!(ok(cluster, &["deadletters"]).await? == json!([]), "some are open again");
    let history = cluster.skep(&["history", first]).await?.json_lines()?;
    holds(
        history.last().context("facts")?,
        json!({ "event": "dead_letter_dropped", "step": "charge" }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_several_letters_is_redriven_as_a_whole() -> Result<()> {
    let shop = Shop::open().await?;
    let told = several(&shop).await;
    told.with_context(|| format!("the processes printed:\n{}", shop.cluster.printed()))
}

const PAIR: &str = "\
name: pair
on_failure: continue
steps:
  a: { agent: charge }
  g: { needs: [a], if: always(), for_each: [1], steps: { b: { agent: charge } } }
";

async fn several(shop: &Shop) -> Result<()> {
    let cluster = &shop.cluster;
    fs::write(cluster.path().join("pair.skep.yaml"), PAIR)?;
    let called = cluster.skep(&["run", "pair.skep.yaml", "--quiet"]).await?;
    let ended = exits(called, 1)?.json()?;
    let run = ended["run"].as_str().context("an id is text")?;
    for (step, found) in [("g[0]/b", 1), ("g/b", 1), ("g[0]", 1), ("b", 1), ("g", 1), ("c", 0)] {
        ensure!(count(cluster, &["--step", step]).await? == found, "{step}");
    }
    let none = json!({ "exit": 4, "message": format!("run {run} has no such dead letter"),
        "help": ["it has `g[0]/b`, `a`"] });
    refused(cluster, &["deadletters", "show", run, "wrong"], none.clone()).await?;
    refused(cluster, &["deadletters", "drop", run, "wrong"], none).await?;
    let whole = json!({ "exit": 2, "message": "2 dead letters of 1 run would be dealt with, \
        1 more than chosen: a run is done over as a whole" });
    refused(cluster, &["deadletters", "redrive", run, "--step", "a"], whole.clone()).await?;
    refused(cluster, &["deadletters", "redrive", "--step", "b"], whole).await?;
    exits(cluster.skep(&["deadletters", "redrive", run, "a"]).await?, 2)?;
    ensure!(count(cluster, &[]).await? == 2, "some are gone");

    shop.mend()?;
    let redriven = ok(cluster, &["deadletters", "redrive", run, "--step", "a", "--yes"]).await?;
    let by = redriven["done"][0]["redriven_by"].as_str().context("a run")?;
    exits(cluster.skep(&["watch", by]).await?, 0)?;
    ensure!(count(cluster, &[]).await? == 0, "some are left");
    let help = json!([format!("should run {by} fail, do that one over: skep retry {by}")]);
    refused(cluster, &["deadletters", "redrive", run], json!({ "exit": 6, "help": help })).await?;
    let once = json!({
        "exit": 6,
        "message": format!("run {run} cannot be retried: run {by} does it over"),
        "help": [format!("should that one fail, do it over in its turn: skep retry {by}")],
    });
    refused(cluster, &["retry", run, "--from", "a"], once).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_on_is_not_done_over() -> Result<()> {
    let cluster = Cluster::start().await?;
    fs::write(cluster.path().join("shop.skep.yaml"), SHOP)?;
    ok(&cluster, &["apply", "shop.skep.yaml"]).await?;
    let started = ok(&cluster, &["run", "shop", "-i", "order=1", "--detach"]).await?;
    let run = started["run"].as_str().context("an id is text")?;
    let help = format!("wait for its end, or end it: skep cancel {run}");
    let message = format!("run {run} cannot be retried: it is not over");
    refused(&cluster, &["retry", run], json!({ "exit": 6, "message": message, "help": [help] }))
        .await
}
