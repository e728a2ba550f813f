//! Making the streams of a cluster, and checking those that are there.

use std::convert::Infallible;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamError, GetStreamErrorKind};
use async_nats::jetstream::stream::Config;
use skep_broker::Unavailable;
use skep_protocol::PartitionCount;
use skep_protocol::limits::MAX_BATCH_BYTES;

use crate::connect::chain;
use crate::nats::Nats;
use crate::settings::{Difference, differences, upgraded};
use crate::tasks::already_there;

/// Room for headers beside the largest journal message.
const HEADERS: usize = 4 * 1024;

/// Why the streams of a cluster are not as they have to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A stream exists with other settings.
    #[error("the stream `{stream}` has {setting} = {found}, but skep needs {wanted}")]
    Differs {
        /// Its name.
        stream: String,
        /// The setting.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it has to be.
        wanted: String,
    },
    /// The server refuses to make a stream.
    #[error("cannot create the stream `{stream}`: {reason}")]
    Refused {
        /// Its name.
        stream: String,
        /// What the server says.
        reason: String,
    },
    /// A stream of an earlier version cannot be brought up to date.
    #[error("cannot change the settings of the stream `{stream}`: {reason}")]
    NotUpdated {
        /// Its name.
        stream: String,
        /// What the server says.
        reason: String,
    },
    /// The server takes too small messages.
    #[error(
        "the server takes messages of up to {found} bytes, but skep needs {wanted}: \
         raise `max_payload`"
    )]
    MaxPayload {
        /// What it takes.
        found: usize,
        /// What it has to take.
        wanted: usize,
    },
    /// The server cannot be reached.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Nats {
    /// Makes every stream of the cluster that is not there, and checks the others.
    ///
    /// # Errors
    /// Every variant of [`LayoutError`].
    ///
    /// # Cancel safety
    /// Safe: it may be called again.
    pub async fn ensure_layout(&self, partitions: PartitionCount) -> Result<(), LayoutError> {
        let (found, wanted) = (self.shared.client.max_payload(), MAX_BATCH_BYTES + HEADERS);
        if found < wanted {
            return Err(LayoutError::MaxPayload { found, wanted });
        }
        let replicas = self.shared.replicas.unwrap_or(1);
        for config in self.layout().streams(partitions, replicas) {
            self.ensure(config).await?;
        }
        Ok(())
    }

    async fn ensure(&self, wanted: Config) -> Result<(), LayoutError> {
        if let Some(found) = self.settings_of(&wanted.name).await? {
            return self.adopt(wanted, found).await;
        }
        let attempted = "create the streams";
        let created = async {
            match self.js().create_stream(wanted.clone()).await {
                Ok(_) => Ok(Ok(())),
                Err(error) => match error.kind() {
                    CreateStreamErrorKind::JetStream(ref refusal)
                        if !already_there(&error.kind()) =>
                    {
                        Ok(Err(refusal.to_string()))
                    }
                    // Somebody else was faster; what it is like is seen below.
                    CreateStreamErrorKind::JetStream(_) => Ok(Ok(())),
                    CreateStreamErrorKind::EmptyStreamName
                    | CreateStreamErrorKind::InvalidStreamName
                    | CreateStreamErrorKind::DomainAndExternalSet
                    | CreateStreamErrorKind::JetStreamUnavailable
                    | CreateStreamErrorKind::TimedOut
                    | CreateStreamErrorKind::Response
                    | CreateStreamErrorKind::NotFound
                    | CreateStreamErrorKind::ResponseParse => Err(error),
                },
            }
        };
        if let Err(reason) = self.api(attempted, created).await? {
            return Err(LayoutError::Refused { stream: wanted.name, reason });
        }
        match self.settings_of(&wanted.name).await? {
            Some(found) => self.adopt(wanted, found).await,
            None => {
                let reason = "it vanished at once".to_owned();
                Err(LayoutError::Refused { stream: wanted.name, reason })
            }
        }
    }

    /// Brings a stream that an earlier version made up to date, and checks it.
    async fn adopt(&self, mut wanted: Config, mut found: Config) -> Result<(), LayoutError> {
        let stream = wanted.name.clone();
        if stream == self.layout().late_stream() {
            self.layout().keep_lates(&found, &mut wanted);
        }
        if let Some(config) = upgraded(&wanted, &found) {
            let updated = async { Ok::<_, Infallible>(self.js().update_stream(&config).await) };
            match self.api("change the streams", updated).await? {
                Ok(info) => found = info.config,
                Err(error) => {
                    let reason = chain(&error);
                    return Err(LayoutError::NotUpdated { stream, reason });
                }
            }
        }
        match differences(&wanted, &found, self.shared.replicas).into_iter().next() {
            None => Ok(()),
            Some(Difference { setting, found, wanted }) => {
                Err(LayoutError::Differs { stream, setting, found, wanted })
            }
        }
    }

    async fn settings_of(&self, stream: &str) -> Result<Option<Config>, Unavailable> {
        let read = async {
            match self.js().get_stream(stream).await {
                Ok(stream) => Ok(Some(stream.cached_info().config.clone())),
                Err(error) if is_missing(&error) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.api("look for the streams", read).await
    }
}

pub(crate) fn is_missing(error: &GetStreamError) -> bool {
    matches!(error.kind(), GetStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}
