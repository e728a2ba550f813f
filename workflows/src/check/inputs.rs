//! The inputs that a definition declares.

use super::schemas::Schemas;
use crate::definition::{At, Named, SchemaText, check_name};
use crate::diagnostic::{Problems, codes};
use crate::inputs::{Input, Inputs};
use crate::limits;
use crate::name::Name;
use crate::schema::Violation;

/// The inputs, and the names of those that are not valid.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) accepted: Inputs,
    pub(super) broken: Vec<String>,
}

pub(super) fn check(
    written: Option<At<Named<SchemaText>>>,
    schemas: &mut Schemas,
    problems: &mut Problems,
) -> Declared {
    let mut declared = Declared::default();
    let Some(At { value: written, span }) = written else { return declared };
    if written.entries.len() > limits::INPUTS {
        let message = format!("there are more than {} inputs", limits::INPUTS);
        problems.error(codes::TOO_MANY, span, message).help("group them into objects");
    }
    declared.broken.extend(written.broken.iter().map(|key| key.text.to_string()));
    for (key, schema) in written.entries.iter().take(limits::INPUTS) {
        check_name(&key.text, "the name of an input", key.span, problems);
        let what = format!("input `{}`", key.text);
        let Some(compiled) = schemas.compile(&schema.0, &what, problems) else {
            declared.broken.push(key.text.to_string());
            continue;
        };
        let default = compiled.json().get("default").cloned();
        if let Some(default) = &default
            && let Err(violations) = schemas.check_default(&compiled, default)
        {
            report_default(&what, &violations, schema, problems);
        }
        declared.accepted.0.push(Input {
            name: Name::new_unchecked(&key.text),
            schema: compiled,
            default,
        });
    }
    declared
}

fn report_default(
    what: &str,
    violations: &[Violation],
    schema: &SchemaText,
    problems: &mut Problems,
) {
    let mut span = schema.0.span;
    if let crate::parse::Data::Map(entries) = &schema.0.data
        && let Some((_, node)) = entries.iter().find(|(key, _)| key.text == "default")
    {
        span = node.span;
    }
    let why: Vec<String> = violations
        .iter()
        .map(|violation| format!("{} {}", violation.path, violation.message).trim().to_owned())
        .collect();
    let message = format!("the default of {what} does not match its schema: {}", why.join("; "));
    problems.error(codes::INVALID_DEFAULT, span, message);
}
