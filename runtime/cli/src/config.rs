//! Where the cluster is and how to sign in: options, environment, contexts of the `nats` tool.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cli::Cluster;
use crate::error::{Error, Exit};

/// Where a cluster is looked for if nothing was said.
pub(crate) const DEFAULT_URL: &str = "nats://127.0.0.1:4222";

/// How to reach a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Access {
    /// One or more addresses, with commas between them.
    pub(crate) url: String,
    /// A token.
    pub(crate) token: String,
    /// A user.
    pub(crate) user: String,
    /// Its password.
    pub(crate) password: String,
    /// A file with a JWT and a seed.
    pub(crate) creds: String,
    /// A file with the seed of an nkey.
    pub(crate) nkey: String,
    /// A file with a client certificate.
    pub(crate) cert: String,
    /// Its key.
    pub(crate) key: String,
    /// A file with the certificates of those to trust.
    pub(crate) ca: String,
}

impl Access {
    /// Puts together what options, environment and contexts say.
    pub(crate) fn of(cluster: &Cluster) -> Result<Self, Error> {
        let mut access = match &cluster.context {
            Some(name) => context(&folder(), name)?,
            None => Self::default(),
        };
        if let Some(url) = &cluster.nats {
            access.url.clone_from(url);
        }
        if let Some(creds) = &cluster.creds {
            access.creds = creds.to_string_lossy().into_owned();
        }
        if access.url.is_empty() {
            DEFAULT_URL.clone_into(&mut access.url);
        }
        Ok(access)
    }
}

/// Returns the folder in which the `nats` tool keeps its contexts.
fn folder() -> PathBuf {
    let config = env::var_os("XDG_CONFIG_HOME").filter(|value| !value.is_empty());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let config = config.map(PathBuf::from).or_else(home).unwrap_or_default();
    config.join("nats").join("context")
}

fn context(folder: &Path, name: &str) -> Result<Access, Error> {
    let wrong = name.is_empty() || name.contains(['/', '\\', '\0']) || name.starts_with('.');
    let file = folder.join(format!("{name}.json"));
    if wrong || !file.exists() {
        let known = known(folder).join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        let message = format!("there is no NATS context `{name}` in {}", folder.display());
        return Err(Error::new(Exit::NotFound, message)
            .help(format!("known contexts: {known}"))
            .help("create one with `nats context add`, or give an address with --nats URL"));
    }
    let text = fs::read_to_string(&file);
    let text = text.map_err(|error| crate::inputs::unreadable(&file.to_string_lossy(), &error))?;
    serde_json::from_str(&text).map_err(|error| {
        Error::usage(format!("the NATS context {} cannot be read: {error}", file.display()))
    })
}

fn known(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_gives_address_and_credentials() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prod.json");
        let text = r#"{"url": "nats://a:4222,nats://b:4222", "creds": "/x.creds", "nsc": ""}"#;
        fs::write(file, text).unwrap();
        let access = context(folder.path(), "prod").unwrap();
        assert_eq!(
            (access.url.as_str(), access.creds.as_str()),
            ("nats://a:4222,nats://b:4222", "/x.creds")
        );
        for wrong in ["dev", "", "../prod", ".x"] {
            let error = context(folder.path(), wrong).unwrap_err();
            assert!(error.advice()[0].contains("prod"), "{error}");
        }
    }

    #[test]
    fn without_a_word_it_is_the_local_server() {
        assert_eq!(Access::of(&Cluster::default()).unwrap().url, DEFAULT_URL);
    }
}
