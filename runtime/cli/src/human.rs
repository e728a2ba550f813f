//! Durations and times as people read them, and as they write them.

use std::time::Duration;

use skep_protocol::{CancelReason, Event, PausedView, SkipReason, StepStatus, StepView, Timestamp};

/// Returns a duration as people read it: `340 ms`, `3.4 s`, `2 min 05 s`, `1 h 03 min`.
pub(crate) fn duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    // Of what takes a minute, the nearest second counts.
    let secs = ms.saturating_add(500) / 1_000;
    if ms < 1_000 {
        format!("{ms} ms")
    } else if ms < 59_950 {
        format!("{:.1} s", duration.as_secs_f64())
    } else if secs < 3_600 {
        format!("{} min {:02} s", secs / 60, secs % 60)
    } else if secs < 48 * 3_600 {
        format!("{} h {:02} min", secs / 3_600, secs % 3_600 / 60)
    } else {
        format!("{} d {:02} h", secs / 86_400, secs % 86_400 / 3_600)
    }
}

/// Reads how much memory something may take: `512MiB`, `2GiB`.
pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    let wanted = || "a size such as 512MiB or 2GiB is wanted".to_owned();
    let end = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wanted)?;
    let (number, unit) = text.split_at(end);
    let bits = match unit.trim_start() {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(wanted()),
    };
    let number: usize = number.parse().map_err(|_| wanted())?;
    number.checked_mul(1 << bits).filter(|size| *size > 0).ok_or_else(wanted)
}

/// Reads a duration as people write it in definitions and on the command line: `90s`, `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wanted = "a duration such as 500ms, 90s, 5m or 1h30m is wanted";
    let span: jiff::SignedDuration = text.parse().map_err(|_| wanted.to_owned())?;
    Duration::try_from(span).map_err(|_| wanted.to_owned())
}

/// Returns a time as RFC 3339, in UTC, to the millisecond.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    match instant(at) {
        Some(at) => format!("{at:.3}"),
        None => at.to_string(),
    }
}

/// Returns the time of day in the local time zone, to the second.
pub(crate) fn time_of_day(at: Timestamp) -> String {
    local(at, "%H:%M:%S")
}

/// Returns the date and the time in the local time zone, which is named, to the second.
pub(crate) fn date_and_time(at: Timestamp) -> String {
    local(at, "%Y-%m-%d %H:%M:%S%:z")
}

/// Returns the date and the time in the local time zone, to the second, for where the zone is said.
pub(crate) fn local_date_and_time(at: Timestamp) -> String {
    local(at, "%Y-%m-%d %H:%M:%S")
}

fn local(at: Timestamp, format: &str) -> String {
    match instant(at) {
        Some(at) => at.to_zoned(jiff::tz::TimeZone::system()).strftime(format).to_string(),
        None => at.to_string(),
    }
}

fn instant(at: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(i64::try_from(at.as_millis()).ok()?).ok()
}

/// Reads the wall clock.
pub(crate) fn now() -> Timestamp {
    let ms = jiff::Timestamp::now().as_millisecond();
    Timestamp::from_millis(u64::try_from(ms).unwrap_or_default())
}

/// Returns a sentence of a coordinator with its timestamps as people read them: coordinators have
/// no time zone and write milliseconds since the epoch (`1795320836904ms`), or UTC
/// (`2026-11-22T04:13:56.904Z`).
pub(crate) fn reason(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', ';', ':', '.', ')']);
        let ms = match bare.strip_suffix("ms").filter(|digits| digits.len() >= 12) {
            Some(digits) => digits.parse().ok()?,
            None => utc(bare)?,
        };
        let end = &word[bare.len()..];
        Some(date_and_time(Timestamp::from_millis(ms)) + end)
    };
    let words = text.split(' ').map(|text| word(text).unwrap_or_else(|| text.to_owned()));
    words.collect::<Vec<_>>().join(" ")
}

/// Reads a time in UTC, to the millisecond.
fn utc(text: &str) -> Option<u64> {
    let time = text.ends_with('Z').then(|| text.parse::<jiff::Timestamp>().ok())??;
    u64::try_from(time.as_millisecond()).ok()
}

/// Returns a count with its noun: `1 step`, `2 steps`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Cuts a text to so many characters and to its first line.
pub(crate) fn first_line(text: &str, width: usize) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let cut = line.chars().count() > width;
    if !cut && text.trim() == line {
        return line.to_owned();
    }
    let mut short: String = line.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Shortens a text to so many characters by leaving out its middle.
pub(crate) fn middle(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let (head, tail) = (kept.div_ceil(2), kept / 2);
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{start}…{end}")
}

/// The longest line of a failure that is shown among others.
const LONG_LINE: usize = 200;

