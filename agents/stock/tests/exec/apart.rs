//! An agent in a process apart, a helper, that is killed or has an environment of its own.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;

/// Names the root below which the helper runs `argv`; without it, this is no helper.
const ROOT: &str = "SKEP_TEST_EXEC_ROOT";
const ARGV: &str = "SKEP_TEST_EXEC_ARGV";
/// The helper's lines with what its program says begin so.
const MARK: &str = "told ";

/// Does nothing but in the helper process: runs a program, tells what it says.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "that is how the helper tells")]
async fn helper() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let argv: Value = serde_json::from_str(&std::env::var(ARGV).unwrap()).unwrap();
    let progress = |line: &str| println!("\n{MARK}{line}");
    let surroundings = Surroundings { identity: Vec::new(), stop: pending(), progress };
    let task = input(json!({ "argv": argv }));
    run(&config(Path::new(&root)), &task, surroundings).await.unwrap();
}

/// Starts a helper that runs `argv`; returns the lines that the program says, too.
fn start_helper(root: &Path, argv: &Value) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "apart::helper", "--nocapture"]);
    command.env(ROOT, root).env(ARGV, argv.to_string()).env("TZ", OsStr::from_bytes(b"\xff"));
    let mut helper = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(helper.stdout.take().unwrap()).lines().map(Result::unwrap);
    (helper, lines.filter_map(|line| line.strip_prefix(MARK).map(str::to_owned)))
}

#[tokio::test]
async fn a_variable_is_passed_whatever_its_bytes() {
    let root = tempfile::tempdir().unwrap();
    let script = "printf %s \"$TZ\" | od -An -tx1 >&2";
    let (mut helper, told) = start_helper(root.path(), &json!(["sh", "-c", script]));
    assert_eq!(told.map(|line| line.trim().to_owned()).collect::<Vec<_>>(), ["ff"]);
    helper.wait().unwrap();
}

#[tokio::test]
async fn programs_end_with_an_agent_that_was_killed() {
    let script = format!("trap '' HUP INT TERM; {FAMILY} wait");
    let own_group = format!("{FAMILY} wait");
    for argv in [
        json!(["sh", "-c", script]),
        // It moves to a process group of its own.
        json!(["timeout", "1000", "sh", "-c", own_group]),
    ] {
        let root = tempfile::tempdir().unwrap();
        let (mut helper, mut told) = start_helper(root.path(), &argv);
        let family = ids(&told.next().unwrap());
        assert_eq!(family.len(), 2);
        helper.kill().unwrap();
        helper.wait().unwrap();
        gone(&family).await;
    }
}
