//! Words of questions and passages, in a form in which they can be compared.

use std::collections::BTreeMap;

/// Words that say nothing about what is asked.
const STOP: [&str; 78] = [
    "a", "about", "after", "all", "also", "an", "and", "any", "are", "as", "at", "be", "been",
    "but", "by", "can", "could", "did", "do", "does", "for", "from", "had", "happen", "happened",
    "happens", "has", "have", "how", "i", "if", "in", "into", "is", "it", "its", "may", "me",
    "mean", "means", "meant", "more", "must", "my", "no", "not", "of", "on", "or", "our", "should",
    "so", "some", "such", "than", "that", "the", "their", "them", "then", "there", "these", "they",
    "this", "to", "was", "we", "were", "what", "when", "where", "which", "who", "why", "will",
    "with", "would", "you",
];
/// A question has no more words than this that count.
const MAX_TERMS: usize = 32;

/// The words of a question, each with how much it says: rare ones say more.
pub type Terms = BTreeMap<String, f64>;

/// Returns the words of a text: lower case, letters and digits.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// Returns the distinct words of a question that count, sorted; if none does, all of them.
pub(super) fn terms(question: &str) -> Vec<String> {
    let distinct = |keep: &dyn Fn(&String) -> bool| {
        let mut terms: Vec<String> = Vec::new();
        for word in words(question).filter(keep) {
            if terms.len() < MAX_TERMS && !terms.contains(&word) {
                terms.push(word);
            }
        }
        terms.sort_unstable();
        terms
    };
    let telling = distinct(&|word| STOP.binary_search(&word.as_str()).is_err());
    if telling.is_empty() { distinct(&|_| true) } else { telling }
}

/// Returns how much a word says that `found` of `total` passages contain.
pub(super) fn weight(found: u64, total: u64) -> f64 {
    let (found, total) = (found as f64, total as f64);
    round((1.0 + (total - found + 0.5).max(0.0) / (found + 0.5)).ln())
}

/// Rounds a score, so that it reads well and is the same in every form.
pub(super) fn round(score: f64) -> f64 {
    (score * 10_000.0).round() / 10_000.0
}

/// Returns the stem of an English word, roughly: enough to meet its plural and its past.
pub(super) fn stem(word: &str) -> &str {
    if !word.is_ascii() || word.len() < 4 {
        return word;
    }
    let singular = match word {
        _ if word.ends_with("ss") || word.ends_with("us") || word.ends_with("is") => word,
        _ if word.ends_with("sses") => &word[..word.len() - 2],
        _ if word.ends_with("ies") => &word[..word.len() - 2],
        _ => word.strip_suffix('s').unwrap_or(word),
    };
    let longer = |stem: &&str| stem.len() >= 3 && stem.contains(['a', 'e', 'i', 'o', 'u', 'y']);
    let base = ["ing", "ed"].iter().find_map(|end| singular.strip_suffix(end).filter(longer));
    let base = base.unwrap_or(singular);
    let undoubled = match base.as_bytes() {
        [.., a, b] if base.len() > 3 && base != singular && a == b && !b"lsz".contains(a) => {
            &base[..base.len() - 1]
        }
        _ => base,
    };
    let end = undoubled.strip_suffix(['e', 'y', 'i']).filter(|stem| stem.len() >= 3);
    end.unwrap_or(undoubled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_words_are_sorted() {
        assert!(STOP.is_sorted());
    }

    #[test]
    fn questions_are_cut_to_the_words_that_count() {
        assert_eq!(terms("What is the Journal's journal?"), ["journal", "s"]);
        assert_eq!(terms("who are they"), ["are", "they", "who"]);
        assert_eq!(terms("  ?! "), Vec::<String>::new());
        assert_eq!(terms("\"a\" OR b* NEAR(c) é"), ["b", "c", "near", "é"]);
        let many: String = (0..100).map(|n| format!("w{n} ")).collect();
        assert_eq!(terms(&many).len(), MAX_TERMS);
    }

    #[test]
    fn forms_of_a_word_meet() {
        for forms in [
            &["retry", "retries", "retried", "retrying"][..],
            &["stop", "stops", "stopped", "stopping"],
            &["cache", "caches", "cached", "caching"],
            &["process", "processes", "processed", "processing"],
            &["journal", "journals"],
            &["kill", "killed", "killing"],
        ] {
            let stems: Vec<&str> = forms.iter().map(|form| stem(form)).collect();
            assert!(stems.iter().all(|stem| *stem == stems[0]), "{forms:?} → {stems:?}");
        }
        for word in ["is", "bus", "this", "thing", "red", "élan", "class"] {
            assert!(word.starts_with(stem(word)));
        }
        assert_eq!(stem("thing"), "thing");
    }

    #[test]
    fn rare_words_say_more() {
        assert!(weight(1, 1000) > weight(100, 1000));
        assert!(weight(1000, 1000) > 0.0);
        assert!(weight(0, 0).is_finite());
    }
}
