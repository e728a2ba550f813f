//! Two lanes for one capability, and what is counted in them.

use super::*;

fn queue(heartbeat: &mut Heartbeat) {
    heartbeat.lane = Lane::Queue;
}

fn in_eu(heartbeat: &mut Heartbeat) {
    heartbeat.labels = BTreeMap::from([("zone".to_owned(), "eu".to_owned())]);
}

/// Looks at a pool with an idle agent that pulls, beside a direct one that takes nothing.
fn check_beside(direct: impl FnOnce(&mut Scene), expected: Expect) {
    let mut scene = Scene::new();
    scene.beat_with("q", 4, &[], |beat| {
        queue(beat);
        in_eu(beat);
    });
    direct(&mut scene);
    scene.owe("x").explain("x").check(expected);
}

#[test]
fn agents_that_pull_get_what_no_direct_agent_takes() {
    check_beside(
        |scene| {
            scene.beat_with("a", 4, &[], |beat| beat.draining = true);
        },
        expect![[r#"
            0: enqueue x (sending 0)
            0: x waits: in the queue of c (2 agents, 8 slots, 1 draining)
        "#]],
    );
    check_beside(
        |scene| {
            scene.beat("a", 0, &[]);
        },
        expect![[r#"
            0: enqueue x (sending 0)
            0: x waits: in the queue of c (2 agents, 4 slots)
        "#]],
    );
    check_beside(
        |scene| {
            scene.beat("a", 1, &[]).owe("full");
        },
        expect![[r#"
            0: deliver to a: full
            0: enqueue x (sending 0)
            0: x waits: in the queue of c (2 agents, 5 slots)
        "#]],
    );
    check_beside(
        |scene| {
            let labels = BTreeMap::from([("zone".to_owned(), "eu".to_owned())]);
            scene.beat("a", 1, &[]);
            scene.owe_task(Task { labels, ..task("needs_eu", "c", 5) });
        },
        expect![[r#"
            0: enqueue needs_eu (sending 0)
            0: deliver to a: x
            0: x waits: being sent to agent a
        "#]],
    );
}

#[test]
fn what_no_agent_that_pulls_will_take_goes_back_to_the_direct_ones() {
    let mut scene = Scene::new();
    scene.beat_with("q", 1, &[], queue).owe("x").owe("y").beat("a", 2, &[]);
    scene.beat_with("q", 1, &[], |beat| {
        queue(beat);
        beat.draining = true;
    });
    scene.check(expect![[r#"
        0: enqueue x (sending 0)
        0: enqueue y (sending 0)
        0: clear c
        0: deliver to a: x y
    "#]]);
}

#[test]
fn an_agent_that_drains_in_the_middle_leaves_the_rest_to_those_that_pull() {
    let mut scene = Scene::new();
    scene.beat_with("q", 1, &[], queue).beat("a", 1, &[]).owe("x");
    let (attempts, refused) = (vec![id("x")], vec![(id("x"), Refusal::Draining)]);
    scene.input(FleetInput::Delivered { agent: agent("a"), attempts, refused, unread: Vec::new() });
    scene.check(expect![[r#"
        0: deliver to a: x
        0: enqueue x (sending 0)
    "#]]);
}

#[test]
fn each_capability_is_counted_alone() {
    let both = |heartbeat: &mut Heartbeat| {
        queue(heartbeat);
        heartbeat.offers.push(Offer { capability: "d".to_owned(), slots: 4 });
    };
    let mut scene = Scene::new();
    let ds = ["d1", "d2", "d3", "d4"];
    for step in ds {
        scene.owe_task(task(step, "d", 5));
    }
    scene.beat_with("q", 1, &ds, both).owe("x").owe("y").owe("z");
    scene.after(3_000).beat_with("q", 1, &ds, both).after(2_000);
    scene.input(FleetInput::Depth { capability: "c".to_owned(), waiting: 2, held: 0 });
    scene.check(expect![[r#"
        0: enqueue d1 (sending 0)
        0: enqueue d2 (sending 0)
        0: enqueue d3 (sending 0)
        0: enqueue d4 (sending 0)
        0: d1 held by q
        0: d2 held by q
        0: d3 held by q
        0: d4 held by q
        0: enqueue x (sending 0)
        0: enqueue y (sending 0)
        5000: ask depth of c
    "#]]);
}

#[test]
fn what_is_passed_by_younger_ones_vanished_however_full_the_queue_is() {
    let mut scene = Scene::new();
    let depth = || FleetInput::Depth { capability: "c".to_owned(), waiting: 700, held: 3 };
    scene.beat_with("q", 4, &[], queue).owe("old").after(10).owe("young").owe("last");
    scene.after(4_000).beat_with("q", 4, &["young"], queue).after(1_000).input(depth());
    scene.after(4_000).beat_with("q", 4, &["young"], queue).explain("old");
    scene.after(1_000).input(depth()).check(expect![[r#"
        0: enqueue old (sending 0)
        10: enqueue young (sending 0)
        10: enqueue last (sending 0)
        4010: young held by q
        5000: ask depth of c
        9010: old waits: in the queue of c (1 agent, 4 slots)
        10000: ask depth of c
        10000: enqueue old (sending 1)
    "#]]);
}

#[test]
fn what_got_lost_is_sent_again_although_its_batch_went_out_at_one_moment() {
    let mut scene = Scene::new();
    scene.beat_with("q", 4, &[], queue).owe("first").owe("lost").owe("third").owe("last");
    scene.after(4_000).beat_with("q", 4, &["first", "third"], queue).after(1_000);
    scene.after(4_000).beat_with("q", 4, &["first", "third"], queue);
    scene.after(1_000).check(expect![[r#"
        0: enqueue first (sending 0)
        0: enqueue lost (sending 0)
        0: enqueue third (sending 0)
        0: enqueue last (sending 0)
        4000: first held by q
        4000: third held by q
        5000: ask depth of c
        10000: ask depth of c
        10000: enqueue lost (sending 1)
    "#]]);
}

/// Its first copy was given back, and lay before all others.
#[test]
fn a_copy_from_before_does_not_tell_that_others_were_passed() {
    let mut scene = Scene::new();
    scene.beat_with("q", 4, &[], queue).owe("a").owe("b").owe("c").owe("d");
    scene.after(4_000).beat_with("q", 4, &["a", "b", "d"], queue).after(1_000).owe("e").owe("f");
    scene.after(4_000).beat_with("q", 4, &["a", "b", "d"], queue).after(1_000);
    scene.after(1_000).beat_with("q", 4, &["a", "b", "c", "d"], queue).after(4_000);
    scene.beat_with("q", 4, &["a", "b", "c", "d"], queue).after(4_000);
    scene.beat_with("q", 4, &["a", "b", "c", "d"], queue).after(1_000);
    scene.after(1_000).check(expect![[r#"
        0: enqueue a (sending 0)
        0: enqueue b (sending 0)
        0: enqueue c (sending 0)
        0: enqueue d (sending 0)
        4000: a held by q
        4000: b held by q
        4000: d held by q
        5000: ask depth of c
        5000: enqueue e (sending 0)
        5000: enqueue f (sending 0)
        10000: ask depth of c
        10000: enqueue c (sending 1)
        11000: c held by q
        15000: ask depth of c
        20000: ask depth of c
    "#]]);
}

#[test]
fn what_lay_in_the_queue_while_its_run_was_paused_is_sent_again() {
    let mut scene = Scene::new();
    scene.beat_with("q", 4, &[], queue).owe("x").owe("x");
    scene.input(FleetInput::Withheld { attempt: id("x") }).after(1_000).owe("x").check(expect![[
        r#"
            0: enqueue x (sending 0)
            1000: enqueue x (sending 1)
        "#
    ]]);
}

#[test]
fn what_lies_in_the_queue_while_its_run_is_paused_waits_for_that() {
    let mut scene = Scene::new();
    scene.beat_with("q", 4, &[], queue).owe("x");
    scene.input(FleetInput::Withheld { attempt: id("x") }).explain("x");
    scene.beat_with("q", 4, &[], |beat| {
        queue(beat);
        beat.leaving = true;
    });
    scene.explain("x").owe("x").explain("x").check(expect![[r#"
        0: enqueue x (sending 0)
        0: x waits: the run is paused (Paused)
        0: x waits: the run is paused (Paused)
        0: enqueue x (sending 1)
        0: x waits: no live agent offers c (NoAgent { capability: "c" })
    "#]]);
}

/// Whoever takes nothing at the moment offers it all the same.
#[test]
fn of_what_lies_in_the_queue_nobody_says_that_no_agent_offers_it_while_one_does() {
    let mut scene = Scene::new();
    scene.owe("x").explain("x").beat_with("a", 4, &[], |beat| beat.draining = true);
    scene.explain("x").check(expect![[r#"
        0: enqueue x (sending 0)
        0: x waits: no live agent offers c (NoAgent { capability: "c" })
        0: x waits: in the queue of c (1 agent, 4 slots, 1 draining)
    "#]]);
}

/// Attempts of one coordinator wait together, whatever others have.
#[test]
fn who_waits_for_a_slot_is_told_its_turn() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("now").owe("first");
    scene.owe("second").owe_task(task("urgent", "c", 9)).owe_task(task("other", "d", 5));
    scene.explain("urgent").explain("first").explain("second").check(expect![[r#"
        0: deliver to a: now
        0: enqueue other (sending 0)
        0: urgent waits: waiting for a free slot of c (1 agent, 1 slot), number 1 of 3 at its coordinator
        0: first waits: waiting for a free slot of c (1 agent, 1 slot), number 2 of 3 at its coordinator
        0: second waits: waiting for a free slot of c (1 agent, 1 slot), number 3 of 3 at its coordinator
    "#]]);
}
