//! From a task to what is handed to the system: all checks that need no process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{ExecConfig, ExecError, ExecInput};

/// A checked task.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prepared {
    /// The program as the task names it.
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) directory: PathBuf,
    pub(super) env: BTreeMap<String, OsString>,
    pub(super) stdin: Vec<u8>,
}

pub(super) fn prepare(config: &ExecConfig, input: &ExecInput) -> Result<Prepared, ExecError> {
    let invalid = |problem: &str| ExecError::InvalidInput(problem.to_owned());
    let (name, arguments) = input
        .argv
        .split_first()
        .ok_or_else(|| invalid("`argv` is empty: it starts with a program"))?;
    if input.argv.iter().any(|argument| argument.contains('\0')) {
        return Err(invalid("`argv` contains a NUL character"));
    }
    let program = config.commands.find(name).ok_or_else(|| ExecError::CommandNotAllowed {
        command: name.clone(),
        allowed: config.commands.names().map(str::to_owned).collect(),
    })?;
    Ok(Prepared {
        name: name.clone(),
        program: program.to_owned(),
        arguments: arguments.to_vec(),
        directory: directory(&config.root, input.cwd.as_deref())?,
        env: environment(config, &input.env)?,
        stdin: stdin(input)?,
    })
}

fn stdin(input: &ExecInput) -> Result<Vec<u8>, ExecError> {
    match (&input.stdin, &input.stdin_text) {
        (Some(_), Some(_)) => {
            Err(ExecError::InvalidInput("give `stdin` or `stdin_text`, not both".to_owned()))
        }
        (Some(value), None) => Ok(value.get().as_bytes().to_vec()),
        (None, Some(text)) => Ok(text.clone().into_bytes()),
        (None, None) => Ok(Vec::new()),
    }
}

fn directory(root: &Path, below: Option<&str>) -> Result<PathBuf, ExecError> {
    let refuse = |problem: String| ExecError::DirectoryNotAllowed {
        directory: below.unwrap_or(".").to_owned(),
        problem,
    };
    let root = root.canonicalize().map_err(|error| refuse(format!("the root: {error}")))?;
    let Some(below) = below else { return Ok(root) };
    let directory = root.join(below).canonicalize().map_err(|error| refuse(error.to_string()))?;
    if !directory.starts_with(&root) {
        return Err(refuse("it is not below the root of this agent".to_owned()));
    }
    if !directory.is_dir() {
        return Err(refuse("it is not a directory".to_owned()));
    }
    Ok(directory)
}

fn environment(
    config: &ExecConfig,
    set: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, OsString>, ExecError> {
    let own = config
        .pass_env
        .iter()
        .filter_map(|name| std::env::var_os(name).map(|value| (name.clone(), value)));
    let mut env: BTreeMap<String, OsString> = own.collect();
    for (name, value) in set {
        if !config.settable_env.contains(name) {
            return Err(ExecError::EnvNotAllowed(name.clone()));
        }
        if value.contains('\0') {
            return Err(ExecError::InvalidInput(format!(
                "the variable `{name}` contains a NUL character"
            )));
        }
        env.insert(name.clone(), value.into());
    }
    Ok(env)
}
