//! The signals that a run can take: those that steps of its own definition wait for.

use std::collections::BTreeSet;
use std::time::Duration;

use skep_broker::Broker;
use skep_protocol::{Hash, RunId};
use skep_workflow::{StepKind, Workflow};

use crate::client::Client;
use crate::error::Error;

/// A check that takes longer is left out: the definition may be out of reach for this user.
const KNOWN_WITHIN: Duration = Duration::from_secs(3);

/// Returns the definition of a run, if it can be had.
pub(crate) async fn definition<B: Broker>(client: &Client<B>, digest: Hash) -> Option<Workflow> {
    let found = skep_coordinator::definition(client.broker().clone(), digest);
    tokio::time::timeout(KNOWN_WITHIN, found).await.ok()?.ok()?
}

/// What a workflow waits for.
#[derive(Debug)]
pub(crate) struct Awaited {
    workflow: String,
    signals: BTreeSet<String>,
    calls: Calls,
}

/// Whether a workflow has sub-workflows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calls {
    Others,
    Nobody,
}

impl Awaited {
    /// Looks at a definition.
    pub(crate) fn by(workflow: &Workflow) -> Self {
        let signals = workflow.steps().iter().filter_map(|step| {
            let StepKind::Signal { name, .. } = step.kind() else { return None };
            Some(name.to_string())
        });
        let calls =
            if workflow.referenced_workflows().is_empty() { Calls::Nobody } else { Calls::Others };
        Self { workflow: workflow.name().to_string(), signals: signals.collect(), calls }
    }

    /// Looks at the definition of a run, if it can be had.
    pub(crate) async fn by_digest<B: Broker>(client: &Client<B>, digest: Hash) -> Option<Self> {
        Some(Self::by(&definition(client, digest).await?))
    }

    /// Refuses a signal that no step can ever take.
    pub(crate) fn check(&self, signal: &str, run: Option<RunId>) -> Result<(), Error> {
        if self.signals.contains(signal) {
            return Ok(());
        }
        let message = format!("no step of `{}` waits for the signal `{signal}`", self.workflow);
        let names: Vec<String> = self.signals.iter().map(|name| format!("`{name}`")).collect();
        let error = Error::usage(message).help(match names.is_empty() {
            true => "its steps wait for no signal at all".to_owned(),
            false => format!("its steps wait for {}", names.join(", ")),
        });
        Err(match (self.calls, run) {
            (Calls::Nobody, _) => error,
            (Calls::Others, None) => error.help("a sub-workflow takes the signals to its own run"),
            (Calls::Others, Some(run)) => error.help(format!(
                "a sub-workflow takes the signals to its own run: skep list --parent {run}"
            )),
        })
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(steps: &str, expected: &Expect) {
        let text = format!("name: w\nsteps:\n  {steps}\n");
        let workflow = skep_workflow::read(text.as_bytes(), "w").unwrap();
        let told = match Awaited::by(&workflow).check("approvd", None) {
            Ok(()) => "taken\n".to_owned(),
            Err(error) => format!("{error}\n  help: {}\n", error.advice().join("\n  help: ")),
        };
        expected.assert_eq(&told);
    }

    #[test]
    fn a_signal_that_no_step_can_take_is_refused() {
        check(
            "a: { wait_for: { signal: approvd } }",
            &expect![[r#"
            taken
        "#]],
        );
        check(
            "a: { wait_for: { signal: approved } }",
            &expect![[r#"
            no step of `w` waits for the signal `approvd`
              help: its steps wait for `approved`
        "#]],
        );
        check(
            "g: { steps: { a: { wait_for: { signal: approvd } } } }",
            &expect![[r#"
            taken
        "#]],
        );
        check(
            "a: { wait: 1s }",
            &expect![[r#"
            no step of `w` waits for the signal `approvd`
              help: its steps wait for no signal at all
        "#]],
        );
        check(
            "a: { workflow: other }",
            &expect![[r#"
            no step of `w` waits for the signal `approvd`
              help: its steps wait for no signal at all
              help: a sub-workflow takes the signals to its own run
        "#]],
        );
    }
}
