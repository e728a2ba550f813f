//! The `http` agent: makes one request and reports the response.
//!
//! A request reaches public addresses, and those that the operator allows: checked for the address
//! that a name resolves to, at the moment of connecting, and again for every redirect. No proxy is
//! used, nothing is decompressed, time and size are bounded.

mod address;
mod client;
mod hosts;
mod input;
mod response;

use std::time::Duration;

use reqwest::Url;
use serde::Serialize;
use skep_agent::Failure;

pub use address::{AddressPolicy, Network, NetworkError};
pub use client::HttpClient;
pub use hosts::HostPattern;
pub use input::{ExpectedStatus, HttpInput, ResponseFormat};

use crate::fault::{self, WorthRetrying};
use crate::json::Json;

/// What the operator allows the `http` agent.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Which addresses may be reached.
    pub addresses: AddressPolicy,
    /// Which hosts may be named; all if empty.
    pub hosts: Vec<HostPattern>,
    /// A request with its redirects and its whole response takes no longer than this.
    pub max_time: Duration,
    /// A longer response body fails the attempt.
    pub max_body: usize,
    /// How many redirects are followed.
    pub max_redirects: usize,
    /// How many requests are made at a time.
    pub slots: u32,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            addresses: AddressPolicy::default(),
            hosts: Vec::new(),
            max_time: Duration::from_secs(60),
            max_body: 8 * 1024 * 1024,
            max_redirects: 5,
            slots: 16,
        }
    }
}

/// A response.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HttpOutput {
    /// The status code.
    pub status: u16,
    /// The headers by name, in lower case; several of one name are joined by commas.
    pub headers: std::collections::BTreeMap<String, String>,
    /// The body if it is JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<Json>,
    /// The body if it is text but not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The body in base64 if it is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// Something that a request may not reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The address is not public and the operator did not allow it.
    #[error("`{host}` is at {address}, which is not public and not allowed by the operator")]
    Address {
        /// The host as it was named.
        host: String,
        /// Where it is.
        address: std::net::IpAddr,
    },
    /// The operator did not allow the host.
    #[error("the operator of this agent did not allow the host `{0}`")]
    Host(String),
    /// Neither `http` nor `https`.
    #[error("`{0}:` is not http: or https:")]
    Scheme(String),
    /// There is no host in it.
    #[error("the URL names no host")]
    NoHost,
    /// There were too many redirects.
    #[error("more than {0} redirects")]
    TooManyRedirects(usize),
}

