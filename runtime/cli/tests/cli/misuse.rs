//! Wrong command lines, files that are none, disks that are full: what is said, and the exit code.

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::{closed_port, skep};

const ONE_STEP: &str = "name: w\nsteps:\n  s: { agent: s }\n";

#[test]
fn a_wrong_command_line_is_told_as_json_when_json_was_asked_for() {
    for form in [&["-o", "json"][..], &["--output", "json"], &["--output=json"], &["-ojson"]] {
        let seen = skep(&["run"]).args(form).arg("--fly").run();
        assert_eq!((seen.exit, &*seen.stdout), (2, ""), "{}", seen.text());
        let error: Value = serde_json::from_str(&seen.stderr).unwrap();
        assert_eq!(error["error"]["exit"], 2);
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains("unexpected argument '--fly'"), "{error}");
        assert!(error["error"]["help"].to_string().contains("Usage: skep run"), "{error}");
    }
}

#[test]
fn what_a_variable_gives_is_not_required() {
    let seen = skep(&["agent", "exec", "--fly"]).variable("SKEP_NATS_URL", "nats://here").run();
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: unexpected argument '--fly' found

        Usage: skep agent exec [OPTIONS]

        For more information, try '--help'.
    "#]]
    .assert_eq(&seen.text());
    let seen = skep(&["get"]).variable("SKEP_NATS_URL", "nats://here").run();
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: the following required arguments were not provided:
          <RUN>

        Usage: skep get [OPTIONS] <RUN>

        For more information, try '--help'.
    "#]]
    .assert_eq(&seen.text());
}

#[test]
fn what_names_no_breaker_and_no_agent_is_refused() {
    for args in [
        &["breakers", "trip", "a b"][..],
        &["breakers", "reset", "a/b/c"],
        &["breakers", "trip"],
        &["agents", "quarantine", "x*"],
        &["agents", "release"],
        &["agents", "--capability", "c", "release", "x"],
    ] {
        let seen = skep(args).run();
        assert_eq!((seen.exit, &*seen.stdout), (2, ""), "{args:?}: {}", seen.text());
    }
    let seen = skep(&["breakers", "reset", "a/b/c"]).run();
    assert!(seen.stderr.contains("by a capability, or by WORKFLOW/STEP"), "{}", seen.text());
    let nobody = format!("nats://127.0.0.1:{}", closed_port());
    for args in [&["breakers"][..], &["breakers", "reset", "pay"], &["agents", "release", "x"]] {
        let seen = skep(args).args(&["--nats", &nobody]).run();
        assert_eq!(seen.exit, 5, "{args:?}: {}", seen.text());
    }
}

#[test]
fn data_that_cannot_be_written_is_an_error() {
    let run = ["run", "FILE", "--agent", "s=cat"];
    for args in [&["schema"][..], &["--help"], &["validate", "FILE"], &run] {
        let text = format!("{ONE_STEP}outputs: {{ said: \"${{{{ steps.s.output }}}}\" }}\n");
        let seen = skep(args).definition(&text, &[]).run_on_a_full_disk();
        assert_eq!(seen.exit, 1, "{args:?}: {}", seen.text());
        assert!(seen.stderr.contains("error: cannot write to stdout: No space"), "{}", seen.stderr);
    }
    let seen = skep(&["schema", "-o", "json"]).run_on_a_full_disk();
    let error: Value = serde_json::from_str(&seen.stderr).unwrap();
    assert_eq!(error["error"]["exit"], 1);
}

#[test]
fn a_run_that_sigterm_ends_says_so() {
    let text = "name: w\nsteps:\n  s: { wait: 1h }\n";
    let seen = skep(&["run", "FILE"]).definition(text, &[]).run_until("s: waits");
    assert_eq!(seen.exit, 143, "{}", seen.text());
    assert!(seen.stderr.contains("ended by SIGTERM, cancelling the run\n"), "{}", seen.stderr);
}

#[test]
fn what_is_no_text_is_no_definition() {
    for command in ["run", "validate"] {
        let seen = skep(&[command, "-"]).input("name: n\n\u{7f}ELF\0\0\0").run();
        assert_eq!(seen.exit, 3, "{}", seen.text());
        assert!(seen.text().contains("the file holds the control character U+007F"));
        assert!(!seen.text().contains(['\u{7f}', '\0']), "{}", seen.text());
    }
    let seen = skep(&["validate", "-", "-o", "json"]).input("name: n\n\0").run();
    let problems: Value = serde_json::from_str(&seen.stdout).unwrap();
    assert_eq!((&problems[0]["code"], &problems[0]["line"]), (&"SK0002".into(), &2.into()));
    let large = "# much\n".repeat(200_000);
    let seen = skep(&["run", "FILE"]).definition(&large, &[]).run();
    assert_eq!(seen.exit, 3, "{}", seen.text());
    assert!(seen.stderr.contains("the file has more than 1 MiB"), "{}", seen.stderr);
}

#[test]
fn all_wrong_inputs_are_told_at_once() {
    let text = "name: w\ninputs:\n  rate: { type: number }\n  topic: { type: string }\n\
                steps:\n  s: { agent: s }\n";
    let args = ["run", "FILE", "-i", "rate=abc", "-i", "tpoic=x"];
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: the inputs do not fit:
          - input `rate`: `abc` is not JSON (schema: {"type":"number"})
          - input `topic`: it is required (schema: {"type":"string"})
          - input `tpoic`: there is no such input; did you mean `topic`?
          help: give inputs with -i NAME=VALUE, or all of them with --input FILE.json
    "#]]
    .assert_eq(&skep(&args).definition(text, &[]).run().text());
}

