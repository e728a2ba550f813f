//! The first look at the steps: which there are, and what each is inside of.

use std::collections::{HashMap, HashSet};

use super::inputs::Declared;
use super::schemas::Schemas;
use crate::definition::{At, Named, StepDefinition, check_name};
use crate::diagnostic::{Problems, codes};
use crate::expression::{Catalogue, StepFacts};
use crate::limits;
use crate::parse::Key;
use crate::schema::Schema;
use crate::workflow::StepIndex;

/// A step with its place in the tree of groups.
#[derive(Debug)]
pub(super) struct Surveyed {
    pub(super) key: Key,
    pub(super) parent: Option<StepIndex>,
    pub(super) children: Vec<StepIndex>,
    pub(super) depth: u32,
    pub(super) definition: StepDefinition,
    pub(super) expect: Option<Schema>,
}

/// All steps in the order of the file, groups before what is in them.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) steps: Vec<Surveyed>,
    /// Whether these are the steps of the file: not if they are missing or too many.
    pub(super) known: bool,
    broken: Vec<Key>,
}

impl Survey {
    /// Lays the groups out flat.
    pub(super) fn of(
        written: Option<At<Named<StepDefinition>>>,
        schemas: &mut Schemas,
        problems: &mut Problems,
    ) -> Self {
        let Some(At { value: written, span }) = written else { return Self::default() };
        let mut survey = Self { known: true, ..Self::default() };
        survey.scope(written, None, 0, problems);
        if survey.steps.len() > limits::STEPS {
            let first = survey.steps[limits::STEPS].key.span;
            problems
                .error(
                    codes::TOO_MANY,
                    first,
                    format!("there are more than {} steps", limits::STEPS),
                )
                .help("use `for_each`, or split the workflow into sub-workflows");
            return Self::default();
        }
        if survey.steps.is_empty() && survey.broken.is_empty() {
            problems
                .error(codes::NO_STEPS, span, "the workflow has no steps")
                .help("add one: `hello: { agent: greeter }`");
        }
        survey.ids(problems);
        for step in &mut survey.steps {
            if let Some(expect) = &step.definition.expect {
                step.expect = schemas.compile(&expect.value.0, "`expect`", problems);
            }
        }
        survey
    }

    fn scope(
        &mut self,
        written: Named<StepDefinition>,
        parent: Option<StepIndex>,
        depth: u32,
        problems: &mut Problems,
    ) {
        self.broken.extend(written.broken);
        for (key, mut definition) in written.entries {
            if self.steps.len() > limits::STEPS {
                return;
            }
            let index = StepIndex(self.steps.len() as u32);
            let inner = definition.steps.take();
            self.steps.push(Surveyed {
                key,
                parent,
                children: Vec::new(),
                depth,
                definition,
                expect: None,
            });
            if let Some(parent) = parent {
                self.steps[parent.as_usize()].children.push(index);
            }
            if let Some(At { value, span }) = inner.map(|inner| *inner) {
                if value.entries.is_empty() && value.broken.is_empty() {
                    problems
                        .error(codes::NO_STEPS, span, "the group has no steps")
                        .help("add one, or remove the group");
                }
                self.scope(value, Some(index), depth + 1, problems);
            }
        }
    }

    /// Checks that ids are names and differ from each other.
    fn ids(&self, problems: &mut Problems) {
        let mut first: HashMap<&str, &Surveyed> = HashMap::new();
        for step in &self.steps {
            let id = step.key.text.as_str();
            check_name(id, "the id of a step", step.key.span, problems);
            match first.get(id) {
                None => {
                    first.insert(id, step);
                }
                // Two keys of one map are the parser's business.
                Some(before) if before.parent == step.parent => {}
                Some(before) => {
                    problems
                        .error(
                            codes::DUPLICATE_STEP,
                            step.key.span,
                            format!("there are two steps `{id}`"),
                        )
                        .related("the other one", before.key.span)
                        .help("ids are unique in the whole file, also across groups");
                }
            }
        }
    }

    pub(super) fn step(&self, index: StepIndex) -> &Surveyed {
        &self.steps[index.as_usize()]
    }

    pub(super) fn roots(&self) -> Vec<StepIndex> {
        let roots = self.steps.iter().enumerate().filter(|(_, step)| step.parent.is_none());
        roots.map(|(index, _)| StepIndex(index as u32)).collect()
    }

    /// Returns what expressions can refer to.
    pub(super) fn catalogue<'a>(&'a self, inputs: &'a Declared) -> Catalogue<'a> {
        let facts = self.steps.iter().map(|step| StepFacts {
            id: step.key.text.as_str(),
            parent: step.parent,
            children: step.children.clone(),
            is_group: step.definition.keys.span("steps").is_some(),
            has_items: step.definition.keys.span("for_each").is_some(),
            expect: step.expect.as_ref().map(Schema::json),
        });
        let mut by_id = HashMap::with_capacity(self.steps.len());
        for (index, step) in self.steps.iter().enumerate() {
            by_id.entry(step.key.text.as_str()).or_insert(StepIndex(index as u32));
        }
        let declared = inputs.accepted.iter();
        let mut names: Vec<&str> = declared.clone().map(|input| input.name().as_str()).collect();
        names.extend(inputs.broken.iter().map(String::as_str));
        let valid = declared.map(|input| (input.name().as_str(), Some(input.schema().json())));
        let broken = inputs.broken.iter().map(|name| (name.as_str(), None));
        Catalogue {
            steps: facts.collect(),
            steps_known: self.known,
            by_id,
            broken: self.broken.iter().map(|key| key.text.as_str()).collect::<HashSet<_>>(),
            inputs: broken.chain(valid).collect(),
            input_names: names,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::Step;

    #[test]
    fn ten_thousand_steps_stay_small() {
        assert!(size_of::<Surveyed>() <= 1024, "{}", size_of::<Surveyed>());
        assert!(size_of::<Step>() <= 640, "{}", size_of::<Step>());
    }
}
