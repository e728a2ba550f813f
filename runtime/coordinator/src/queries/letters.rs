//! Dead letters, with what only their definitions say: which agents they need.

use skep_broker::Broker;
use skep_protocol::{DeadLetter, LetterFilter, QueryReply, StepPath};
use skep_workflow::{Step, StepKind, Workflow};

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
            let asked = filter.step.as_ref();
            let meant =
                |letter: &DeadLetter| asked.is_none_or(|asked| is_meant(&letter.step, asked));
            for mut letter in page.into_iter().filter(meant) {
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

/// Returns whether somebody who asks for `asked` means a step: it, something inside it, or one of
/// that name inside something else; without the number of an item, any item.
fn is_meant(step: &StepPath, asked: &StepPath) -> bool {
    let segments = |path: &StepPath| path.as_str().split('/').map(str::to_owned).collect();
    let (step, asked): (Vec<String>, Vec<String>) = (segments(step), segments(asked));
    let fits = |part: &[String]| {
        let mut pairs = part.iter().zip(&asked);
        pairs.all(|(segment, asked)| segment == asked || name(segment) == asked.as_str())
    };
    step.windows(asked.len()).any(fits)
}

/// Returns a segment of a path without the number of an item.
fn name(segment: &str) -> &str {
    segment.split_once('[').map_or(segment, |(name, _)| name)
}

/// Returns what the definition says of the step at a path.
pub(super) fn definition<'w>(workflow: &'w Workflow, path: &str) -> Option<&'w Step> {
    let name = name(path.rsplit('/').next()?);
    Some(workflow.step(workflow.find(name)?))
}

fn capability(workflow: &Workflow, path: &str) -> Option<String> {
    let step = definition(workflow, path)?;
    let StepKind::Agent { capability, .. } = step.kind() else { return None };
    Some(capability.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_found_by_path_and_by_name() {
        let meant = |step: &str, asked: &[&str]| {
            let holds = |asked: &&&str| is_meant(&StepPath::new(step), &StepPath::new(asked));
            assert_eq!(asked.iter().find(|asked| !holds(asked)), None, "{step}");
        };
        meant("a", &["a"]);
        meant("a[2]", &["a", "a[2]"]);
        let paths = ["deploy[0]/check[1]", "deploy/check", "deploy[0]/check"];
        meant("deploy[0]/check[1]", &paths);
        meant("deploy[0]/check[1]", &["deploy", "deploy[0]", "check", "check[1]"]);
        let inner = ["inner", "inner[1]", "outer/inner", "inner/leaf", "inner[1]/leaf", "leaf"];
        meant("outer/inner[1]/leaf", &inner);
        for asked in ["dep", "deploy[1]", "chec", "check[0]", "deploy/check[0]", "x/deploy/check"] {
            let (step, asked) = (StepPath::new("deploy[0]/check[1]"), StepPath::new(asked));
            assert!(!is_meant(&step, &asked), "{asked}");
        }
    }

    #[test]
    fn the_name_of_a_step_is_the_last_of_its_path() {
        let source = b"name: w\nsteps:\n  g: { steps: { a: { agent: x } } }\n  t: { wait: 1s }\n";
        let workflow = skep_workflow::read(source, "w").expect("it is well-formed");
        assert_eq!(capability(&workflow, "g[2]/a[0]").as_deref(), Some("x"));
        assert_eq!(capability(&workflow, "t"), None);
        assert_eq!(capability(&workflow, "nope"), None);
    }
}
