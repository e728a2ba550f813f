//! A definition becomes a workflow, or all its problems become known.

mod edges;
mod inputs;
mod kinds;
mod order;
mod policies;
mod recursion;
mod schemas;
mod step;
mod survey;

use std::collections::BTreeSet;

use crate::definition::{At, Identifier, Shape, WorkflowDefinition, is_version};
use crate::diagnostic::{Diagnostic, Problems, Rejected, Span, codes};
use crate::digest::Digest;
use crate::expression::{Place, StepPart, Template, View, template};
use crate::limits;
use crate::name::Name;
use crate::parse::{self, Data, Node};
use crate::policy::OnFailure;
use crate::workflow::{Parts, Step, StepIndex, StepKind, Workflow};
use schemas::Schemas;
use survey::Survey;

/// Reads and checks a definition file.
///
/// # Errors
///
/// [`Rejected`] with every problem of the file.
pub fn read(source: &[u8], file_name: &str) -> Result<Workflow, Rejected> {
    let mut problems = Problems::default();
    let text = match as_text(source, &mut problems) {
        Ok(text) => text,
        Err(shown) => return Err(reject(problems, shown, file_name)),
    };
    let parts = parse::parse(text, &mut problems)
        .and_then(|root| decode(root, &mut problems))
        .and_then(|definition| Check { text, problems: &mut problems }.run(definition));
    match parts {
        Some(mut parts) if problems.is_empty() => {
            parts.warnings = problems.finish(text, file_name);
            Ok(Workflow::new(parts))
        }
        Some(_) | None => Err(reject(problems, text.to_owned(), file_name)),
    }
}

fn reject(mut problems: Problems, source_text: String, file_name: &str) -> Rejected {
    if problems.is_empty() {
        // Whoever gives up has said why; this keeps a rejection from ever being silent.
        problems.error(codes::SYNTAX, Span::default(), "the file cannot be read");
    }
    let diagnostics: Vec<Diagnostic> = problems.finish(&source_text, file_name);
    Rejected { file_name: file_name.to_owned(), source_text, diagnostics }
}

/// Returns the text of a file, or what of it can be shown.
fn as_text<'a>(source: &'a [u8], problems: &mut Problems) -> Result<&'a str, String> {
    if source.len() > limits::FILE_BYTES {
        // The caller may have read no more than shows that it is too large.
        let message = format!("the file has more than {} MiB", limits::FILE_BYTES / (1024 * 1024));
        problems
            .error(codes::TOO_LARGE, Span::default(), message)
            .help("split it into sub-workflows");
        return Err(String::new());
    }
    let text = match std::str::from_utf8(source) {
        Ok(text) => text,
        Err(error) => {
            let shown = String::from_utf8_lossy(source).into_owned();
            let offset = error.valid_up_to() as u32;
            problems
                .error(codes::NOT_TEXT, Span { offset, len: 1 }, "the file is not valid UTF-8")
                .help("save it as UTF-8");
            return Err(shown);
        }
    };
    let control = |c: &(usize, char)| c.1.is_control() && !matches!(c.1, '\t' | '\n' | '\r');
    if let Some((offset, character)) = text.char_indices().find(control) {
        let message =
            format!("the file holds the control character U+{:04X}", u32::from(character));
        let span = Span { offset: offset as u32, len: character.len_utf8() as u32 };
        let help = match character {
            '\0' => "a definition is text in UTF-8; this looks like UTF-16, or like no text at all",
            _ => "in a string in double quotes, write `\\u` and its number",
        };
        problems.error(codes::NOT_TEXT, span, message).help(help);
        return Err(text.to_owned());
    }
    Ok(text)
}

fn decode(root: Node, problems: &mut Problems) -> Option<WorkflowDefinition> {
    if !matches!(root.data, Data::Map(_)) {
        let message = format!("a workflow must be a map, but this file is {}", root.kind());
        let span = Span { len: root.span.len.min(1), ..root.span };
        problems.error(codes::EMPTY, span, message).help("it needs at least `name` and `steps`");
        return None;
    }
    let root = Node { span: Span { len: root.span.len.min(1), ..root.span }, ..root };
    WorkflowDefinition::decode(root, "the workflow", problems)
}

/// One check under way.
struct Check<'p> {
    text: &'p str,
    problems: &'p mut Problems,
}

