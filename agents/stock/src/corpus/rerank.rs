//! The second stage: passages scored anew by what they hold of the question, and how near.

use serde::{Deserialize, Serialize};

use super::index::Found;
use super::words::{self, Terms};

/// How much each part of the score counts; together 1.
const COVERAGE: f64 = 0.55;
const PROXIMITY: f64 = 0.2;
const HEADING: f64 = 0.1;
const FIRST_STAGE: f64 = 0.15;

/// How many passages remain unless a task says otherwise.
const DEFAULT_TOP_K: usize = 5;
/// How many of them may be from one file.
const PER_FILE: usize = 2;

/// What a step of the capability `corpus-rerank` gives in `with`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerankInput {
    /// The words that count, as `corpus-search` gives them.
    pub terms: Terms,
    /// The passages that it found.
    pub passages: Vec<Found>,
    /// How many to keep.
    #[serde(default)]
    pub top_k: Option<usize>,
}

/// The passages that remain.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reranked {
    /// How many there were.
    pub considered: usize,
    /// Handed on for the answer.
    pub terms: Terms,
    /// The best ones by the second score, which is between 0 and 1.
    pub passages: Vec<Found>,
}

/// Scores passages by four things: the share of the question's words that they hold, weighted by
/// how much each says; how close together these stand; how many are in the heading; and the score
/// of the first stage.
pub fn rerank(input: RerankInput) -> Reranked {
    let RerankInput { terms, mut passages, top_k } = input;
    let considered = passages.len();
    let best = passages.iter().map(|passage| passage.score).fold(0.0, f64::max);
    for passage in &mut passages {
        let text = positions(&terms, &passage.text);
        let heading = positions(&terms, &passage.heading);
        let both: Vec<bool> =
            text.iter().zip(&heading).map(|(a, b)| !a.is_empty() || !b.is_empty()).collect();
        let in_heading: Vec<bool> = heading.iter().map(|found| !found.is_empty()).collect();
        let first = if best > 0.0 { passage.score / best } else { 0.0 };
        let held = share(&terms, &both);
        let score = COVERAGE * held
            + PROXIMITY * held * proximity(&text)
            + HEADING * share(&terms, &in_heading)
            + FIRST_STAGE * first;
        passage.score = words::round(score);
    }
    passages.sort_by(|a, b| {
        let place = |found: &Found| (found.file.clone(), found.first_line);
        b.score.total_cmp(&a.score).then_with(|| place(a).cmp(&place(b)))
    });
    let mut kept: Vec<Found> = Vec::new();
    for passage in passages {
        let of_file = kept.iter().filter(|other| other.file == passage.file).count();
        if kept.len() < top_k.unwrap_or(DEFAULT_TOP_K) && of_file < PER_FILE {
            kept.push(passage);
        }
    }
    Reranked { considered, terms, passages: kept }
}

/// Returns how much of a question `text` holds, between 0 and 1.
pub(super) fn coverage(terms: &Terms, text: &str) -> f64 {
    let found: Vec<bool> = positions(terms, text).iter().map(|found| !found.is_empty()).collect();
    share(terms, &found)
}

/// Returns where each term stands in a text, counted in words.
fn positions(terms: &Terms, text: &str) -> Vec<Vec<usize>> {
    let stems: Vec<&str> = terms.keys().map(|term| words::stem(term)).collect();
    let mut found = vec![Vec::new(); stems.len()];
    for (position, word) in words::words(text).enumerate() {
        let word = words::stem(&word);
        for (stem, found) in stems.iter().zip(&mut found) {
            if *stem == word {
                found.push(position);
            }
        }
    }
    found
}

fn share(terms: &Terms, found: &[bool]) -> f64 {
    let all: f64 = terms.values().sum();
    let held: f64 = terms.values().zip(found).filter(|(_, found)| **found).map(|(w, _)| w).sum();
    if all > 0.0 { held / all } else { 0.0 }
}

