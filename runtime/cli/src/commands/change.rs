//! `skep cancel`, `skep pause`, `skep resume`, `skep skip` and `skep signal`

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};
use skep_broker::Broker;
use skep_protocol::{Command, Event, RunDetail, RunId, Signal, SignalId, StepPath, flaw};
use uuid::Uuid;

use crate::awaited::Awaited;
use crate::cli::Global;
use crate::client::Client;
use crate::commands::run_ref::RunRef;
use crate::error::{Error, Exit};
use crate::human;
use crate::inputs;
use crate::output::{self, Format};

/// End a run early: nothing more starts, what is under way is stopped.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    run: RunRef,
    /// Why, for those who look at the run later.
    #[arg(long, value_name = "TEXT", default_value = "cancelled by a person")]
    reason: String,
}

/// Start no more steps of a run; what is under way goes on.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    #[command(flatten)]
    run: RunRef,
}

/// Let a paused run go on; have a stuck one try its compensations again.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    run: RunRef,
}

/// Take a compensation that failed for good as done, so that a stuck run goes on.
///
/// To be used once what the step did was made good by other means. `skep get RUN` shows which
/// compensation failed, and why.
#[derive(Debug, Args)]
pub(crate) struct Skip {
    #[command(flatten)]
    run: RunRef,
    /// The step whose compensation failed, such as `charge` or `pack[2]`.
    step: String,
}

/// Send a signal to a run, such as an approval that a step waits for.
///
/// One that comes before its step waits is kept. One that no step of the run's definition waits for
/// is refused; a sub-workflow takes the signals to its own run: skep list --parent RUN.
#[derive(Debug, Args)]
pub(crate) struct SendSignal {
    #[command(flatten)]
    run: RunRef,
    /// The name that the step's `wait_for` names.
    name: String,
    /// What the signal carries: JSON, or text, or `@FILE`. What begins with `{`, `[` or `"` has
    /// to be JSON.
    #[arg(short, long, value_name = "JSON", conflicts_with = "set")]
    payload: Option<String>,
    /// A field of an object that the signal carries.
    #[arg(short = 'i', long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// A word of your own: a second signal with the same one changes nothing.
    #[arg(long, value_name = "WORD")]
    id: Option<SignalId>,
}

impl Cancel {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let run = self.run.resolve(client).await?;
        client.change(run, Command::Cancel { run, reason: self.reason }).await?;
        done(run, "cancelling", global);
        Ok(Exit::Ok)
    }
}

impl Pause {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let run = self.run.resolve(client).await?;
        client.change(run, Command::Pause { run, by: person() }).await?;
        done(run, "paused", global);
        Ok(Exit::Ok)
    }
}

impl Resume {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let run = self.run.resolve(client).await?;
        client.change(run, Command::Resume { run, by: person() }).await?;
        done(run, "resumed", global);
        Ok(Exit::Ok)
    }
}

impl Skip {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let run = self.run.resolve(client).await?;
        let step = StepPath::new(&self.step);
        client.change(run, Command::Skip { run, step, by: person() }).await?;
        done(run, "skipped", global);
        Ok(Exit::Ok)
    }
}

impl SendSignal {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let fields = "give fields with -i NAME=VALUE";
        let payload = payload(self.payload.as_deref(), &self.set, fields)?;
        let run = self.run.resolve(client).await?;
        let name = self.name;
        if let Some(id) = &self.id
            && let Some(earlier) = earlier(client, run, id).await?
        {
            match global.output {
                Format::Json => {
                    output::json(&json!({ "run": run, "done": "signalled", "existing": true }));
                }
                Format::Text => output::data(format!(
                    "run {run} has a signal with the id `{id}`, `{earlier}`: nothing was sent"
                )),
            }
            return Ok(Exit::Ok);
        }
        // Asked before: the step that waits for it does so no more afterwards.
        let detail = client.run(run).await?;
        let goes_on = detail.as_ref().filter(|detail| !detail.summary.status.is_final());
        if let Some(detail) = goes_on.filter(|detail| waiter(detail, &name).is_none())
            && let Some(awaited) = Awaited::by_digest(client, detail.summary.digest).await
        {
            awaited.check(&name, Some(run))?;
        }
        let id = match self.id {
            Some(id) => id,
            None => SignalId::new(&mint().simple().to_string())
                .expect("hexadecimal digits are letters of an id"),
        };
        let sent = human::first_line(&payload.to_string(), 200);
        let payload = payload.into();
        let signal = Signal { run, name: name.clone(), id, payload };
        client.change(run, Command::Signal(signal)).await?;
        if global.output == Format::Json {
            done(run, "signalled", global);
            return Ok(Exit::Ok);
        }
        output::data(format!("sent the signal `{name}` with {sent} to run {run}"));
        if let Some(detail) = detail {
            output::note(match waiter(&detail, &name) {
                Some(step) => format!("step `{step}` waited for it"),
                None => format!("no step waits for `{name}` yet; it is kept until one does"),
            });
        }
        Ok(Exit::Ok)
    }
}

