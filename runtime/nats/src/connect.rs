//! Connecting, and what is told when that fails.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::fs;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::AccountErrorKind;
use async_nats::jetstream::{Context, ContextBuilder};
use async_nats::{Client, ConnectErrorKind, ServerAddr};

use crate::link::{Link, Observer};
use crate::mux::Mux;
use crate::options::{ConnectOptions, Credentials, without_secrets};
use crate::version::{OLDEST_SUPPORTED, Version};

/// How often the connection is probed; a silent one is given up after two probes. That is sooner
/// than the silence of agents counts, so that a server that hangs is not taken for their death.
const PING_INTERVAL: Duration = Duration::from_millis(1_500);
/// Delays between attempts to reconnect: up to the first, doubled each time, up to the last.
const RECONNECT: (u64, u64) = (50, 2_000);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// An address is none.
    #[error(
        "`{address}` is no address of a NATS server: {reason}; one looks like nats://localhost:4222"
    )]
    Address {
        /// The text.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No server answers.
    #[error(
        "cannot reach NATS at {addresses}: {reason}\n\
         is a nats-server running there? start one with `nats-server -js`, \
         or name another with --nats URL"
    )]
    Unreachable {
        /// What was tried.
        addresses: String,
        /// Why it failed.
        reason: String,
    },
    /// The server does not let us in.
    #[error("the NATS server at {addresses} refuses these credentials: {reason}")]
    Refused {
        /// What was tried.
        addresses: String,
        /// What it says.
        reason: String,
    },
    /// The credentials cannot be read.
    #[error("cannot use the credentials: {reason}")]
    Credentials {
        /// Why.
        reason: String,
    },
    /// The server is too old.
    #[error(
        "the NATS server at {addresses} has version {found}, \
         but {OLDEST_SUPPORTED} or newer is needed"
    )]
    TooOld {
        /// Where.
        addresses: String,
        /// Its version.
        found: String,
    },
    /// There is a connection, but JetStream is silent.
    #[error(
        "connected to NATS at {addresses}, but JetStream does not answer: {reason}\n\
         may this user publish to `$JS.API.>` and subscribe to `{inbox}.>`?"
    )]
    Silent {
        /// Where.
        addresses: String,
        /// What was seen.
        reason: String,
        /// Where answers go.
        inbox: String,
    },
    /// The server keeps nothing.
    #[error(
        "the NATS server at {addresses} has no JetStream: {reason}\n\
         start it with `-js`, or enable JetStream for the account"
    )]
    NoJetStream {
        /// Where.
        addresses: String,
        /// What it says.
        reason: String,
    },
}

/// A connection that was checked.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) js: Context,
    pub(crate) mux: Mux,
    pub(crate) link: Link,
}

pub(crate) async fn connect(options: &ConnectOptions) -> Result<Connection, ConnectError> {
    // The one provider of cryptography in the whole program; fails harmlessly if it is there.
    let provider = async_nats::rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().ok();
    let servers = parse(&options.servers)?;
    let addresses = shown(&servers);
    let (observer, link) = Observer::new(addresses.clone());
    let credentials = if options.credentials == Credentials::None {
        named(&servers)?
    } else {
        options.credentials.clone()
    };
    let client = client_options(options, &credentials, observer)?
        .connect(servers)
        .await
        .map_err(|error| explain(&addresses, &error))?;
    check_version(&client, &addresses)?;
    let within = options.request_timeout;
    let builder = ContextBuilder::new();
    let js = match &options.domain {
        Some(domain) => {
            builder.domain(domain).timeout(within).ack_timeout(within).build(client.clone())
        }
        None => builder.timeout(within).ack_timeout(within).build(client.clone()),
    };
    let inbox = options.inbox_prefix.as_deref().unwrap_or("_INBOX");
    check_jetstream(&js, &link, &addresses, inbox).await?;
    let unreachable = |reason| ConnectError::Unreachable { addresses, reason };
    let mux = Mux::open(client.clone()).await.map_err(|error| unreachable(chain(&error)))?;
    Ok(Connection { client, js, mux, link })
}

