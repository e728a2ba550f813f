//! What a failure has to tell beyond its message, as lines for people.

use serde_json::Value;
use skep_broker::Broker;
use skep_protocol::{Failure, RunDetail, StepPath, StepStatus, StepView};

use crate::client::Client;
use crate::human;

/// So many lines are shown, the last ones.
const LINES: usize = 20;

/// Returns the end of what the failed step wrote to stderr, where one did and it is more than the
/// message has: of the step that failed first.
pub(crate) async fn of_run<B: Broker>(
    client: &Client<B>,
    detail: &RunDetail,
) -> Option<(StepPath, Vec<String>)> {
    let failed = |view: &&StepView| view.status == StepStatus::Failed && !view.attempts.is_empty();
    let mut failed: Vec<&StepView> = detail.steps.iter().filter(failed).collect();
    failed.sort_by_key(|view| view.ended);
    let view = failed.first()?;
    let failure = view.error.as_ref()?;
    let lines = of_stderr(&value(client, failure).await?, &failure.message)?;
    Some((view.step.clone(), lines))
}

/// Returns the details of a failure: the end of stderr, or else all that they are.
pub(crate) async fn of_failure<B: Broker>(client: &Client<B>, failure: &Failure) -> Vec<String> {
    let Some(details) = value(client, failure).await else { return Vec::new() };
    if details["stderr"].is_string() {
        return of_stderr(&details, &failure.message).unwrap_or_default();
    }
    tail(&serde_json::to_string_pretty(&details).unwrap_or_default())
}

/// Details are of interest, not of importance: those that are gone are none.
async fn value<B: Broker>(client: &Client<B>, failure: &Failure) -> Option<Value> {
    client.value(failure.details.as_ref()?).await.ok()
}

fn of_stderr(details: &Value, message: &str) -> Option<Vec<String>> {
    let lines = tail(details["stderr"].as_str()?);
    // What is cut ends with a sign of it.
    let is_told = |line: &String| message.contains(line.trim().trim_end_matches('…'));
    let is_more = !lines.iter().all(is_told);
    is_more.then_some(lines)
}

fn tail(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let kept = &lines[lines.len().saturating_sub(LINES)..];
    kept.iter().map(|line| human::short_lines(line)).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_end_of_stderr_is_told_where_it_is_more_than_the_message() {
        let of = |stderr: &str| of_stderr(&json!({ "stderr": stderr }), "exit code 1: no honey");
        assert_eq!(of("no honey\n"), None);
        assert_eq!(of(""), None);
        let text = (0..30).map(|line| format!("  line {line}\n")).collect::<String>();
        let lines = of(&(text + "no honey\n")).unwrap();
        assert_eq!((lines.len(), lines[0].as_str()), (LINES, "  line 11"));
        expect!["    raise"].assert_eq(&of("Traceback\n    raise\nno honey").unwrap()[1]);
    }
}