/// Returns how tightly the terms that occur stand together: 1 if side by side, towards 0 if far
/// apart, 0 if fewer than two occur.
fn proximity(positions: &[Vec<usize>]) -> f64 {
    let mut places: Vec<(usize, usize)> = Vec::new();
    for (term, found) in positions.iter().enumerate() {
        places.extend(found.iter().map(|position| (*position, term)));
    }
    places.sort_unstable();
    let distinct = positions.iter().filter(|found| !found.is_empty()).count();
    if distinct < 2 {
        return 0.0;
    }
    let (mut counts, mut held, mut start) = (vec![0_usize; positions.len()], 0, 0);
    let mut narrowest = usize::MAX;
    for (end, (position, term)) in places.iter().enumerate() {
        counts[*term] += 1;
        held += usize::from(counts[*term] == 1);
        while held == distinct {
            narrowest = narrowest.min(position - places[start].0 + 1);
            let first = places[start].1;
            counts[first] -= 1;
            held -= usize::from(counts[first] == 0);
            start += 1;
        }
        debug_assert!(start <= end + 1);
    }
    (distinct as f64 / narrowest as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(file: &str, heading: &str, text: &str, score: f64) -> Found {
        let (file, heading, text) = (file.to_owned(), heading.to_owned(), text.to_owned());
        Found { file, first_line: 1, last_line: 1, heading, text, score }
    }

    fn order(terms: &[(&str, f64)], passages: Vec<Found>, top_k: usize) -> Vec<String> {
        let terms = terms.iter().map(|(term, weight)| ((*term).to_owned(), *weight)).collect();
        let reranked = rerank(RerankInput { terms, passages, top_k: Some(top_k) });
        reranked.passages.into_iter().map(|found| found.file).collect()
    }

    #[test]
    fn passages_that_hold_more_of_the_question_rise() {
        let terms = [("journal", 1.0), ("lost", 2.0), ("the", 0.1)];
        let order = order(
            &terms,
            vec![
                passage("often", "", "the journal, the journal, the journal", 9.0),
                passage("all", "", "when the journal is lost", 5.0),
                passage("rare", "", "nothing lost", 5.0),
                passage("none", "", "boats", 5.0),
            ],
            10,
        );
        assert_eq!(order, ["all", "rare", "often", "none"]);
    }

    #[test]
    fn words_close_together_and_in_headings_count() {
        let far = format!("journal {} lost", "word ".repeat(50));
        let terms = [("journal", 1.0), ("lost", 1.0)];
        let passages = vec![
            passage("far", "", &far, 5.0),
            passage("near", "", "a lost journal", 5.0),
            passage("head", "Lost journals", "a lost journal", 5.0),
        ];
        assert_eq!(order(&terms, passages, 10), ["head", "near", "far"]);
    }

    #[test]
    fn few_remain_and_no_file_takes_all_places() {
        let passages: Vec<_> = ["a", "a", "a", "b", "c"]
            .iter()
            .map(|file| passage(file, "", "journal", 1.0))
            .collect();
        assert_eq!(order(&[("journal", 1.0)], passages.clone(), 3), ["a", "a", "b"]);
        assert_eq!(order(&[("journal", 1.0)], passages, 0), Vec::<String>::new());
        assert_eq!(order(&[], vec![passage("a", "", "x", 0.0)], 3), ["a"]);
    }

    #[test]
    fn the_narrowest_window_counts() {
        let window = |positions: &[&[usize]]| {
            proximity(&positions.iter().map(|found| found.to_vec()).collect::<Vec<_>>())
        };
        assert_eq!(window(&[&[3], &[4]]), 1.0);
        assert_eq!(window(&[&[0, 10], &[5, 11]]), 1.0);
        assert_eq!(window(&[&[0], &[3]]), 0.5);
        assert_eq!(window(&[&[0, 1, 2], &[]]), 0.0);
        assert_eq!(window(&[]), 0.0);
    }
}
