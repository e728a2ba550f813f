//! What holds for the whole cluster, fixed when its first coordinator starts.

use serde::{Deserialize, Serialize};
use skep_broker::{Bucket, PutError, Registry, Revision, Unavailable};
use skep_protocol::{CodecError, PartitionCount, decode, encode};

const KEY: &str = "settings";
const VERSION: u32 = 1;

/// Why the settings of the cluster cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The broker cannot be reached.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// What is stored is no settings.
    #[error("the settings of the cluster cannot be read")]
    Undecodable(#[from] CodecError),
    /// The cluster was created, or upgraded, by a newer skep.
    #[error("the cluster has format {found}, this skep knows up to {known}")]
    Version {
        /// The format of the cluster.
        found: u32,
        /// The newest one this program knows.
        known: u32,
    },
}

/// What every coordinator of a cluster has to agree on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Settings {
    v: u32,
    pub(crate) partitions: PartitionCount,
    /// Tells this cluster from every other one.
    #[serde(default)]
    pub(crate) cluster: String,
}

/// Returns the number of partitions of the cluster, for those who only ask its coordinators
/// something; `None` if no coordinator was ever started on it.
///
/// # Errors
/// [`SettingsError`] if the settings cannot be read.
///
/// # Cancel safety
/// Safe.
pub async fn partitions<R: Registry>(
    registry: &R,
) -> Result<Option<PartitionCount>, SettingsError> {
    Ok(read(registry).await?.map(|settings| settings.partitions))
}

/// Returns the settings of the cluster; the first one to ask decides them.
pub(crate) async fn agree<R: Registry>(
    registry: &R,
    partitions: PartitionCount,
    cluster: String,
) -> Result<Settings, SettingsError> {
    let wanted = Settings { v: VERSION, partitions, cluster };
    loop {
        if let Some(settings) = read(registry).await? {
            return Ok(settings);
        }
        match registry.put(Bucket::Cluster, KEY, encode(&wanted), Revision::ABSENT).await {
            Ok(_) => return Ok(wanted),
            // Somebody was faster: what they wrote holds.
            Err(PutError::Conflict { .. }) => {}
            Err(PutError::Unavailable(error)) => return Err(error.into()),
            Err(error) => {
                let reason = error.to_string();
                return Err(Unavailable { attempted: "write the settings", reason }.into());
            }
        }
    }
}

async fn read<R: Registry>(registry: &R) -> Result<Option<Settings>, SettingsError> {
    let Some(entry) = registry.get(Bucket::Cluster, KEY).await? else { return Ok(None) };
    let settings: Settings = decode(&entry.value)?;
    if settings.v > VERSION {
        return Err(SettingsError::Version { found: settings.v, known: VERSION });
    }
    Ok(Some(settings))
}

#[cfg(test)]
impl Settings {
    pub(crate) fn of_tests(cluster: &str) -> Self {
        let (v, partitions) = (VERSION, PartitionCount::DEFAULT);
        Self { v, partitions, cluster: cluster.to_owned() }
    }
}
