//! How to reach a NATS server: addresses, credentials, and the contexts of the `nats` tool.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::namespace::Namespace;

/// Who one is to the server.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular, or whoever the URL names.
    #[default]
    None,
    /// A `.creds` file: a JWT and its key.
    File(PathBuf),
    /// A file that holds the seed of an nkey.
    Nkey(PathBuf),
    /// A user and a password.
    User {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
}

impl fmt::Debug for Credentials {
    /// Shows no secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Nkey(path) => f.debug_tuple("Nkey").field(path).finish(),
            Self::User { user, .. } => f.debug_tuple("User").field(user).finish(),
            Self::Token(_) => f.write_str("Token"),
        }
    }
}

/// How the connection is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities to trust in place of those of the system.
    pub ca: Option<PathBuf>,
    /// The certificate of this client.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Whether encryption comes before the server has said anything.
    pub first: bool,
}

/// How to reach a NATS server, and which cluster on it.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    /// The addresses: `nats://host:4222`, `tls://…`.
    pub servers: Vec<String>,
    /// Who one is.
    pub credentials: Credentials,
    /// Encryption.
    pub tls: Tls,
    /// Which of the clusters that share the server.
    pub namespace: Namespace,
    /// How many servers keep each message; `None` for one in new streams, any in existing ones.
    pub replicas: Option<usize>,
    /// The name of this client, for the tools of NATS.
    pub name: String,
    /// The JetStream domain, for leaf nodes.
    pub domain: Option<String>,
    /// The prefix of the subjects that answers come by, where `_INBOX` is not allowed.
    pub inbox_prefix: Option<String>,
    /// How long anybody may take to answer. Above 10 s in production: a cluster that elects a
    /// leader is silent for 4 to 6 s.
    pub request_timeout: Duration,
    /// How long a pulled task may stay silent before it comes again; settles when the queue of its
    /// capability is made.
    pub ack_wait: Duration,
}

impl fmt::Debug for ConnectOptions {
    /// Shows no secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(|url| without_secrets(url)).collect();
        f.debug_struct("ConnectOptions")
            .field("servers", &servers)
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .field("namespace", &self.namespace)
            .field("replicas", &self.replicas)
            .field("name", &self.name)
            .field("domain", &self.domain)
            .field("inbox_prefix", &self.inbox_prefix)
            .field("request_timeout", &self.request_timeout)
            .field("ack_wait", &self.ack_wait)
            .finish()
    }
}

/// Returns an address without the user and password that it may contain, whether or not it is one.
pub(crate) fn without_secrets(url: &str) -> String {
    // A password may contain anything, also `@` and `/`: all up to the last `@` may be one.
    let Some((secret, host)) = url.rsplit_once('@') else { return url.to_owned() };
    match secret.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://{host}"),
        None => host.to_owned(),
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            servers: vec!["nats://127.0.0.1:4222".to_owned()],
            credentials: Credentials::None,
            tls: Tls::default(),
            namespace: Namespace::default(),
            replicas: None,
            name: "skep".to_owned(),
            domain: None,
            inbox_prefix: None,
            request_timeout: Duration::from_secs(15),
            ack_wait: Duration::from_secs(30),
        }
    }
}

/// Why a context of the `nats` tool cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// There is no folder of contexts.
    #[error("there are no NATS contexts: neither XDG_CONFIG_HOME nor HOME is set")]
    NoFolder,
    /// No context was selected.
    #[error(
        "no NATS context is selected in {}: select one with `nats context select NAME`",
        path.display()
    )]
    NoneSelected {
        /// The file that would name it.
        path: PathBuf,
    },
    /// There is no context of that name.
    #[error("cannot read the NATS context `{name}` from {}", path.display())]
    Unreadable {
        /// Its name.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its file is not what the `nats` tool writes.
    #[error("the NATS context `{name}` in {} is damaged", path.display())]
    Damaged {
        /// Its name.
        name: String,
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It uses something that skep cannot do.
    #[error("the NATS context `{name}` has `{setting}`, which skep does not support")]
    Unsupported {
        /// Its name.
        name: String,
        /// The setting.
        setting: &'static str,
    },
}

/// What the `nats` tool keeps of a context, as far as it matters here.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Context {
    url: String,
    token: String,
    user: String,
    password: String,
    creds: String,
    nkey: String,
    cert: String,
    key: String,
    ca: String,
    nsc: String,
    jetstream_domain: String,
    jetstream_api_prefix: String,
    inbox_prefix: String,
    user_jwt: String,
    user_seed: String,
    socks_proxy: String,
    tls_first: bool,
}

impl ConnectOptions {
    /// Returns the options for the addresses in `url`, separated by commas.
    pub fn url(url: &str) -> Self {
        Self { servers: addresses(url), ..Self::default() }
    }

    /// Reads a context of the `nats` tool: `name`, or the selected one.
    ///
    /// # Errors
    /// Every variant of [`ContextError`].
    pub fn context(name: Option<&str>) -> Result<Self, ContextError> {
        let named = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = named("HOME");
        let folder = named("XDG_CONFIG_HOME")
            .or_else(|| home.as_ref().map(|home| home.join(".config")))
            .ok_or(ContextError::NoFolder)?;
        Self::context_in(&folder.join("nats"), home.as_deref(), name)
    }

