//! More than there is room for.

use futures::future::{Either, join_all, select};
use futures::{FutureExt as _, StreamExt as _};
use skep_protocol::{CommandReply, Rejection};
use tokio::time::timeout;

use super::Harness;
use super::fixtures::{command, partition, soon};
use crate::Commands as _;

/// Commands that ask at once, and what each of them takes, in bytes: 30 MB together.
const COMMANDS: usize = 600;
const SIZE: usize = 50_000;

/// C56: of many commands for which nobody has time, some wait until somebody has, and the others
/// are told that the listener is busy.
pub async fn c56_commands_without_room_are_answered_as_busy<H: Harness>(harness: &H) {
    let (client, owner) = (harness.client().await, harness.client().await);
    let mut commands = owner.serve_commands(partition(1)).await.expect("serve");
    let reason = "x".repeat(SIZE);
    let asking = (0..COMMANDS).map(|_| client.command(partition(1), command(&reason)));
    let mut asking = join_all(asking).boxed();
    // All of them are on their way before anybody takes one.
    let some_time = harness.bounds().request_timeout / 4;
    assert!(timeout(some_time, &mut asking).await.is_err(), "nobody took what was answered");
    let answering = async {
        while let Some(request) = commands.next().await {
            request.responder.send(CommandReply::Done {});
        }
    };
    let answered = soon("all answers", select(asking, Box::pin(answering))).await;
    let Either::Left((answers, _)) = answered else { panic!("nobody listens any more") };
    let (mut done, mut busy) = (0, 0);
    for answer in answers {
        let answer = answer.expect("an answer");
        if matches!(answer, CommandReply::Rejected(Rejection::Busy { .. })) {
            busy += 1;
        } else {
            assert_eq!(answer, CommandReply::Done {});
            done += 1;
        }
    }
    assert!(done > 0 && busy > 0, "{done} had room, {busy} had none");
}
