//! A nats-server on this machine: finding one, fetching one, starting a throwaway one.
//!
//! [`find_or_fetch`] looks where a user would, and fetches the binary once if it has to.
//! [`ThrowawayServer`] serves `skep dev` and the tests; it is never used in production.

mod cluster;
mod fetch;
mod find;
mod throwaway;

pub use cluster::start_cluster;
pub use fetch::FetchError;
pub use find::{Binary, FindError, Looked, Place, fetch_oldest, find, find_or_fetch};
pub use throwaway::{Options, StartError, SyncInterval, ThrowawayServer};
