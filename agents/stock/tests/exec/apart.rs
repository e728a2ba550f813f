//! The agent is killed while its programs run: a helper process takes its place.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;

/// Names the root below which the helper runs `argv`; without it, this is no helper.
const ROOT: &str = "SKEP_TEST_EXEC_ROOT";
const ARGV: &str = "SKEP_TEST_EXEC_ARGV";
/// The helper's line with the ids of its program and the grandchild begins so.
const MARK: &str = "family ";

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

fn start_helper(root: &Path, argv: &Value) -> (Child, Vec<Pid>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "killed::helper", "--nocapture"]);
    command.env(ROOT, root).env(ARGV, argv.to_string());
    let mut helper = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(helper.stdout.take().unwrap()).lines().map(Result::unwrap);
    let family = lines.find_map(|line| line.strip_prefix(MARK).map(ids)).unwrap();
    (helper, family)
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
        let (mut helper, family) = start_helper(root.path(), &argv);
        assert_eq!(family.len(), 2);
        helper.kill().unwrap();
        helper.wait().unwrap();
        gone(&family).await;
    }
}