    fn context_in(
        folder: &Path,
        home: Option<&Path>,
        name: Option<&str>,
    ) -> Result<Self, ContextError> {
        let name = match name {
            Some(name) => name.to_owned(),
            None => {
                let path = folder.join("context.txt");
                let selected = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                if selected.is_empty() {
                    return Err(ContextError::NoneSelected { path });
                }
                selected
            }
        };
        let path = folder.join("context").join(format!("{name}.json"));
        if name.contains(['/', '\\']) {
            let source = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(ContextError::Unreadable { name, path, source });
        }
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(ContextError::Unreadable { name, path, source }),
        };
        match serde_json::from_str::<Context>(&text) {
            Ok(context) => context.options(name, home),
            Err(source) => Err(ContextError::Damaged { name, path, source }),
        }
    }
}

impl Context {
    fn options(self, name: String, home: Option<&Path>) -> Result<ConnectOptions, ContextError> {
        let unsupported = [
            ("nsc", &self.nsc),
            ("jetstream_api_prefix", &self.jetstream_api_prefix),
            ("user_jwt", &self.user_jwt),
            ("user_seed", &self.user_seed),
            ("socks_proxy", &self.socks_proxy),
        ];
        if let Some((setting, _)) = unsupported.into_iter().find(|(_, value)| !value.is_empty()) {
            return Err(ContextError::Unsupported { name, setting });
        }
        let file = |path: String| match (path.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => home.join(rest),
            (Some(_) | None, _) => PathBuf::from(path),
        };
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let credentials = if !self.creds.is_empty() {
            Credentials::File(file(self.creds))
        } else if !self.nkey.is_empty() {
            Credentials::Nkey(file(self.nkey))
        } else if !self.token.is_empty() {
            Credentials::Token(self.token)
        } else if !self.user.is_empty() {
            Credentials::User { user: self.user, password: self.password }
        } else {
            Credentials::None
        };
        let tls = Tls {
            ca: some(self.ca).map(file),
            cert: some(self.cert).map(file),
            key: some(self.key).map(file),
            first: self.tls_first,
        };
        let mut options = ConnectOptions {
            credentials,
            tls,
            domain: some(self.jetstream_domain),
            inbox_prefix: some(self.inbox_prefix),
            ..ConnectOptions::default()
        };
        if !self.url.is_empty() {
            options.servers = addresses(&self.url);
        }
        Ok(options)
    }
}

fn addresses(url: &str) -> Vec<String> {
    url.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(json: &str, expected: Expect) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("context")).unwrap();
        fs::write(folder.path().join("context/prod.json"), json).unwrap();
        fs::write(folder.path().join("context.txt"), "prod\n").unwrap();
        let home = Some(Path::new("/home/me"));
        let seen = match ConnectOptions::context_in(folder.path(), home, None) {
            Ok(options) => {
                let (servers, credentials, tls) =
                    (options.servers, options.credentials, options.tls);
                format!("{servers:?}\n{credentials:?}\n{tls:?}\n{:?}\n", options.domain)
            }
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&seen.replace(&folder.path().display().to_string(), "FOLDER"));
    }

    #[test]
    fn contexts_are_read_as_the_nats_tool_writes_them() {
        check(
            r#"{"description": "", "url": "nats://a:4222,nats://b:4222", "creds": "~/my.creds",
                "ca": "/ca.pem", "tls_first": true, "jetstream_domain": "hub",
                "color_scheme": ""}"#,
            expect![[r#"
                ["nats://a:4222", "nats://b:4222"]
                File("/home/me/my.creds")
                Tls { ca: Some("/ca.pem"), cert: None, key: None, first: true }
                Some("hub")
            "#]],
        );
        check(
            r#"{"url": "nats://a", "user": "me", "password": "secret"}"#,
            expect![[r#"
                ["nats://a"]
                User("me")
                Tls { ca: None, cert: None, key: None, first: false }
                None
            "#]],
        );
        check(
            r#"{"nsc": "nsc://o/a/u"}"#,
            expect!["the NATS context `prod` has `nsc`, which skep does not support"],
        );
        check("{", expect!["the NATS context `prod` in FOLDER/context/prod.json is damaged"]);
    }

    #[test]
    fn secrets_are_not_shown() {
        for (url, expected) in [
            ("nats://me:secret@example.org:4222", "nats://example.org:4222"),
            ("me:secret@example.org", "example.org"),
            ("nats://secret@example.org", "nats://example.org"),
            ("nats://me:sec@ret/secret@example.org", "nats://example.org"),
            ("tls://example.org", "tls://example.org"),
        ] {
            assert_eq!(without_secrets(url), expected);
        }
        let options = ConnectOptions::url("nats://me:secret@example.org,nats://b");
        let shown = format!("{options:?}");
        assert!(!shown.contains("secret") && shown.contains("nats://example.org"), "{shown}");
    }

    #[test]
    fn a_missing_context_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name| ConnectOptions::context_in(folder.path(), None, name).unwrap_err();
        assert!(read(None).to_string().contains("nats context select"));
        assert!(matches!(read(Some("x")), ContextError::Unreadable { .. }));
        assert!(matches!(read(Some("../x")), ContextError::Unreadable { .. }));
    }
}
