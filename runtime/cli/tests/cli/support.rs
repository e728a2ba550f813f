//! Running the binary, and looking at what it did.

#![expect(clippy::unwrap_used, reason = "what helps tests may panic as tests do")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A call of the binary.
pub(crate) struct Skep {
    args: Vec<String>,
    folder: PathBuf,
    input: String,
    variables: Vec<(String, String)>,
    /// Removed when the call is over.
    temporary: Option<TempDir>,
}

/// What a call did.
pub(crate) struct Seen {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Starts to describe a call.
pub(crate) fn skep(args: &[&str]) -> Skep {
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    let (input, variables) = (String::new(), Vec::new());
    Skep { args, folder: examples(), input, variables, temporary: None }
}

/// Returns the cases of an example.
pub(crate) fn example(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(examples().join(name).join("example.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    json["cases"].as_array().unwrap().clone()
}

/// Tells whether a value holds what is expected: objects may hold more, the rest is equal.
pub(crate) fn contains(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => expected
            .iter()
            .all(|(key, value)| found.get(key).is_some_and(|found| contains(found, value))),
        _ => found == expected,
    }
}

/// Returns a port of the loopback interface on which nobody listens.
pub(crate) fn closed_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

impl Skep {
    pub(crate) fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Runs it in the folder of an example.
    pub(crate) fn folder(mut self, example: &str) -> Self {
        self.folder = examples().join(example);
        self
    }

    /// Writes this to its standard input.
    pub(crate) fn input(mut self, input: &str) -> Self {
        input.clone_into(&mut self.input);
        self
    }

    /// Runs it in an empty folder that holds the definition of an example as `FILE`, and programs.
    pub(crate) fn copy(self, example: &str, files: &[(&str, &str)]) -> Self {
        let file = examples().join(example).join(format!("{example}.skep.yaml"));
        self.definition(&fs::read_to_string(file).unwrap(), files)
    }

    /// Runs it in an empty folder that holds this definition as `FILE`, and programs.
    pub(crate) fn definition(mut self, text: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("FILE"), text).unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::write(&file, text).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        self.folder = folder.path().to_owned();
        self.temporary = Some(folder);
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Seen {
        let mut command = self.command();
        command.stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A call that does not read its input closes it early.
        let _ = stdin.write_all(self.input.as_bytes());
        drop(stdin);
        Seen::of(child.wait_with_output().unwrap())
    }

    /// Runs it to its end; what it writes to stdout goes to a disk that is full.
    pub(crate) fn run_on_a_full_disk(self) -> Seen {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        Seen::of(self.command().stdout(full).output().unwrap())
    }

    /// Runs it until it has written a line on stderr that holds `text`, and ends it by SIGTERM.
    pub(crate) fn run_until(self, text: &str) -> Seen {
        let mut child = self.command().stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut told = String::new();
        for line in lines.by_ref() {
            told = told + &line + "\n";
            if line.contains(text) {
                break;
            }
        }
        let pid = child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        lines.for_each(|line| told = std::mem::take(&mut told) + &line + "\n");
        let mut seen = Seen::of(child.wait_with_output().unwrap());
        seen.stderr = told;
        seen
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
        command.args(&self.args).current_dir(&self.folder);
        for name in ["SKEP_NATS_URL", "SKEP_CONTEXT", "SKEP_LOG", "SKEP_DATA", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        command.envs(variables).stdin(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Seen {
    fn of(output: Output) -> Self {
        Self {
            exit: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Returns everything, for comparison with what is expected.
    pub(crate) fn text(&self) -> String {
        format!("exit {}\n--- stdout\n{}--- stderr\n{}", self.exit, self.stdout, self.stderr)
    }

    /// Returns stdout as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }
}
