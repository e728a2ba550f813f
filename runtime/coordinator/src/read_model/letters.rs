//! Dead letters: the failed steps of runs that failed with them.

use rusqlite::{Connection, Row, named_params};
use skep_protocol::{DeadLetter, Dropped, Hash, LetterFilter, StepPath};

use super::answer::bounded;
use super::rows::{self, bare, key, millis, optional_json, time};

/// A sub-workflow is given up on by its parent, whose run is the one that can be done over.
const LETTERS: &str = "
    SELECT r.run, r.workflow, r.digest, r.labels, f.step, f.error,
           coalesce(f.ended, r.ended, r.started) AS given_up, f.child, f.attempts, f.agent,
           (SELECT json_group_array(n.run) FROM
            (SELECT lower(hex(run)) AS run FROM runs
             WHERE retry_of = r.run ORDER BY started, run) n) AS redriven,
           d.by_whom, d.at
    FROM failed f JOIN runs r ON r.no = f.no
    LEFT JOIN dropped d ON d.no = f.no AND d.step = f.step
    WHERE r.status IN ('failed', 'compensated') AND r.parent_run IS NULL
    AND (:run IS NULL OR r.run = :run)
    AND (:workflow IS NULL OR r.workflow = :workflow)
    AND (:agent IS NULL OR f.agent = :agent)
    AND (:code IS NULL OR f.code = :code)
    AND (:kind IS NULL OR f.kind = :kind)
    AND (:since IS NULL OR given_up >= :since) AND (:before IS NULL OR given_up < :before)
    AND (:all OR (redriven = '[]' AND d.no IS NULL))
    AND (:after_run IS NULL OR (given_up, r.run, f.step) <
         (SELECT coalesce(x.ended, y.ended, y.started), y.run, x.step
          FROM failed x JOIN runs y ON y.no = x.no
          WHERE y.run = :after_run AND x.step = :after_step))
    ORDER BY given_up DESC, r.run DESC, f.step DESC LIMIT :limit";

/// Returns those that a filter lets through, newest first, whatever their step and what agents must
/// offer: that is looked at by who asks.
pub(super) fn letters(
    connection: &Connection,
    filter: &LetterFilter,
) -> rusqlite::Result<Vec<DeadLetter>> {
    let after = filter.after.as_ref();
    let mut statement = connection.prepare_cached(LETTERS)?;
    let rows = statement.query_map(
        named_params! {
            ":run": filter.run.as_ref().map(key),
            ":workflow": filter.workflow,
            ":agent": filter.agent.as_ref().map(|agent| agent.as_str()),
            ":code": filter.code,
            ":kind": filter.kind.as_ref().map(bare),
            ":since": filter.since.map(millis),
            ":before": filter.before.map(millis),
            ":all": filter.all,
            ":after_run": after.map(|(run, _)| key(run)),
            ":after_step": after.map(|(_, step)| step.as_str()),
            ":limit": bounded(filter.limit) as i64,
        },
        letter,
    )?;
    rows.collect()
}

fn letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let dropped = match row.get::<_, Option<String>>(11)? {
        Some(by) => Some(Dropped { by, at: time(row.get(12)?) }),
        None => None,
    };
    Ok(DeadLetter {
        run: rows::run(row.get(0)?),
        workflow: row.get(1)?,
        digest: Hash::from_bytes(row.get(2)?),
        labels: optional_json(row, 3)?.unwrap_or_default(),
        step: StepPath::new(&row.get::<_, String>(4)?),
        capability: None,
        agent: rows::optional_word(row, 9)?,
        attempts: row.get(8)?,
        failure: rows::json_of(row, 5)?,
        at: time(row.get(6)?),
        child: rows::optional_word(row, 7)?,
        redriven: rows::json_of(row, 10)?,
        dropped,
    })
}
