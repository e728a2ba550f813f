//! What is said of a run that does not go on.

mod stopped;
mod untold;

use expect_test::{Expect, expect};
use skep_protocol::{
    AgentId, AttemptView, PausedView, StepStatus, StepView, Timestamp, WaitingCause, WaitingView,
};

use super::*;
use crate::commands::get::tests::{detail, view};

fn waits(step: &str, reason: &str) -> WaitingView {
    WaitingView::new(StepPath::new(step), reason.to_owned())
}

fn waits_for(step: &str, other: &str) -> WaitingView {
    let waits_for = Some(StepPath::new(other));
    WaitingView { waits_for, ..waits(step, &format!("waits for step {other}")) }
}

fn no_agent(step: &str, capability: &str) -> WaitingView {
    let cause = WaitingCause::NoAgent { capability: capability.to_owned() };
    waits(step, &format!("no live agent offers {capability}")).because(cause)
}

fn busy(step: &str, agent: &str) -> StepView {
    let attempt = AttemptView {
        attempt: 1,
        fallback: false,
        status: "taken".to_owned(),
        scheduled: Timestamp::EPOCH,
        agent: Some(AgentId::new(agent).unwrap()),
        ended: None,
        duration_ms: None,
        error: None,
    };
    StepView { attempts: vec![attempt], ..view(step, StepStatus::Running) }
}

/// Returns the items of a step, each of them scheduled, and the step itself.
fn fan(step: &str, items: u32) -> Vec<StepView> {
    let whole = StepView { items: Some(items), ..view(step, StepStatus::Running) };
    let step = StepPath::new(step);
    let items = (0..items).map(|n| view(step.item(n).as_str(), StepStatus::Scheduled));
    std::iter::once(whole).chain(items).collect()
}

