//! From a response to the outcome of the attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};

use super::{HttpError, HttpInput, HttpOutput, ResponseFormat};
use crate::json::Json;

/// How much of the body a failure carries.
const MAX_FAILED_BODY: usize = 2 * 1024;
/// A server that asks for more is not obeyed beyond this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn judge(
    input: &HttpInput,
    host: &str,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<HttpOutput, HttpError> {
    if !input.expect_status.includes(status) {
        let body = String::from_utf8_lossy(&body[..body.len().min(MAX_FAILED_BODY)]).into_owned();
        let retry_after = retry_after(headers);
        return Err(HttpError::Status { host: host.to_owned(), status, retry_after, body });
    }
    let mut output =
        HttpOutput { status, headers: join(headers), json: None, text: None, base64: None };
    let text = std::str::from_utf8(body);
    match (input.response, text) {
        (ResponseFormat::Json, _) => output.json = Some(json(body)?),
        (ResponseFormat::Text, Ok(text)) => output.text = Some(text.to_owned()),
        (ResponseFormat::Text, Err(error)) => {
            return Err(HttpError::BodyFormat(format!("it is not UTF-8: {error}")));
        }
        (ResponseFormat::Auto, _) if says_json(headers) && !body.is_empty() => {
            output.json = Some(json(body)?);
        }
        (ResponseFormat::Auto, Ok(text)) => output.text = Some(text.to_owned()),
        (ResponseFormat::Auto, Err(_)) => output.base64 = Some(STANDARD.encode(body)),
    }
    Ok(output)
}

fn json(body: &[u8]) -> Result<Json, HttpError> {
    Json::parse(body).map_err(|error| HttpError::BodyFormat(error.to_string()))
}

fn says_json(headers: &HeaderMap) -> bool {
    let Some(Ok(content_type)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

fn join(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        joined
            .entry(name.as_str().to_owned())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(&value);
            })
            .or_insert_with(|| value.clone().into_owned());
    }
    joined
}

/// Reads `Retry-After`: seconds, or a date held against the server's own `Date`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = headers.get(DATE)?.to_str().ok()?;
            let wait = instant(value)?.duration_since(instant(date)?);
            Duration::try_from(wait).ok()?
        }
    };
    Some(delay.min(MAX_RETRY_AFTER))
}

fn instant(date: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(date).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let cases = [
            (vec![("retry-after", "7")], Some(7)),
            (vec![("retry-after", " 0 ")], Some(0)),
            (vec![("retry-after", "99999999999")], Some(86_400)),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT"), date], Some(60)),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:48:37 GMT"), date], None),
            (vec![("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")], None),
            (vec![("retry-after", "-1")], None),
            (vec![("retry-after", "soon"), date], None),
            (vec![], None),
        ];
        for (pairs, expected) in cases {
            let found = retry_after(&headers(&pairs));
            assert_eq!(found, expected.map(Duration::from_secs), "{pairs:?}");
        }
    }

    #[test]
    fn headers_of_one_name_are_joined() {
        let joined = join(&headers(&[("b", "1"), ("A", "x"), ("b", "2")]));
        let expected = [("a", "x"), ("b", "1, 2")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(joined, BTreeMap::from(expected));
    }
}
