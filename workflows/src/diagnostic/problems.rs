//! The collector of problems while a file is checked.

use super::{Code, Diagnostic, Severity, Span, codes};
use crate::limits;
use crate::suggest::suggest_within;

/// Characters of a message, or of what is said of another place.
const MESSAGE: usize = 400;
/// Characters of what can be done about a problem.
const HELP: usize = 800;

/// A problem that has no line yet.
#[derive(Debug)]
pub(crate) struct Problem {
    code: Code,
    severity: Severity,
    message: String,
    span: Span,
    help: Option<String>,
    related: Vec<(String, Span)>,
}

impl Problem {
    /// Says what to do about it.
    pub(crate) fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(bounded(&help.into(), HELP));
        self
    }

    /// Says what to do about it, if there is anything to say.
    pub(crate) fn maybe_help(&mut self, help: Option<impl Into<String>>) -> &mut Self {
        if let Some(help) = help {
            self.help(help);
        }
        self
    }

    /// Points at another place that matters.
    pub(crate) fn related(&mut self, label: impl Into<String>, span: Span) -> &mut Self {
        self.related.push((bounded(&label.into(), MESSAGE), span));
        self
    }
}

/// All problems of one file, gathered in any order.
#[derive(Debug)]
pub(crate) struct Problems {
    errors: Vec<Problem>,
    /// Warnings have room of their own: however many there are, they hide no error.
    warnings: Vec<Problem>,
    /// Errors and warnings that found no room.
    more: (usize, usize),
    overflow: Option<Problem>,
    /// Somebody did not look any further because there was no room.
    gave_up: bool,
    /// What may still be spent on near names.
    suggestions: usize,
}

impl Default for Problems {
    fn default() -> Self {
        Self {
            errors: Vec::new(),
            warnings: Vec::new(),
            more: (0, 0),
            overflow: None,
            gave_up: false,
            suggestions: limits::SUGGESTION_STEPS,
        }
    }
}

impl Problems {
    /// Tells whether there is no error so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Tells whether there are so many errors that no further one would be shown: what costs more
    /// than a look may then be left out, for the file is rejected anyway.
    pub(crate) fn give_up(&mut self) -> bool {
        let full = self.more.0 > 0;
        self.gave_up |= full;
        full
    }

    /// Returns the candidate that is nearest to a word, if one is near and looking for it is not
    /// too costly: the suggestions of one file share a budget.
    pub(crate) fn suggest<'a>(
        &mut self,
        word: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'a str> {
        if self.errors.len() >= limits::PROBLEMS {
            return None;
        }
        suggest_within(word, candidates, &mut self.suggestions)
    }

    /// Adds an error.
    pub(crate) fn error(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
    ) -> &mut Problem {
        self.add(code, Severity::Error, span, message.into())
    }

    /// Adds a warning.
    pub(crate) fn warning(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
    ) -> &mut Problem {
        self.add(code, Severity::Warning, span, message.into())
    }

    fn add(&mut self, code: Code, severity: Severity, span: Span, message: String) -> &mut Problem {
        // At once: it may repeat a key as long as the file, and there may be many of them.
        let message = bounded(&message, MESSAGE);
        let problem = Problem { code, severity, message, span, help: None, related: Vec::new() };
        let (found, most, more) = match severity {
            Severity::Error => (&mut self.errors, limits::PROBLEMS, &mut self.more.0),
            Severity::Warning => (&mut self.warnings, limits::WARNINGS, &mut self.more.1),
        };
        if found.len() < most {
            found.push(problem);
            let last = found.len() - 1;
            return &mut found[last];
        }
        *more += 1;
        self.overflow.insert(problem)
    }

    /// Says how many problems found no room.
    fn count_the_rest(&mut self, end: Span) {
        let (errors, warnings) = self.more;
        let rest = |severity, message: String, help: &str| Problem {
            code: codes::TOO_MANY,
            severity,
            message,
            span: end,
            help: Some(help.to_owned()),
            related: Vec::new(),
        };
        if errors > 0 {
            let message = match (self.gave_up, errors) {
                (true, _) => "more problems are not shown".to_owned(),
                (false, 1) => "1 more problem is not shown".to_owned(),
                (false, more) => format!("{more} more problems are not shown"),
            };
            self.errors.push(rest(Severity::Error, message, "mend those above first"));
        }
        if warnings > 0 {
            let message = match warnings {
                1 => "1 more warning is not shown".to_owned(),
                more => format!("{more} more warnings are not shown"),
            };
            self.warnings.push(rest(Severity::Warning, message, "they are like those above"));
        }
    }

    /// Gives every problem its line: errors before warnings, both in the order of the file.
    pub(crate) fn finish(mut self, source: &str, file_name: &str) -> Vec<Diagnostic> {
        self.count_the_rest(Span { offset: source.len() as u32, len: 0 });
        let lines = Lines::of(source);
        let file = bounded(file_name, 1_000);
        let mut diagnostics: Vec<Diagnostic> = self
            .errors
            .into_iter()
            .chain(self.warnings)
            .map(|problem| {
                let (line, column) = lines.position(source, problem.span.offset);
                Diagnostic {
                    code: problem.code,
                    severity: problem.severity,
                    message: problem.message,
                    file: file.clone(),
                    span: problem.span,
                    line,
                    column,
                    help: problem.help,
                    related: problem.related,
                }
            })
            .collect();
        diagnostics.sort_by(|a, b| {
            (a.severity, a.span, a.code, &a.message, &a.help)
                .cmp(&(b.severity, b.span, b.code, &b.message, &b.help))
        });
        diagnostics.dedup();
        diagnostics
    }
}

