//! Reads the journals to their present ends, once all is over.

use std::collections::{BTreeMap, btree_map};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use futures::StreamExt as _;
use serde_json::json;
use skep_broker::Journal as _;
use skep_nats::Nats;
use skep_protocol::{Batch, PartitionCount, PartitionId, Seq};

use super::history::{Entry, Journal};
use crate::error::{Error, chain};
use crate::process::failed;

/// Reads all of them.
pub(super) async fn read(nats: &Nats, partitions: PartitionCount) -> Result<Vec<Journal>, Error> {
    let mut journals = Vec::new();
    for partition in partitions.all() {
        journals.push(journal(nats, partition).await?);
    }
    Ok(journals)
}

async fn journal(nats: &Nats, partition: PartitionId) -> Result<Journal, Error> {
    let mut messages = Vec::new();
    if let Some(last) = nats.last(partition).await? {
        let mut reader = nats.follow(partition, Seq::new(1)).await?;
        while let Some(message) = reader.next().await {
            let message = message.map_err(|error| failed("read a journal", &chain(&error)))?;
            let is_last = message.seq >= last.seq;
            messages.push((message.seq, message.bytes));
            if is_last {
                break;
            }
        }
    }
    Ok(Journal { partition, messages })
}

/// Writes the records down, a line for each, for people and their tools.
pub(super) fn keep(entries: &[Entry], folder: &Path) -> io::Result<()> {
    let mut files = BTreeMap::new();
    for entry in entries {
        let Entry { partition, seq, epoch, record } = entry;
        let file = match files.entry(*partition) {
            btree_map::Entry::Occupied(file) => file.into_mut(),
            btree_map::Entry::Vacant(none) => {
                let path = folder.join(format!("partition-{partition}.jsonl"));
                none.insert(BufWriter::new(File::create(path)?))
            }
        };
        let line = json!({ "seq": seq, "epoch": epoch, "record": record });
        writeln!(file, "{line}")?;
    }
    files.into_values().try_for_each(|mut file| file.flush())
}

/// Returns the records of the messages that can be read; the audit finds the others.
pub(super) fn entries(journals: &[Journal]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for Journal { partition, messages } in journals {
        for (seq, bytes) in messages {
            let Ok(Batch { epoch, records, .. }) = Batch::read(bytes) else { continue };
            let entry = |record| Entry { partition: *partition, seq: *seq, epoch, record };
            entries.extend(records.into_iter().map(entry));
        }
    }
    entries
}
