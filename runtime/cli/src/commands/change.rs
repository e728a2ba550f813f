//! `skep cancel`, `skep pause`, `skep resume` and `skep signal`

use clap::Args;
use serde_json::{Map, Value, json};
use skep_broker::Broker;
use skep_protocol::{Command, RunId, Signal, SignalId};
use uuid::Uuid;

use crate::cli::Global;
use crate::client::Client;
use crate::commands::run_ref::RunRef;
use crate::error::{Error, Exit};
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

/// Let a paused run go on.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    run: RunRef,
}

/// Send a signal to a run, such as an approval that a step waits for.
#[derive(Debug, Args)]
pub(crate) struct SendSignal {
    #[command(flatten)]
    run: RunRef,
    /// The name that the step's `wait_for` names.
    name: String,
    /// What the signal carries: JSON, or text, or `@FILE`.
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

impl SendSignal {
    pub(crate) async fn perform<B: Broker>(
        self,
        client: &Client<B>,
        global: &Global,
    ) -> Result<Exit, Error> {
        let run = self.run.resolve(client).await?;
        let payload = payload(self.payload.as_deref(), &self.set)?.into();
        let id = match self.id {
            Some(id) => id,
            None => SignalId::new(&mint().simple().to_string())
                .expect("hexadecimal digits are letters of an id"),
        };
        let name = self.name;
        client.change(run, Command::Signal(Signal { run, name, id, payload })).await?;
        done(run, "signalled", global);
        Ok(Exit::Ok)
    }
}

fn done(run: RunId, what: &str, global: &Global) {
    match global.output {
        Format::Json => output::json(&json!({ "run": run, "done": what })),
        Format::Text => output::data(format!("{what} {run}")),
    }
}

/// Returns what a signal carries: JSON, text, `@FILE`, or an object of fields.
pub(crate) fn payload(payload: Option<&str>, set: &[String]) -> Result<Value, Error> {
    let text = match payload {
        Some(payload) => match payload.strip_prefix('@') {
            Some(file) => inputs::text(file)?,
            None => payload.to_owned(),
        },
        None if set.is_empty() => return Ok(Value::Null),
        None => {
            let args = inputs::InputArgs { set: set.to_vec(), input: None };
            let fields: Map<String, Value> = args.read(None)?;
            return Ok(Value::Object(fields));
        }
    };
    Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Names the person at the keyboard, for the journal.
fn person() -> String {
    let named = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    named("USER").or_else(|| named("LOGNAME")).unwrap_or_else(|| "somebody".to_owned())
}

/// Mints an id that sorts by time.
#[expect(clippy::disallowed_methods, reason = "the shell is where ids are minted")]
pub(crate) fn mint() -> Uuid {
    Uuid::now_v7()
}