impl Check<'_> {
    fn run(mut self, mut definition: WorkflowDefinition) -> Option<Parts> {
        let mut schemas = Schemas::default();
        let inputs = inputs::check(definition.inputs.take(), &mut schemas, self.problems);
        let survey = Survey::of(definition.steps.take(), &mut schemas, self.problems);
        let catalogue = survey.catalogue(&inputs);
        let mut drafts = self.steps(&definition, &survey, &catalogue);
        let outputs = self.outputs(&definition, &catalogue, &mut drafts.output_reads);
        let edges = edges::connect(&survey, &catalogue, &drafts, self.problems);
        let ranks = order::order(&survey, &edges, self.problems);
        let name = self.identity(&definition);
        recursion::check(name.as_ref(), &survey, &edges, self.problems);
        let mut steps = drafts.steps.filter(|_| survey.known)?;
        edges::attach(&mut steps, edges, &drafts.reads, &drafts.output_reads);
        for (step, rank) in steps.iter_mut().zip(ranks?) {
            step.rank = rank;
        }
        Some(Parts {
            roots: survey.roots(),
            by_id: by_id(&steps),
            capabilities: capabilities(&steps),
            referenced_workflows: referenced(&steps),
            name: name?,
            version: definition.version.map(|version| version.value.0),
            description: definition.description.map(|description| description.value.0),
            digest: Digest::of(self.text),
            source: self.text.to_owned(),
            inputs: inputs.accepted,
            outputs: outputs?,
            on_failure: definition.on_failure.map_or_else(OnFailure::default, |at| at.value),
            steps,
            warnings: Vec::new(),
        })
    }

    fn steps<'a>(
        &mut self,
        definition: &WorkflowDefinition,
        survey: &'a Survey,
        catalogue: &crate::expression::Catalogue<'a>,
    ) -> step::Drafts {
        if definition.on_failure.as_ref().is_none_or(|at| at.value != OnFailure::Compensate) {
            self.warn_of_compensations(survey);
            self.warn_of_pivots(survey);
        }
        let defaults =
            policies::Defaults::of(definition.defaults.as_ref().map(|at| &at.value), self.problems);
        let mut builder =
            step::Builder { text: self.text, survey, catalogue, defaults, problems: self.problems };
        builder.all()
    }

    /// Warns, once, of what makes good only a run that is cancelled.
    fn warn_of_compensations(&mut self, survey: &Survey) {
        let mut written = survey.steps.iter().map(|step| &step.definition);
        let Some(at) = written.find_map(|step| step.compensate.as_ref()) else { return };
        let message = "`compensate` runs only if the run is cancelled";
        self.problems
            .warning(codes::NO_EFFECT, at.span, message)
            .help("write `on_failure: compensate` at the top to have a failed run unwind, too");
    }

    /// Warns, once, of what stops only the unwinding of a run that is cancelled.
    fn warn_of_pivots(&mut self, survey: &Survey) {
        let mut written = survey.steps.iter().filter_map(|step| step.definition.pivot.as_ref());
        let Some(at) = written.find(|pivot| pivot.value) else { return };
        let message =
            "`pivot` matters only if the run is cancelled: one that fails does not unwind";
        self.problems
            .warning(codes::NO_EFFECT, at.span, message)
            .help("write `on_failure: compensate` at the top to have a failed run unwind, too");
    }

    fn outputs(
        &mut self,
        definition: &WorkflowDefinition,
        catalogue: &crate::expression::Catalogue<'_>,
        reads: &mut BTreeSet<StepIndex>,
    ) -> Option<Vec<(Name, Template)>> {
        let Some(At { value: written, span }) = &definition.outputs else {
            return Some(Vec::new());
        };
        if written.entries.len() > limits::INPUTS {
            let message = format!("there are more than {} outputs", limits::INPUTS);
            self.problems.error(codes::TOO_MANY, *span, message);
            return None;
        }
        let view = View { catalogue, owner: None, place: Place::Outputs, item: None };
        let mut outputs = Some(Vec::new());
        for (key, value) in &written.entries {
            crate::definition::check_name(
                &key.text,
                "the name of an output",
                key.span,
                self.problems,
            );
            match template(&value.0, self.text, &view, self.problems) {
                Some(compiled) => {
                    reads.extend(compiled.reads.iter().filter_map(step_read));
                    if let Some(outputs) = &mut outputs {
                        outputs.push((Name::new_unchecked(&key.text), compiled.value));
                    }
                }
                None => outputs = None,
            }
        }
        outputs
    }

    fn identity(&mut self, definition: &WorkflowDefinition) -> Option<Name> {
        if let Some(version) = &definition.version
            && !is_version(&version.value.0)
        {
            self.problems
                .error(codes::INVALID_NAME, version.span, "`version` is not valid")
                .help("such as `1.2.0`: letters, digits, `.`, `_`, `+` and `-`");
        }
        let At { value: Identifier(name), .. } = definition.name.as_ref()?;
        Some(Name::new_unchecked(name))
    }
}

/// Returns the step that a reference reads.
fn step_read(reference: &crate::expression::Reference) -> Option<StepIndex> {
    match reference {
        crate::expression::Reference::Step(
            step,
            StepPart::Output | StepPart::Outputs | StepPart::Status,
        ) => Some(*step),
        crate::expression::Reference::Input(_)
        | crate::expression::Reference::Inputs
        | crate::expression::Reference::Item
        | crate::expression::Reference::Index
        | crate::expression::Reference::RunId
        | crate::expression::Reference::RunWorkflow
        | crate::expression::Reference::Signal
        | crate::expression::Reference::Output
        | crate::expression::Reference::Error => None,
    }
}

fn by_id(steps: &[Step]) -> Vec<StepIndex> {
    let mut indices: Vec<StepIndex> = steps.iter().map(|step| step.index).collect();
    indices.sort_by(|a, b| steps[a.as_usize()].id.cmp(&steps[b.as_usize()].id));
    indices
}

fn capabilities(steps: &[Step]) -> Vec<Name> {
    let mut found = BTreeSet::new();
    for step in steps {
        if let StepKind::Agent { capability, .. } = &step.kind {
            found.insert(capability.clone());
        }
        found.extend(step.fallback().map(|fallback| fallback.capability.clone()));
        found.extend(step.compensate().map(|compensate| compensate.capability.clone()));
    }
    found.into_iter().collect()
}

fn referenced(steps: &[Step]) -> Vec<(Name, Option<String>)> {
    let mut found = BTreeSet::new();
    for step in steps {
        if let StepKind::Workflow { name, version, .. } = &step.kind {
            found.insert((name.clone(), version.clone()));
        }
    }
    found.into_iter().collect()
}
