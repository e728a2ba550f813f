//! The `exec` agent with real processes.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod apart;

use std::future::pending;
use std::path::Path;
use std::time::Duration;

use expect_test::{Expect, expect};
use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};
use skep_agent::Failure;
use skep_agents::Stock;
use skep_agents::exec::{
    Commands, ExecConfig, ExecError, ExecInput, ExecOutput, Surroundings, run,
};

fn config(root: &Path) -> ExecConfig {
    let path = std::env::var_os("PATH");
    let names = ["sh", "cat", "env", "timeout", "/bin/echo"];
    let commands = Commands::resolve(names, path.as_deref()).unwrap();
    let mut config = ExecConfig::new(commands, root);
    config.grace = Duration::from_millis(100);
    config
}

fn input(value: Value) -> ExecInput {
    serde_json::from_value(value).unwrap()
}

fn alone() -> Surroundings<impl Future<Output = ()>, impl FnMut(&str)> {
    Surroundings { identity: Vec::new(), stop: pending(), progress: |_: &str| {} }
}

async fn execute(config: &ExecConfig, value: Value) -> Result<ExecOutput, Failure> {
    run(config, &input(value), alone()).await.map_err(ExecError::failure)
}

async fn check(value: Value, expected: Expect) {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("below")).unwrap();
    let mut config = config(root.path());
    config.max_stdout = 1000;
    config.settable_env = vec!["GREETING".to_owned()];
    let outcome = match execute(&config, value).await {
        Ok(output) => serde_json::to_string(&output).unwrap(),
        Err(failure) => {
            let retry = if failure.is_retryable() { "retryable" } else { "fatal" };
            let unclear = if failure.is_unclear() { "unclear " } else { "" };
            let here = if failure.is_only_here() { " only here" } else { "" };
            format!("{unclear}{retry}{here} {failure}")
        }
    };
    expected.assert_eq(&outcome.replace(root.path().to_str().unwrap(), "ROOT"));
}

