//! One Markdown report. It says nothing that depends on when, where or by whom it was made.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::answer::{Answer, Quote, Source};
use super::summary::Summary;

/// What a step of the capability `corpus-report` gives in `with`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportInput {
    /// The name of the file to write, below the operator's directory of reports.
    pub file: String,
    /// The first line of the report.
    pub title: String,
    /// What was read, for people.
    pub directory: String,
    /// What became of the files.
    pub summary: Summary,
    /// The answers.
    pub answers: Vec<Answer>,
}

/// A report that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Where it is, on the agent's machine.
    pub path: String,
    /// How many questions were answered.
    pub answered: usize,
    /// The report itself.
    pub markdown: String,
}

/// Why a report was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The name leads elsewhere or is no name of a Markdown file.
    #[error("`{0}` is no relative path of a file that ends in .md")]
    InvalidName(String),
    /// The file cannot be written.
    #[error("cannot write the report")]
    Write(#[source] io::Error),
}

/// Renders the report and writes it, all at once: a reader sees the old one or the new one.
pub(super) fn write(reports: &Path, input: &ReportInput) -> Result<Report, ReportError> {
    let path = place(reports, &input.file)?;
    let markdown = render(input);
    replace(&path, markdown.as_bytes()).map_err(ReportError::Write)?;
    let answered = input.answers.iter().filter(|answer| answer.answered).count();
    Ok(Report { path: path.display().to_string(), answered, markdown })
}

fn place(reports: &Path, file: &str) -> Result<PathBuf, ReportError> {
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let is_name = file.ends_with(".md") && file.len() > 3 && !file.contains(['\0', '\n']);
    if is_name && file.len() <= 200 && Path::new(file).components().all(is_plain) {
        Ok(reports.join(file))
    } else {
        Err(ReportError::InvalidName(file.to_owned()))
    }
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(parent)?;
    let mut new = tempfile::Builder::new()
        .prefix(".report")
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(parent)?;
    new.write_all(bytes)?;
    new.as_file().sync_all()?;
    new.persist(path)?;
    Ok(())
}

fn render(input: &ReportInput) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "# {}\n", plain(&input.title));
    counters(&mut out, &input.directory, &input.summary);
    for (number, answer) in (1..).zip(&input.answers) {
        let _ = writeln!(out, "\n## {number}. {}\n", plain(&answer.question));
        quotes(&mut out, answer);
        if !answer.sources.is_empty() {
            out.push_str("\nSources:\n\n");
        }
        for (number, source) in (1..).zip(&answer.sources) {
            let _ = writeln!(out, "{number}. {}", cited(source));
        }
    }
    bad_files(&mut out, &input.summary);
    out
}

fn counters(out: &mut String, directory: &str, summary: &Summary) {
    let Summary { files, indexed, passages, bytes, bad, .. } = summary;
    let _ = writeln!(out, "Read from {}.\n", code(directory));
    out.push_str("| files found | indexed | left out | passages | bytes of text |\n");
    out.push_str("| ---: | ---: | ---: | ---: | ---: |\n");
    let _ = writeln!(out, "| {files} | {indexed} | {bad} | {passages} | {bytes} |");
}

fn quotes(out: &mut String, answer: &Answer) {
    match (answer.answered, answer.quotes.is_empty()) {
        (true, _) => {}
        (false, true) => out.push_str("No passage answers this.\n"),
        (false, false) => out.push_str("No passage quite answers this; what comes nearest:\n\n"),
    }
    for (position, Quote { text, source, first_line, last_line }) in
        answer.quotes.iter().enumerate()
    {
        if position > 0 {
            out.push_str(">\n");
        }
        let lines = lines(*first_line, *last_line);
        let _ = writeln!(out, "> {} \\[{source}: {lines}\\]", plain(text));
    }
}

fn cited(source: &Source) -> String {
    let Source { file, first_line, last_line, heading, score } = source;
    let place = code(&format!("{file}:{}", lines(*first_line, *last_line)));
    let heading =
        if heading.is_empty() { String::new() } else { format!(", “{}”", plain(heading)) };
    format!("{place}{heading} (score {score:.2})")
}

