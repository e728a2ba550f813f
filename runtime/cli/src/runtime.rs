//! The asynchronous runtimes: made only by commands that need one, and no larger than needed.

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Exit};

/// Threads of a process that drives runs or performs tasks.
const MOST_THREADS: usize = 4;

/// For a command that asks and waits: everything on this thread.
pub(crate) fn small() -> Result<Runtime, Error> {
    Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))
}

/// For a process that drives runs or performs tasks.
pub(crate) fn large() -> Result<Runtime, Error> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads.clamp(1, MOST_THREADS)).enable_all();
    builder.build().map_err(|error| failed(&error))
}

fn failed(error: &std::io::Error) -> Error {
    Error::new(Exit::Failed, format!("cannot start threads: {error}"))
}
