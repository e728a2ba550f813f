//! The asynchronous runtimes: made only by commands that need one, and no larger than needed.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Exit};

/// Threads of a process that drives runs or performs tasks.
const MOST_THREADS: usize = 4;
/// How long the end of a process waits for blocked threads: a file system may never answer.
const LET_GO_WITHIN: Duration = Duration::from_secs(1);

/// A runtime whose end does not depend on what its threads do.
#[derive(Debug)]
pub(crate) struct Large(Option<Runtime>);

impl Large {
    /// Drives a future to its end.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.as_ref().expect("it is there until it is dropped").block_on(future)
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(LET_GO_WITHIN);
        }
    }
}

/// For a command that asks and waits: everything on this thread.
pub(crate) fn small() -> Result<Runtime, Error> {
    Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))
}

/// For a process that drives runs or performs tasks.
pub(crate) fn large() -> Result<Large, Error> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads.clamp(1, MOST_THREADS)).enable_all();
    builder.build().map(|runtime| Large(Some(runtime))).map_err(|error| failed(&error))
}

fn failed(error: &std::io::Error) -> Error {
    Error::new(Exit::Failed, format!("cannot start threads: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() {
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn a_process_ends_although_threads_are_blocked() {
        let runtime = large().unwrap();
        let (started, starting) = tokio::sync::oneshot::channel();
        let mut blocked = None;
        runtime.block_on(async {
            blocked = Some(tokio::task::spawn(async {
                started.send(()).unwrap();
                tokio::task::block_in_place(block);
            }));
            starting.await.unwrap();
        });
        drop(runtime);
        assert!(blocked.is_some_and(|blocked| !blocked.is_finished()));
    }
}
