//! Ready-made agents for users who write no Rust: `exec` runs programs, `http` makes requests,
//! `corpus` indexes text files and answers questions with passages from them.
//!
//! None of them does anything that its operator did not allow at start: a task chooses among
//! allowed programs, reachable addresses, directories below a root. They never decide about runs
//! and keep no state that the coordinator relies on.
//!
//! Read [`Stock`] first: it says which agents there are and builds them for the SDK. The command
//! line does no more than fill it in:
//!
//! ```
//! use skep_agents::corpus::CorpusConfig;
//! use skep_agents::exec::{Commands, ExecConfig};
//! use skep_agents::http::HttpConfig;
//! use skep_agents::Stock;
//!
//! let path = std::env::var_os("PATH");
//! let stock = Stock {
//!     // `--allow-command NAME`, once per program: a name in PATH or an absolute path.
//!     exec: Some(ExecConfig::new(Commands::resolve(["true"], path.as_deref())?, ".")),
//!     // `--allow-address 10.0.0.0/8`: HttpConfig { addresses, .. }.
//!     http: Some(HttpConfig::default()),
//!     // Safe without flags: reads below the current directory, writes below `.skep/`.
//!     // `--root DIR` adds to `roots`, `--reports DIR` sets `reports`.
//!     corpus: Some(CorpusConfig::new(".", ".skep/corpus", ".skep/reports")),
//! };
//! for agent in stock.agents()? {
//!     // Agent::run_until(&agent, &broker, stop)
//!     assert!(agent.capabilities().count() > 0);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod corpus;
pub mod exec;
mod fault;
pub mod http;
mod json;
mod stock;

pub use json::Json;
pub use stock::{Stock, StockError};
