//! A user's own program as an agent: one process for each task, JSON in, JSON out, no shell.
//!
//! One JSON value on standard output is the step's output; any other text is that text, without
//! the line ends after it, and nothing is the empty text. JSON mixed with text fails the attempt:
//! what is not the answer belongs on standard error.

use std::env;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use skep_agent::{Agent, Context};
use skep_agents::Json;
use skep_agents::exec::{
    self, Commands, ExecConfig, ExecError, ExecInput, RetryOnExit, StdoutFormat,
};

use crate::error::{Error, chain};

/// Processes of one program at a time.
const SLOTS: u32 = 4;

/// A capability and the program that performs it, as in `greet=./greet.py` or
/// `greet=python3 greet.py`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    capability: String,
    argv: Vec<String>,
}

impl FromStr for Program {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "write NAME=PROGRAM, such as greet=./greet.py or \"greet=python3 greet.py\"";
        let (capability, program) = text.split_once('=').ok_or(wanted)?;
        let argv: Vec<String> = if program.trim_start().starts_with('[') {
            serde_json::from_str(program)
                .map_err(|error| format!("not a JSON array of strings: {error}"))?
        } else {
            words(program)?
        };
        if capability.is_empty() || argv.is_empty() {
            return Err(wanted.to_owned());
        }
        Ok(Self { capability: capability.to_owned(), argv })
    }
}

/// Splits a command line at spaces. Quotes of either kind hold words together, there is no escape
/// and no shell: what needs more is written as a JSON array.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in text.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            Some(_) | None => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(format!(
            "a quote {open} is not closed; an array is taken as it is: NAME=[\"PROGRAM\",\"it's\"]"
        ));
    }
    words.extend(word);
    Ok(words)
}

impl Program {
    /// Returns the capability.
    pub(crate) fn capability(&self) -> &str {
        &self.capability
    }

    /// Returns the file to run: found once, now, so that nothing changes it later.
    fn file(&self) -> Result<String, Error> {
        let name = &self.argv[0];
        if !name.contains('/') {
            return Ok(name.clone());
        }
        let file = env::current_dir().map(|here| here.join(name)).unwrap_or_else(|_| name.into());
        let file = file.canonicalize().map_err(|error| {
            Error::usage(format!("cannot serve `{}` with {name}: {error}", self.capability))
        })?;
        Ok(file.to_string_lossy().into_owned())
    }
}

/// Builds one agent for each program; they run in `root`, or in the current folder.
pub(crate) fn agents(
    programs: &[Program],
    slots: Option<u32>,
    root: Option<&Path>,
) -> Result<Vec<Agent>, Error> {
    let here = || env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let root = root.map_or_else(here, Path::to_path_buf);
    programs.iter().map(|program| agent(program, slots.unwrap_or(SLOTS), &root)).collect()
}

fn agent(program: &Program, slots: u32, root: &Path) -> Result<Agent, Error> {
    let (capability, file) = (program.capability.clone(), program.file()?);
    let path = env::var_os("PATH");
    let commands = Commands::resolve([file.as_str()], path.as_deref()).map_err(|error| {
        let error = Error::usage(format!("cannot serve `{capability}`: {}", chain(&error)));
        let name = &program.argv[0];
        match Path::new(&file).exists() {
            true => error
                .help(format!("make it executable: chmod +x {name}"))
                .help(format!("or name what runs it: --agent \"{capability}=python3 {name}\"")),
            false => error,
        }
    })?;
    let mut config = ExecConfig::new(commands, root);
    // It is the user's own program: it sees what it would see when started by hand.
    config.pass_env = env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    let grace = config.grace;
    let config = Arc::new(config);
    let argv: Vec<String> =
        std::iter::once(file).chain(program.argv.iter().skip(1).cloned()).collect();
    let handler = move |context: Context, input: Json| {
        let (config, argv) = (Arc::clone(&config), argv.clone());
        async move {
            let input = task(argv, input);
            let output = exec::run(&config, &input, exec::surroundings(&context)).await;
            output.map(|output| tidy(output.stdout)).map_err(ExecError::failure)
        }
    };
    let agent =
        Agent::builder(&capability.replace('.', "-")).serve(&capability, handler).slots(slots);
    let agent = agent.cancel_within(grace + Duration::from_secs(1));
    agent.build().map_err(|error| Error::usage(chain(&error)))
}

fn task(argv: Vec<String>, input: Json) -> ExecInput {
    ExecInput {
        argv,
        stdin: Some(input),
        stdin_text: None,
        env: std::collections::BTreeMap::new(),
        cwd: None,
        stdout: StdoutFormat::Answer,
        retry_on_exit: RetryOnExit::Any(true),
    }
}

/// What a program prints without being JSON is text, and its last line end is no part of it.
fn tidy(stdout: Json) -> Json {
    let text = stdout.as_string();
    text.map_or(stdout, |text| Json::from(text.trim_end_matches(['\n', '\r'])))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn programs_are_written_in_several_ways() {
        let argv = |text: &str| text.parse::<Program>().map(|program| program.argv.join("|"));
        assert_eq!(argv("greet=./greet.py"), Ok("./greet.py".to_owned()));
        assert_eq!(argv("greet=python3 -u greet.py"), Ok("python3|-u|greet.py".to_owned()));
        assert_eq!(argv(r#"greet=["my program", "a b"]"#), Ok("my program|a b".to_owned()));
        let quoted = r#"greet=sh -c 'echo "$0"' "a b"c "" x"#;
        assert_eq!(argv(quoted), Ok(r#"sh|-c|echo "$0"|a bc||x"#.to_owned()));
        for wrong in ["greet", "=x", "greet=", "greet=[1]", "greet=it's", "greet=\"a' b"] {
            assert!(argv(wrong).is_err(), "{wrong} was taken");
        }
    }

    #[tokio::test]
    async fn one_json_value_or_a_text_is_an_answer_but_no_mixture() {
        let answer = async |script: &str| {
            let argv = json!(["sh", "-c", script]);
            let program = format!("answer={argv}").parse().unwrap();
            let agent = agents(&[program], None, None).unwrap().remove(0);
            let output = agent.perform("answer", Value::Null).await;
            output.map_err(|failure| (failure.code().to_owned(), failure.is_retryable()))
        };
        let json = json!({ "text": "x" });
        assert_eq!(answer(r#"echo '{"text": "x"}'"#).await, Ok(json));
        assert_eq!(answer("echo 'debug: x'").await, Ok(Value::from("debug: x")));
        assert_eq!(answer("echo NaN").await, Ok(Value::from("NaN")));
        assert_eq!(answer("true").await, Ok(Value::from("")));
        let mixture = answer(r#"echo debug; echo '{"text": "x"}'"#).await;
        assert_eq!(mixture, Err(("stdout_not_json".to_owned(), false)));
    }

    #[tokio::test]
    async fn a_program_runs_in_the_root() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let agent = agents(&["where=pwd".parse().unwrap()], None, Some(&root)).unwrap().remove(0);
        let output = agent.perform("where", Value::Null).await.map_err(drop);
        assert_eq!(output, Ok(Value::from(root.to_string_lossy())));
    }

    #[test]
    fn a_line_end_is_no_part_of_a_text() {
        assert_eq!(tidy("Hello\n".into()), "Hello".into());
        let object = Json::from(json!({ "a": "x\n" }));
        assert_eq!(tidy(object.clone()), object);
    }
}