fn parse(servers: &[String]) -> Result<Vec<ServerAddr>, ConnectError> {
    let parse = |text: &String| {
        text.parse::<ServerAddr>().map_err(|error| ConnectError::Address {
            address: without_secrets(text),
            reason: error.to_string(),
        })
    };
    if servers.is_empty() {
        let reason = "there is none".to_owned();
        return Err(ConnectError::Address { address: String::new(), reason });
    }
    servers.iter().map(parse).collect()
}

/// Returns the addresses without the passwords that they may contain.
fn shown(servers: &[ServerAddr]) -> String {
    let show = |server: &ServerAddr| format!("{}:{}", server.host(), server.port());
    servers.iter().map(show).collect::<Vec<_>>().join(", ")
}

/// Returns who the addresses say one is: `nats://user:password@host`, or `nats://token@host`.
fn named(servers: &[ServerAddr]) -> Result<Credentials, ConnectError> {
    let unusable = |reason: &str| ConnectError::Credentials { reason: reason.to_owned() };
    let mut found = Credentials::None;
    for server in servers {
        let read = |text: &str| {
            decoded(text).ok_or_else(|| unusable("what an address says before the `@` is no UTF-8"))
        };
        let Some(user) = server.username() else { continue };
        let named = match server.password() {
            Some(password) => Credentials::User { user: read(user)?, password: read(password)? },
            None => Credentials::Token(read(user)?),
        };
        if found != Credentials::None && found != named {
            return Err(unusable("the addresses name different users"));
        }
        found = named;
    }
    Ok(found)
}

/// Decodes `%40` and the like; any other `%` stands for itself.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match byte.filter(|_| first == b'%') {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(out).ok()
}

fn client_options(
    options: &ConnectOptions,
    credentials: &Credentials,
    observer: Observer,
) -> Result<async_nats::ConnectOptions, ConnectError> {
    let observer = Arc::new(observer);
    let mut client = async_nats::ConnectOptions::new()
        .name(&options.name)
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(options.request_timeout))
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(move |event| {
            observer.see(&event);
            std::future::ready(())
        });
    if let Some(prefix) = &options.inbox_prefix {
        client = client.custom_inbox_prefix(prefix);
    }
    if let Some(ca) = &options.tls.ca {
        client = client.add_root_certificates(ca.clone()).require_tls(true);
    }
    if let (Some(cert), Some(key)) = (&options.tls.cert, &options.tls.key) {
        client = client.add_client_certificate(cert.clone(), key.clone()).require_tls(true);
    }
    if options.tls.first {
        client = client.tls_first();
    }
    let unusable = |path: &std::path::Path, error: &dyn std::fmt::Display| {
        ConnectError::Credentials { reason: format!("{}: {error}", path.display()) }
    };
    match credentials {
        Credentials::None => Ok(client),
        Credentials::Token(token) => Ok(client.token(token.clone())),
        Credentials::User { user, password } => {
            Ok(client.user_and_password(user.clone(), password.clone()))
        }
        Credentials::Nkey(path) => match fs::read_to_string(path) {
            Ok(seed) => Ok(client.nkey(seed.trim().to_owned())),
            Err(error) => Err(unusable(path, &error)),
        },
        Credentials::File(path) => fs::read_to_string(path)
            .and_then(|text| client.credentials(&text))
            .map_err(|error| unusable(path, &error)),
    }
}

/// Exponential with full jitter: a thousand agents do not come back all at once.
fn reconnect_delay(attempts: usize) -> Duration {
    let (first, last) = RECONNECT;
    let doublings = u32::try_from(attempts).unwrap_or(u32::MAX).min(16);
    let most = first.saturating_mul(1 << doublings).min(last);
    // Every `RandomState` has keys of its own.
    let random = RandomState::new().build_hasher().finish();
    Duration::from_millis(random % (most + 1))
}

