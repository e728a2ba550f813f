//! What a program wrote to standard output, as a value.

use serde::de::IgnoredAny;
use serde_json::{Deserializer, Value};

use super::{ExecError, StdoutFormat};
use crate::json::{Json, JsonError};

/// How much of a line an error shows, in characters.
const MAX_SHOWN: usize = 60;

pub(super) fn parse(format: StdoutFormat, bytes: &[u8]) -> Result<Json, ExecError> {
    if format == StdoutFormat::Text {
        return Ok(text(bytes)?.into());
    }
    match (Json::parse(bytes), format) {
        (Ok(json), StdoutFormat::Auto | StdoutFormat::Answer) if json.is_lossy_number() => {
            Ok(text(bytes)?.into())
        }
        (Ok(json), _) => Ok(json),
        (Err(error @ JsonError::TooDeep), _) | (Err(error), StdoutFormat::Json) => {
            Err(ExecError::StdoutFormat(error.to_string()))
        }
        (Err(JsonError::Invalid(error)), StdoutFormat::Answer) => {
            let text = text(bytes)?;
            if is_mixed(text) {
                return Err(ExecError::StdoutNotJson(problem(text, &error)));
            }
            Ok(text.into())
        }
        (Err(_), StdoutFormat::Auto | StdoutFormat::Text) => Ok(text(bytes)?.into()),
    }
}

fn text(bytes: &[u8]) -> Result<&str, ExecError> {
    let text = std::str::from_utf8(bytes);
    text.map_err(|error| ExecError::StdoutFormat(format!("it is not UTF-8: {error}")))
}

/// Tells whether a text that is not JSON was meant to be: some line begins an object or an array,
/// and not every line is JSON by itself, as in JSON lines.
fn is_mixed(text: &str) -> bool {
    let is_json = |line: &str| serde_json::from_str::<Value>(line).is_ok();
    let mut filled = text.lines().filter(|line| !line.trim().is_empty());
    begins_json(text) && !filled.all(is_json)
}

fn begins_json(text: &str) -> bool {
    let mut rest = text;
    loop {
        match rest.split_once('\n') {
            _ if is_json_here(rest) => return true,
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
}

/// Tells whether a line begins JSON. A `{` is enough; with a `[` begin many lines that no program
/// means as JSON, such as `[INFO] ready`, so there has to be an array, up to the end of a line.
fn is_json_here(rest: &str) -> bool {
    if !rest.starts_with('[') {
        return rest.starts_with('{');
    }
    let mut values = Deserializer::from_str(rest).into_iter::<IgnoredAny>();
    values.next().is_some_and(|value| value.is_ok()) && {
        let after = rest[values.byte_offset()..].lines().next();
        after.is_none_or(|after| after.trim().is_empty())
    }
}

/// Says why a text is not JSON: by what it begins with, or where the JSON breaks off.
fn problem(text: &str, error: &serde_json::Error) -> String {
    let text = text.trim();
    if is_json_here(text) {
        return error.to_string();
    }
    let first = text.lines().next().unwrap_or_default().trim_end();
    let shown: String = first.chars().take(MAX_SHOWN).collect();
    let more = if shown.len() < first.len() { "…" } else { "" };
    format!("it begins with `{shown}{more}`")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(stdout: &str, expected: Expect) {
        let shown = match parse(StdoutFormat::Answer, stdout.as_bytes()) {
            Ok(value) => value.to_string(),
            Err(ExecError::StdoutNotJson(problem)) => problem,
            Err(error) => panic!("{error}"),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn an_answer_is_one_json_value_or_a_text() {
        check("{\"a\": 1}\n", expect![[r#"{"a":1}"#]]);
        check(" [\n1,\n2\n]\n\n", expect!["[1,2]"]);
        check("42\n", expect!["42"]);
        check("null", expect!["null"]);
        check("", expect![[r#""""#]]);
        check("NaN\n", expect![[r#""NaN\n""#]]);
        check("Hello\nyou\n", expect![[r#""Hello\nyou\n""#]]);
        check("as in {\"a\": 1}\n", expect![[r#""as in {\"a\": 1}\n""#]]);
        check("{\"a\": 1}\n{\"b\": 2}\n", expect![[r#""{\"a\": 1}\n{\"b\": 2}\n""#]]);
        check(
            "[INFO] ready\n[1] a book\n[x] done",
            expect![[r#""[INFO] ready\n[1] a book\n[x] done""#]],
        );
    }

    #[test]
    fn numbers_keep_their_digits() {
        for format in [StdoutFormat::Auto, StdoutFormat::Answer, StdoutFormat::Json] {
            let parse = |stdout: &str| parse(format, stdout.as_bytes()).unwrap().to_string();
            let many = "12345678901234567890123";
            let object = format!("{{\"id\":{many},\"n\":1.10,\"n\":1e2}}");
            assert_eq!(parse(&format!("{object}\n")), object);
            assert_eq!(parse("-4.25\n"), "-4.25");
            for number in [many, "1.10", "1e5", "184467440737095516150"] {
                let text = format!("\"{number}\\n\"");
                let expected = if format == StdoutFormat::Json { number } else { &text };
                assert_eq!(parse(&format!("{number}\n")), expected);
            }
        }
    }

    #[test]
    fn an_answer_that_mixes_text_and_json_is_refused() {
        check("debug\n{\"a\": 1}\n", expect!["it begins with `debug`"]);
        check("\n\ndebug\n[\n1\n]", expect!["it begins with `debug`"]);
        check("{\"a\": 1}\ndone\n", expect!["trailing characters at line 2 column 1"]);
        check("{\n\"a\": 1\n}\ndone\n", expect!["trailing characters at line 4 column 1"]);
        check("{'a': 1}\n", expect!["key must be a string at line 1 column 2"]);
        check("{\"a\": NaN}\n", expect!["expected value at line 1 column 7"]);
        check("{\"a\": 1e999}\n", expect!["number out of range at line 1 column 11"]);
        check("[1, 2]\ndone\n", expect!["trailing characters at line 2 column 1"]);
        check("[INFO] ready\n{\"a\": 1}\n", expect!["it begins with `[INFO] ready`"]);
    }

    #[test]
    fn of_a_long_line_the_beginning_is_shown() {
        let stdout = format!("{}\n{{}}\n", "é".repeat(100));
        let error = parse(StdoutFormat::Answer, stdout.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(&format!("`{}…`", "é".repeat(MAX_SHOWN))), "{error}");
    }

    #[test]
    fn a_refused_answer_says_what_to_do() {
        let error = parse(StdoutFormat::Answer, b"debug\n{}\n").unwrap_err();
        let expected = expect![
            "stdout_not_json: stdout is not one JSON value: it begins with `debug`; \
             print anything else to stderr, or a text as a JSON string"
        ];
        expected.assert_eq(&error.failure().to_string());
    }
}
