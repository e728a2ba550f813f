//! What the tests of the whole share: the binary under test, processes that end with their handle,
//! a cluster of them, a Python that has the NATS client.

mod binary;
mod call;
mod cluster;
mod json;
mod process;
mod python;
mod servers;

pub use binary::{command, skep};
pub use call::{Called, call};
pub use cluster::{Cluster, LOOK_EVERY};
pub use json::difference;
pub use process::Process;
pub use python::python_with_nats;
pub use servers::three_servers;

use std::path::{Path, PathBuf};

/// Returns the root of the checkout.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the tests lie one folder below the root").to_path_buf()
}
