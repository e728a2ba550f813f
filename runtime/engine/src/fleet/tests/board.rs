//! The board in tests, and how attempts end there.

use super::*;

pub(super) fn failed() -> CallOutcome {
    let code = "oops".to_owned();
    CallOutcome::Failed { kind: FailureKind::Agent, code, retryable: true, only_here: false }
}

/// Says that another agent may do it.
pub(super) fn refused() -> CallOutcome {
    let code = "command_not_allowed".to_owned();
    CallOutcome::Failed { kind: FailureKind::Agent, code, retryable: true, only_here: true }
}

pub(super) fn posted(post: &Post) -> String {
    match post {
        Post::Opened { name, record } => format!("breaker {name} opens: {}", record.cause),
        Post::Probe { name, .. } => format!("breaker {name} is to be probed"),
        Post::Healed { name } => format!("breaker {name} is healed"),
        Post::Reset { name } => format!("breaker {name} is reset"),
        Post::Quarantined { agent, record, .. } => format!("{agent} is out: {}", record.cause),
        Post::Paroled { agent } => format!("{agent} did well on parole"),
        Post::Released { agent } => format!("{agent} is released"),
    }
}

impl Scene {
    /// Does as the coordinator does with what is posted.
    pub(super) fn keep_board(&mut self) -> &mut Self {
        let (me, now) = (CoordinatorId::new("me").unwrap(), Timestamp::from_millis(self.now));
        let Some(posted) = self.posts.last().map(|(number, _)| *number) else { return self };
        for (_, post) in std::mem::take(&mut self.posts) {
            post.onto(&mut self.board, &me, now);
        }
        let board = self.board.clone();
        self.input(FleetInput::Board { board, me, posted })
    }

    /// Somebody else puts something on the board.
    pub(super) fn elsewhere(&mut self, post: Post) -> &mut Self {
        let (other, now) = (CoordinatorId::new("other").unwrap(), Timestamp::from_millis(self.now));
        post.onto(&mut self.board, &other, now);
        let (board, me) = (self.board.clone(), CoordinatorId::new("me").unwrap());
        self.input(FleetInput::Board { board, me, posted: 0 })
    }

    /// An attempt ends at an agent, and is settled.
    pub(super) fn ends(&mut self, step: &str, by: &str, outcome: CallOutcome) -> &mut Self {
        let end = CallEnd { outcome, took: None };
        let (attempt, by) = (id(step), agent(by));
        self.input(FleetInput::Ended { attempt: attempt.clone(), agent: Some(by.clone()), end });
        self.input(FleetInput::Settled { attempt, reported_by: Some(by) })
    }
}
