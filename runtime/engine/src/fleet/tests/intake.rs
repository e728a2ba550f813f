//! Heartbeats that say more than anybody needs.

use skep_protocol::limits::{
    MAX_LABEL_LEN, MAX_LABELS, MAX_NAME_LEN, MAX_SOFTWARE_LEN, MAX_STEP_PATH,
};

use super::*;

#[test]
fn what_is_kept_of_a_heartbeat_is_bounded() {
    let mut scene = Scene::new();
    scene.recover(Vec::new()).caught_up();
    let path = "s".repeat(MAX_STEP_PATH + 1);
    scene.beat_with("a", 1, &[&path], |beat| {
        let long = "x".repeat(MAX_LABEL_LEN + 1);
        beat.offers.push(Offer { capability: "c".repeat(MAX_NAME_LEN + 1), slots: 1 });
        beat.software = "é".repeat(MAX_SOFTWARE_LEN);
        beat.labels = (0..MAX_LABELS).map(|n| (format!("{n:02}"), "v".to_owned())).collect();
        beat.labels.insert(long.clone(), "a name".to_owned());
        beat.labels.insert("!".to_owned(), long);
        beat.labels.insert("~".to_owned(), "one too many".to_owned());
    });
    let [view] = &scene.fleet.agents(Timestamp::from_millis(scene.now))[..] else {
        panic!("one agent")
    };
    assert_eq!(view.offers, [Offer { capability: "c".to_owned(), slots: 1 }]);
    assert_eq!(view.software, "é".repeat(MAX_SOFTWARE_LEN / 2));
    assert_eq!(view.labels.len(), MAX_LABELS);
    assert!(view.labels.values().all(|value| value == "v"), "{:?}", view.labels);
    scene.check(expect![[r#"
        0: roll call
    "#]]);
}
