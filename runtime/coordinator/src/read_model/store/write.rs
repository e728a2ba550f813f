//! Writing what changed, and dropping what is not kept.

use std::mem;

use rusqlite::{TransactionBehavior, ffi, params};
use skep_protocol::{PartitionId, RunId, Seq};

use super::{HELD, HELD_OF_LATE, Store};
use crate::read_model::rows::{self, Rows};
use crate::read_model::schema::OF_A_RUN;

/// Of finished runs, so many are dropped at a time, as a share of all that are kept.
const AT_A_TIME: u64 = 16;
/// So many finished runs are kept however large they are.
const FEWEST: u64 = 100;

impl Store {
    /// Writes all that is not stored. Returns how far each journal is stored with this.
    pub(in crate::read_model) fn write(&mut self) -> rusqlite::Result<Vec<(PartitionId, Seq)>> {
        if self.is_dirty() {
            self.write_all()?;
            self.written();
            self.evict();
            self.drop_oldest()?;
        }
        Ok(mem::take(&mut self.positions).into_iter().collect())
    }

    fn write_all(&mut self) -> rusqlite::Result<()> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sql = "SELECT EXISTS (SELECT 1 FROM cluster WHERE opened = ?1)";
        if !transaction.prepare_cached(sql)?.query_row([self.opened], |row| row.get(0))? {
            let code = ffi::Error::new(ffi::SQLITE_READONLY);
            let cause = "somebody else has opened the database since".to_owned();
            return Err(rusqlite::Error::SqliteFailure(code, Some(cause)));
        }
        for run in &self.forgotten {
            rows::forget(&transaction, *run)?;
        }
        let mut rows = Rows::of(&transaction, &self.unsaved)?;
        for slot in self.changed.iter().filter_map(|run| self.runs.get(run)) {
            rows.write(slot)?;
        }
        drop(rows);
        for (partition, seq) in &self.positions {
            transaction
                .prepare_cached(
                    "INSERT INTO positions (partition, seq) VALUES (?1, ?2)
                     ON CONFLICT (partition) DO UPDATE SET seq = excluded.seq",
                )?
                .execute(params![partition.get(), seq.get().cast_signed()])?;
        }
        transaction.commit()
    }

    /// What ended before the write before leaves the memory: most of what happens to a run after
    /// its end does so at once.
    fn written(&mut self) {
        let changed = mem::take(&mut self.changed);
        let over = mem::take(&mut self.over);
        for run in over {
            if self.runs.get(&run).is_some_and(|slot| !slot.is_changed) {
                self.leave(run);
            }
        }
        for run in changed {
            let Some(slot) = self.runs.get_mut(&run) else { continue };
            self.held -= slot.size;
            slot.saved();
            self.held += slot.size;
            if slot.view.status().is_final() {
                self.over.push(run);
            }
        }
        self.forgotten.clear();
        self.unsaved.clear();
        self.has_unsaved_retry = false;
    }

    pub(super) fn leave(&mut self, run: RunId) {
        if let Some(slot) = self.runs.remove(&run) {
            self.held -= slot.size;
        }
    }

    /// Lets go of the runs to which nothing happened since this was called before: they are read
    /// again when something does. Those with many steps stay, which take little and are long.
    pub(in crate::read_model) fn let_go_of_idle(&mut self) {
        let looked_at = mem::replace(&mut self.looked_at, self.now);
        let mut held = 0;
        self.runs.retain(|_, slot| {
            let is_idle = !slot.is_changed && slot.changed <= looked_at;
            let stays = !is_idle || slot.view.is_abridged();
            held += if stays { slot.size } else { 0 };
            stays
        });
        self.held = held;
        self.runs.shrink_to_fit();
    }

    /// Makes room: all that is in memory is stored.
    fn evict(&mut self) {
        let written_at = mem::replace(&mut self.written_at, self.now);
        if self.held <= HELD {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "they are sorted below")]
        let mut oldest: Vec<(u64, RunId)> =
            self.runs.iter().map(|(run, slot)| (slot.changed, *run)).collect();
        oldest.sort_unstable();
        for (changed, run) in oldest {
            let most = if changed > written_at { HELD_OF_LATE } else { HELD / 4 * 3 };
            if self.held <= most {
                break;
            }
            self.leave(run);
        }
    }

    /// Drops the finished runs that were started first, if there are more than are to be kept.
    fn drop_oldest(&mut self) -> rusqlite::Result<()> {
        let (runs, bytes) = (self.retention.runs, self.retention.bytes);
        let begun = self.next.unsigned_abs();
        let size = self.size()?;
        if begun < self.look_at.0 && size < self.look_at.1 {
            return Ok(());
        }
        let there: u64 = self.count()?;
        let batch = runs / AT_A_TIME + 1;
        let mut surplus = if there > runs { there - runs + batch } else { 0 };
        if size > bytes {
            let share = (u128::from(there) * u128::from(size - bytes) / u128::from(size)) as u64;
            let too_large = share + there / AT_A_TIME;
            surplus = surplus.max(too_large.min(there.saturating_sub(FEWEST)));
        }
        if surplus > 0 {
            self.drop_finished(surplus)?;
        }
        let (there, size) = (self.count()?, self.size()?);
        let room = runs.saturating_sub(there).max(batch);
        let larger = size.saturating_add(bytes / AT_A_TIME);
        self.look_at = (begun.saturating_add(room), bytes.max(larger));
        Ok(())
    }

    /// Drops so many finished runs, in the order in which they were started.
    fn drop_finished(&mut self, surplus: u64) -> rusqlite::Result<()> {
        let sql = "SELECT no, run FROM runs
                   WHERE status IN ('completed', 'failed', 'cancelled', 'compensated')
                   ORDER BY started, run LIMIT ?1";
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut gone: Vec<(i64, RunId)> = transaction
            .prepare_cached(sql)?
            .query_map([surplus.cast_signed()], |row| Ok((row.get(0)?, rows::run(row.get(1)?))))?
            .collect::<rusqlite::Result<_>>()?;
        gone.sort_unstable();
        for together in gone.chunk_by(|(one, _), (next, _)| one + 1 == *next) {
            let (Some((from, _)), Some((to, _))) = (together.first(), together.last()) else {
                continue;
            };
            for table in OF_A_RUN {
                let sql = format!("DELETE FROM {table} WHERE no BETWEEN ?1 AND ?2");
                transaction.prepare_cached(&sql)?.execute([from, to])?;
            }
        }
        transaction.commit()?;
        for (_, run) in gone {
            self.leave(run);
        }
        Ok(())
    }

    fn count(&self) -> rusqlite::Result<u64> {
        let sql = "SELECT count(*) FROM runs";
        let count: i64 = self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// Returns how much the database holds, in bytes.
    fn size(&self) -> rusqlite::Result<u64> {
        let sql = "SELECT (page_count - freelist_count) * page_size
                   FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        let size: i64 = self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(size.unsigned_abs())
    }
}
