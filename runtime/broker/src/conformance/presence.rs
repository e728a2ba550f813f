//! C33 to C35: heartbeats.

use std::time::Duration;

use super::Harness;
use super::fixtures::{heartbeat, next, soon};
use crate::directory::Presence as _;

/// C33: a heartbeat reaches everybody who listens, in the order in which one client sends them, and
/// nobody who began later.
pub async fn c33_beats_reach_everybody_who_listens<H: Harness>(harness: &H) {
    let (agent, one, two) =
        (harness.client().await, harness.client().await, harness.client().await);
    let mut own = agent.beats().await.expect("listen");
    agent.beat(heartbeat("early", 1)).await.expect("beat");
    // It is not on its way any more when the others begin.
    assert_eq!(next("an early beat", &mut own).await, heartbeat("early", 1));
    let mut first = one.beats().await.expect("listen");
    let mut second = two.beats().await.expect("listen");
    for seq in 1..=20 {
        agent.beat(heartbeat("a", seq)).await.expect("beat");
    }
    for seq in 1..=20 {
        assert_eq!(next("a beat", &mut first).await, heartbeat("a", seq));
        assert_eq!(next("a beat", &mut second).await, heartbeat("a", seq));
    }
    let mut late = one.beats().await.expect("listen");
    agent.beat(heartbeat("a", 21)).await.expect("beat");
    assert_eq!(next("a beat", &mut late).await, heartbeat("a", 21));
}

/// C34: a listener that does not listen hinders neither the sender nor others, whatever is sent; it
/// may lose heartbeats, and hears the newest ones when it listens again.
pub async fn c34_a_slow_listener_hinders_nobody<H: Harness>(harness: &H) {
    const BEATS: u64 = 20_000;
    let (agent, one, two) =
        (harness.client().await, harness.client().await, harness.client().await);
    let mut slow = one.beats().await.expect("listen");
    let mut fast = two.beats().await.expect("listen");
    let sending = async {
        for seq in 1..=BEATS {
            agent.beat(heartbeat("a", seq)).await.expect("beat");
            if seq % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    let listening = async { while next("a beat", &mut fast).await.seq < BEATS {} };
    soon("all beats", async { tokio::join!(sending, listening) }).await;

    // The slow one has lost some, or has them all: it gets to the newest sooner or later.
    let beating = async {
        for seq in BEATS + 1.. {
            agent.beat(heartbeat("a", seq)).await.expect("beat");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let catching_up = async {
        let mut last = 0;
        while last <= BEATS {
            let seq = next("a beat", &mut slow).await.seq;
            assert!(seq > last, "{seq} after {last}");
            last = seq;
        }
    };
    tokio::select! {
        biased;
        () = catching_up => {}
        () = beating => {}
    }
}

/// C35: a client whose broker answers says that it is connected.
pub async fn c35_a_reachable_broker_is_connected<H: Harness>(harness: &H) {
    let broker = harness.client().await;
    broker.beat(heartbeat("a", 1)).await.expect("beat");
    assert!(broker.is_connected());
}
