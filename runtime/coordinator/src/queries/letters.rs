//! Dead letters, with what only their definitions say: which agents they need.

use skep_broker::Broker;
use skep_protocol::{DeadLetter, LetterFilter, QueryReply};
use skep_workflow::{StepKind, Workflow};

use super::State;
use crate::read_model::Question;

/// How many are looked at at a time.
const PAGE: u32 = 500;
/// How many there are if no number is asked for, and at most.
const DEFAULT: usize = 100;
const MOST: usize = 10_000;

impl<B: Broker> State<B> {
    /// Looks dead letters up.
    pub(super) async fn letters(&self, filter: LetterFilter) -> QueryReply {
        let wanted = if filter.limit == 0 { DEFAULT } else { (filter.limit as usize).min(MOST) };
        let mut next = LetterFilter { limit: PAGE, ..filter.clone() };
        let mut found: Vec<DeadLetter> = Vec::new();
        loop {
            let reply = self.read_model.ask(Question::Letters(next.clone())).await;
            let QueryReply::Letters(page) = reply else { return reply };
            let Some(last) = page.last() else { break };
            next.after = Some((last.run, last.step.clone()));
            let is_last = page.len() < PAGE as usize;
            for mut letter in page {
                letter.capability = self.capability(&letter).await;
                let asked = filter.capability.as_ref();
                if asked.is_none_or(|asked| letter.capability.as_ref() == Some(asked)) {
                    found.push(letter);
                }
                if found.len() == wanted {
                    return QueryReply::Letters(found);
                }
            }
            if is_last {
                break;
            }
        }
        QueryReply::Letters(found)
    }

    /// Returns what an agent must offer to perform a step.
    async fn capability(&self, letter: &DeadLetter) -> Option<String> {
        let (_, workflow) = self.catalog.find(&letter.digest.to_string()).await.ok()?;
        capability(&workflow, letter.step.as_str())
    }
}

fn capability(workflow: &Workflow, path: &str) -> Option<String> {
    let last = path.rsplit('/').next()?;
    let name = last.split('[').next()?;
    let StepKind::Agent { capability, .. } = workflow.step(workflow.find(name)?).kind() else {
        return None;
    };
    Some(capability.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_step_is_the_last_of_its_path() {
        let source = b"name: w\nsteps:\n  g: { steps: { a: { agent: x } } }\n  t: { wait: 1s }\n";
        let workflow = skep_workflow::read(source, "w").expect("it is well-formed");
        assert_eq!(capability(&workflow, "g[2]/a[0]").as_deref(), Some("x"));
        assert_eq!(capability(&workflow, "t"), None);
        assert_eq!(capability(&workflow, "nope"), None);
    }
}
