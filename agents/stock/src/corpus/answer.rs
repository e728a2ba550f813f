//! An answer out of the passages themselves: the sentences that hold most of the question, each
//! with the lines it stands in.

use serde::{Deserialize, Serialize};

use super::index::Found;
use super::rerank::coverage;
use super::words::{self, Terms};

/// How many sentences an answer has unless a task says otherwise.
const DEFAULT_SENTENCES: usize = 3;
/// A sentence that holds less of the question is not quoted.
const MIN_COVERAGE: f64 = 0.25;
/// A question is answered if one sentence holds this much of it.
const ANSWERED: f64 = 0.5;
/// How much a sentence of the last passage counts less than one of the first.
const BY_RANK: f64 = 0.15;
/// A longer sentence is cut.
const MAX_SENTENCE: usize = 420;
/// A shorter one says nothing.
const MIN_SENTENCE: usize = 24;

/// What a step of the capability `corpus-answer` gives in `with`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerInput {
    /// The question.
    pub question: String,
    /// The words that count, as `corpus-search` gives them.
    pub terms: Terms,
    /// The passages to quote from, best first.
    pub passages: Vec<Found>,
    /// How many sentences to quote.
    #[serde(default)]
    pub sentences: Option<usize>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The question.
    pub question: String,
    /// Whether a sentence was found that holds much of the question.
    pub answered: bool,
    /// The sentences, in the order of the passages.
    pub quotes: Vec<Quote>,
    /// The passages.
    pub sources: Vec<Source>,
}

/// A sentence of a passage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    /// The sentence.
    pub text: String,
    /// Which of the sources it is from, counted from 1.
    pub source: usize,
    /// Where it begins.
    pub first_line: u32,
    /// Where it ends.
    pub last_line: u32,
}

/// Where a passage is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The file.
    pub file: String,
    /// The first line.
    pub first_line: u32,
    /// The last line.
    pub last_line: u32,
    /// The heading it stands under.
    #[serde(default)]
    pub heading: String,
    /// How well it fits, between 0 and 1.
    pub score: f64,
}

/// Quotes the sentences that hold most of the question.
pub fn answer(input: AnswerInput) -> Answer {
    let AnswerInput { question, terms, passages, sentences } = input;
    let mut candidates: Vec<(f64, Quote)> = Vec::new();
    for (rank, passage) in passages.iter().enumerate() {
        let penalty = BY_RANK * rank as f64 / passages.len() as f64;
        for sentence in split(passage) {
            let held = coverage(&terms, &sentence.text);
            if held >= MIN_COVERAGE {
                let score = words::round(held - penalty);
                let Sentence { text, first_line, last_line } = sentence;
                candidates.push((score, Quote { text, source: rank + 1, first_line, last_line }));
            }
        }
    }
    let answered = candidates.iter().any(|(_, quote)| coverage(&terms, &quote.text) >= ANSWERED);
    // Stable: of equal sentences the one of the better passage, then the earlier one.
    candidates.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let mut quotes: Vec<Quote> = Vec::new();
    for (_, quote) in candidates {
        let is_new = quotes.iter().all(|other| other.text != quote.text);
        if quotes.len() < sentences.unwrap_or(DEFAULT_SENTENCES) && is_new {
            quotes.push(quote);
        }
    }
    quotes.sort_by_key(|quote| (quote.source, quote.first_line));
    let sources = passages.into_iter().map(|passage| {
        let Found { file, first_line, last_line, heading, score, .. } = passage;
        Source { file, first_line, last_line, heading, score }
    });
    Answer { question, answered, quotes, sources: sources.collect() }
}

#[derive(Debug, PartialEq, Eq)]
struct Sentence {
    text: String,
    first_line: u32,
    last_line: u32,
}

/// Splits a passage into sentences. A blank line, a list item, a table row and a heading end one as
/// a full stop does.
fn split(passage: &Found) -> Vec<Sentence> {
    let mut splitter = Splitter::default();
    for (number, line) in (passage.first_line..).zip(passage.text.lines()) {
        let line = line.trim();
        let is_item = ["- ", "* ", "+ ", "|", "#", "//", "```"].iter().any(|s| line.starts_with(s));
        if line.is_empty() || is_item || is_numbered(line) {
            splitter.end();
        }
        for word in line.split_whitespace() {
            splitter.take(number, word);
            if ends_sentence(word) {
                splitter.end();
            }
        }
        if line.starts_with(['#', '|']) {
            splitter.end();
        }
    }
    splitter.end();
    splitter.done
}

