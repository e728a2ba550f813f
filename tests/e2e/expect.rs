//! Calls of `skep …` on a cluster, held against what is expected of them.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use skep_tests::{Called, Cluster, LOOK_EVERY, difference};

/// Looks at a run until it is as it should be.
pub(crate) async fn until(
    cluster: &Cluster,
    run: &str,
    what: &str,
    is_so: impl Fn(&Value) -> bool,
) -> Result<Value> {
    loop {
        let got = ok(cluster, &["get", run]).await?;
        if is_so(&got) {
            return Ok(got);
        }
        let over = !got["ended"].is_null();
        ensure!(!over, "it should be so that {what}, but the run is over: {got:#}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

pub(crate) async fn ok(cluster: &Cluster, args: &[&str]) -> Result<Value> {
    exits(cluster.skep(args).await?, 0)?.json().with_context(|| format!("skep {args:?}"))
}

/// Returns the live agents, of these arguments.
pub(crate) async fn agents(cluster: &Cluster, args: &[&str]) -> Result<Vec<Value>> {
    let told = ok(cluster, &[&["agents"], args].concat()).await?;
    keys(&told, &["agents", "told_by", "missing"])?;
    told["agents"].as_array().cloned().context("a list of agents")
}

pub(crate) async fn change(cluster: &Cluster, args: &[&str], done: &str) -> Result<()> {
    let found = ok(cluster, args).await?;
    let expected = json!({ "run": args[1], "done": done });
    ensure!(found == expected, "skep {args:?} said {found}");
    Ok(())
}

/// The call ends with an error that holds this, and prints no data.
pub(crate) async fn refused(cluster: &Cluster, args: &[&str], error: Value) -> Result<()> {
    let exit = error["exit"].as_i64().and_then(|exit| i32::try_from(exit).ok());
    let called = exits(cluster.skep(args).await?, exit.context("a code")?)?;
    ensure!(called.stdout.is_empty(), "skep {args:?} printed data: {}", called.text());
    holds(&called.error()?, error).with_context(|| format!("skep {args:?}"))
}

pub(crate) fn exits(called: Called, exit: i32) -> Result<Called> {
    ensure!(called.exit == exit, "it should end with {exit}: {}", called.text());
    Ok(called)
}

pub(crate) fn keys(found: &Value, expected: &[&str]) -> Result<()> {
    let object = found.as_object().with_context(|| format!("no object: {found}"))?;
    let mut found: Vec<&str> = object.keys().map(String::as_str).collect();
    let mut expected = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    ensure!(found == expected, "other keys: {found:?}, not {expected:?}");
    Ok(())
}

pub(crate) fn holds(found: &Value, expected: Value) -> Result<()> {
    match difference(found, &expected) {
        Some(difference) => bail!("the JSON{difference}, in {found:#}"),
        None => Ok(()),
    }
}
