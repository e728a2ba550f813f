//! Large values by their hash: a stream whose subjects are written once.

use bytes::Bytes;
use skep_broker::{Blobs, PutBlobError, Unavailable};
use skep_protocol::BlobRef;
use skep_protocol::limits::MAX_PAYLOAD;

use crate::chunks::Source;
use crate::nats::Nats;

impl Blobs for Nats {
    async fn put_blob(&self, bytes: Bytes) -> Result<BlobRef, PutBlobError> {
        Ok(self.keep_blob(bytes).await?)
    }

    async fn blob(&self, blob: BlobRef) -> Result<Option<Bytes>, Unavailable> {
        // The reference comes from outside; nothing larger was ever kept.
        let size = usize::try_from(blob.size).unwrap_or(usize::MAX);
        if size > MAX_PAYLOAD {
            return Ok(None);
        }
        let (stream, prefix) = (self.layout().blob_stream(), self.layout().blob(blob.hash));
        let whole = (size, Source::Anywhere);
        let bytes = self.chunks("read a blob", &stream, &prefix, whole).await?;
        Ok(bytes.filter(|bytes| BlobRef::of(bytes) == blob))
    }
}

impl Nats {
    /// Keeps a large value under its hash.
    pub(crate) async fn keep_blob(&self, bytes: Bytes) -> Result<BlobRef, Unavailable> {
        let attempted = "keep a blob";
        let blob = BlobRef::of(&bytes);
        if bytes.len() > MAX_PAYLOAD {
            let reason = format!("it has {} bytes, at most {MAX_PAYLOAD} are taken", blob.size);
            return Err(Unavailable { attempted, reason });
        }
        let (stream, prefix) = (self.layout().blob_stream(), self.layout().blob(blob.hash));
        self.put_chunks(attempted, (&stream, &prefix), &bytes).await?;
        Ok(blob)
    }
}
