//! What is wrong with a definition, where, and what to do about it.

pub(crate) mod codes;
mod problems;
mod render;

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

pub(crate) use problems::{Problem, Problems, is_line_end};

/// The code of a kind of problem: `SK0001`. Each has a page under `workflows/codes`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub(crate) u16);

impl Code {
    /// Returns every code, in ascending order.
    pub fn all() -> impl Iterator<Item = Self> {
        codes::ALL.iter().map(|(code, _, _)| *code)
    }

    /// Returns the code with this text, such as `SK0001`.
    pub fn find(text: &str) -> Option<Self> {
        Self::all().find(|code| code.to_string().eq_ignore_ascii_case(text))
    }

    /// Returns what the code stands for, in a few words.
    pub fn title(self) -> &'static str {
        codes::ALL.iter().find(|(code, _, _)| *code == self).map_or("", |(_, title, _)| title)
    }

    /// Returns the page that explains the code, as Markdown.
    pub fn page(self) -> &'static str {
        codes::ALL.iter().find(|(code, _, _)| *code == self).map_or("", |(_, _, page)| page)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SK{:04}", self.0)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The definition is rejected.
    Error,
    /// The definition is accepted, but probably not what was meant.
    Warning,
}

impl Severity {
    /// Returns `error` or `warning`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A range of bytes of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Where it starts.
    pub offset: u32,
    /// How many bytes it has.
    pub len: u32,
}

/// How a diagnostic is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// ASCII without colour: for files, pipes and tests.
    Plain,
    /// With colour: for terminals.
    Colour,
}

/// One problem of a definition.
///
/// Serializes as `{code, severity, message, file, line, column, help}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The kind of problem.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// The name of the definition file.
    pub file: String,
    /// Where.
    pub span: Span,
    /// The line, counted from 1.
    pub line: u32,
    /// The column in characters, counted from 1.
    pub column: u32,
    /// What to do about it.
    pub help: Option<String>,
    /// Other places that matter, each with a label.
    pub related: Vec<(String, Span)>,
}

impl Diagnostic {
    /// Draws the problem with its source line and a caret, in the manner of rustc.
    pub fn render(&self, source: &str, style: Style) -> String {
        render::render(self, source, style)
    }
}

impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Diagnostic", 7)?;
        object.serialize_field("code", &self.code.to_string())?;
        object.serialize_field("severity", self.severity.as_str())?;
        object.serialize_field("message", &self.message)?;
        object.serialize_field("file", &self.file)?;
        object.serialize_field("line", &self.line)?;
        object.serialize_field("column", &self.column)?;
        object.serialize_field("help", &self.help)?;
        object.end()
    }
}

/// A definition that was not accepted: all its problems, errors first.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the definition {file_name} is not valid: {}", brief(.diagnostics))]
pub struct Rejected {
    pub(crate) file_name: String,
    pub(crate) source_text: String,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Rejected {
    /// Returns the problems: first the errors, of which there is at least one, then the warnings,
    /// both in the order of the file.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Returns the text of the file, lossily decoded.
    pub fn source_text(&self) -> &str {
        &self.source_text
    }

    /// Returns the name of the file.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// Draws all problems, with an empty line between them.
    pub fn render(&self, style: Style) -> String {
        let drawn: Vec<String> =
            self.diagnostics.iter().map(|one| one.render(&self.source_text, style)).collect();
        drawn.join("\n")
    }
}

/// Tells the first problem, and how many there are.
fn brief(problems: &[Diagnostic]) -> String {
    let Some(Diagnostic { code, message, line, .. }) = problems.first() else {
        return "no problem is told".to_owned();
    };
    let first = format!("{message} ({code}, line {line})");
    match problems.len() - 1 {
        0 => first,
        more => format!("{first}, and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page_with_its_title() {
        for code in Code::all() {
            let first = code.page().lines().next().unwrap_or_default();
            assert_eq!(first, format!("# {code}: {}", code.title()));
            assert!(code.page().contains("```yaml"), "{code} shows no example");
        }
    }

    #[test]
    fn every_page_has_a_code() {
        let pages = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/codes")).unwrap();
        for page in pages {
            let name = page.unwrap().file_name().into_string().unwrap();
            assert!(Code::find(name.trim_end_matches(".md")).is_some(), "{name}");
        }
    }
}