/// Returns the name of the signal that a run was sent with this id, if there is one.
async fn earlier<B: Broker>(
    client: &Client<B>,
    run: RunId,
    id: &SignalId,
) -> Result<Option<String>, Error> {
    let mut after = 0;
    while let Some(page) = client.history(run, after, Duration::ZERO).await? {
        let found = page.iter().find_map(|entry| {
            let Event::SignalReceived { name, id: seen, .. } = &entry.record.event else {
                return None;
            };
            (seen == id).then(|| name.clone())
        });
        match page.last() {
            Some(last) if found.is_none() => after = last.number,
            Some(_) | None => return Ok(found),
        }
    }
    Ok(None)
}

/// Returns the step that waits for a signal.
fn waiter<'a>(detail: &'a RunDetail, name: &str) -> Option<&'a StepPath> {
    let mut waiting = detail.waiting.iter();
    waiting.find(|view| view.signal.as_deref() == Some(name)).map(|view| &view.step)
}

fn done(run: RunId, what: &str, global: &Global) {
    match global.output {
        Format::Json => output::json(&json!({ "run": run, "done": what })),
        Format::Text => output::data(format!("{what} {run}")),
    }
}

/// Returns what a signal carries: JSON, text, `@FILE`, or an object of fields. `example` helps
/// where JSON is wanted.
pub(crate) fn payload(
    payload: Option<&str>,
    set: &[String],
    example: &str,
) -> Result<Value, Error> {
    let text = match payload {
        Some(payload) => match payload.strip_prefix('@') {
            Some(file) => inputs::text(file)?,
            None => payload.to_owned(),
        },
        None if set.is_empty() => return Ok(Value::Null),
        None => {
            let args = inputs::InputArgs { set: set.to_vec(), input: None };
            let fields: Map<String, Value> = args.read()?;
            return Ok(Value::Object(fields));
        }
    };
    match serde_json::from_str(&text) {
        Ok(value) => match flaw(&text) {
            Some(flaw) => Err(Error::usage(format!("the JSON of the payload {flaw}"))),
            None => Ok(value),
        },
        Err(error) if text.trim_start().starts_with(['{', '[', '"']) => {
            let shown = human::first_line(&text, 80);
            Err(Error::usage(format!("the payload `{shown}` is not JSON: {error}"))
                .help(format!("what begins with {{, [ or \" is read as JSON; {example}")))
        }
        Err(_) => Ok(Value::String(text)),
    }
}

/// Names the person at the keyboard, for the journal.
pub(crate) fn person() -> String {
    let named = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let account = || {
        let uid = std::fs::metadata("/proc/self").ok()?.uid();
        let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        Some(account_of(&accounts, uid).unwrap_or_else(|| format!("user {uid}")))
    };
    let person = named("USER").or_else(|| named("LOGNAME")).or_else(account);
    person.unwrap_or_else(|| "somebody".to_owned())
}

/// Finds the name of a user in the text of `/etc/passwd`.
fn account_of(accounts: &str, uid: u32) -> Option<String> {
    let mut lines = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.get(2).is_some_and(|field| *field == uid.to_string()))?;
    Some(line[0].to_owned())
}

/// Mints an id that sorts by time.
#[expect(clippy::disallowed_methods, reason = "the shell is where ids are minted")]
pub(crate) fn mint() -> Uuid {
    Uuid::now_v7()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_looks_like_json_has_to_be_json() {
        let read = |text: &str| payload(Some(text), &[], "").map_err(|error| error.exit());
        assert_eq!(read("{\"a\": 1}"), Ok(json!({ "a": 1 })));
        assert_eq!(read("yes, do it"), Ok(json!("yes, do it")));
        assert_eq!(read("12"), Ok(json!(12)));
        for broken in ["{\"a\": 1", "{a: 1}", " [1,", "\"open"] {
            assert_eq!(read(broken), Err(Exit::Usage), "{broken}");
        }
    }

    #[test]
    fn the_name_of_a_user_is_found() {
        let accounts = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(account_of(accounts, 1000).as_deref(), Some("ada"));
        assert_eq!(account_of(accounts, 100), None);
    }
}
