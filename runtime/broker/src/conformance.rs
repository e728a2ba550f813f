//! The clauses of the contract as tests that run over every implementation.
//!
//! Each clause is one function here, named after its number and generic over [`Harness`];
//! [`conformance_tests!`](crate::conformance_tests) makes a test of each:
//!
//! ```text
//! skep_broker::conformance_tests!(tokio::test(flavor = "multi_thread"), my_harness().await);
//! ```
//!
//! A clause that is broken panics and says what it saw. None measures time; those that wait for
//! something to *not* happen wait for as long as the bounds of the broker ask for.

pub mod crowd;
pub mod fixtures;
pub mod journal;
pub mod presence;
pub mod reports;
pub mod requests;
pub mod restart;
pub mod stores;
pub mod tasks;

use std::future::Future;
use std::time::Duration;

use crate::Broker;

/// A broker to be tested.
pub trait Harness: Send + Sync {
    /// The implementation.
    type Broker: Broker;

    /// Returns another client of this harness's broker, as another process would have it. All
    /// clients of a harness see the same things; those of two harnesses share nothing.
    fn client(&self) -> impl Future<Output = Self::Broker> + Send;

    /// Restarts the broker in an orderly way, while its clients stay.
    fn restart(&self) -> impl Future<Output = Restart> + Send;

    /// Returns the bounds that the broker was made with.
    fn bounds(&self) -> Bounds;
}

/// Whether a broker was restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// It was, and can be reached again.
    Done,
    /// It lives in this process and cannot be.
    Impossible,
}

/// What a broker was made with. Choose short times for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How long a pulled task may stay silent before it comes again.
    pub ack_wait: Duration,
    /// How long an asker waits for an answer.
    pub request_timeout: Duration,
    /// Largest message, in bytes.
    pub max_message: usize,
}

/// Makes a test of each clause: `conformance_tests!(ATTRIBUTE, HARNESS)`, where the attribute
/// makes a test of an async function and the expression, which may await, makes a fresh
/// [`Harness`].
#[macro_export]
macro_rules! conformance_tests {
    ($attribute:meta, $harness:expr) => {
        $crate::conformance_tests! { @list $attribute, $harness;
            journal:
                c01_an_append_needs_the_exact_end
                c02_a_conflict_appends_nothing_and_tells_the_end
                c03_of_racing_appends_one_wins
                c04_bytes_come_back_as_they_were
                c05_a_message_over_the_limit_is_refused
                c06_last_is_never_stale
                c07_follow_never_skips_and_goes_on
                c08_follow_starts_where_it_is_told
                c09_followers_do_not_disturb_each_other
                c10_trim_keeps_positions_and_the_last_message
                c11_a_follower_overtaken_by_a_trim_does_not_skip
                c54_the_age_of_the_end_grows_until_the_next_append;
            tasks:
                c12_tasks_come_in_order_and_once
                c13_any_capability_is_a_queue_of_its_own
                c14_the_same_sending_is_kept_once
                c15_pull_waits_for_the_first_task
                c16_each_task_reaches_one_puller
                c17_an_unsettled_task_comes_again
                c18_an_acknowledged_task_never_comes_again
                c19_an_extended_task_does_not_come_again
                c20_a_returned_task_comes_again_after_its_delay
                c21_depth_counts_each_task_once
                c22_clear_drops_everything;
            requests:
                c23_with_nobody_listening_there_are_no_responders
                c24_each_asker_gets_its_own_answer
                c25_a_listener_that_leaves_leaves_no_responders
                c26_leaving_in_the_middle_of_a_request_is_noticed
                c55_a_successor_does_not_hide_that_one_has_left
                c27_an_unanswered_request_times_out
                c28_a_request_over_the_limit_is_refused
                c29_a_request_reaches_only_whom_it_is_for
                c30_a_question_reaches_one_of_several_listeners
                c31_a_successor_is_heard_beside_its_predecessor
                c32_control_reaches_one_agent_or_all
                c51_large_commands_and_answers_arrive_whole;
            crowd:
                c56_commands_without_room_are_answered_as_busy;
            presence:
                c33_beats_reach_everybody_who_listens
                c34_a_slow_listener_hinders_nobody
                c35_a_reachable_broker_is_connected;
            reports:
                c36_durable_reports_are_read_in_order
                c37_unconfirmed_reports_come_again_in_order
                c38_durable_reports_stay_in_their_partition
                c52_a_reader_is_told_that_it_caught_up;
            stores:
                c39_blobs_come_back_by_their_content
                c40_an_unknown_blob_is_none
                c41_a_fact_changes_only_from_its_revision
                c42_of_racing_puts_one_wins
                c43_keys_are_sorted_and_buckets_apart
                c44_what_is_no_key_is_refused
                c45_the_largest_definition_is_a_fact
                c53_records_of_coordinators_are_facts
                c46_snapshots_come_newest_first
                c47_snapshots_are_large_and_stay_in_their_partition;
            restart:
                c48_what_is_durable_survives_a_restart
                c49_listeners_are_heard_after_a_restart
                c50_queues_work_after_a_restart;
        }
    };
    (@list $attribute:meta, $harness:expr; $($module:ident: $($clause:ident)*;)*) => {
        $(mod $module {
            #[allow(unused_imports, reason = "the harness may be named by its path")]
            use super::*;
            $(
                #[$attribute]
                async fn $clause() {
                    let harness = $harness;
                    $crate::conformance::$module::$clause(&harness).await;
                }
            )*
        })*
    };
}
