//! What is said of steps of which a coordinator did not tell by itself.

use super::*;

#[test]
fn what_was_not_looked_into_is_counted_and_can_be_asked_for() {
    let explained = (0..1_000).map(|n| no_agent(&format!("a[{n}]"), "nobody"));
    let waiting = explained.chain([waits_for("b", "a")]).collect();
    let mut steps = fan("a", 9_000);
    steps.push(view("b", StepStatus::Pending));
    let run = run(steps, waiting);
    check(
        &run,
        &["b", "a[8999]"],
        &expect![[r#"
            run RUN of w is running
            a[0], a[1], a[2], a[3], a[4] and 995 more: no live agent offers nobody
              help: start one: skep agent exec --agent nobody=./PROGRAM
              hold up b
            a[1000], a[1001], a[1002], a[1003], a[1004] and 7995 more: scheduled, not looked into any further
              help: to look into it: skep why RUN a[1000]
              hold up b

            b: waits for step a
              a: what is inside it is under way
                a[0], a[1], a[2], a[3], a[4] and 995 more: no live agent offers nobody
                  help: start one: skep agent exec --agent nobody=./PROGRAM
                a[1000], a[1001], a[1002], a[1003], a[1004] and 7995 more: scheduled, not looked into any further
                  help: to look into it: skep why RUN a[1000]

            a[8999]: scheduled, not looked into any further"#]],
    );
    let object = object(&run, &Causes::of(&run), None);
    assert_eq!(object["not_looked_into"], 8_000);
}

#[test]
fn what_is_inside_an_item_that_is_held_back_waits_for_it() {
    let mut held = waits_for("g[1]", "g[0]");
    (held.reason, held.alike) = ("waits: 1 of 1 items are under way (max_parallel)".into(), 1);
    let waiting = vec![no_agent("g[0]/p", "x"), waits_for("g[0]/q", "g[0]/p"), held];
    let mut steps = fan("g", 3);
    steps.truncate(2);
    steps[1].status = StepStatus::Running;
    let pending = ["g[0]/q", "g[2]/q", "later", "later/r", "later[1]/r"];
    steps.extend(pending.map(|step| view(step, StepStatus::Pending)));
    steps.push(view("g[0]/p", StepStatus::Scheduled));
    check(
        &run(steps, waiting),
        &["g[2]/q", "g/q", "g[3]/q", "later[1]/r"],
        &expect![[r#"
        run RUN of w is running
        g[0]/p: no live agent offers x
          help: start one: skep agent exec --agent x=./PROGRAM
          holds up g[0]/q
          g[1] and 1 more: waits: 1 of 1 items are under way (max_parallel)

        g[2]/q: has not begun, since g[2] has not
          g[2]: waits: 1 of 1 items are under way (max_parallel)
            g[0]: what is inside it is under way
              g[0]/p: no live agent offers x
                help: start one: skep agent exec --agent x=./PROGRAM

        run RUN has no step `g/q`

        run RUN has no step `g[3]/q`

        later[1]/r: has not begun, since later has not
          later: has not begun"#]],
    );
}

#[test]
fn how_one_of_the_items_is_meant_is_said() {
    let mut steps = fan("g", 3);
    steps.push(view("g[0]/p", StepStatus::Scheduled));
    let run = run(steps, Vec::new());
    let causes = Causes::of(&run);
    let help = |step| find(&causes, run.summary.run, step).unwrap_err().advice().join("\n");
    assert!(help("g/p").contains("skep why"), "{}", help("g/p"));
    assert!(help("g/p").contains("g[0]/p"), "{}", help("g/p"));
    assert!(!help("g/r").contains("g[0]"), "{}", help("g/r"));
}

#[test]
fn times_have_one_form() {
    let run = run(
        vec![view("a", StepStatus::Scheduled), view("b", StepStatus::Waiting)],
        vec![
            waits("a", "attempt 2 waits, until 1795320836904ms, or so"),
            waits("b", "waits, until 2026-11-22T04:13:56.904Z at the latest"),
        ],
    );
    let told = why(&run, "");
    let at = human::date_and_time(Timestamp::from_millis(1_795_320_836_904));
    assert!(told.contains(&format!("until {at}, or so")), "{told}");
    assert!(told.contains(&format!("until {at} at the latest")), "{told}");
}