fn run(steps: Vec<StepView>, waiting: Vec<WaitingView>) -> RunDetail {
    let mut run = detail(steps);
    run.waiting = waiting;
    run
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// Asks for the run, or for one of its steps.
fn why(run: &RunDetail, step: &str) -> String {
    let causes = Causes::of(run);
    if step.is_empty() {
        return plain(&all(run, &causes, Letters::Some));
    }
    match find(&causes, run.summary.run, step) {
        Ok(step) => plain(&chain(&causes, step)),
        Err(error) => error.to_string(),
    }
}

/// Asks for the run, then for each of the steps.
fn check(run: &RunDetail, steps: &[&str], expected: &Expect) {
    let id = run.summary.run.to_string();
    let told = std::iter::once(&"").chain(steps).map(|step| why(run, step));
    expected.assert_eq(&told.collect::<Vec<_>>().join("\n\n").replace(&id, "RUN"));
}

#[test]
fn each_kind_of_cause_has_its_advice_and_what_takes_time_has_none() {
    let signal = WaitingView { signal: Some("ok".to_owned()), ..waits("ask", "waits for ok") };
    let breaker = WaitingCause::Breaker { name: "w/call".to_owned() };
    let out = WaitingCause::Quarantine { agent: AgentId::new("bad").unwrap() };
    let child = WaitingCause::Run { run: RunId::from_key("w", "child") };
    let waiting = vec![
        no_agent("own", "oracle"),
        no_agent("own_too", "oracle"),
        no_agent("program", "exec"),
        no_agent("request", "http"),
        no_agent("search", "corpus-search"),
        signal,
        waits("call", "circuit breaker of w/call is open").because(breaker),
        waits("judge", "agent bad is quarantined").because(out),
        waits("sub", "waits for its run").because(child),
        waits("later", "back-off, due in 3.2 s"),
        waits("nap", "waits for time to pass"),
        waits("new", "of another version").because(WaitingCause::Unknown),
    ];
    let steps = waiting.iter().map(|one| view(one.step.as_str(), StepStatus::Scheduled));
    let run = run(steps.collect(), waiting.clone());
    check(
        &run,
        &["sub", "nap"],
        &expect![[r#"
        run RUN of w is running
        ask: waits for ok
          help: skep signal RUN ok
        call: circuit breaker of w/call is open
          help: if it is well again: skep breakers reset w/call
        judge: agent bad is quarantined
          help: if it is well again: skep agents release bad
        later: back-off, due in 3.2 s
        nap: waits for time to pass
        new: of another version
        own, own_too: no live agent offers oracle
          help: start one: skep agent exec --agent oracle=./PROGRAM
        program: no live agent offers exec
          help: start one: skep agent exec --allow-command NAME
        request: no live agent offers http
          help: start one: skep agent http
        search: no live agent offers corpus-search
          help: start one: skep agent corpus --root DIR
        sub: waits for its run
          help: skep why 8c4d74da-baa0-808c-8488-058e93cdeb92

        sub: waits for its run
          help: skep why 8c4d74da-baa0-808c-8488-058e93cdeb92

        nap: waits for time to pass"#]],
    );
}

#[test]
fn items_that_wait_for_the_same_are_one_line_in_the_order_of_their_numbers() {
    let slot = |n: u32| waits(&format!("busy[{n}]"), &format!("free slot ({n} before it)"));
    let nobody = (0..500).map(|n| no_agent(&format!("each[{n}]"), "nobody"));
    let mut waiting: Vec<WaitingView> = nobody.chain((0..12).map(slot)).collect();
    waiting.push(waits_for("last", "each"));
    let mut steps = [fan("each", 500), fan("busy", 12)].concat();
    steps.extend([view("last", StepStatus::Pending), busy("one", "a1")]);
    check(
        &run(steps, waiting),
        &["last", "busy[10]"],
        &expect![[r#"
        run RUN of w is running
        one: agent a1 works on it
        busy[0], busy[1], busy[2], busy[3], busy[4] and 7 more: free slot (0 before it); the others likewise
        each[0], each[1], each[2], each[3], each[4] and 495 more: no live agent offers nobody
          help: start one: skep agent exec --agent nobody=./PROGRAM
          hold up last

        last: waits for step each
          each: what is inside it is under way
            each[0], each[1], each[2], each[3], each[4] and 495 more: no live agent offers nobody
              help: start one: skep agent exec --agent nobody=./PROGRAM

        busy[10]: free slot (10 before it)"#]],
    );
}

#[test]
fn steps_whose_names_differ_by_a_number_are_not_alike() {
    let signal = |step: &str, name: &str| WaitingView {
        signal: Some(name.to_owned()),
        ..waits(step, &format!("waits for the signal {name}"))
    };
    let waiting = vec![
        signal("ask1", "approve1"),
        signal("ask2", "approve2"),
        signal("each[0]", "go0"),
        signal("each[1]", "go1"),
        waits("pay1~compensate", "failed for good").because(WaitingCause::Stuck),
        waits("pay2~compensate", "failed for good").because(WaitingCause::Stuck),
    ];
    check(
        &run(Vec::new(), waiting),
        &[],
        &expect![[r#"
        run RUN of w is running
        ask1: waits for the signal approve1
          help: skep signal RUN approve1
        ask2: waits for the signal approve2
          help: skep signal RUN approve2
        each[0]: waits for the signal go0
          help: skep signal RUN go0
        each[1]: waits for the signal go1
          help: skep signal RUN go1
        pay1~compensate: failed for good
          help: skep resume RUN to try again, or to take it as done: skep skip RUN pay1
        pay2~compensate: failed for good
          help: skep resume RUN to try again, or to take it as done: skep skip RUN pay2"#]],
    );
}

#[test]
fn items_that_are_held_back_have_a_name() {
    let mut held = waits_for("fan[1]", "fan[0]");
    (held.reason, held.alike) = ("waits: 1 of 1 items are under way (max_parallel)".into(), 2);
    let waiting = vec![no_agent("fan[0]", "x"), held, waits_for("last", "fan")];
    let mut steps = fan("fan", 4);
    steps.truncate(2);
    steps.push(view("last", StepStatus::Pending));
    let steps_asked = ["fan[1]", "fan[3]", "fan[4]", "fan[x]", "last"];
    check(
        &run(steps, waiting),
        &steps_asked,
        &expect![[r#"
            run RUN of w is running
            fan[0]: no live agent offers x
              help: start one: skep agent exec --agent x=./PROGRAM
              holds up last
              fan[1] and 2 more: waits: 1 of 1 items are under way (max_parallel)

            fan[1]: waits: 1 of 1 items are under way (max_parallel)
              fan[0]: no live agent offers x
                help: start one: skep agent exec --agent x=./PROGRAM

            fan[3]: waits: 1 of 1 items are under way (max_parallel)
              fan[0]: no live agent offers x
                help: start one: skep agent exec --agent x=./PROGRAM

            run RUN has no step `fan[4]`

            run RUN has no step `fan[x]`

            last: waits for step fan
              fan: what is inside it is under way
                fan[0]: no live agent offers x
                  help: start one: skep agent exec --agent x=./PROGRAM"#]],
    );
}

#[test]
fn the_way_to_the_cause_leads_into_groups_items_and_other_runs() {
    let child = WaitingCause::Run { run: RunId::from_key("w", "child") };
    let waiting = vec![
        waits_for("done", "g"),
        no_agent("g/inner", "nobody"),
        waits_for("g/then", "g/inner"),
        waits("g/each[0]/sub", "waits for its run").because(child),
        waits_for("later", "done"),
    ];
    let mut each = fan("g/each", 2);
    each[1].status = StepStatus::Running;
    each[2].status = StepStatus::Completed;
    let mut steps = vec![view("done", StepStatus::Pending), view("g", StepStatus::Running)];
    steps.extend([view("g/inner", StepStatus::Scheduled), view("g/then", StepStatus::Pending)]);
    steps.extend(each);
    steps.extend([
        view("g/each[0]/sub", StepStatus::Running),
        busy("g/busy", "a1"),
        view("later", StepStatus::Pending),
        view("later/inside", StepStatus::Pending),
    ]);
    let run = run(steps, waiting);
    check(
        &run,
        &["done", "g/busy", "later/inside"],
        &expect![[r#"
        run RUN of w is running
        g/busy: agent a1 works on it
          holds up done, later
        g/each[0]/sub: waits for its run
          help: skep why 8c4d74da-baa0-808c-8488-058e93cdeb92
          holds up done, later
        g/inner: no live agent offers nobody
          help: start one: skep agent exec --agent nobody=./PROGRAM
          holds up done, g/then, later

        done: waits for step g
          g: what is inside it is under way
            g/busy: agent a1 works on it
            g/each: what is inside it is under way
              g/each[0]: what is inside it is under way
                g/each[0]/sub: waits for its run
                  help: skep why 8c4d74da-baa0-808c-8488-058e93cdeb92
            g/inner: no live agent offers nobody
              help: start one: skep agent exec --agent nobody=./PROGRAM

        g/busy: agent a1 works on it

        later/inside: has not begun, since later has not
          later: waits for step done
            done: waits for step g
              g: what is inside it is under way
                g/busy: agent a1 works on it
                g/each: what is inside it is under way
                  g/each[0]: what is inside it is under way
                    g/each[0]/sub: waits for its run
                      help: skep why 8c4d74da-baa0-808c-8488-058e93cdeb92
                g/inner: no live agent offers nobody
                  help: start one: skep agent exec --agent nobody=./PROGRAM"#]],
    );
}

#[test]
fn who_paused_a_run_is_named_once() {
    let paused = |step: &str| {
        waits(step, "the run is paused by ada since then").because(WaitingCause::Paused)
    };
    let waiting = vec![paused("a"), WaitingView { alike: 7, ..paused("each[2]") }, paused("b")];
    let steps = ["a", "b"].map(|step| view(step, StepStatus::Scheduled)).to_vec();
    let mut run = run(steps, waiting);
    run.summary.status = RunStatus::Paused;
    check(
        &run,
        &["b"],
        &expect![[r#"
        run RUN of w is paused: skep resume RUN lets it go on
        a, b, each[2] and 7 more: the run is paused by ada since then

        b: the run is paused by ada since then
          help: skep resume RUN"#]],
    );
    let since = Timestamp::from_millis(1_000_000_000_000);
    run.paused = Some(PausedView { by: Some("ada".to_owned()), since });
    assert!(head(&run).contains("is paused by ada since 2001-09-"), "{}", head(&run));
}

#[test]
fn a_step_that_waits_for_several_is_held_up_by_each() {
    let mut last = waits_for("last", "a");
    last.reason = "waits for steps a, b, c, d, e and 1 more".to_owned();
    last.and_for = ["b", "c", "d", "e"].map(StepPath::new).to_vec();
    let waiting = vec![no_agent("a", "x"), no_agent("b", "y"), waits_for("c", "b"), last];
    let mut steps = vec![busy("d", "a1"), busy("f", "a1"), view("e", StepStatus::Scheduled)];
    steps.extend(["a", "b"].map(|step| view(step, StepStatus::Scheduled)));
    steps.extend(["c", "last"].map(|step| view(step, StepStatus::Pending)));
    check(
        &run(steps, waiting),
        &["last"],
        &expect![[r#"
            run RUN of w is running
            d: agent a1 works on it
              holds up last
            f: agent a1 works on it
            a: no live agent offers x
              help: start one: skep agent exec --agent x=./PROGRAM
              holds up last
            b: no live agent offers y
              help: start one: skep agent exec --agent y=./PROGRAM
              holds up c, last
            e: scheduled, not looked into any further
              help: to look into it: skep why RUN e
              holds up last

            last: waits for steps a, b, c, d, e and 1 more
              a: no live agent offers x
                help: start one: skep agent exec --agent x=./PROGRAM
              b: no live agent offers y
                help: start one: skep agent exec --agent y=./PROGRAM
              c: waits for step b
              d: agent a1 works on it
              e: scheduled, not looked into any further
                help: to look into it: skep why RUN e"#]],
    );
}

#[test]
fn programs_get_every_step_on_the_way() {
    let run = run(
        vec![view("a", StepStatus::Scheduled), view("b", StepStatus::Pending)],
        vec![no_agent("a", "x"), waits_for("b", "a")],
    );
    let object = object(&run, &Causes::of(&run), Some(StepPath::new("b")));
    let because = &object["because"];
    assert_eq!(because[0]["waits_for"], "a");
    assert_eq!(because[0]["help"], Value::Null);
    assert_eq!(because[1]["cause"], json!({ "kind": "no_agent", "capability": "x" }));
    assert_eq!(because[1]["help"], "start one: skep agent exec --agent x=./PROGRAM");
}
