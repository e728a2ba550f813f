//! Processes that somebody else started, and that may be stopped and killed.

use std::fs;

use crate::error::Error;

/// One of them: its id, and when it was started, so that no other process is taken for it once it
/// is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Other {
    pid: u32,
    started: String,
}

impl Other {
    /// Finds a process.
    pub(super) fn find(pid: u32) -> Result<Self, Error> {
        let none = || Error::usage(format!("there is no process {pid}"));
        let started = started(pid).ok_or_else(none)?;
        Ok(Self { pid, started })
    }

    /// Returns its id, as long as it is there.
    pub(super) fn pid(&self) -> Option<u32> {
        (started(self.pid).as_ref() == Some(&self.started)).then_some(self.pid)
    }
}

/// Returns when a process was started, in the words of the system.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, the rest is numbers; the 22nd field of all is the start.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_more_than_its_id() {
        let own = Other::find(std::process::id()).unwrap();
        assert_eq!(own.pid(), Some(std::process::id()));
        let another = Other { started: "0".to_owned(), ..own };
        assert_eq!(another.pid(), None);
        assert!(Other::find(u32::MAX).is_err());
    }
}
