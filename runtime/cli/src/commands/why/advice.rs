//! What a person can do about what holds a step up; nothing where it only takes time.

use skep_protocol::{RunId, StepPath, WaitingCause, WaitingView};

use crate::agents::ReadyMade;

/// Returns what to do about what a step of `run` waits for.
pub(super) fn about(run: RunId, step: &StepPath, view: &WaitingView) -> Option<String> {
    if let Some(signal) = &view.signal {
        return Some(format!("skep signal {run} {signal}"));
    }
    Some(match view.cause.as_ref()? {
        WaitingCause::Paused => resume(run),
        WaitingCause::Stuck => {
            let of = step.compensated().unwrap_or_else(|| step.clone());
            format!("{} to try again, or to take it as done: skep skip {run} {of}", resume(run))
        }
        WaitingCause::Run { run } => why(*run),
        WaitingCause::NoAgent { capability } => format!("start one: {}", agent(capability)),
        WaitingCause::Breaker { name } => {
            format!("if it is well again: skep breakers reset {name}")
        }
        WaitingCause::Quarantine { agent } => {
            format!("if it is well again: skep agents release {agent}")
        }
        WaitingCause::Unknown => return None,
    })
}

/// Returns the command that lets a paused run go on.
pub(super) fn resume(run: RunId) -> String {
    format!("skep resume {run}")
}

/// Returns the command that tells more of the run of a sub-workflow.
pub(super) fn why(run: RunId) -> String {
    format!("skep why {run}")
}

/// Returns the command that starts an agent for a capability.
fn agent(capability: &str) -> String {
    match ReadyMade::of(capability) {
        Some(ReadyMade::Exec) => "skep agent exec --allow-command NAME".to_owned(),
        Some(ReadyMade::Http) => "skep agent http".to_owned(),
        Some(ReadyMade::Corpus) => "skep agent corpus --root DIR".to_owned(),
        Some(ReadyMade::None) | None => format!("skep agent exec --agent {capability}=./PROGRAM"),
    }
}
