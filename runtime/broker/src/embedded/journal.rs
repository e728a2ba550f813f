//! Journals in memory.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use skep_protocol::{PartitionId, Seq};

use super::Embedded;
use super::part::Taking;
use crate::error::Unavailable;
use crate::journal::{AppendError, Journal, JournalMessage, JournalReader, ReadError};
use crate::memory::{Journals, Overtaken};

/// Messages that a reader takes at a time.
const READ_AT_ONCE: usize = 256;

impl Journal for Embedded {
    async fn append(
        &self,
        partition: PartitionId,
        expected: Seq,
        message: Bytes,
    ) -> Result<Seq, AppendError> {
        let now = self.parts.now();
        self.parts.journals.with(|journals, ready| {
            let seq = journals.append(partition, expected, message, ready)?;
            journals.appended(partition, now);
            Ok(seq)
        })
    }

    async fn last(&self, partition: PartitionId) -> Result<Option<JournalMessage>, Unavailable> {
        Ok(self.parts.journals.with(|journals, _| journals.last(partition)))
    }

    async fn age(&self, partition: PartitionId) -> Result<Duration, Unavailable> {
        let now = self.parts.now();
        Ok(self.parts.journals.with(|journals, _| journals.age(partition, now)))
    }

    async fn follow(
        &self,
        partition: PartitionId,
        from: Seq,
    ) -> Result<JournalReader, Unavailable> {
        let part = &self.parts.journals;
        let reader = part.with(|journals, _| journals.follow(partition, from));
        let take = |journals: &mut Journals, reader| match journals.read(reader, READ_AT_ONCE) {
            Ok(messages) if messages.is_empty() => None,
            other => Some(other),
        };
        let chunks = Taking::new(part, reader, take, |journals, reader, _| journals.close(reader));
        let items = chunks.flat_map(|chunk| {
            let (messages, end) = match chunk {
                Ok(messages) => (messages, None),
                Err(Overtaken { expected, first }) => {
                    (Vec::new(), Some(ReadError::Hole { expected, found: first }))
                }
            };
            stream::iter(messages.into_iter().map(Ok).chain(end.map(Err)))
        });
        // A hole is the last item: whoever went on after it would have skipped something.
        let mut ended = false;
        Ok(items
            .take_while(move |item| {
                let go_on = !std::mem::replace(&mut ended, item.is_err());
                async move { go_on }
            })
            .boxed())
    }

    async fn trim(&self, partition: PartitionId, first_kept: Seq) -> Result<(), Unavailable> {
        self.parts.journals.with(|journals, _| journals.trim(partition, first_kept));
        Ok(())
    }
}
