//! The inputs of a run, from the command line and from a file.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use clap::Args;
use serde_json::{Map, Value};
use skep_protocol::flaw;
use skep_workflow::{InputProblem, Inputs, Workflow};

use crate::error::{self, Error, Exit};
use crate::human;

/// The options that give inputs.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct InputArgs {
    /// An input. What the definition declares as a string is taken as it is, anything else is read
    /// as JSON; `NAME=@FILE` takes the value from a file.
    #[arg(short = 'i', long = "set", value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// All inputs: a JSON object, or a file with one (`-` for stdin); `-i` outranks it.
    #[arg(long, value_name = "FILE.json")]
    pub(crate) input: Option<String>,
}

impl InputArgs {
    /// Returns whether nothing was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.input.is_none()
    }

    /// Reads what was given, which may be a part of all inputs.
    pub(crate) fn given(&self, workflow: Option<&Workflow>) -> Result<Map<String, Value>, Error> {
        let (given, broken) = self.gather(workflow.map(Workflow::inputs))?;
        let lines: Vec<String> = broken.into_values().collect();
        if lines.is_empty() { Ok(given) } else { Err(error::inputs(&lines)) }
    }

    /// Reads what was given without knowing what is declared.
    pub(crate) fn read(&self) -> Result<Map<String, Value>, Error> {
        Ok(self.gather(None)?.0)
    }

    /// Reads what was given and holds it against what the workflow declares, so that wrong inputs
    /// are refused before there is a run, all of them at once.
    pub(crate) fn accept(&self, workflow: &Workflow) -> Result<Map<String, Value>, Error> {
        let (given, broken) = self.gather(Some(workflow.inputs()))?;
        let problems = workflow.inputs().accept(given.clone()).err().unwrap_or_default();
        // Of an input that is no JSON, that is all there is to say.
        let others = problems.iter().filter(|problem| !broken.contains_key(&*problem.input));
        let lines: Vec<String> =
            broken.values().cloned().chain(others.map(InputProblem::sentence)).collect();
        if lines.is_empty() { Ok(given) } else { Err(error::inputs(&lines)) }
    }

    /// Returns the inputs, and what is wrong with those that are no JSON although they have to be;
    /// `declared` tells strings from JSON, if it is known.
    fn gather(&self, declared: Option<&Inputs>) -> Result<(Map<String, Value>, Broken), Error> {
        let mut broken = Broken::new();
        let mut inputs = match &self.input {
            Some(file) => object(file)?,
            None => Map::new(),
        };
        for pair in &self.set {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                Error::usage(format!("`-i {pair}` names no value"))
                    .help("write -i NAME=VALUE, or -i NAME=@FILE")
            })?;
            let (value, problem) = one(name, value, declared)?;
            inputs.insert(name.to_owned(), value);
            match problem {
                Some(problem) => broken.insert(name.to_owned(), problem),
                None => broken.remove(name),
            };
        }
        Ok((inputs, broken))
    }
}

/// What is wrong with inputs, by name.
type Broken = BTreeMap<String, String>;

fn object(file: &str) -> Result<Map<String, Value>, Error> {
    let (file, text) = match file.trim_start().starts_with('{') {
        true => ("what --input gives", file.to_owned()),
        false => (file, text(file.strip_prefix('@').unwrap_or(file))?),
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(object)) => match flaw(&text) {
            Some(flaw) => Err(Error::usage(format!("the JSON of {file} {flaw}"))),
            None => Ok(object),
        },
        Ok(_) => Err(Error::usage(format!("{file} is no JSON object"))
            .help("it has to look like {\"topic\": \"bees\"}")),
        Err(error) => Err(Error::usage(format!("{file} is not JSON: {error}"))),
    }
}

