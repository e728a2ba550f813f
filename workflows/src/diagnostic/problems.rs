//! The collector of problems while a file is checked.

use super::{Code, Diagnostic, Severity, Span, codes};
use crate::limits;

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
        self.help = Some(help.into());
        self
    }

    /// Says what to do about it, if there is anything to say.
    pub(crate) fn maybe_help(&mut self, help: Option<impl Into<String>>) -> &mut Self {
        if let Some(help) = help {
            self.help = Some(help.into());
        }
        self
    }

    /// Points at another place that matters.
    pub(crate) fn related(&mut self, label: impl Into<String>, span: Span) -> &mut Self {
        self.related.push((label.into(), span));
        self
    }
}

/// All problems of one file, gathered in any order.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    unreported: usize,
    overflow: Option<Problem>,
}

impl Problems {
    /// Tells whether there is no error so far.
    pub(crate) fn is_empty(&self) -> bool {
        !self.found.iter().any(|problem| problem.severity == Severity::Error)
            && self.unreported == 0
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
        let problem = Problem { code, severity, message, span, help: None, related: Vec::new() };
        let cap = match severity {
            Severity::Error => limits::PROBLEMS,
            // Warnings come one per use of a key: a big file may have many, and all are wanted.
            Severity::Warning => limits::STEPS,
        };
        if self.found.len() < cap {
            self.found.push(problem);
            let last = self.found.len() - 1;
            return &mut self.found[last];
        }
        self.unreported += 1;
        self.overflow.insert(problem)
    }

    /// Gives every problem its line, in the order of the file.
    pub(crate) fn finish(mut self, source: &str, file_name: &str) -> Vec<Diagnostic> {
        if self.unreported > 0 {
            let (count, end) = (self.unreported, Span { offset: source.len() as u32, len: 0 });
            self.found.push(Problem {
                code: codes::TOO_MANY,
                severity: Severity::Error,
                message: format!("{count} more problems are not shown"),
                span: end,
                help: Some("mend those above first".to_owned()),
                related: Vec::new(),
            });
        }
        let lines = Lines::of(source);
        let mut diagnostics: Vec<Diagnostic> = self
            .found
            .into_iter()
            .map(|problem| {
                let (line, column) = lines.position(source, problem.span.offset);
                Diagnostic {
                    code: problem.code,
                    severity: problem.severity,
                    message: bounded(problem.message, 400),
                    file: file_name.to_owned(),
                    span: problem.span,
                    line,
                    column,
                    help: problem.help.map(|help| bounded(help, 800)),
                    related: problem.related,
                }
            })
            .collect();
        diagnostics.sort_by(|a, b| {
            (a.span, a.code, &a.message, &a.help).cmp(&(b.span, b.code, &b.message, &b.help))
        });
        diagnostics.dedup();
        diagnostics
    }
}

/// Cuts a text that repeats too much of a file, and shows control characters as escapes.
fn bounded(text: String, max: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(max));
    for (count, character) in text.chars().enumerate() {
        if count == max {
            clean.push('…');
            break;
        }
        if character.is_control() && character != '\n' {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
    }
    clean
}

/// Where the lines of a text start.
pub(crate) struct Lines(Vec<u32>);

impl Lines {
    pub(crate) fn of(source: &str) -> Self {
        let starts = source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(std::iter::once(0).chain(starts.map(|(at, _)| at as u32 + 1)).collect())
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