/// Cuts a text that repeats too much of a file, and shows as escapes what a terminal obeys.
fn bounded(text: &str, max: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(max));
    for (count, character) in text.chars().enumerate() {
        if count == max {
            clean.push('…');
            break;
        }
        if is_obeyed(character) {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    clean
}

/// Tells whether a character is no letter, but moves or hides others.
fn is_obeyed(character: char) -> bool {
    let turns = matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}');
    let isolates = matches!(character, '\u{2066}'..='\u{2069}');
    turns || isolates || character.is_control() && character != '\n'
}

/// Tells whether a line ends with this byte: a line feed, or a carriage return without one.
pub(crate) fn is_line_end(text: &[u8], at: usize) -> bool {
    match text[at] {
        b'\n' => true,
        b'\r' => text.get(at + 1) != Some(&b'\n'),
        _ => false,
    }
}

/// Where the lines of a text start.
pub(crate) struct Lines(Vec<u32>);

impl Lines {
    pub(crate) fn of(source: &str) -> Self {
        let bytes = source.as_bytes();
        let ends = |at: &usize| is_line_end(bytes, *at);
        let starts = (0..bytes.len()).filter(ends).map(|at| at as u32 + 1);
        Self(std::iter::once(0).chain(starts).collect())
    }

    /// Returns line and column, both counted from 1; the column counts characters.
    pub(crate) fn position(&self, source: &str, offset: u32) -> (u32, u32) {
        let mut offset = (offset as usize).min(source.len());
        while !source.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.0.partition_point(|start| *start as usize <= offset).max(1);
        let start = self.0[line - 1] as usize;
        let text = source[start..offset].trim_start_matches('\u{feff}');
        (line as u32, text.chars().count() as u32 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_short_from_the_start_whatever_it_repeats() {
        let (key, span) = ("k".repeat(1_000_000), Span { offset: 0, len: 1 });
        let mut problems = Problems::default();
        problems.error(codes::UNKNOWN_KEY, span, &*key).help(&*key).related(&*key, span);
        let Problem { message, help, related, .. } = &problems.errors[0];
        let lengths = [message, help.as_ref().unwrap(), &related[0].0].map(|t| t.chars().count());
        assert_eq!(lengths, [MESSAGE + 1, HELP + 1, MESSAGE + 1]);
    }
}