/// Why a request gave no output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The task makes no sense.
    #[error("{0}")]
    InvalidInput(String),
    /// The request, or a redirect, leads to where it may not.
    #[error("the request may not be made")]
    Refused(#[from] Refused),
    /// It took too long.
    #[error("no complete response from {host} within {} s", .within.as_secs_f64())]
    TimedOut {
        /// From whom.
        host: String,
        /// The bound.
        within: Duration,
    },
    /// The connection could not be made, or broke.
    #[error("the request to {host} failed")]
    Transport {
        /// To whom.
        host: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// The response has another status than the task expects.
    #[error("{host} answered with status {status}")]
    Status {
        /// Who.
        host: String,
        /// The status.
        status: u16,
        /// The least delay before another attempt that the server asked for.
        retry_after: Option<Duration>,
        /// The start of the body, if it is text.
        body: String,
    },
    /// The body is longer than allowed.
    #[error("the body of the response is longer than {limit} bytes")]
    BodyTooLarge {
        /// How long it may be.
        limit: usize,
    },
    /// The body is not what the task says it is.
    #[error("the body of the response is not what was expected: {0}")]
    BodyFormat(String),
    /// The server may have done what it was asked for all the same.
    #[error(transparent)]
    Unclear(Box<Self>),
}

impl HttpError {
    /// Returns the failure that the attempt ends with.
    pub fn failure(self) -> Failure {
        let message = fault::chain(&self);
        let (code, worth) = match self {
            Self::Unclear(error) => return error.failure().unclear(),
            Self::InvalidInput(_) => ("invalid_input", WorthRetrying::No),
            Self::Refused(Refused::Address { .. }) => ("address_refused", WorthRetrying::No),
            Self::Refused(Refused::Host(_)) => ("host_refused", WorthRetrying::No),
            Self::Refused(Refused::Scheme(_) | Refused::NoHost) => {
                ("invalid_url", WorthRetrying::No)
            }
            Self::Refused(Refused::TooManyRedirects(_)) => {
                ("too_many_redirects", WorthRetrying::No)
            }
            Self::TimedOut { .. } => ("http_timeout", WorthRetrying::Yes),
            Self::Transport { .. } => ("connection_failed", WorthRetrying::Yes),
            Self::Status { status, retry_after, body, .. } => {
                let details = serde_json::json!({ "status": status, "body": body });
                let code = format!("status_{status}");
                let failure = fault::failure(&code, message, is_passing(status).into());
                let failure = failure.with_details(&details);
                return match retry_after {
                    Some(delay) => failure.retry_after(delay),
                    None => failure,
                };
            }
            Self::BodyTooLarge { .. } => ("body_too_large", WorthRetrying::No),
            Self::BodyFormat(_) => ("body_format", WorthRetrying::No),
        };
        fault::failure(code, message, worth)
    }
}

impl HttpError {
    /// Tells whether the last server that was asked may have done it all the same.
    fn leaves_doubt(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::BodyTooLarge { .. } | Self::BodyFormat(_) => true,
            Self::Transport { source, .. } => !source.is_connect(),
            // Any other status says that nothing was done.
            Self::Status { status, .. } => matches!(status, 100..=399 | 500 | 502 | 504),
            Self::Refused(_) | Self::InvalidInput(_) | Self::Unclear(_) => false,
        }
    }
}

/// Tells whether a status speaks of a state that passes: the server's trouble, a lock, a rate
/// limit.
fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 423 | 425 | 429 | 500..=599) && !matches!(status, 501 | 505)
}

/// Checks what can be known of a URL before its host is resolved.
fn check_url(url: &Url, config: &HttpConfig) -> Result<(), Refused> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refused::Scheme(url.scheme().to_owned()));
    }
    let host = url.host_str().ok_or(Refused::NoHost)?;
    if !config.hosts.is_empty() && !config.hosts.iter().any(|pattern| pattern.matches(host)) {
        return Err(Refused::Host(host.to_owned()));
    }
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    match literal.parse() {
        Ok(address) if !config.addresses.allows(address) => {
            Err(Refused::Address { host: host.to_owned(), address })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, config: &HttpConfig) -> Result<(), Refused> {
        check_url(&url.parse().unwrap(), config)
    }

    #[test]
    fn addresses_hide_behind_many_spellings() {
        let config = HttpConfig::default();
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://0/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]:80/",
            "http://169.254.169.254/latest/meta-data/",
            "http://user:pw@10.0.0.1/",
            "http://①②⑦.0.0.1/",
            "http://[fd00:ec2::254]/",
        ] {
            let refused = check(url, &config);
            assert!(matches!(refused, Err(Refused::Address { .. })), "{url}: {refused:?}");
        }
        assert_eq!(check("http://1.1.1.1/", &config), Ok(()));
        assert_eq!(check("https://example.org/", &config), Ok(()));
        assert_eq!(check("file:///etc/passwd", &config), Err(Refused::Scheme("file".into())));
        assert_eq!(check("ftp://example.org", &config), Err(Refused::Scheme("ftp".into())));
    }

    #[test]
    fn hosts_may_be_limited() {
        let hosts = ["example.org", "*.example.com"].map(HostPattern::new).to_vec();
        let config = HttpConfig { hosts, ..HttpConfig::default() };
        for url in ["http://example.org/", "https://EXAMPLE.org/", "http://a.b.example.com/"] {
            assert_eq!(check(url, &config), Ok(()), "{url}");
        }
        for host in ["a.example.org", "example.com", "notexample.com", "example.org.evil.net"] {
            let refused = check(&format!("http://{host}/"), &config);
            assert_eq!(refused, Err(Refused::Host(host.to_owned())));
        }
    }
}
