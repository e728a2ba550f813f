//! The contract of the broker over a real nats-server: every clause, random operations compared
//! with the memory machine, and what only NATS can do wrong.

mod by_hand;
mod connecting;
mod differing;
mod flood;
mod harness;
mod hostile;
mod hung;
mod layout;
mod lossy;
mod oldest;
mod onlookers;
mod outage;
mod vanished;

skep_broker::conformance_tests!(
    tokio::test(flavor = "multi_thread"),
    crate::harness::NatsHarness::start().await
);