/// Cuts each line of a text that is too long to be read.
pub(crate) fn short_lines(text: &str) -> String {
    let lines = text.trim_end().lines().map(|line| match line.chars().count() > LONG_LINE {
        true => line.chars().take(LONG_LINE - 1).chain(['…']).collect(),
        false => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns a text in one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Says that a run is paused, by whom and since when.
pub(crate) fn paused(view: Option<&PausedView>) -> String {
    let Some(PausedView { by, since }) = view else { return "paused".to_owned() };
    let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    format!("paused{by} since {}", date_and_time(*since))
}

/// Says why a step did not run, or not to its end.
pub(crate) fn not_run(view: &StepView) -> Option<String> {
    match view.status {
        StepStatus::Skipped | StepStatus::Cancelled if view.stopped_by.is_some() => {
            view.stopped_by.as_ref().map(|culprit| format!("`{culprit}` failed"))
        }
        StepStatus::Skipped => {
            let reason = view.skipped.as_ref().map(skipped)?;
            let condition = view.condition.as_ref().map(|text| format!(": {}", one_line(text)));
            Some(reason + &condition.unwrap_or_default())
        }
        StepStatus::Cancelled => view.cancelled.map(|reason| cancelled(reason).to_owned()),
        StepStatus::Pending
        | StepStatus::Scheduled
        | StepStatus::Running
        | StepStatus::Waiting
        | StepStatus::Completed
        | StepStatus::Failed => None,
    }
}

/// Says why a step was skipped.
pub(crate) fn skipped(reason: &SkipReason) -> String {
    match reason {
        SkipReason::Condition => "its `if` is false".to_owned(),
        SkipReason::Upstream(step) => format!("`{step}` did not complete"),
        SkipReason::Join => "too few of its `needs` succeeded".to_owned(),
        SkipReason::SignalTimeout => "no signal came in time".to_owned(),
        SkipReason::Stopping => "the run stops".to_owned(),
    }
}

/// Says why a step was cancelled.
pub(crate) const fn cancelled(reason: CancelReason) -> &'static str {
    match reason {
        CancelReason::RunCancelled => "the run was cancelled",
        CancelReason::Stopping => "the run stops",
        CancelReason::Timeout => "its time was up",
        CancelReason::Restart => "its group starts it again",
        CancelReason::Deadline => "the deadline of its group passed",
    }
}

/// Says of a step that it ended before anybody had begun it.
pub(crate) const fn untouched(event: &Event) -> &'static str {
    if event.leaves_untouched() { "; nobody had begun it" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(parse_size("512MiB"), Ok(512 << 20));
        assert_eq!(parse_size("2 GiB"), Ok(2 << 30));
        for wrong in ["", "512", "MiB", "-1MiB", "0KiB", "1.5GiB", "2GB", "99999999999999TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_as_people_read_them() {
        let read = |ms| duration(Duration::from_millis(ms));
        assert_eq!(read(0), "0 ms");
        assert_eq!(read(999), "999 ms");
        assert_eq!(read(1_000), "1.0 s");
        assert_eq!(read(59_940), "59.9 s");
        assert_eq!(read(59_949), "59.9 s");
        assert_eq!(read(59_950), "1 min 00 s");
        assert_eq!(read(59_991), "1 min 00 s");
        assert_eq!(read(61_499), "1 min 01 s");
        assert_eq!(read(3_599_600), "1 h 00 min");
        assert_eq!(read(125_000), "2 min 05 s");
        assert_eq!(read(3_780_000), "1 h 03 min");
        assert_eq!(read(200_000_000), "2 d 07 h");
    }

    #[test]
    fn durations_as_people_write_them() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "5", "-5s", "soon"] {
            assert!(parse_duration(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn only_timestamps_of_a_reason_are_rewritten() {
        assert_eq!(reason("due in 250ms, 3 before it"), "due in 250ms, 3 before it");
        assert!(reason("until 1795320836904ms").starts_with("until 2026-11-2"));
    }

    #[test]
    fn times_are_rfc3339() {
        assert_eq!(rfc3339(Timestamp::from_millis(1_500)), "1970-01-01T00:00:01.500Z");
        assert_eq!(rfc3339(Timestamp::from_millis(u64::MAX)), format!("{}ms", u64::MAX));
    }

    #[test]
    fn the_middle_of_a_long_name_goes() {
        assert_eq!(middle("short", 5), "short");
        assert_eq!(middle("collect-and-review", 9), "coll…view");
        assert_eq!(middle("collect-and-review", 8), "coll…iew");
    }

    #[test]
    fn long_lines_are_cut_and_short_ones_stay() {
        let cut = short_lines(&format!("exit_1: no\n{}\nend\n", "x".repeat(900)));
        let lines: Vec<usize> = cut.lines().map(|line| line.chars().count()).collect();
        assert_eq!(lines, [10, 200, 3]);
    }

    #[test]
    fn long_texts_are_cut_at_their_first_line() {
        assert_eq!(first_line("short", 10), "short");
        assert_eq!(first_line("\n two\nlines", 10), "two…");
        assert_eq!(first_line("0123456789x", 10), "012345678…");
    }
}
