//! What begins in a later round waits for what is to stop of the earlier ones.

use super::super::rounds::Rounds;
use super::*;
use crate::Round;

/// The next attempt of a step, in the second round of the group around it.
fn again(step: &str) -> OfferTask {
    let rounds = vec![Round { inside: StepPath::new(step).around(), number: 1 }];
    OfferTask { rounds, ..offer(Task { attempt: 2, fencing_token: 2, ..task(step, "c", 5) }) }
}

/// What makes a step good.
fn remedy(step: &str) -> OfferTask {
    let step = StepPath::new(step).compensation();
    OfferTask { rounds: vec![Round::UNWINDING], ..offer(task(step.as_str(), "c", 5)) }
}

/// A scene in which an agent was told to stop two steps, and another one is free.
fn stopped(steps: [&str; 2]) -> Scene {
    let mut scene = Scene::new();
    scene.beat("a", 2, &[]).owe(steps[0]).owe(steps[1]).delivered("a", &steps);
    scene.beat("a", 2, &steps).beat("b", 5, &[]);
    scene.settled(steps[0], None).settled(steps[1], None);
    scene.done.clear();
    scene
}

impl Scene {
    fn owe_offer(&mut self, offer: OfferTask) -> &mut Self {
        self.input(FleetInput::Owed(Box::new(offer)))
    }

    fn why(&self, offer: &OfferTask) -> String {
        let told = self.fleet.explain(&offer.task.id(), Timestamp::from_millis(self.now));
        told.unwrap().reason
    }
}

#[test]
fn no_sibling_begins_before_all_have_stopped() {
    let mut scene = stopped(["g/x", "g/y"]);
    scene.owe_offer(again("g/x")).owe_offer(again("g/y")).owe("other");
    scene.after(100).beat("a", 2, &["g/y"]).after(100).beat("a", 2, &[]);
    scene.check(expect![[r#"
        0: deliver to b: other
        100: strays at a: g/y
        200: deliver to a: g/x
        200: deliver to b: g/y
    "#]]);
}

#[test]
fn what_is_around_a_for_each_counts_and_what_is_beside_it_does_not() {
    let mut scene = stopped(["g/f[3]", "h/y"]);
    scene.owe_offer(again("g/x")).after(100).beat("a", 2, &["h/y"]);
    scene.check(expect![[r#"
        100: strays at a: h/y
        100: deliver to a: g/x
    "#]]);
}

#[test]
fn nobody_waits_for_others_for_long_whatever_turns_up() {
    let mut scene = stopped(["g/x", "g/y"]);
    scene.owe_offer(again("g/x"));
    for second in 1..8 {
        let another = format!("g/z[{second}]");
        scene.after(1_000).beat("a", 2, &[&another]).beat("b", 5, &[]);
    }
    let went = scene.done.lines().find(|line| line.contains("deliver"));
    assert_eq!(went, Some("7000: deliver to a: g/x"), "{}", scene.done);
}

#[test]
fn what_is_told_to_stop_in_the_same_round_holds_up_nobody_else() {
    let mut scene = stopped(["g/x", "other"]);
    scene.owe("g/goes_on").delivered("b", &["g/goes_on"]).beat("b", 5, &["g/goes_on"]);
    scene.beat("a", 2, &[]).owe_offer(again("g/x"));
    scene.settled("g/goes_on", None).owe_offer(again("g/y")).check(expect![[r#"
        0: deliver to b: g/goes_on
        0: g/goes_on held by b
        0: deliver to a: g/x
        0: cancel at b: g/goes_on
        0: deliver to b: g/y
    "#]]);
}

#[test]
fn nothing_is_made_good_before_all_has_stopped() {
    let mut scene = stopped(["s", "dependent"]);
    scene.owe_offer(remedy("s")).owe("other").after(100).beat("a", 2, &["dependent"]);
    scene.after(100).beat("a", 2, &[]);
    scene.check(expect![[r#"
        0: deliver to b: other
        100: strays at a: dependent
        200: deliver to a: s~compensate
    "#]]);
}

#[test]
fn what_makes_good_does_not_wait_for_what_makes_other_steps_good() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe_offer(remedy("s")).delivered("a", &["s~compensate"]);
    scene.beat("a", 1, &["s~compensate"]).beat("b", 1, &[]).settled("s~compensate", None);
    scene.owe_offer(remedy("t")).check(expect![[r#"
        0: deliver to a: s~compensate
        0: s~compensate held by a
        0: cancel at a: s~compensate
        0: deliver to b: t~compensate
    "#]]);
}

#[test]
fn a_stray_that_makes_another_step_good_is_not_waited_for() {
    let mut scene = Scene::new();
    scene.recover(vec![remedy("t")]).beat("a", 2, &["s~compensate"]).caught_up().after(3_000);
    scene.check(expect![[r#"
        0: roll call
        0: strays at a: s~compensate
        1000: deliver to a: t~compensate
    "#]]);
}

#[test]
fn a_stray_of_an_earlier_round_is_waited_for_after_a_take_over() {
    let mut scene = Scene::new();
    scene.recover(vec![again("g/x")]).caught_up();
    scene.beat("a", 1, &["g/y"]).beat("b", 1, &[]).after(2_000);
    scene.beat("a", 1, &[]).check(expect![[r#"
        0: roll call
        0: strays at a: g/y
        2000: deliver to a: g/x
    "#]]);
}

#[test]
fn a_stray_of_an_earlier_round_holds_up_what_waits_for_a_slot() {
    let mut scene = Scene::new();
    scene.beat("a", 1, &[]).owe("other").delivered("a", &["other"]).beat("a", 1, &["other"]);
    scene.owe_offer(again("g/x")).beat("b", 1, &["g/y"]).beat("c", 1, &[]).after(100);
    scene.beat("b", 1, &[]).check(expect![[r#"
        0: deliver to a: other
        0: other held by a
        0: strays at b: g/y
        100: deliver to b: g/x
    "#]]);
}

#[test]
fn it_says_that_it_waits_for_another_step() {
    let mut scene = stopped(["g/y", "s"]);
    scene.owe_offer(again("g/x")).owe_offer(remedy("s")).owe_offer(remedy("t"));
    let mut told = vec![scene.why(&again("g/x")), scene.why(&remedy("t"))];
    scene.beat("a", 2, &["s"]);
    told.push(scene.why(&remedy("s")));
    expect![[r#"
        agent a was told to stop attempt 1 of g/y, another step, and is waited for, until 00:01:47 UTC at the latest
        agent a was told to stop attempt 1 of s, another step, and is waited for, until 00:01:47 UTC at the latest
        agent a was told to stop attempt 1 of s and is waited for, until 00:01:47 UTC at the latest
    "#]]
    .assert_eq(&format!("{}\n", told.join("\n")));
    scene.input(FleetInput::Dropped { partition: task("s", "c", 5).partition });
    assert_eq!(scene.fleet.rounds, Rounds::new());
}

/// However many stop one by one, each of those that wait is looked at once.
#[test]
fn many_that_start_over_are_looked_at_once() {
    let items = 10_000;
    let mut rounds = Rounds::new();
    let inside = |number| [Round { inside: Some(StepPath::new("f")), number }];
    let item = |index| id(StepPath::new("f").item(index).as_str());
    let told = Timestamp::EPOCH;
    (0..items).for_each(|index| rounds.stop(&item(index), told, &inside(0)));
    (0..items).for_each(|index| rounds.wait(&item(index), &inside(1)));
    let looked: usize =
        (0..items).map(|index| rounds.has_stopped(&item(index), told, &inside(0)).len()).sum();
    assert_eq!(looked, items as usize);
}