/// Tells a full stop from that of an initial or an abbreviation such as `e.g.`
fn ends_sentence(word: &str) -> bool {
    let is_short = word.len() <= 3 || (word.len() <= 6 && word.matches('.').count() > 1);
    word.ends_with(['.', '!', '?']) && (!is_short || word.ends_with("!") || word.ends_with("?"))
}

fn is_numbered(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < line.len() && (rest.starts_with(". ") || rest.starts_with(") "))
}

#[derive(Default)]
struct Splitter {
    done: Vec<Sentence>,
    text: String,
    first_line: u32,
    last_line: u32,
}

impl Splitter {
    fn take(&mut self, number: u32, word: &str) {
        if self.text.is_empty() {
            self.first_line = number;
        } else {
            self.text.push(' ');
        }
        self.text.push_str(word);
        self.last_line = number;
    }

    fn end(&mut self) {
        let text = std::mem::take(&mut self.text);
        // What marks an item, a heading, a row or a comment says nothing in a quote.
        let mut text = text.trim_start_matches(['#', '-', '*', '+', '|', '/', '>', ' ']).to_owned();
        if text.len() > MAX_SENTENCE {
            text.truncate(text.floor_char_boundary(MAX_SENTENCE));
            text.push('…');
        }
        if text.len() >= MIN_SENTENCE {
            let (first_line, last_line) = (self.first_line, self.last_line);
            self.done.push(Sentence { text, first_line, last_line });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(file: &str, text: &str) -> Found {
        let (file, text) = (file.to_owned(), text.to_owned());
        Found { file, first_line: 10, last_line: 20, heading: String::new(), text, score: 0.5 }
    }

    fn ask(passages: Vec<Found>) -> Answer {
        let terms = [("journal", 1.0), ("lost", 1.0)];
        let terms = terms.map(|(term, weight)| (term.to_owned(), weight)).into();
        answer(AnswerInput { question: "?".into(), terms, passages, sentences: Some(2) })
    }

    #[test]
    fn sentences_are_found_with_their_lines() {
        let text = "# A heading of some length\nThe first sentence, e.g. this\none. The second \
                    sentence here.\n\n- an item of a list, long\n  and longer\n\
                    - another item of it\n| a row | of some table |\n\
                    1. a numbered item of one\nshort.\n";
        let sentences: Vec<_> = split(&passage("a", text))
            .into_iter()
            .map(|s| format!("{}-{} {}", s.first_line, s.last_line, s.text))
            .collect();
        expect_test::expect![[r#"
            [
                "10-10 A heading of some length",
                "11-12 The first sentence, e.g. this one.",
                "12-12 The second sentence here.",
                "14-15 an item of a list, long and longer",
                "18-19 1. a numbered item of one short.",
            ]
        "#]]
        .assert_debug_eq(&sentences);
    }

    #[test]
    fn the_sentences_that_hold_most_of_the_question_are_quoted_in_order() {
        let answer = ask(vec![
            passage("a", "Boats float on the water. A journal is kept by everybody."),
            passage("b", "If a journal is lost, all is lost. A journal is kept by everybody."),
        ]);
        assert!(answer.answered);
        let quotes: Vec<_> = answer.quotes.iter().map(|q| (q.source, q.text.as_str())).collect();
        assert_eq!(
            quotes,
            [(1, "A journal is kept by everybody."), (2, "If a journal is lost, all is lost.")]
        );
        assert_eq!(answer.sources.len(), 2);
    }

    #[test]
    fn a_question_without_an_answer_says_so() {
        let answer = ask(vec![passage("a", "Boats float on the water, mostly.")]);
        assert_eq!((answer.answered, answer.quotes.len(), answer.sources.len()), (false, 0, 1));
        assert!(!ask(vec![]).answered);
    }

    #[test]
    fn long_sentences_are_cut() {
        let answer = ask(vec![passage("a", &format!("journal {}", "é".repeat(500)))]);
        assert!(answer.quotes[0].text.len() <= MAX_SENTENCE + '…'.len_utf8());
        assert!(answer.quotes[0].text.ends_with('…'));
    }
}
