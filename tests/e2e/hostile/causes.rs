//! What each kind of hostile input is refused with.

use std::future::pending;

use anyhow::{Context as _, Result, bail, ensure};
use skep_agents::exec::{Commands, ExecConfig, ExecInput, StdoutFormat, Surroundings, run};
use skep_engine::{Input, Partition, Reply};
use skep_protocol::{
    Batch, Command, CommandReply, Event, Hash, Payload, Record, ReportBatch, RunRecord, Seq, decode,
};
use skep_workflow::{Style, Workflow, read};

use super::files::Case;
use super::play::{PARTITION, Play, plain, run_id};

/// Problems of a definition that are shown; the rest is counted.
const SHOWN: usize = 2;
/// All problems of a definition, drawn, have no more bytes.
const DRAWN: usize = 1024 * 1024;

/// The workflow that inputs, outputs and journals are held against.
const FIXED: &str = "\
name: fixed
inputs:
  topic: { type: string, maxLength: 100, default: bees }
  count: { type: integer, minimum: 1, maximum: 9, default: 3 }
  tags: { type: array, items: { type: string, pattern: '^(a|aa)+$' }, maxItems: 5, default: [] }
  tree: { type: object, default: {} }
steps:
  a:
    agent: x
    expect: { type: object, required: [score], properties: { score: { type: number } } }
";

pub(crate) type Cause = fn(&Case) -> Result<String>;

/// The kinds that need no server.
pub(crate) const KINDS: [(&str, Cause); 8] = [
    ("definitions", definition),
    ("expressions", expression),
    ("inputs", inputs),
    ("outputs", output),
    ("blobs", blob),
    ("printed", printed),
    ("journals", journal),
    ("snapshots", snapshot),
];

/// Returns an error with all it follows from.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// A definition is refused when it is read.
fn definition(case: &Case) -> Result<String> {
    let Err(rejected) = read(&case.bytes, case.stem()) else { bail!("it is accepted") };
    let drawn = rejected.render(Style::Plain).len();
    ensure!(drawn <= DRAWN, "what is drawn has {drawn} bytes");
    let all = rejected.diagnostics();
    let mut lines: Vec<String> = Vec::new();
    for one in all.iter().take(SHOWN) {
        lines.push(format!("{} at {}:{}: {}", one.code, one.line, one.column, one.message));
        lines.extend(one.help.iter().map(|help| format!("  help: {help}")));
    }
    if all.len() > SHOWN {
        lines.push(format!("and {} more", all.len() - SHOWN));
    }
    Ok(lines.join("\n"))
}

/// An expression does its harm only when a run comes to it.
fn expression(case: &Case) -> Result<String> {
    let workflow = match read(&case.bytes, case.stem()) {
        Ok(workflow) => workflow,
        Err(rejected) => bail!("it belongs to the definitions: {}", rejected.render(Style::Plain)),
    };
    let mut play = Play::new();
    match play.start(&workflow, plain(&workflow)?)? {
        Some(Reply::Command(CommandReply::Started { .. })) => play.play_on(),
        other => bail!("it does not start: {other:?}"),
    }
}

/// Inputs are put into a start as they are, as somebody would who writes the message by hand.
fn inputs(case: &Case) -> Result<String> {
    let mut message = br#"{"start":{"run":"RUN","workflow":"fixed","inputs":{"json":"#.to_vec();
    message = String::from_utf8(message)?.replace("RUN", &run_id().to_string()).into_bytes();
    message.extend(&case.bytes);
    message.extend(b"}}}");
    let start = match decode::<Command>(&message) {
        Ok(Command::Start(start)) => start,
        Ok(other) => bail!("another command: {other:?}"),
        Err(error) => return Ok(chain(&error)),
    };
    match Play::new().start(&fixed()?, *start)? {
        Some(Reply::Command(CommandReply::Rejected(rejection))) => Ok(rejection.to_string()),
        other => bail!("they are accepted: {other:?}"),
    }
}

/// An output is put into a report as it is, of the one attempt there is.
fn output(case: &Case) -> Result<String> {
    let mut message = br#"{"json":"#.to_vec();
    message.extend(&case.bytes);
    message.push(b'}');
    report(started()?, &message)
}

/// A large value is stored as it is, and a report refers to it.
fn blob(case: &Case) -> Result<String> {
    let mut play = started()?;
    let reference = play.store(case.bytes.clone());
    let output = serde_json::to_vec(&Payload::from(reference))?;
    report(play, &output)
}

/// Reports that the one attempt there is gave this output.
fn report(mut play: Play, output: &[u8]) -> Result<String> {
    let before = format!(
        r#"{{"v":1,"agent":"liar","reports":[{{"run":"{}","step":"a","attempt":1,"body":"#,
        run_id()
    );
    let body = br#"{"outcome":{"completed":{"output":"#;
    let message = [before.as_bytes(), body, output, b"}}}}]}"].concat();
    let batch = match decode::<ReportBatch>(&message) {
        Ok(batch) => batch,
        Err(error) => return Ok(chain(&error)),
    };
    let agent = batch.agent;
    for report in batch.reports {
        play.handle(Input::Report { agent: agent.clone(), report })?;
    }
    let failed = play.records.iter().find_map(|record| match record {
        Record::Run(RunRecord { event: Event::AttemptFailed(failed), .. }) => Some(failed),
        Record::Run(_) | Record::OwnerChanged(_) | Record::WorkflowAdded(_) => None,
    });
    Ok(format!("the attempt failed: {}", failed.context("it is taken")?.failure))
}

/// What a program of `--agent` prints is its answer, or the attempt fails.
fn printed(case: &Case) -> Result<String> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("answer"), &case.bytes)?;
    let commands = Commands::resolve(["cat"], std::env::var_os("PATH").as_deref())?;
    let config = ExecConfig::new(commands, folder.path());
    let mut input: ExecInput = serde_json::from_str(r#"{"argv":["cat","answer"]}"#)?;
    input.stdout = StdoutFormat::Answer;
    let surroundings =
        Surroundings { identity: Vec::new(), stop: pending(), progress: |_: &str| {} };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(run(&config, &input, surroundings)) {
        Ok(output) => bail!("it is taken, as {:.60}", output.stdout.to_string()),
        Err(error) => Ok(error.failure().to_string()),
    }
}

/// A message of a journal is refused when it is read or when it does not follow.
fn journal(case: &Case) -> Result<String> {
    let mut partition = started()?.partition;
    let digest = fixed()?.digest().to_string();
    let case = case.clone().filled("RUN", &run_id().to_string()).filled("DIGEST", &digest);
    let batch = match Batch::decode(&case.bytes, Seq::new(7), PARTITION, Hash::ZERO) {
        Ok(batch) => batch,
        Err(error) => return Ok(chain(&error)),
    };
    for record in &batch.records {
        if let Err(error) = partition.apply(record) {
            return Ok(chain(&error));
        }
    }
    bail!("it is taken")
}

fn snapshot(case: &Case) -> Result<String> {
    match Partition::restore(PARTITION, &case.bytes) {
        Ok(_) => bail!("it is taken"),
        Err(error) => Ok(chain(&error)),
    }
}

fn fixed() -> Result<Workflow> {
    Ok(read(FIXED.as_bytes(), "fixed.skep.yaml")?)
}

/// A partition with the run of the fixed workflow, which waits for its one attempt.
fn started() -> Result<Play> {
    let mut play = Play::new();
    let workflow = fixed()?;
    play.start(&workflow, plain(&workflow)?)?;
    Ok(play)
}
