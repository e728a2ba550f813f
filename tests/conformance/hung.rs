//! A coordinator that listens and does nothing, as one does whose process hangs.

use std::time::Duration;

use skep_broker::conformance::Harness as _;
use skep_broker::conformance::fixtures::while_serving;
use skep_broker::{Queries as _, RequestError};
use skep_protocol::{Query, QueryReply};
use tokio::time::Instant;

use crate::harness::NatsHarness;

/// However the server shares the questions, each is answered: that one coordinator hangs costs
/// time, not answers.
#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_beside_a_coordinator_that_hangs() {
    let harness = NatsHarness::start().await;
    let (client, old, new) =
        (harness.client().await, harness.client().await, harness.client().await);
    let hung =
        [old.serve_queries().await.expect("serve"), old.serve_queries().await.expect("serve")];
    let serving = new.serve_queries().await.expect("serve");
    let large = QueryReply::Failed { message: "x".repeat(3_000_000) };
    let asking = async {
        let asked = (0..20).map(|_| async {
            let before = Instant::now();
            let answer =
                client.query(Query::Agents { everywhere: false }).await.expect("an answer");
            assert!(answer == large, "another answer came");
            before.elapsed()
        });
        futures::future::join_all(asked).await
    };
    let took = Box::pin(while_serving(serving, |_| Some(large.clone()), asking)).await;
    let longest = took.into_iter().max().expect("answers");
    assert!(longest > Duration::from_millis(700), "none was sent to the one that hangs");
    drop(new);
    let nobody = client.query(Query::Agents { everywhere: false }).await;
    assert!(matches!(nobody, Err(RequestError::TimedOut { .. })), "{nobody:?}");
    drop(hung);
}
