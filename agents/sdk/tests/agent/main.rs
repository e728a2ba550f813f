//! The agent as a coordinator sees it: everything over the embedded broker, on a paused clock.

#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test may panic")]

mod endings;
mod harness;
mod lanes;
mod outages;
mod payloads;
mod rations;
mod reports;
