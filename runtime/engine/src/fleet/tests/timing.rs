//! Work whose time has not come.

use super::*;

#[test]
fn nothing_goes_out_before_its_time_or_while_the_run_is_paused() {
    let mut scene = Scene::new();
    let later = |step| OfferTask {
        not_before: Timestamp::from_millis(101_500),
        ..offer(task(step, "c", 5))
    };
    scene.beat("a", 3, &[]);
    for step in ["x", "paused"] {
        scene.input(FleetInput::Owed(Box::new(later(step))));
    }
    scene.explain("x").input(FleetInput::Withheld { attempt: id("paused") });
    scene.after(3_000).explain("paused");
    scene.input(FleetInput::Owed(Box::new(later("paused")))).check(expect![[r#"
        0: x waits: back-off, due in 1.5 s
        1500: deliver to a: x
        3000: paused waits: the run is paused (Paused)
        3000: deliver to a: paused
    "#]]);
}