#[tokio::test]
async fn what_a_program_writes_is_its_output() {
    check(
        json!({ "argv": ["cat"], "stdin": { "a": [1, "two"] } }),
        expect![[r#"{"exit_code":0,"stdout":{"a":[1,"two"]},"stderr":""}"#]],
    )
    .await;
    check(
        json!({ "argv": ["cat"], "stdin": { "a": 1 }, "stdout": "text" }),
        expect![[r#"{"exit_code":0,"stdout":"{\"a\":1}","stderr":""}"#]],
    )
    .await;
    check(
        json!({ "argv": ["cat"], "stdin_text": "plain\n" }),
        expect![[r#"{"exit_code":0,"stdout":"plain\n","stderr":""}"#]],
    )
    .await;
    check(
        json!({ "argv": ["/bin/echo", "$(id)", "; rm -rf /", "*"] }),
        expect![[r#"{"exit_code":0,"stdout":"$(id) ; rm -rf / *\n","stderr":""}"#]],
    )
    .await;
    check(
        json!({ "argv": ["sh", "-c", "echo working >&2"] }),
        expect![[r#"{"exit_code":0,"stdout":"","stderr":"working\n"}"#]],
    )
    .await;
    check(
        json!({ "argv": ["sh", "-c", "exec <&-; echo deaf"], "stdin": "x".repeat(1_000_000) }),
        expect![[r#"{"exit_code":0,"stdout":"deaf\n","stderr":""}"#]],
    )
    .await;
}

#[tokio::test]
async fn an_exit_code_other_than_0_is_a_failure() {
    check(
        json!({ "argv": ["sh", "-c", "echo partial; echo no such thing >&2; exit 3"] }),
        expect!["retryable exit_3: exit code 3: no such thing"],
    )
    .await;
    check(
        json!({ "argv": ["sh", "-c", "exit 3"], "retry_on_exit": false }),
        expect!["fatal exit_3: exit code 3"],
    )
    .await;
    check(
        json!({ "argv": ["sh", "-c", "exit 75"], "retry_on_exit": [75] }),
        expect!["retryable exit_75: exit code 75"],
    )
    .await;
    check(
        json!({ "argv": ["sh", "-c", "exit 1"], "retry_on_exit": [75] }),
        expect!["fatal exit_1: exit code 1"],
    )
    .await;
    check(
        json!({ "argv": ["sh", "-c", "kill -9 $$"] }),
        expect!["unclear retryable signal_9: ended by signal 9"],
    )
    .await;
    let root = tempfile::tempdir().unwrap();
    let task = json!({ "argv": ["sh", "-c", "echo partial; echo why >&2; exit 3"] });
    let failure = execute(&config(root.path()), task).await.unwrap_err();
    let details = failure.into_protocol().details.unwrap();
    assert_eq!(details.text(), Some(r#"{"stdout":"partial\n","stderr":"why\n"}"#));
}

#[tokio::test]
async fn what_the_operator_did_not_allow_is_refused() {
    check(
        json!({ "argv": ["rm", "-rf", "/"] }),
        expect![
            "retryable only here command_not_allowed: the operator of this agent \
             did not allow `rm`; allowed: /bin/echo, cat, env, sh, timeout"
        ],
    )
    .await;
    check(
        json!({ "argv": ["./sh"] }),
        expect![
            "retryable only here command_not_allowed: the operator of this agent \
             did not allow `./sh`; allowed: /bin/echo, cat, env, sh, timeout"
        ],
    )
    .await;
    check(
        json!({ "argv": ["env"], "env": { "LD_PRELOAD": "x.so" } }),
        expect![
            "fatal env_not_allowed: the operator of this agent did not allow \
             tasks to set the variable `LD_PRELOAD`"
        ],
    )
    .await;
    check(
        json!({ "argv": ["cat"], "cwd": ".." }),
        expect![
            "fatal directory_not_allowed: cannot run in `..`: \
             it is not below the root of this agent"
        ],
    )
    .await;
    check(
        json!({ "argv": ["cat"], "cwd": "/etc" }),
        expect![
            "fatal directory_not_allowed: cannot run in `/etc`: \
             it is not below the root of this agent"
        ],
    )
    .await;
    check(
        json!({ "argv": ["cat"], "cwd": "missing" }),
        expect![
            "fatal directory_not_allowed: cannot run in `missing`: \
             No such file or directory (os error 2)"
        ],
    )
    .await;
    check(
        json!({ "argv": ["sh", "-c", "pwd"], "cwd": "below" }),
        expect![[r#"{"exit_code":0,"stdout":"ROOT/below\n","stderr":""}"#]],
    )
    .await;
}

#[tokio::test]
async fn an_agent_that_allows_nothing_says_so() {
    let root = tempfile::tempdir().unwrap();
    let config = ExecConfig::new(Commands::resolve([], None).unwrap(), root.path());
    let failure = execute(&config, json!({ "argv": ["true"] })).await.unwrap_err();
    let expected = expect![
        "command_not_allowed: the operator of this agent did not allow `true`; \
         none is allowed: start the agent with --allow-command"
    ];
    expected.assert_eq(&failure.to_string());
}

#[tokio::test]
async fn a_task_that_makes_no_sense_is_refused() {
    check(
        json!({ "argv": [] }),
        expect!["fatal invalid_input: `argv` is empty: it starts with a program"],
    )
    .await;
    check(
        json!({ "argv": ["cat", "a\u{0}b"] }),
        expect!["fatal invalid_input: `argv` contains a NUL character"],
    )
    .await;
    check(
        json!({ "argv": ["cat"], "stdin": 1, "stdin_text": "1" }),
        expect!["fatal invalid_input: give `stdin` or `stdin_text`, not both"],
    )
    .await;
    check(
        json!({ "argv": ["env"], "env": { "GREETING": "a\u{0}b" } }),
        expect!["fatal invalid_input: the variable `GREETING` contains a NUL character"],
    )
    .await;
    let error = serde_json::from_value::<ExecInput>(json!({ "argv": "rm -rf /" })).unwrap_err();
    assert!(error.to_string().contains("expected a sequence"), "{error}");
    let error = serde_json::from_value::<ExecInput>(json!({ "argv": [], "shell": 1 })).unwrap_err();
    assert!(error.to_string().contains("unknown field `shell`"), "{error}");
}

#[tokio::test]
async fn output_is_bounded_and_what_the_task_says_it_is() {
    check(
        json!({ "argv": ["sh", "-c", "while :; do echo forever; done"] }),
        expect![
            "unclear fatal stdout_too_large: \
             the program wrote more than 1000 bytes to standard output"
        ],
    )
    .await;
    check(
        json!({ "argv": ["/bin/echo", "no json"], "stdout": "json" }),
        expect![
            "unclear fatal stdout_format: standard output is not what the task asked for: \
             it is not JSON: expected ident at line 1 column 2"
        ],
    )
    .await;
    check(
        json!({ "argv": ["sh", "-c", r"printf '\377'"] }),
        expect![
            "unclear fatal stdout_format: standard output is not what the task asked for: \
             it is not UTF-8: invalid utf-8 sequence of 1 bytes from index 0"
        ],
    )
    .await;
    for depth in [70, 200] {
        let deep = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        check(
            json!({ "argv": ["cat"], "stdin_text": deep }),
            expect![
                "unclear fatal stdout_format: standard output is not what the task asked for: \
                 the JSON is nested too deeply"
            ],
        )
        .await;
    }
}

#[tokio::test]
async fn the_environment_is_what_was_allowed_and_the_identity() {
    let root = tempfile::tempdir().unwrap();
    let mut config = config(root.path());
    config.pass_env = vec!["PATH".to_owned()];
    config.settable_env = vec!["GREETING".to_owned()];
    let mut surroundings = alone();
    surroundings.identity = vec![("SKEP_STEP".to_owned(), "review[2]".to_owned())];
    let task = input(json!({ "argv": ["env"], "env": { "GREETING": "hello" } }));
    let output = run(&config, &task, surroundings).await.unwrap();
    let stdout = output.stdout.as_string().unwrap();
    let mut lines: Vec<&str> = stdout.lines().collect();
    lines.sort_unstable();
    let path = format!("PATH={}", std::env::var("PATH").unwrap());
    assert_eq!(lines, ["GREETING=hello", &path, "SKEP_STEP=review[2]"]);
}

#[tokio::test]
async fn a_program_knows_which_attempt_it_works_for() {
    let root = tempfile::tempdir().unwrap();
    let mut config = config(root.path());
    config.pass_env = Vec::new();
    config.settable_env = vec!["SKEP_STEP".to_owned()];
    let stock = Stock { exec: Some(config), ..Stock::default() };
    let agent = stock.agents().unwrap().remove(0);
    let task = json!({ "argv": ["env"], "env": { "SKEP_STEP": "a lie" } });
    let output = agent.perform("exec", task).await.unwrap();
    let mut lines: Vec<&str> = output["stdout"].as_str().unwrap().lines().collect();
    lines.sort_unstable();
    let run = lines.iter().find_map(|line| line.strip_prefix("SKEP_RUN=")).unwrap();
    expect![[r#"
        SKEP_ATTEMPT=1
        SKEP_FENCING_TOKEN=1
        SKEP_IDEMPOTENCY_KEY=RUN/perform
        SKEP_RUN=RUN
        SKEP_STEP=perform"#]]
    .assert_eq(&lines.join("\n").replace(run, "RUN"));
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_a_failure() {
    let root = tempfile::tempdir().unwrap();
    let tool = root.path().join("tool");
    std::fs::write(&tool, "#!/no/such/interpreter\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&tool, mode).unwrap();
    let name = tool.to_str().unwrap();
    let config = ExecConfig::new(Commands::resolve([name], None).unwrap(), root.path());
    let failure = execute(&config, json!({ "argv": [name] })).await.unwrap_err();
    assert_eq!((failure.code(), failure.is_retryable()), ("spawn_failed", true));
    assert!(failure.is_only_here() && failure.message().contains("No such file"), "{failure:?}");
}

/// Starts a shell that starts a grandchild which never ends; tells the ids of both by stderr.
const FAMILY: &str = "sleep 1000 & echo $$ $! >&2; ";

fn ids(line: &str) -> Vec<Pid> {
    line.split(' ').map(|id| Pid::from_raw(id.parse().unwrap()).unwrap()).collect()
}

/// Waits until none of the processes is there. A grandchild is reaped by the system's first
/// process; where that one does not reap, a zombie is as gone as it gets.
async fn gone(pids: &[Pid]) {
    let is_there = |pid: &&Pid| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        let is_zombie = stat.is_ok_and(|stat| stat.contains(") Z "));
        test_kill_process(**pid).is_ok() && !is_zombie
    };
    while pids.iter().find(is_there).is_some() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn stopping_ends_the_whole_group_even_against_its_will() {
    let stubborn = "trap '' TERM; while :; do wait; done";
    for (first, script, ended) in [
        (&[][..], "wait", "by SIGTERM"),
        (&[], stubborn, "by SIGKILL"),
        (&["timeout", "1000"], stubborn, "by SIGKILL, in a process group of its own"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let (tell, told) = tokio::sync::oneshot::channel();
        let (mut tell, mut family) = (Some(tell), Vec::new());
        let surroundings = Surroundings {
            identity: Vec::new(),
            stop: async { told.await.unwrap() },
            progress: |line: &str| {
                family = ids(line);
                tell.take().unwrap().send(()).unwrap();
            },
        };
        let script = format!("{FAMILY}{script}");
        let argv = [first, &["sh", "-c", &script]].concat();
        let task = input(json!({ "argv": argv }));
        let stopped = run(&config(root.path()), &task, surroundings).await;
        assert!(matches!(stopped, Err(ExecError::Stopped)), "{ended}: {stopped:?}");
        assert_eq!(family.len(), 2);
        gone(&family).await;
    }
}

#[tokio::test]
async fn a_dropped_execution_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let config = config(root.path());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let progress = move |line: &str| tell.send(line.to_owned()).unwrap();
    let surroundings = Surroundings { identity: Vec::new(), stop: pending(), progress };
    let task = input(json!({ "argv": ["sh", "-c", format!("{FAMILY} trap '' TERM; wait")] }));
    let family = tokio::select! {
        outcome = run(&config, &task, surroundings) => panic!("it ended: {outcome:?}"),
        line = told.recv() => ids(&line.unwrap()),
    };
    gone(&family).await;
}

#[tokio::test]
async fn children_left_behind_are_killed_and_do_not_hold_the_output() {
    let root = tempfile::tempdir().unwrap();
    let task = json!({ "argv": ["sh", "-c", format!("{FAMILY} echo done")] });
    let output = execute(&config(root.path()), task).await.unwrap();
    assert_eq!(output.stdout, "done\n".into());
    gone(&ids(output.stderr.trim())).await;
}
