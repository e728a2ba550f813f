//! A diagnostic in the manner of rustc, drawn by miette.

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};

use super::{Diagnostic, Severity, Span, Style, is_line_end};

/// Lines that are longer are cut around the place that matters.
const LINE_BYTES: usize = 160;
/// Related places farther away than this are named by their line only.
const WINDOW_BYTES: usize = 4096;

pub(super) fn render(diagnostic: &Diagnostic, source: &str, style: Style) -> String {
    let excerpt = Excerpt::of(diagnostic, source);
    let theme = match style {
        Style::Plain => GraphicalTheme::none(),
        Style::Colour => GraphicalTheme::unicode(),
    };
    let mut report = MietteDiagnostic::new(diagnostic.message.clone())
        .with_code(diagnostic.code.to_string())
        .with_severity(match diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
        .with_labels(excerpt.labels.clone());
    report.help = diagnostic.help.clone();
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .with_links(false)
        .with_context_lines(1);
    let mut drawn = String::new();
    // Drawing fails only if the excerpt cannot be read; the message then stands alone.
    let report = miette::Report::new(report).with_source_code(excerpt);
    if handler.render_report(&mut drawn, report.as_ref()).is_err() {
        drawn = format!("{} {}\n", diagnostic.code, diagnostic.message);
    }
    drawn
}

/// The part of the source that a diagnostic shows, so that drawing costs what is drawn.
#[derive(Debug)]
struct Excerpt {
    text: String,
    name: String,
    line: usize,
    column: usize,
    labels: Vec<LabeledSpan>,
}

impl Excerpt {
    fn of(diagnostic: &Diagnostic, source: &str) -> Self {
        let near = |span: &Span| span.offset.abs_diff(diagnostic.span.offset) < 2048;
        let spans = || {
            std::iter::once(&diagnostic.span)
                .chain(diagnostic.related.iter().map(|(_, span)| span).filter(|span| near(span)))
        };
        let first = spans().map(|span| span.offset as usize).min().unwrap_or_default();
        let last = spans().map(|span| span.offset as usize).max().unwrap_or_default();
        let start = line_start(source, first);
        let end = line_end(source, last);
        let text = source.get(start..end).unwrap_or_default();
        if text.len() > WINDOW_BYTES || text.lines().any(|line| line.len() > LINE_BYTES) {
            return Self::cut(diagnostic, source);
        }
        let mut labels = vec![primary(diagnostic.span, start, text.len())];
        for (label, span) in diagnostic.related.iter().filter(|(_, span)| near(span)) {
            labels.push(place(*span, Some(label.clone()), start, text.len()));
        }
        let before = source[start..].len() - source[line_start_or_end(source, diagnostic)..].len();
        let text_before = &source.as_bytes()[start..start + before];
        let lines_before = (0..before).filter(|at| is_line_end(text_before, *at)).count();
        Self {
            text: shown(text),
            name: diagnostic.file.clone(),
            line: (diagnostic.line as usize).saturating_sub(1 + lines_before),
            column: 0,
            labels,
        }
    }

    /// Shows a piece of a very long line.
    fn cut(diagnostic: &Diagnostic, source: &str) -> Self {
        let at = (diagnostic.span.offset as usize).min(source.len());
        let floor = |mut at: usize| {
            while !source.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = floor(line_start(source, at).max(at.saturating_sub(LINE_BYTES / 3)));
        let end = floor(line_end(source, at).min(at + LINE_BYTES / 3));
        let text = source.get(start..end.max(start)).unwrap_or_default();
        Self {
            text: shown(text),
            name: diagnostic.file.clone(),
            line: (diagnostic.line as usize).saturating_sub(1),
            column: (diagnostic.column as usize)
                .saturating_sub(1 + source.get(start..at).unwrap_or_default().chars().count()),
            labels: vec![primary(diagnostic.span, start, text.len())],
        }
    }
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let inner = self.text.read_span(span, before, after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            inner.data(),
            *inner.span(),
            self.line + inner.line(),
            if inner.line() == 0 { self.column + inner.column() } else { inner.column() },
            inner.line_count(),
        )))
    }
}

fn place(span: Span, label: Option<String>, start: usize, len: usize) -> LabeledSpan {
    let offset = (span.offset as usize).saturating_sub(start).min(len);
    let room = len - offset;
    LabeledSpan::new(label, offset, (span.len as usize).min(room))
}

fn primary(span: Span, start: usize, len: usize) -> LabeledSpan {
    let place = place(span, None, start, len);
    LabeledSpan::new_primary_with_span(None, *place.inner())
}

/// Returns where the line starts, or a place so far before that the line is cut anyway.
fn line_start(source: &str, offset: usize) -> usize {
    let offset = offset.min(source.len());
    let mut far = offset.saturating_sub(WINDOW_BYTES + 1);
    while !source.is_char_boundary(far) {
        far -= 1;
    }
    let start = (far..offset).rev().find(|at| is_line_end(source.as_bytes(), *at));
    let start = start.map_or(far, |at| at + 1);
    if start == 0 && source.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { start }
}

/// Returns where the line ends, or a place so far behind that the line is cut anyway.
fn line_end(source: &str, offset: usize) -> usize {
    let offset = offset.min(source.len());
    let mut far = (offset + WINDOW_BYTES + 1).min(source.len());
    while !source.is_char_boundary(far) {
        far += 1;
    }
    let end = (offset..far).find(|at| is_line_end(source.as_bytes(), *at)).unwrap_or(far);
    end - usize::from(end > 0 && source.as_bytes()[..end].ends_with(b"\r"))
}

/// Replaces what a terminal would act on by something of the same length, so that places stay.
fn shown(text: &str) -> String {
    let bytes = text.as_bytes();
    let shown =
        text.char_indices().map(|(at, character)| match (character, character.len_utf8()) {
            ('\t' | '\n', _) => character,
            ('\r', _) if !is_line_end(bytes, at) => character,
            ('\r', _) => '\n',
            (character, 1) if character.is_control() => '?',
            (character, _) if character.is_control() => '¿',
            ('\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}', _) => '\u{fffd}',
            (character, _) => character,
        });
    shown.collect()
}

fn line_start_or_end(source: &str, diagnostic: &Diagnostic) -> usize {
    line_start(source, diagnostic.span.offset as usize)
}