fn bad_files(out: &mut String, summary: &Summary) {
    if summary.bad_by_reason.is_empty() {
        return;
    }
    out.push_str("\n## Files left out\n");
    for (reason, count) in &summary.bad_by_reason {
        let examples = summary.examples.get(reason).map_or(&[][..], Vec::as_slice);
        let _ = writeln!(out, "\n{} {}:\n", count, code(reason));
        for file in examples {
            let _ = writeln!(out, "- {}", code(file));
        }
        if let Some(more) = count.checked_sub(examples.len()).filter(|more| *more > 0) {
            let _ = writeln!(out, "- … and {more} more");
        }
    }
}

fn lines(first: u32, last: u32) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// Makes text from outside read as text: no markup, no line breaks.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '|' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Shows text from outside as code.
fn code(text: &str) -> String {
    let text: String =
        text.chars().map(|c| if c.is_control() || c == '`' { '�' } else { c }).collect();
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn input() -> ReportInput {
        let source = Source {
            file: "docs/a`\n.md".into(),
            first_line: 3,
            last_line: 9,
            heading: "The *journal*".into(),
            score: 0.8123,
        };
        let quote =
            |text: &str| Quote { text: text.into(), source: 1, first_line: 4, last_line: 4 };
        let summary = Summary {
            files: 14,
            indexed: 1,
            passages: 5,
            bytes: 1234,
            bad: 13,
            bad_by_reason: [("binary_file".into(), 12), ("empty_file".into(), 1)].into(),
            examples: [("binary_file".into(), vec!["x.gz".into()]), ("empty_file".into(), vec![])]
                .into(),
        };
        ReportInput {
            file: "r.md".into(),
            title: "A report".into(),
            directory: ".".into(),
            summary,
            answers: vec![
                Answer {
                    question: "What is <b>it</b>?".into(),
                    answered: true,
                    quotes: vec![quote("It is `that`."), quote("Or [this](x).")],
                    sources: vec![source],
                },
                Answer {
                    question: "Why?".into(),
                    answered: false,
                    quotes: vec![],
                    sources: vec![],
                },
            ],
        }
    }

    #[test]
    fn a_report_reads_well_and_holds_no_markup_of_others() {
        expect![[r#"
            # A report

            Read from `.`.

            | files found | indexed | left out | passages | bytes of text |
            | ---: | ---: | ---: | ---: | ---: |
            | 14 | 1 | 13 | 5 | 1234 |

            ## 1. What is \<b>it\</b>?

            > It is \`that\`. \[1: 4\]
            >
            > Or \[this\](x). \[1: 4\]

            Sources:

            1. `docs/a��.md:3-9`, “The \*journal\*” (score 0.81)

            ## 2. Why?

            No passage answers this.

            ## Files left out

            12 `binary_file`:

            - `x.gz`
            - … and 11 more

            1 `empty_file`:

            - … and 1 more
        "#]]
        .assert_eq(&render(&input()));
    }

    #[test]
    fn it_is_written_where_the_operator_says() {
        let home = tempfile::tempdir().unwrap();
        let reports = home.path().join("reports");
        let mut input = input();
        for file in ["r.md", "below/r.md", "r.md"] {
            file.clone_into(&mut input.file);
            let report = write(&reports, &input).unwrap();
            assert_eq!(Path::new(&report.path), reports.join(file));
            assert_eq!(fs::read_to_string(&report.path).unwrap(), report.markdown);
            assert_eq!(report.answered, 1);
        }
        assert_eq!(fs::read_dir(&reports).unwrap().count(), 2, "nothing else is left");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        fs::write(home.path().join("any"), "").unwrap();
        assert_eq!(mode(&reports.join("r.md")), mode(&home.path().join("any")), "as of any file");
        for file in ["", ".md", "../r.md", "/tmp/r.md", "r.txt", "a/../r.md", "./r.md", "a\0.md"] {
            file.clone_into(&mut input.file);
            let refused = write(&reports, &input);
            assert!(matches!(refused, Err(ReportError::InvalidName(_))), "{file:?}: {refused:?}");
        }
        fs::create_dir(reports.join("taken.md")).unwrap();
        "taken.md".clone_into(&mut input.file);
        assert!(matches!(write(&reports, &input), Err(ReportError::Write(_))));
    }
}
