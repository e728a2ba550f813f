//! The inputs that a workflow declares.

use std::fmt;

use serde_json::{Map, Value};

use crate::name::Name;
use crate::schema::Schema;
use crate::suggest::suggest;

/// Unknown inputs that are named; somebody may pass a whole document.
const UNKNOWN: usize = 20;
/// Inputs that are listed for those that are not there.
const LISTED: usize = 20;
/// Characters of a schema that are shown with what does not match it.
const SCHEMA_SHOWN: usize = 200;

/// One declared input.
#[derive(Clone, Debug)]
pub struct Input {
    pub(crate) name: Name,
    pub(crate) schema: Schema,
    pub(crate) default: Option<Value>,
}

impl Input {
    /// Returns the name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Returns the schema its value must match.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Returns the value it has when none is given; without one it is required.
    pub fn default_value(&self) -> Option<&Value> {
        self.default.as_ref()
    }
}

/// The inputs of a workflow, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Inputs(pub(crate) Vec<Input>);

/// One reason why given inputs were refused.
#[derive(Clone, Debug, PartialEq)]
pub struct InputProblem {
    /// The input.
    pub input: String,
    /// What is wrong with it.
    pub message: String,
    /// The schema it was held against; `null` if there is no such input.
    pub schema: Value,
}

impl Inputs {
    /// Returns the declared inputs, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Input> {
        self.0.iter()
    }

    /// Returns the input with this name.
    pub fn find(&self, name: &str) -> Option<&Input> {
        self.0.iter().find(|input| input.name == *name)
    }

    /// Checks given inputs and fills in defaults.
    ///
    /// # Errors
    ///
    /// One [`InputProblem`] for each input that is missing, unknown or does not match its schema.
    pub fn accept(
        &self,
        mut given: Map<String, Value>,
    ) -> Result<Map<String, Value>, Vec<InputProblem>> {
        let mut accepted = Map::new();
        let mut problems = Vec::new();
        for input in &self.0 {
            let Some(value) = given.remove(input.name.as_str()) else {
                match &input.default {
                    Some(default) => {
                        accepted.insert(input.name.to_string(), default.clone());
                    }
                    None => problems.push(input.problem("it is required".to_owned())),
                }
                continue;
            };
            match input.schema.check(&value) {
                Ok(()) => {
                    accepted.insert(input.name.to_string(), value);
                }
                Err(violations) => {
                    problems.extend(violations.into_iter().map(|violation| {
                        let text = format!("{} {}", violation.path, violation.message);
                        input.problem(text.trim().to_owned())
                    }));
                }
            }
        }
        let unknown = given.keys().take(UNKNOWN);
        problems.extend(unknown.map(|name| self.unknown(name)));
        if problems.is_empty() { Ok(accepted) } else { Err(problems) }
    }

    fn unknown(&self, name: &str) -> InputProblem {
        let names = || self.0.iter().map(|input| input.name.as_str());
        let message = match suggest(name, names()) {
            Some(near) => format!("there is no such input; did you mean `{near}`?"),
            None if self.0.is_empty() => "the workflow has no inputs".to_owned(),
            None => {
                let listed: Vec<&str> = names().take(LISTED).collect();
                let more = if listed.len() < self.0.len() { ", …" } else { "" };
                format!("there is no such input; the inputs are: {}{more}", listed.join(", "))
            }
        };
        InputProblem { input: name.chars().take(64).collect(), message, schema: Value::Null }
    }
}

impl Input {
    fn problem(&self, message: String) -> InputProblem {
        InputProblem { input: self.name.to_string(), message, schema: self.schema.json().clone() }
    }
}

impl InputProblem {
    /// Says what is wrong, with the schema that was not matched, as far as people read it.
    pub fn sentence(&self) -> String {
        if self.schema.is_null() {
            return self.to_string();
        }
        let mut schema = self.schema.to_string();
        if let Some((end, _)) = schema.char_indices().nth(SCHEMA_SHOWN) {
            schema.truncate(end);
            schema.push('…');
        }
        format!("{self} (schema: {schema})")
    }
}

impl fmt::Display for InputProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "input `{}`: {}", self.input, self.message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn accept(given: Value) -> Result<Value, Vec<String>> {
        let file = b"name: n\n\
                     inputs: { topic: { type: string }, count: { type: integer, default: 3 } }\n\
                     steps: { a: { agent: x } }\n";
        let workflow = crate::read(file, "t").unwrap();
        let Value::Object(given) = given else { return Err(Vec::new()) };
        match workflow.inputs().accept(given) {
            Ok(accepted) => Ok(Value::Object(accepted)),
            Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn defaults_are_filled_in() {
        assert_eq!(accept(json!({"topic": "x"})), Ok(json!({"topic": "x", "count": 3})));
    }

    #[test]
    fn every_problem_is_named() {
        let problems = accept(json!({"topc": "x", "count": "many"})).unwrap_err();
        expect_test::expect![[r#"
            [
                "input `topic`: it is required",
                "input `count`: value is not of type \"integer\"",
                "input `topc`: there is no such input; did you mean `topic`?",
            ]
        "#]]
        .assert_debug_eq(&problems);
    }
}
