//! What begins in a later round waits for what is to stop of the earlier ones.

use super::super::rounds::Rounds;
use super::*;
use crate::Round;

/// The next attempt of a step, in the second round of the group around it.
fn again(step: &str) -> OfferTask {
    let rounds = vec![Round { inside: StepPath::new(step).around(), number: 1 }];
    let mut offer = offer(Task { attempt: 2, fencing_token: 2, ..task(step, "c", 5) });
    offer.terms.rounds = rounds;
    offer
}

/// What makes a step good.
fn remedy(step: &str) -> OfferTask {
    let step = StepPath::new(step).compensation();
    let mut offer = offer(task(step.as_str(), "c", 5));
    offer.terms.rounds = vec![Round::UNWINDING];
    offer
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
        let told = self.fleet.explain(&offer.id, Timestamp::from_millis(self.now));
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

/// Whoever is told to stop last may stop first, and those before it may never do so.
#[test]
fn nobody_is_waited_for_longer_because_another_was_told_later_and_has_stopped() {
    let mut scene = stopped(["g/x", "other"]);
    scene.owe("g/y").delivered("b", &["g/y"]);
    scene.after(3_000).beat("a", 2, &["g/x"]).beat("b", 5, &["g/y"]);
    scene.after(3_000).beat("a", 2, &["g/x"]).beat("b", 5, &["g/y"]);
    scene.settled("g/y", None).owe_offer(again("g/z"));
    scene.done.clear();
    let why = scene.why(&again("g/z"));
    assert!(why.contains("attempt 1 of g/y") && why.contains("until 00:01:53 UTC"), "{why}");
    scene.after(100).beat("b", 5, &[]).after(2_000).check(expect![[r#"
        7000: deliver to a: g/z
    "#]]);
}

#[test]
fn who_waits_for_many_is_looked_at_once_in_a_second() {
    let mut scene = Scene::new();
    let items: Vec<String> = (0..40).map(|index| format!("g/f[{index}]")).collect();
    let items: Vec<&str> = items.iter().map(String::as_str).collect();
    scene.beat("a", 40, &[]);
    items.iter().for_each(|item| _ = scene.owe(item));
    scene.delivered("a", &items).beat("a", 40, &items).beat("b", 5, &[]);
    scene.settled(items[0], None).owe_offer(again("g/x"));
    let waits = again("g/x").id;
    let (mut looks, mut went) = (BTreeSet::new(), None);
    for item in &items[1..] {
        scene.settled(item, None).after(200).beat("a", 40, &items).beat("b", 5, &[]);
        if let Place::Behind { until } = scene.fleet.attempts.get(&waits).unwrap().place {
            looks.insert(until);
        } else {
            went = went.or(Some(scene.now - 100_000));
        }
    }
    assert_eq!((looks.len(), went), (7, Some(7_000)));
}

/// What an agent lists may be made up: a path costs what is known of it, however long it is.
#[test]
fn a_deep_stray_is_kept_where_it_is_inside_of_something_that_is_known() {
    let mut scene = Scene::new();
    scene.recover(vec![remedy("s"), again("g/x"), again("h/f[1]/x")]).caught_up();
    let deep = "/a".repeat(1_000);
    let strays: Vec<String> = (0..100).map(|stray| format!("g{deep}/{stray}")).collect();
    scene.beat("a", 1, &strays.iter().map(String::as_str).collect::<Vec<_>>());
    let stopping = &scene.fleet.stopping;
    let rounds: usize = stopping.values().map(|stopping| stopping.rounds.len()).sum();
    assert_eq!((stopping.len(), rounds), (100, 200));
    scene.beat("a", 1, &["g[2]", "gg/y", "h/f[1]/g/y", "h/f[2]/y"]);
    fn inside(round: &Round) -> &str {
        round.inside.as_ref().map_or("run", StepPath::as_str)
    }
    let stopping = scene.fleet.stopping.values();
    let inside = stopping.map(|stopping| stopping.rounds.iter().map(inside).collect::<Vec<_>>());
    let expected = [&["run", "g"][..], &["run"], &["run", "h/f[1]"], &["run"]];
    assert_eq!(inside.collect::<Vec<_>>(), expected);
    scene.input(FleetInput::Dropped { partition: task("s", "c", 5).partition });
    assert_eq!(scene.fleet.rounds, Rounds::new());
}

#[test]
fn a_deep_stray_is_looked_up_as_often_as_what_is_known_is_deep() {
    let mut rounds = Rounds::new();
    let known = |path: &str| [Round { inside: Some(StepPath::new(path)), number: 1 }];
    for path in ["a", "a/a", "a/a/a[2]", "a/b", "e/a/a"] {
        rounds.track(&id("any"), &known(path));
    }
    (0..1_000).for_each(|item| rounds.track(&id("any"), &known(&format!("a/a/Z[{item}]"))));
    let looks = |step: &str| {
        let (step, found) = (id(step), rounds.known_around(&id(step)));
        (rounds.nearest(&step).count(), found.len() - 1)
    };
    let deep = "/a".repeat(1_000);
    assert_eq!(looks(&format!("a{deep}")), (3, 2));
    assert_eq!(looks(&format!("é{deep}")), (1, 0));
    assert_eq!(looks(&format!("a/a/a[2]{deep}")), (5, 3));
    assert_eq!(looks(&format!("a/a/é{deep}")), (3, 2));
    assert_eq!(looks(&format!("0{deep}")), (0, 0));
    assert_eq!(looks("a/a/a[2]/x~compensate"), (0, 0));
}

#[test]
fn nothing_is_kept_of_a_stray_that_nobody_waits_for() {
    let mut scene = Scene::new();
    scene.recover(vec![again("g/x"), offer(task("h/x", "c", 5))]).caught_up();
    let deep = format!("h{}", "/a".repeat(1_000));
    scene.beat("a", 1, &[&deep, "h/x/y", "g", "g~compensate"]);
    assert!(scene.fleet.stopping.is_empty(), "{:?}", scene.fleet.stopping);
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
