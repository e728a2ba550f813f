//! The binary as users meet it: what it prints, where, and how it ends.

mod misuse;
mod support;

use expect_test::expect;
use serde_json::{Value, json};

use support::{contains, example, skep};

#[test]
fn a_valid_definition_is_ok() {
    let seen = skep(&["validate", "quickstart.skep.yaml"]).folder("quickstart").run();
    expect![[r#"
        exit 0
        --- stdout
        ok quickstart.skep.yaml: quickstart (2 steps)
        --- stderr
    "#]]
    .assert_eq(&seen.text());
}

#[test]
fn an_invalid_definition_is_drawn_and_is_data() {
    let broken = "name: broken\nsteps:\n  a: { agent: x, depends_on: [b] }\n";
    let seen = skep(&["validate", "-"]).input(broken).run();
    expect![[r#"
        exit 3
        --- stdout
        invalid -: 1 error
        --- stderr
        SK0008

          x unknown key `depends_on` in `a`
           ,-[-:3:18]
         3 |   a: { agent: x, depends_on: [b] }
           :                  ^^^^^^^^^^
           `----
          help: the word here is `needs`

    "#]]
    .assert_eq(&seen.text());

    let seen = skep(&["validate", "-", "-o", "json"]).input(broken).run();
    assert_eq!((seen.exit, seen.stderr.as_str()), (3, ""));
    expect![[r#"
        [
          {
            "code": "SK0008",
            "severity": "error",
            "message": "unknown key `depends_on` in `a`",
            "file": "-",
            "line": 3,
            "column": 18,
            "help": "the word here is `needs`"
          }
        ]
    "#]]
    .assert_eq(&seen.stdout);
}

#[test]
fn one_bad_file_hides_no_other() {
    let files = ["validate", "nowhere.yaml", "quickstart.skep.yaml"];
    let seen = skep(&files).folder("quickstart").run();
    expect![[r#"
        exit 4
        --- stdout
        ok quickstart.skep.yaml: quickstart (2 steps)
        --- stderr
        error: there is no file `nowhere.yaml`
    "#]]
    .assert_eq(&seen.text());
}

#[test]
fn graphs_are_drawn() {
    let seen = skep(&["graph", "quickstart.skep.yaml"]).folder("quickstart").run();
    expect![[r#"
        exit 0
        --- stdout
        quickstart
        ├─ greet (agent greet)
        └─ count (agent count)  ← greet
        --- stderr
    "#]]
    .assert_eq(&seen.text());
    let mermaid = skep(&["graph", "-f", "mermaid", "quickstart.skep.yaml", "-o", "json"]);
    let json = mermaid.folder("quickstart").run().json();
    assert!(json["drawing"].as_str().unwrap().starts_with("flowchart"), "{json}");
}

#[test]
fn the_schema_is_one() {
    let schema = skep(&["schema"]).run().json();
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"), "{schema}");
    assert!(schema["properties"]["steps"].is_object(), "{schema}");
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = skep(&["completions", shell]).run();
        assert!(script.exit == 0 && script.stdout.contains("validate"), "{shell}");
    }
}

#[test]
fn the_plan_of_a_large_definition_is_measured() {
    let json = skep(&["bench", "plan", "--steps", "300", "-o", "json"]).run().json();
    assert_eq!(json["steps"], 300);
    assert!(json["check_ms"].as_f64().unwrap() > 0.0, "{json}");
    assert!(json["plan_ms"].as_f64().unwrap() > 0.0, "{json}");
}

#[test]
fn the_examples_do_what_they_say() {
    for name in ["quickstart", "fan_out", "human_approval"] {
        for case in example(name) {
            if case["cluster"] == true {
                continue;
            }
            for step in case["steps"].as_array().unwrap() {
                let args: Vec<&str> = step["args"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|one| one.as_str().unwrap())
                    .collect();
                let seen = skep(&args).arg("-o").arg("json").folder(name).run();
                assert_eq!(json!(seen.exit), step["exit"], "{name}: {}", seen.text());
                let json = seen.json();
                assert!(contains(&json, &step["expect"]), "{name}, {}: {json:#}", case["name"]);
            }
        }
    }
}

/// The arguments of the quickstart that need no Python.
const GREET: [&str; 4] = ["--agent", "greet=./greet", "--agent", "count=./count"];

fn programs() -> [(&'static str, &'static str); 2] {
    [
        ("greet", "#!/bin/sh\ncat > /dev/null\necho '{\"text\": \"Hello!\"}'\n"),
        ("count", "#!/bin/sh\ncat > /dev/null\necho '{\"letters\": 5}'\n"),
    ]
}

#[test]
fn a_run_that_is_piped_tells_lines_on_stderr_and_outputs_on_stdout() {
    let run = skep(&["run", "FILE"]).args(&GREET).copy("quickstart", &programs());
    let seen = run.run();
    assert_eq!(seen.exit, 0, "{}", seen.text());
    assert_eq!(seen.json(), json!({ "text": "Hello!", "letters": 5 }));
    let told: Vec<&str> = seen.stderr.lines().map(|line| line.get(10..).unwrap_or("")).collect();
    assert!(told[0].starts_with("run of quickstart started"), "{told:?}");
    assert!(told[1].starts_with("greet: completed in "), "{told:?}");
    assert!(told[2].starts_with("count: completed in "), "{told:?}");
    assert_eq!(told[3], "run completed");
    assert!(seen.stderr.contains("✔ quickstart completed in "), "{}", seen.stderr);
    assert!(!seen.stderr.contains('\u{1b}'), "colour in a pipe: {:?}", seen.stderr);
}

#[test]
fn a_run_ends_with_one_object() {
    let run = skep(&["run", "FILE", "-o", "json", "-q"]).args(&GREET);
    let json = run.copy("quickstart", &programs()).run().json();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    let wanted = ["run", "workflow", "status", "outputs", "error", "duration_ms", "steps"];
    assert_eq!(keys, wanted);
    let keys: Vec<&String> = json["steps"]["greet"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["status", "attempts", "duration_ms", "output"]);
    assert_eq!(json["error"], Value::Null);
}

#[test]
fn a_step_that_fails_for_good_fails_the_run() {
    let broken = [("greet", "#!/bin/sh\necho 'out of honey' >&2\nexit 3\n"), programs()[1]];
    let text = "name: w\nsteps:\n  greet: { agent: greet, retry: { attempts: 1 } }\n";
    let run = skep(&["run", "FILE", "-o", "json"]).args(&GREET);
    let seen = run.definition(text, &broken).run();
    assert_eq!(seen.exit, 1);
    let json = seen.json();
    assert_eq!(json["status"], "failed");
    assert_eq!(json["steps"]["greet"]["error"]["code"], "exit_3");
    assert!(json["error"]["message"].as_str().unwrap().contains("out of honey"), "{json:#}");
}

/// A program that was killed, or talks beside its JSON, may have done what it is there for.
#[test]
fn a_program_that_did_not_say_that_it_failed_is_made_good() {
    let text = "name: w\non_failure: compensate\nsteps:\n  \
                greet: { agent: greet, compensate: { agent: count } }\n";
    let ends = [("kill -9 $$", true), ("echo '{}'; echo done", true), ("exit 3", false)];
    for (end, is_made_good) in ends {
        let greet = format!("#!/bin/sh\n{end}\n");
        let run = skep(&["run", "FILE"]).args(&GREET);
        let seen = run.definition(text, &[("greet", &greet), programs()[1]]).run();
        assert_eq!(seen.exit, 1, "{}", seen.text());
        let told = seen.stderr.contains("greet~compensate: completed");
        assert_eq!(told, is_made_good, "{end}: {}", seen.stderr);
    }
}

#[test]
fn steps_of_groups_and_items_are_counted_with_those_around_them() {
    let text = "name: w\nsteps:\n  \
                group: { steps: { x: { agent: greet }, y: { agent: greet, needs: [x] } } }\n  \
                nap: { wait: 10ms, needs: [group] }\n  \
                each: { agent: greet, for_each: [1, 2, 3], needs: [nap] }\n";
    let run = skep(&["run", "FILE"]).args(&GREET[..2]);
    let seen = run.definition(text, &programs()).run();
    assert!(seen.stderr.contains("(8 steps, 5 attempts)"), "{}", seen.stderr);
}

#[test]
fn the_end_of_what_a_program_wrote_to_stderr_is_told() {
    let broken = "#!/bin/sh\necho 'Traceback: line 7' >&2\necho 'out of honey' >&2\nexit 3\n";
    let text = "name: w\nsteps:\n  greet: { agent: greet, retry: { attempts: 1 } }\n";
    let run = skep(&["run", "FILE"]).args(&GREET[..2]);
    let seen = run.definition(text, &[("greet", broken)]).run();
    let told = seen.stderr.split_once("greet, the end of stderr:").map(|(_, told)| told);
    assert_eq!(told, Some("\n    Traceback: line 7\n    out of honey\n"), "{}", seen.stderr);
}

#[test]
fn wrong_inputs_are_refused_before_there_is_a_run() {
    let text = "name: w\ninputs:\n  topic: { type: string }\n  count: { type: integer }\n\
                steps:\n  greet: { agent: greet, with: { t: \"${{ inputs.topic }}\" } }\n";
    let seen = skep(&["run", "FILE", "-i", "count=1.5"]).definition(text, &[]).run();
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: the inputs do not fit:
          - input `topic`: it is required (schema: {"type":"string"})
          - input `count`: value is not of type "integer" (schema: {"type":"integer"})
          help: give inputs with -i NAME=VALUE, or all of them with --input FILE.json
    "#]]
    .assert_eq(&seen.text());
    let inputs = ["run", "FILE", "-i", "topic=x", "-i", "count=1", "-i", "topics=y"];
    let seen = skep(&inputs).definition(text, &[]).run();
    expect![[r#"
        exit 2
        --- stdout
        --- stderr
        error: input `topics`: there is no such input; did you mean `topic`?
          help: give inputs with -i NAME=VALUE, or all of them with --input FILE.json
    "#]]
    .assert_eq(&seen.text());
}

#[test]
fn a_missing_file_is_not_found_and_json_errors_are_one_line() {
    let seen = skep(&["run", "nowhere.skep.yaml"]).run();
    expect![[r#"
        exit 4
        --- stdout
        --- stderr
        error: there is no file `nowhere.skep.yaml`
    "#]]
    .assert_eq(&seen.text());
    let seen = skep(&["run", "nowhere.skep.yaml", "-o", "json"]).run();
    expect![[r#"
        exit 4
        --- stdout
        --- stderr
        {"error":{"exit":4,"message":"there is no file `nowhere.skep.yaml`"}}
    "#]]
    .assert_eq(&seen.text());
}

#[test]
fn a_capability_that_nobody_offers_is_told_and_the_timeout_ends_the_wait() {
    let text = "name: w\nsteps:\n  ask: { agent: oracle }\n";
    let seen = skep(&["run", "FILE", "--timeout", "3s", "-o", "json"]).definition(text, &[]).run();
    assert_eq!(seen.exit, 124, "{}", seen.text());
    for part in [
        "no agent in this process offers `oracle`",
        "`oracle` is needed by `ask`",
        "--agent oracle=./PROGRAM",
        "ask waits: no live agent offers oracle",
        "--timeout passed",
    ] {
        assert!(seen.stderr.contains(part), "`{part}` is missing in\n{}", seen.stderr);
    }
    assert_eq!(seen.json()["status"], "cancelled");
    let json = seen.json();
    assert_eq!(json["error"]["message"], "--timeout passed");
    assert_eq!(json["steps"]["ask"]["attempts"], 1);
}

#[test]
fn a_sub_workflow_is_found_beside_its_caller() {
    let text = "name: caller\nsteps:\n  call: { workflow: called, with: { text: hi } }\n\
                outputs: { said: \"${{ steps.call.output.said }}\" }\n";
    let called = "name: called\ninputs: { text: { type: string } }\nsteps:\n  \
                  greet: { agent: greet }\noutputs: { said: \"${{ inputs.text }}\" }\n";
    let run = skep(&["run", "FILE"]).args(&GREET[..2]);
    let seen = run.definition(text, &[programs()[0], ("called.skep.yaml", called)]).run();
    assert_eq!(seen.exit, 0, "{}", seen.text());
    assert_eq!(seen.json(), json!({ "said": "hi" }));

    let seen = skep(&["run", "FILE"]).definition(text, &[]).run();
    expect![[r#"
        exit 4
        --- stdout
        --- stderr
        error: `caller` uses the workflow `called`, which is not there
          help: put its definition beside the file, as called.skep.yaml
    "#]]
    .assert_eq(&seen.text());
}

#[test]
fn a_program_that_cannot_be_run_is_told_with_what_to_do() {
    let text = "name: w\nsteps:\n  greet: { agent: greet }\n";
    let run = skep(&["run", "FILE", "--agent", "greet=./FILE"]).definition(text, &[]);
    let seen = run.run();
    assert_eq!(seen.exit, 2, "{}", seen.text());
    assert!(seen.stderr.contains("chmod +x"), "{}", seen.stderr);
    let seen = skep(&["run", "FILE", "--agent", "greet"]).definition(text, &[]).run();
    assert!(seen.exit == 2 && seen.stderr.contains("greet=./greet.py"), "{}", seen.text());
}

#[test]
fn an_unreachable_nats_names_the_address_and_what_to_try() {
    let port = support::closed_port();
    let url = format!("nats://127.0.0.1:{port}");
    for args in [&["list"][..], &["run", "FILE"], &["serve"], &["agent", "http"]] {
        let text = "name: w\nsteps:\n  greet: { agent: greet }\n";
        let seen = skep(args).arg("--nats").arg(&url).definition(text, &[]).run();
        assert_eq!(seen.exit, 5, "{args:?}: {}", seen.text());
        let named = format!("127.0.0.1:{port}");
        for part in [&*named, "--nats URL", "`skep dev` starts"] {
            assert!(seen.stderr.contains(part), "{args:?} lacks {part}: {}", seen.stderr);
        }
        let alone = seen.stderr.contains("--embedded");
        assert_eq!(alone, args[0] == "run", "{args:?}: {}", seen.stderr);
    }
}

#[test]
fn the_command_line_is_checked() {
    for args in [&["run"][..], &["fly"], &["run", "x", "--timeout", "soon"], &["signal", "abcd"]] {
        assert_eq!(skep(args).run().exit, 2, "{args:?}");
    }
    let seen =
        skep(&["run", "FILE", "--detach"]).definition("name: w\nsteps: { a: { wait: 1s } }\n", &[]);
    let seen = seen.run();
    assert!(seen.exit == 2 && seen.stderr.contains("--detach needs a cluster"), "{}", seen.text());
}

#[test]
fn what_the_operator_did_not_allow_is_told_with_the_option_that_allows_it() {
    let text = "name: w\nsteps:\n  a: { agent: exec, with: { argv: [\"true\"] } }\n";
    let seen = skep(&["run", "FILE"]).definition(text, &[]).run();
    assert_eq!(seen.exit, 1, "{}", seen.text());
    assert!(seen.stderr.contains("help: whoever starts the exec agent"), "{}", seen.stderr);
    let seen = skep(&["run", "FILE", "--allow-command", "true"]).definition(text, &[]).run();
    assert_eq!(seen.exit, 0, "{}", seen.text());
}

#[test]
fn a_workflow_may_run_itself() {
    let text = r#"
name: FILE
inputs: { k: { type: integer, default: 2 } }
steps:
  again: { if: inputs.k > 0, workflow: FILE, with: { k: "${{ inputs.k - 1 }}" } }
outputs: { k: "${{ inputs.k }}", in: "${{ steps.again.output | default(none) }}" }
"#;
    let seen = skep(&["run", "FILE", "-q"]).definition(text, &[]).run();
    assert_eq!(seen.exit, 0, "{}", seen.text());
    let found: Value = serde_json::from_str(&seen.stdout).unwrap();
    assert_eq!(found, json!({"k": 2, "in": {"k": 1, "in": {"k": 0, "in": null}}}));
}
