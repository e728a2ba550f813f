//! Dead letters: the failed steps of runs that failed with them.

use rusqlite::{Connection, Row, named_params};
use skep_protocol::{DeadLetter, Dropped, LetterFilter, StepPath};

use super::answer::{bounded, json, optional_word, time, word};
use super::fold::millis;

/// What is given up on by itself, and not for what is inside it. A sub-workflow is given up on by
/// its parent, whose run is the one that can be done over.
const LETTERS: &str = "
    SELECT s.run, r.workflow, r.digest, r.labels, s.step, s.error,
           coalesce(s.ended, r.ended, r.started) AS given_up, s.child,
           (SELECT count(*) FROM attempts a WHERE a.run = s.run AND a.step = s.step),
           (SELECT a.agent FROM attempts a WHERE a.run = s.run AND a.step = s.step
            AND a.agent IS NOT NULL ORDER BY a.attempt DESC LIMIT 1) AS agent,
           (SELECT json_group_array(n.run) FROM
            (SELECT run FROM runs WHERE retry_of = s.run ORDER BY started, run) n) AS redriven,
           d.by_whom, d.at
    FROM steps s JOIN runs r ON r.run = s.run
    LEFT JOIN dropped d ON d.run = s.run AND d.step = s.step
    WHERE s.status = 'failed' AND s.error IS NOT NULL
    AND r.status IN ('failed', 'compensated') AND r.parent_run IS NULL
    AND s.step NOT GLOB '*~compensate'
    AND (s.child IS NOT NULL OR json_extract(s.error, '$.kind') <> 'inner')
    AND (:run IS NULL OR s.run = :run)
    AND (:workflow IS NULL OR r.workflow = :workflow)
    AND (:agent IS NULL OR agent = :agent)
    AND (:code IS NULL OR json_extract(s.error, '$.code') = :code)
    AND (:kind IS NULL OR json_extract(s.error, '$.kind') = :kind)
    AND (:since IS NULL OR given_up >= :since) AND (:before IS NULL OR given_up < :before)
    AND (:all OR (redriven = '[]' AND d.run IS NULL))
    AND (:after_run IS NULL OR (given_up, s.run, s.step) <
         (SELECT coalesce(x.ended, y.ended, y.started), x.run, x.step
          FROM steps x JOIN runs y ON y.run = x.run
          WHERE x.run = :after_run AND x.step = :after_step))
    ORDER BY given_up DESC, s.run DESC, s.step DESC LIMIT :limit";

/// Returns those that a filter lets through, newest first, whatever their step and what agents must
/// offer: that is looked at by who asks.
pub(super) fn letters(
    connection: &Connection,
    filter: &LetterFilter,
) -> rusqlite::Result<Vec<DeadLetter>> {
    let kind = filter.kind.map(|kind| super::fold::json(&kind).trim_matches('"').to_owned());
    let after = filter.after.as_ref();
    let mut statement = connection.prepare_cached(LETTERS)?;
    let rows = statement.query_map(
        named_params! {
            ":run": filter.run.map(|run| run.to_string()),
            ":workflow": filter.workflow,
            ":agent": filter.agent.as_ref().map(|agent| agent.as_str()),
            ":code": filter.code,
            ":kind": kind,
            ":since": filter.since.map(millis),
            ":before": filter.before.map(millis),
            ":all": filter.all,
            ":after_run": after.map(|(run, _)| run.to_string()),
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
        run: word(row, 0)?,
        workflow: row.get(1)?,
        digest: word(row, 2)?,
        labels: json(row, 3)?,
        step: StepPath::new(&row.get::<_, String>(4)?),
        capability: None,
        agent: optional_word(row, 9)?,
        attempts: row.get(8)?,
        failure: json(row, 5)?,
        at: time(row.get(6)?),
        child: optional_word(row, 7)?,
        redriven: json(row, 10)?,
        dropped,
    })
}
