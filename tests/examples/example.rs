//! Running what an example says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use expect_test::expect_file;
use serde_json::Value;
use skep_tests::{Cluster, call, command, difference, python_with_nats};

use crate::dev::Dev;
use crate::format::{self, Case, Step};

/// Returns the folder of an example.
pub(crate) fn folder(example: &str) -> PathBuf {
    skep_tests::root().join("examples").join(example)
}

/// Runs every case of an example, each in a copy of its folder of its own.
pub(crate) async fn check(example: &str) -> Result<()> {
    for case in format::read(&folder(example))?.cases {
        let told = check_case(example, &case).await;
        told.with_context(|| format!("example {example}, case `{}`", case.name))?;
    }
    Ok(())
}

async fn check_case(example: &str, case: &Case) -> Result<()> {
    let copy = tempfile::tempdir()?;
    copy_folder(&folder(example), copy.path())?;
    if let Some(arguments) = &case.dev {
        let dev = Dev::start(arguments, copy.path()).await?;
        let told = run(example, case, copy.path(), Some(&dev.url())).await;
        return told.with_context(|| format!("skep dev printed:\n{}", dev.printed()));
    }
    if !case.cluster {
        return run(example, case, copy.path(), None).await;
    }
    let mut cluster = Cluster::start().await?;
    for agent in &case.agents {
        cluster.start_agent(agent_command(agent, copy.path())?)?;
    }
    let told = run(example, case, copy.path(), Some(&cluster.server.url())).await;
    told.with_context(|| format!("the processes printed:\n{}", cluster.printed()))
}

/// `skep agent …`, or a program in Python.
fn agent_command(words: &[String], folder: &Path) -> Result<Command> {
    let mut command = match words.first().map(String::as_str) {
        Some("$PYTHON") => {
            let mut command = Command::new(python_with_nats()?);
            command.args(&words[1..]);
            command
        }
        Some(_) => {
            let mut command = command()?;
            command.arg("agent").args(words);
            command
        }
        None => bail!("an agent has no words"),
    };
    command.current_dir(folder);
    Ok(command)
}

/// Makes the calls of a case, one after the other.
async fn run(example: &str, case: &Case, place: &Path, url: Option<&str>) -> Result<()> {
    let mut run = None;
    for step in &case.steps {
        let args = with_run(&step.args, run.as_deref())?;
        let mut command = command()?;
        command.args(&args).args(["--output", "json"]).current_dir(place);
        command.envs(url.map(|url| ("SKEP_NATS_URL", url)));
        let called = call(command).await?;
        let shown = || format!("skep {}\n{}", args.join(" "), called.text());
        ensure!(called.exit == step.exit, "it should end with {}: {}", step.exit, shown());
        if let Ok(json) = called.json()
            && let Some(Value::String(id)) = json.get("run")
        {
            run = Some(id.clone());
        }
        if let Some(expected) = &step.expect
            && let Some(difference) = difference(&called.json()?, expected)
        {
            bail!("the JSON{difference}: {}", shown());
        }
        check_files(example, step, place)?;
    }
    Ok(())
}

fn with_run(args: &[String], run: Option<&str>) -> Result<Vec<String>> {
    let known = |arg: &String| match run {
        Some(run) => Ok(arg.replace("$RUN", run)),
        None if arg.contains("$RUN") => bail!("no JSON had a `run` yet"),
        None => Ok(arg.clone()),
    };
    args.iter().map(known).collect()
}

/// Compares what was written with what the example holds; `UPDATE_EXPECT=1` accepts it.
fn check_files(example: &str, step: &Step, place: &Path) -> Result<()> {
    for (written, expected) in &step.files {
        let found = fs::read_to_string(place.join(written));
        let found = found.with_context(|| format!("`{written}` was not written"))?;
        expect_file![folder(example).join(expected)].assert_eq(&found);
    }
    Ok(())
}

/// Copies what belongs to an example, not what earlier runs left in it.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_folder(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}
