//! The agent as a coordinator sees it: everything over the embedded broker, on a paused clock.

mod endings;
mod harness;
mod lanes;
mod outages;
mod payloads;
mod reports;
