//! How a message of a journal is written, and how it is seen that it was read as it was written.
//!
//! The chain of hashes vouches for a message once another one follows it. For the last one, only
//! the seal does: a hash of everything else in it.

use bytes::Bytes;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::codec::encode;
use crate::ids::Hash;
use crate::partition::PartitionId;
use crate::record::Batch;

/// A [`Batch`] whose records are encoded already; the same JSON.
#[derive(Debug, Clone, Copy)]
pub struct RawBatch<'a> {
    /// See [`Batch`].
    pub v: u32,
    /// See [`Batch`].
    pub partition: PartitionId,
    /// See [`Batch`].
    pub epoch: u64,
    /// See [`Batch`].
    pub previous: Hash,
    /// The JSON of each record, in order.
    pub records: &'a [Box<RawValue>],
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    partition: PartitionId,
    epoch: u64,
    previous: Hash,
    seal: Hash,
    records: &'a [Box<RawValue>],
}

#[derive(Deserialize)]
struct Read<'a> {
    v: u32,
    partition: PartitionId,
    epoch: u64,
    previous: Hash,
    /// Missing in journals of old.
    #[serde(default)]
    seal: Option<Hash>,
    #[serde(borrow)]
    records: &'a RawValue,
}

impl RawBatch<'_> {
    /// Encodes the message.
    pub fn encode(&self) -> Bytes {
        encode(self)
    }

    fn seal(&self) -> Hash {
        let Self { v, partition, epoch, previous, records } = self;
        let mut seal = begin_seal(*v, *partition, *epoch, *previous);
        seal.update(b"[");
        for (index, record) in records.iter().enumerate() {
            seal.update(if index == 0 { b"" } else { b"," });
            seal.update(record.get().as_bytes());
        }
        seal.update(b"]");
        Hash::from_bytes(*seal.finalize().as_bytes())
    }
}

fn begin_seal(v: u32, partition: PartitionId, epoch: u64, previous: Hash) -> blake3::Hasher {
    let mut seal = blake3::Hasher::new();
    seal.update(&v.to_be_bytes());
    seal.update(&partition.get().to_be_bytes());
    seal.update(&epoch.to_be_bytes());
    seal.update(previous.as_bytes());
    seal
}

impl Serialize for RawBatch<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (seal, Self { v, partition, epoch, previous, records }) = (self.seal(), *self);
        Written { v, partition, epoch, previous, seal, records }.serialize(serializer)
    }
}

impl Serialize for Batch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let records = self.records.iter().map(serde_json::value::to_raw_value);
        let records = records.collect::<Result<Vec<_>, _>>().map_err(S::Error::custom)?;
        let Self { v, partition, epoch, previous, .. } = *self;
        RawBatch { v, partition, epoch, previous, records: &records }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read { v, partition, epoch, previous, seal, records } =
            Read::deserialize(deserializer)?;
        let mut found = begin_seal(v, partition, epoch, previous);
        found.update(records.get().as_bytes());
        let found = Hash::from_bytes(*found.finalize().as_bytes());
        if seal.is_some_and(|seal| seal != found) {
            return Err(D::Error::custom("the message is not what was written"));
        }
        let records = serde_json::from_str(records.get()).map_err(D::Error::custom)?;
        Ok(Self { v, partition, epoch, previous, records })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::ids::RunId;
    use crate::record::{OwnerChanged, Record, RunRecord, Seq};
    use crate::time::Timestamp;

    fn batch() -> Batch {
        let at = Timestamp::from_millis(1_700_000_000_000);
        let coordinator = "c1".parse().unwrap();
        let run = RunId::from_key("w", "k");
        let event = Event::CancelRequested { reason: "7 are enough".to_owned() };
        let records = vec![
            Record::OwnerChanged(OwnerChanged { epoch: 3, coordinator, at }),
            Record::Run(RunRecord { run, at, event }),
        ];
        let (partition, previous) = (PartitionId::new(2), Hash::of(b"before"));
        Batch { v: Batch::VERSION, partition, epoch: 3, previous, records }
    }

    fn decode(bytes: &[u8]) -> Option<Batch> {
        Batch::decode(bytes, Seq::new(1), PartitionId::new(2), Hash::of(b"before")).ok()
    }

    #[test]
    fn no_bit_of_a_message_changes_unseen() {
        let bytes = batch().encode();
        assert_eq!(decode(&bytes), Some(batch()));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 1 << bit;
                // The name of the seal itself may be hit: then the rest is what it was.
                let found = decode(&damaged);
                assert!(found.is_none_or(|found| found == batch()), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn messages_of_old_have_no_seal() {
        let text = String::from_utf8(batch().encode().to_vec()).unwrap();
        let from = text.find("\"seal\"").unwrap();
        let to = text.find("\"records\"").unwrap();
        let old = format!("{}{}", &text[..from], &text[to..]);
        assert_eq!(decode(old.as_bytes()), Some(batch()));
    }

    #[test]
    fn a_batch_of_encoded_records_is_a_batch() {
        let whole = batch();
        let records = whole.records.iter().map(serde_json::value::to_raw_value);
        let records: Vec<_> = records.map(Result::unwrap).collect();
        let Batch { v, partition, epoch, previous, .. } = whole;
        let raw = RawBatch { v, partition, epoch, previous, records: &records };
        assert_eq!(raw.encode(), whole.encode());
        let none = Batch { records: Vec::new(), ..batch() };
        assert_eq!(decode(&none.encode()), Some(none));
    }
}
