//! "Did you mean": near names, and the words that other tools use for ours.

/// Names that are looked at for one suggestion; a definition may have thousands.
const CANDIDATES: usize = 2_000;
const LONGEST: usize = 64;

/// Returns the candidate that is nearest to a word, if one is near. For short lists; the names of
/// a definition go through [`crate::diagnostic::Problems::suggest`].
pub(crate) fn suggest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let mut unbounded = usize::MAX;
    suggest_within(word, candidates, &mut unbounded)
}

/// Returns the candidate that is nearest to a word, if one is near; takes what that costs from a
/// budget and finds nothing when it is used up.
pub(crate) fn suggest_within<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    budget: &mut usize,
) -> Option<&'a str> {
    if word.len() > LONGEST || word.is_empty() {
        return None;
    }
    let word = lower(word);
    let most = (word.len() / 3).clamp(1, 4);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates.into_iter().take(CANDIDATES) {
        *budget = budget.checked_sub(1)?;
        if candidate.len() > LONGEST || candidate.len() + most * 4 < word.len() {
            continue;
        }
        let limit = best.map_or(most, |(distance, _)| distance.saturating_sub(1));
        if let Some(distance) = distance_within(&word, &lower(candidate), limit, budget) {
            best = Some((distance, candidate));
            if distance == 0 {
                break;
            }
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Upper and lower case are the same.
fn lower(word: &str) -> Vec<char> {
    word.chars().map(|character| character.to_ascii_lowercase()).collect()
}

/// Returns the edit distance, swaps of neighbours included, if it is not above the limit. Only the
/// cells that can be within the limit are looked at, those near the diagonal.
fn distance_within(a: &[char], b: &[char], limit: usize, budget: &mut usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let far = limit + 1;
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let (from, to) = (i.saturating_sub(limit).max(1), (i + limit).min(b.len()));
        *budget = budget.checked_sub(1 + to.saturating_sub(from))?;
        let mut row = vec![far; b.len() + 1];
        row[0] = i;
        for j in from..=to {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row[j] = least;
        }
        if row.iter().all(|distance| *distance > limit) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|distance| *distance <= limit)
}

/// Words of other tools, each with ours.
const FOREIGN: &[(&str, &str)] = &[
    ("after", "needs"),
    ("args", "with"),
    ("arguments", "with"),
    ("backoff_limit", "retry"),
    ("capability", "agent"),
    ("circuit_breaker", "breaker"),
    ("concurrency", "max_parallel"),
    ("condition", "if"),
    ("continue-on-error", "on_failure"),
    ("continue_on_error", "on_failure"),
    ("depends", "needs"),
    ("depends-on", "needs"),
    ("dependsOn", "needs"),
    ("depends_on", "needs"),
    ("dependencies", "needs"),
    ("each", "for_each"),
    ("env", "with"),
    ("foreach", "for_each"),
    ("forEach", "for_each"),
    ("for-each", "for_each"),
    ("input", "with"),
    ("jobs", "steps"),
    ("loop", "for_each"),
    ("matrix", "for_each"),
    ("max-parallel", "max_parallel"),
    ("nodes", "steps"),
    ("output_schema", "expect"),
    ("parallelism", "max_parallel"),
    ("params", "with"),
    ("parameters", "with"),
    ("requires", "needs"),
    ("result", "expect"),
    ("retries", "retry"),
    ("retry_policy", "retry"),
    ("rollback", "compensate"),
    ("run", "agent"),
    ("runs-on", "labels"),
    ("schedule", "wait"),
    ("schema", "expect"),
    ("selector", "labels"),
    ("signal", "wait_for"),
    ("sleep", "wait"),
    ("stages", "steps"),
    ("strategy", "for_each"),
    ("subworkflow", "workflow"),
    ("supervisor", "supervise"),
    ("tasks", "steps"),
    ("timeout-minutes", "timeout"),
    ("timeout_minutes", "timeout"),
    ("timeout_seconds", "timeout"),
    ("timeout_ms", "timeout"),
    ("type", "agent"),
    ("undo", "compensate"),
    ("uses", "agent"),
    ("vars", "inputs"),
    ("variables", "inputs"),
    ("when", "if"),
    ("with_items", "for_each"),
    ("worker", "agent"),
    ("delay", "initial"),
    ("max_attempts", "attempts"),
    ("max_retries", "attempts"),
    ("maximum_attempts", "attempts"),
    ("max_delay", "max"),
    ("multiplier", "backoff"),
];

/// Returns a hint for a word that other tools use, if ours is known at this place.
pub(crate) fn foreign_key(word: &str, known: &[&str]) -> Option<(&'static str, String)> {
    let ours = FOREIGN
        .iter()
        .find(|(foreign, ours)| foreign.eq_ignore_ascii_case(word) && known.contains(ours))
        .map(|(_, ours)| *ours)?;
    let more = match (ours, word) {
        ("timeout", _) if word != "timeout" => ", a duration such as `90s`",
        ("retry", "retries") => ", such as `retry: { attempts: 3 }`",
        ("agent", "run") => ": skep runs no commands itself, an agent such as `exec` does",
        ("agent", _) => ", the capability that an agent must offer",
        ("on_failure", _) => ": `on_failure: continue`",
        ("wait_for", _) => ", such as `wait_for: { signal: approved }`",
        ("attempts", "max_retries") => ", which counts the first try too",
        _ => "",
    };
    Some((ours, format!("the word here is `{ours}`{more}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["needs", "agent", "timeout", "review"];
        assert_eq!(suggest("need", known), Some("needs"));
        assert_eq!(suggest("tiemout", known), Some("timeout"));
        assert_eq!(suggest("AGENT", known), Some("agent"));
        assert_eq!(suggest("zebra", known), None);
        assert_eq!(suggest("", known), None);
        assert_eq!(suggest(&"x".repeat(100_000), known), None);
        assert_eq!(suggest("größe", ["grösse", "größen"]), Some("größen"));
    }

    #[test]
    fn what_is_looked_for_takes_from_the_budget() {
        let (word, near) = ("x".repeat(60), "x".repeat(59));
        let found = |mut budget: usize| suggest_within(&word, [near.as_str()], &mut budget);
        assert_eq!(found(1_000), Some(near.as_str()));
        assert_eq!(found(100), None);
    }

    #[test]
    fn foreign_words_map_to_ours_only_where_ours_is_known() {
        assert!(foreign_key("depends_on", &["needs"]).is_some());
        assert!(foreign_key("depends_on", &["attempts"]).is_none());
    }
}