#[test]
fn names_files_and_options_that_make_no_sense_are_told() {
    let told = |args: &[&str], exit: i32, parts: &[&str]| {
        let seen = skep(args).definition(ONE_STEP, &[]).run();
        assert_eq!(seen.exit, exit, "{args:?}: {}", seen.text());
        for part in parts {
            assert!(seen.stderr.contains(part), "{args:?} lacks {part}: {}", seen.stderr);
        }
    };
    told(&["run", "review"], 4, &["there is no file `review`", "--nats URL"]);
    told(&["list", "--creds", "nofile"], 4, &["there is no file `nofile`"]);
    told(&["run", "FILE", "--agent", "s=it's"], 2, &["a quote ' is not closed"]);
    let twice = ["run", "FILE", "--agent", "s=cat", "--agent", "s=true"];
    told(&twice, 2, &["--agent s=… is given twice"]);
    let leaves = ["run", "FILE", "--nats", "nats://here", "--detach", "--agent", "s=cat"];
    told(&leaves, 2, &["--detach leaves at once"]);
    let bounded = ["run", "FILE", "--nats", "nats://here", "--detach", "--timeout", "2s"];
    told(&bounded, 2, &["'--detach' cannot be used with '--timeout <DURATION>'"]);
    let nobody = ["run", "FILE", "--agent", "s=cat", "--signal", "yes"];
    told(&nobody, 2, &["no step of `w` waits for the signal `yes`", "no signal at all"]);
}

#[test]
fn a_signal_at_the_start_is_json_if_it_looks_so() {
    let text = "name: w\nsteps:\n  s: { wait_for: { signal: yes } }\n";
    let seen = skep(&["run", "FILE", "--signal", "yes={by:Ada}"]).definition(text, &[]).run();
    assert_eq!(seen.exit, 2, "{}", seen.text());
    for part in ["is not JSON", "write --signal 'NAME={\"by\": \"Ada\"}'"] {
        assert!(seen.stderr.contains(part), "{part} is missing: {}", seen.stderr);
    }
}

#[test]
fn a_signal_too_many_is_told_and_the_run_is_as_it_is() {
    let text = "name: w\nsteps:\n  s: { wait_for: { signal: yes } }\noutputs: { v: 1 }\n";
    let run = skep(&["run", "FILE", "--signal", "yes", "--signal", "yes", "-q"]);
    let seen = run.definition(text, &[]).run();
    assert_eq!((seen.exit, seen.stdout.trim()), (0, "{\n  \"v\": 1\n}"), "{}", seen.text());
}

#[test]
fn a_run_that_is_to_stay_on_a_cluster_is_not_sent_elsewhere() {
    let url = format!("nats://127.0.0.1:{}", closed_port());
    let seen = skep(&["run", "FILE", "--detach", "--nats", &url]).definition(ONE_STEP, &[]).run();
    assert_eq!(seen.exit, 5, "{}", seen.text());
    assert!(!seen.stderr.contains("--embedded"), "{}", seen.stderr);
}

#[test]
fn a_warning_is_an_error_to_those_who_want_it_so() {
    let text = "name: w\nsteps:\n  s: { agent: s, compensate: { agent: t } }\n";
    let seen = skep(&["validate", "FILE"]).definition(text, &[]).run();
    assert_eq!(
        (seen.exit, &*seen.stdout),
        (0, "ok FILE: w (1 step), 1 warning\n"),
        "{}",
        seen.text()
    );
    let seen = skep(&["validate", "FILE", "--strict"]).definition(text, &[]).run();
    let verdict = "invalid FILE: 1 warning, and --strict was given\n";
    assert_eq!((seen.exit, &*seen.stdout), (3, verdict), "{}", seen.text());
}

#[test]
fn a_filter_that_is_none_is_told_and_passed_over() {
    let seen = skep(&["run", "FILE", "--agent", "s=cat"]).definition(ONE_STEP, &[]);
    let seen = seen.variable("SKEP_LOG", "x=loud").run();
    assert_eq!(seen.exit, 0, "{}", seen.text());
    assert!(seen.stderr.contains("warning: SKEP_LOG is no filter ("), "{}", seen.stderr);
}

#[test]
fn programs_take_quoted_words_and_a_long_complaint_is_cut_and_told_once() {
    let script = "s=sh -c 'head -c 900 /dev/zero | tr \"\\0\" x >&2; exit 3'";
    let text = "name: w\nsteps:\n  s: { agent: s, retry: { attempts: 2 } }\n";
    let seen = skep(&["run", "FILE", "--agent", script]).definition(text, &[]).run();
    assert_eq!(seen.exit, 1, "{}", seen.text());
    assert_eq!(seen.stderr.matches("xxx…").count(), 1, "{}", seen.stderr);
    assert!(seen.stderr.lines().all(|line| line.chars().count() < 300), "{}", seen.stderr);
    let seen = skep(&["run", "FILE", "-o", "json", "--agent", script]).definition(text, &[]).run();
    let message = &seen.json()["steps"]["s"]["error"]["message"];
    assert!(message.as_str().unwrap().len() > 900, "data is not cut: {message}");
    assert_eq!(seen.json()["steps"]["s"]["attempts"], json!(2));
}