/// Reads one input; what has to be JSON and is not comes as text, with what is wrong.
fn one(
    name: &str,
    value: &str,
    declared: Option<&Inputs>,
) -> Result<(Value, Option<String>), Error> {
    let text = match value.strip_prefix('@') {
        Some(file) => text(file)?,
        None => value.to_owned(),
    };
    let json = serde_json::from_str(&text).ok();
    let Some(declared) = declared else { return Ok((json.unwrap_or(Value::String(text)), None)) };
    // An unknown input is taken as text here and refused by name when all are checked.
    let Some(input) = declared.find(name) else { return Ok((Value::String(text), None)) };
    let schema = input.schema().json();
    Ok(match (Types::of(schema), json) {
        (Types::String, _) | (Types::StringAmongOthers, None) => (Value::String(text), None),
        (_, Some(json)) => {
            let problem = flaw(&text).map(|flaw| format!("input `{name}`: its JSON {flaw}"));
            (json, problem)
        }
        (Types::NoString, None) => {
            let shown = human::first_line(value, 80);
            let problem = format!("input `{name}`: `{shown}` is not JSON (schema: {schema})");
            (Value::String(text), Some(problem))
        }
    })
}

/// What a schema says about strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Types {
    String,
    StringAmongOthers,
    NoString,
}

impl Types {
    fn of(schema: &Value) -> Self {
        match schema.get("type") {
            Some(Value::String(one)) if one == "string" => Self::String,
            Some(Value::String(_)) => Self::NoString,
            Some(Value::Array(many)) if many.iter().any(|one| one == "string") => {
                Self::StringAmongOthers
            }
            Some(Value::Array(_)) => Self::NoString,
            _ => Self::StringAmongOthers,
        }
    }
}

/// Reads a file as text; `-` is stdin.
pub(crate) fn text(file: &str) -> Result<String, Error> {
    let text = if file == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        fs::read_to_string(Path::new(file))
    };
    text.map_err(|error| unreadable(file, &error))
}

/// Creates the error of a file that cannot be read.
pub(crate) fn unreadable(file: &str, error: &std::io::Error) -> Error {
    let kind = error.kind();
    if kind == ErrorKind::NotFound {
        Error::new(Exit::NotFound, format!("there is no file `{file}`"))
    } else if kind == ErrorKind::IsADirectory {
        Error::usage(format!("`{file}` is a folder"))
    } else if kind == ErrorKind::InvalidData {
        Error::usage(format!("`{file}` is not UTF-8 text"))
    } else {
        Error::new(Exit::NotFound, format!("cannot read `{file}`: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workflow() -> Workflow {
        let source = b"name: w
inputs:
  topic: { type: string }
  count: { type: integer, default: 3 }
  any: { default: null }
steps:
  s: { agent: a, with: { t: \"${{ inputs.topic }}\" } }
";
        skep_workflow::read(source, "w.skep.yaml").unwrap()
    }

    fn read(set: &[&str]) -> Result<String, String> {
        let set = set.iter().map(|&pair| pair.to_owned()).collect();
        let args = InputArgs { set, input: None };
        match args.accept(&workflow()) {
            Ok(inputs) => Ok(Value::Object(inputs).to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn strings_stay_strings_and_the_rest_is_json() {
        let all = read(&["topic=12", "count=4", "any=[1]"]).unwrap();
        assert_eq!(all, r#"{"topic":"12","count":4,"any":[1]}"#);
        assert_eq!(read(&["topic=a=b", "any=x y"]).unwrap(), r#"{"topic":"a=b","any":"x y"}"#);
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused() {
        let refused = read(&["topic=x", r#"any={"a":1,"a":2}"#]).unwrap_err();
        assert_eq!(refused, "input `any`: its JSON has the key `a` twice at line 1 column 10");
    }

    #[test]
    fn wrong_inputs_are_named() {
        assert!(read(&[]).unwrap_err().contains("topic"));
        assert!(read(&["topic=x", "count=many"]).unwrap_err().contains("`count`: `many`"));
        let all = read(&["count=many", "nope=1"]).unwrap_err();
        for part in [
            "input `count`: `many` is not JSON (schema: {\"type\":\"integer\"",
            "input `topic`: it is required (schema: {\"type\":\"string\"})",
            "input `nope`: there is no such input",
        ] {
            assert!(all.contains(part), "{part} is missing in {all}");
        }
        assert_eq!(all.matches("`count`").count(), 1, "{all}");
        assert!(read(&["topic=x", "nope=1"]).unwrap_err().contains("nope"));
        assert!(read(&["topic"]).unwrap_err().contains("names no value"));
    }
}
