//! The task of the `http` agent.

use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::HttpError;
use crate::json::Json;

/// Headers that follow from the request itself.
const OURS: [&str; 6] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te"];

/// What a step of the capability `http` gives in `with`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpInput {
    /// Where to.
    pub url: String,
    /// `GET` unless given.
    #[serde(default)]
    pub method: Option<String>,
    /// Headers to send.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, as JSON.
    #[serde(default)]
    pub json: Option<Json>,
    /// The body, as it is.
    #[serde(default)]
    pub body: Option<String>,
    /// The status to expect: one or a list; any from 200 to 299 unless given.
    #[serde(default)]
    pub expect_status: ExpectedStatus,
    /// What the body of the response is.
    #[serde(default)]
    pub response: ResponseFormat,
}

/// Which status completes the attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum ExpectedStatus {
    /// 200 to 299.
    #[default]
    Success,
    /// This one.
    One(u16),
    /// One of these.
    OneOf(Vec<u16>),
}

impl ExpectedStatus {
    pub(super) fn includes(&self, status: u16) -> bool {
        match self {
            Self::Success => (200..300).contains(&status),
            Self::One(expected) => *expected == status,
            Self::OneOf(expected) => expected.contains(&status),
        }
    }
}

/// What the body of a response is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseFormat {
    /// What its content type says; text if that says nothing.
    #[default]
    Auto,
    /// JSON, or the attempt fails.
    Json,
    /// Text, or the attempt fails.
    Text,
}

/// A task whose parts were checked.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<String>,
}

impl HttpInput {
    /// Checks the parts. Requests that change something carry the idempotency key, unless the task
    /// gives one.
    pub(super) fn request(&self, idempotency_key: &str) -> Result<Request, HttpError> {
        let invalid = |what: String| HttpError::InvalidInput(what);
        let url = Url::parse(&self.url)
            .map_err(|error| invalid(format!("`url` is not a URL: {error}")))?;
        let method = self.method.as_deref().unwrap_or("GET").to_ascii_uppercase();
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| invalid(format!("`{method}` is not a method")))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let (name, value) = header(name, value).map_err(invalid)?;
            headers.insert(name, value);
        }
        let body = match (&self.json, &self.body) {
            (Some(_), Some(_)) => return Err(invalid("give `json` or `body`, not both".into())),
            (Some(json), None) => {
                let json_type = HeaderValue::from_static("application/json");
                headers.entry("content-type").or_insert(json_type);
                Some(json.to_string())
            }
            (None, body) => body.clone(),
        };
        if !method.is_safe()
            && let Ok(key) = HeaderValue::from_str(idempotency_key)
        {
            headers.entry("idempotency-key").or_insert(key);
        }
        Ok(Request { method, url, headers, body })
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let key = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{name}` is not the name of a header"))?;
    if OURS.contains(&key.as_str()) {
        return Err(format!("the header `{name}` follows from the request and cannot be given"));
    }
    let value = HeaderValue::from_str(value)
        .map_err(|_| format!("the value of the header `{name}` has characters it may not have"))?;
    Ok((key, value))
}
