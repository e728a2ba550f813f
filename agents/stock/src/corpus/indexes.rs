//! The indexes of an agent: one file each, kept open while they are used.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::index::{Index, IndexError};

/// How many indexes are kept open.
const MAX_OPEN: usize = 16;
/// An index that nobody wrote to for so long was left behind by a run that was cancelled.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The endings of the files of an index.
const ENDINGS: [&str; 3] = ["sqlite", "sqlite-wal", "sqlite-shm"];

/// The indexes in one directory.
#[derive(Debug)]
pub(super) struct Indexes {
    state: PathBuf,
    open: Mutex<BTreeMap<String, Open>>,
}

#[derive(Debug, Clone)]
struct Open {
    /// Device and inode: another file under the same name is another index.
    file: (u64, u64),
    index: Arc<Mutex<Index>>,
}

impl Indexes {
    pub(super) fn new(state: PathBuf) -> Self {
        Self { state, open: Mutex::default() }
    }

    /// Makes an index unless it is there, and drops those that were left behind.
    pub(super) fn create(&self, name: &str) -> Result<(), IndexError> {
        let path = self.path(name, ENDINGS[0])?;
        fs::create_dir_all(&self.state).map_err(IndexError::State)?;
        self.sweep();
        Index::create(&path).map(drop)
    }

    /// Calls `work` with an index, until it ends or is to stop; one caller at a time for each.
    pub(super) fn with<T>(
        &self,
        name: &str,
        stop: &CancellationToken,
        work: impl FnOnce(&mut Index) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let index = self.find(name)?;
        let mut index = index.lock().unwrap_or_else(PoisonError::into_inner);
        index.stop_on(stop.clone())?;
        let done = work(&mut index);
        done.map_err(|error| if stop.is_cancelled() { IndexError::Stopped } else { error })
    }

    /// Removes an index if it is there.
    pub(super) fn forget(&self, name: &str) -> Result<(), IndexError> {
        let path = self.path(name, ENDINGS[0])?;
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        for ending in ENDINGS {
            match fs::remove_file(path.with_extension(ending)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(IndexError::State(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Result<Arc<Mutex<Index>>, IndexError> {
        let path = self.path(name, ENDINGS[0])?;
        let metadata = fs::metadata(&path).map_err(|_| IndexError::Unknown(name.to_owned()))?;
        let file = (metadata.dev(), metadata.ino());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = open.get(name).filter(|known| known.file == file) {
            return Ok(Arc::clone(&known.index));
        }
        if open.len() >= MAX_OPEN {
            open.retain(|_, open| Arc::strong_count(&open.index) > 1);
        }
        let index = Arc::new(Mutex::new(Index::open(&path)?));
        open.insert(name.to_owned(), Open { file, index: Arc::clone(&index) });
        Ok(index)
    }

    fn path(&self, name: &str, ending: &str) -> Result<PathBuf, IndexError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=64).contains(&name.len()) && name.bytes().all(is_plain) {
            Ok(self.state.join(name).with_extension(ending))
        } else {
            Err(IndexError::InvalidName(name.to_owned()))
        }
    }

    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.state) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let is_ours =
                path.extension().is_some_and(|ending| ENDINGS.iter().any(|e| ending == *e));
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|modified| modified.elapsed().ok());
            if is_ours && age.is_some_and(|age| age > KEPT) {
                tracing::info!(path = %path.display(), "removing an index that was left behind");
                fs::remove_file(path).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use rusqlite::Connection;

    use super::*;

    fn put_bad(indexes: &Indexes) {
        let stop = CancellationToken::new();
        indexes.with("one", &stop, |index| index.put_bad("x", "empty_file")).unwrap();
    }

    #[test]
    fn an_index_is_there_from_create_to_forget() {
        let home = tempfile::tempdir().unwrap();
        let indexes = Indexes::new(home.path().join("state"));
        let bad = |name| indexes.with(name, &CancellationToken::new(), |index| index.bad());
        assert!(matches!(bad("one"), Err(IndexError::Unknown(name)) if name == "one"));
        indexes.create("one").unwrap();
        put_bad(&indexes);
        indexes.create("one").unwrap();
        assert_eq!(bad("one").unwrap().len(), 1, "creating it again changes nothing");
        indexes.forget("one").unwrap();
        indexes.forget("one").unwrap();
        assert!(matches!(bad("one"), Err(IndexError::Unknown(_))));
        assert_eq!(fs::read_dir(home.path().join("state")).unwrap().count(), 0);
        indexes.create("one").unwrap();
        assert_eq!(bad("one").unwrap().len(), 0, "a new one under the old name is empty");
    }

    #[test]
    fn a_file_that_was_replaced_is_opened_again() {
        let home = tempfile::tempdir().unwrap();
        let (ours, theirs) = (Indexes::new(home.path().into()), Indexes::new(home.path().into()));
        ours.create("one").unwrap();
        put_bad(&ours);
        // The number of a removed file is given out again unless something holds it.
        let _held = fs::File::open(home.path().join("one.sqlite")).unwrap();
        theirs.forget("one").unwrap();
        theirs.create("one").unwrap();
        let bad = ours.with("one", &CancellationToken::new(), |index| index.bad());
        assert_eq!(bad.unwrap().len(), 0);
    }

    #[test]
    fn whoever_waits_for_another_process_can_be_told_to_stop() {
        let home = tempfile::tempdir().unwrap();
        let indexes = Arc::new(Indexes::new(home.path().into()));
        indexes.create("one").unwrap();
        let other = Connection::open(home.path().join("one.sqlite")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let stop = CancellationToken::new();
        let (begun, beginning) = mpsc::channel();
        let (theirs, token) = (Arc::clone(&indexes), stop.clone());
        let waiting = thread::spawn(move || {
            theirs.with("one", &token, |index| {
                begun.send(()).unwrap();
                index.put_bad("x", "empty_file")
            })
        });
        beginning.recv().unwrap();
        stop.cancel();
        let stopped = waiting.join().unwrap();
        assert!(matches!(stopped, Err(IndexError::Stopped)), "{stopped:?}");
        drop(other);
        put_bad(&indexes);
    }

    #[test]
    fn names_cannot_leave_the_directory() {
        let home = tempfile::tempdir().unwrap();
        let indexes = Indexes::new(home.path().into());
        let long = "x".repeat(65);
        for name in ["", ".", "..", "a/b", "../x", "a.b", "a\0", "é", &long] {
            assert!(matches!(indexes.create(name), Err(IndexError::InvalidName(_))), "{name:?}");
            assert!(matches!(indexes.forget(name), Err(IndexError::InvalidName(_))), "{name:?}");
        }
        indexes.create(&long[1..]).unwrap();
    }

    #[test]
    fn what_was_left_behind_is_swept() {
        let home = tempfile::tempdir().unwrap();
        let indexes = Indexes::new(home.path().into());
        for (name, age) in
            [("old.sqlite", KEPT * 2), ("new.sqlite", KEPT / 2), ("old.txt", KEPT * 2)]
        {
            let path = home.path().join(name);
            let file = fs::File::create(&path).unwrap();
            let modified = file.metadata().unwrap().modified().unwrap() - age;
            file.set_modified(modified).unwrap();
        }
        indexes.create("one").unwrap();
        let there = |name: &str| home.path().join(name).exists();
        assert_eq!(["old.sqlite", "new.sqlite", "old.txt"].map(there), [false, true, true]);
    }
}