fn explain(addresses: &str, error: &async_nats::ConnectError) -> ConnectError {
    let addresses = addresses.to_owned();
    let reason = chain(error);
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            ConnectError::Refused { addresses, reason }
        }
        ConnectErrorKind::ServerParse
        | ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Tls
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => ConnectError::Unreachable { addresses, reason },
    }
}

/// Returns an error and its causes in one line; each text once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            write!(text, ": {cause_text}").ok();
        }
        source = cause.source();
    }
    text
}

fn check_version(client: &Client, addresses: &str) -> Result<(), ConnectError> {
    let found = client.server_info().version;
    let supported = found.parse::<Version>().is_ok_and(Version::is_supported);
    if supported {
        Ok(())
    } else {
        Err(ConnectError::TooOld { addresses: addresses.to_owned(), found })
    }
}

async fn check_jetstream(
    js: &Context,
    link: &Link,
    addresses: &str,
    inbox: &str,
) -> Result<(), ConnectError> {
    let silent = |reason| ConnectError::Silent {
        addresses: addresses.to_owned(),
        reason,
        inbox: inbox.to_owned(),
    };
    let asked = tokio::select! {
        biased;
        asked = js.query_account() => asked,
        // Nothing but this was sent yet, so it is what was refused.
        () = link.denied() => return Err(silent("the server denies it".to_owned())),
    };
    let Err(error) = asked else { return Ok(()) };
    match error.kind() {
        AccountErrorKind::TimedOut => Err(silent(chain(&error))),
        AccountErrorKind::JetStream(_)
        | AccountErrorKind::JetStreamUnavailable
        | AccountErrorKind::Other => {
            let addresses = addresses.to_owned();
            Err(ConnectError::NoJetStream { addresses, reason: chain(&error) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_cap_and_differ() {
        let most = |attempts| (0..200).map(|_| reconnect_delay(attempts)).max().unwrap();
        assert!(most(0) <= Duration::from_millis(50));
        assert!(most(3) > Duration::from_millis(50) && most(3) <= Duration::from_millis(400));
        assert!(most(1_000_000) <= Duration::from_millis(2_000));
        let different =
            (0..100).map(|_| reconnect_delay(9)).collect::<std::collections::BTreeSet<_>>();
        assert!(different.len() > 10, "{different:?}");
    }

    fn named_by(urls: &[&str]) -> Result<Credentials, ConnectError> {
        let urls: Vec<String> = urls.iter().map(|&url| url.to_owned()).collect();
        named(&parse(&urls)?)
    }

    #[test]
    fn addresses_may_say_who_one_is() {
        let user = |user: &str, password: &str| Credentials::User {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        for (urls, expected) in [
            (&["nats://h"][..], Credentials::None),
            (&["nats://me:secret@h"], user("me", "secret")),
            (&["me:secret@h"], user("me", "secret")),
            (&["nats://h", "nats://me:secret@h"], user("me", "secret")),
            (&["nats://m%40e:p%3A%2f%C3%A9%zz@h"], user("m@e", "p:/é%zz")),
            (&["nats://me:@h"], Credentials::Token("me".to_owned())),
            (&["nats://s3cr%2Bet@h"], Credentials::Token("s3cr+et".to_owned())),
        ] {
            let found = named_by(urls).unwrap();
            assert!(found == expected, "{urls:?}: {found:?}");
        }
        for urls in [&["nats://a:b@h", "nats://c:d@h"][..], &["nats://%ff:secret@h"]] {
            let error = named_by(urls).unwrap_err().to_string();
            assert!(error.starts_with("cannot use the credentials") && !error.contains("secret"));
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let servers = parse(&["nats://me:secret@example.org".to_owned()]).unwrap();
        assert_eq!(shown(&servers), "example.org:4222");
        for text in ["nats://me:secret@exa mple.org", "ftp://me:secret@example.org", "me:secret@[x"]
        {
            let error = parse(&[text.to_owned()]).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}
