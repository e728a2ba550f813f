//! The contract of the broker over a real nats-server: every clause, and random operations compared
//! with the memory machine.

mod harness;

skep_broker::conformance_tests!(
    tokio::test(flavor = "multi_thread"),
    crate::harness::NatsHarness::start().await
);
