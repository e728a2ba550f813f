//! How a message of a journal is written, and how it is seen that it was read as it was written.
//!
//! The chain of hashes vouches for a message once another one follows it. For the last one, only
//! the seal does: a hash of everything else in it.

use std::ops::Range;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::codec::{CodecError, decode_borrowed, encode};
use crate::ids::Hash;
use crate::partition::PartitionId;
use crate::record::{Batch, Record};

/// What stands before the records takes less than so many bytes.
const HEAD: usize = 384;
/// What stands between that and the first of them.
const RECORDS: &[u8] = br#","records":["#;

/// A message that is being written: the JSON of its records, one behind the other, with room for
/// what stands before them. It can be used again for the next message: its memory has grown to what
/// messages need, and those that are kept take no more than they need.
#[derive(Debug)]
pub struct Draft {
    bytes: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    v: u32,
    partition: PartitionId,
    epoch: u64,
    previous: Hash,
    seal: Hash,
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

impl Draft {
    /// Begins a message.
    pub fn new() -> Self {
        let mut bytes = vec![b' '; HEAD];
        bytes.push(b'[');
        Self { bytes, ends: Vec::new() }
    }

    /// Begins another message.
    pub fn clear(&mut self) {
        self.bytes.truncate(HEAD + 1);
        self.ends.clear();
    }

    /// Adds a record.
    ///
    /// # Panics
    /// Never: records have a JSON form.
    pub fn push(&mut self, record: &Record) {
        if !self.ends.is_empty() {
            self.bytes.push(b',');
        }
        serde_json::to_writer(&mut self.bytes, record).expect("records have a JSON form");
        self.ends.push(self.bytes.len());
    }

    /// Returns how many records there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns how many bytes the records take.
    pub fn size(&self) -> usize {
        self.bytes.len() - HEAD
    }

    /// Returns how many of the first records take no more than so many bytes.
    pub fn fitting(&self, bytes: usize) -> usize {
        self.ends.partition_point(|end| end - HEAD <= bytes)
    }

    /// Splits off what comes after the first `count` records.
    #[must_use]
    pub fn split_off(&mut self, count: usize) -> Self {
        let from = count.checked_sub(1).map_or(HEAD + 1, |last| self.ends[last]);
        let comma = usize::from(count > 0 && count < self.ends.len());
        let mut rest = Self::new();
        rest.bytes.extend_from_slice(&self.bytes[from + comma..]);
        let shift = from + comma - HEAD - 1;
        rest.ends = self.ends.split_off(count).into_iter().map(|end| end - shift).collect();
        self.bytes.truncate(from);
        rest
    }

    /// Returns where the records lie in the message that was finished last.
    pub fn texts(&self, message: &Bytes) -> Texts {
        let shift = self.bytes.len() + 2 - message.len();
        let mut from = HEAD + 1;
        let places = self.ends.iter().map(|end| {
            let place = from - shift..end - shift;
            from = end + 1;
            place
        });
        Texts { places: places.collect(), message: message.clone() }
    }

    /// Returns the message, of this partition and epoch, behind the message of this hash.
    ///
    /// # Panics
    /// Never: what stands before the records has a JSON form, and room.
    pub fn finish(&mut self, partition: PartitionId, epoch: u64, previous: Hash) -> Bytes {
        let end = self.bytes.len();
        self.bytes.extend_from_slice(b"]}");
        let v = Batch::VERSION;
        let mut seal = begin_seal(v, partition, epoch, previous);
        seal.update(&self.bytes[HEAD..=end]);
        let seal = Hash::from_bytes(*seal.finalize().as_bytes());
        let mut head = encode(&Head { v, partition, epoch, previous, seal }).to_vec();
        head.pop();
        head.extend_from_slice(&RECORDS[..RECORDS.len() - 1]);
        let from = HEAD.checked_sub(head.len()).expect("there is room before the records");
        self.bytes[from..HEAD].copy_from_slice(&head);
        let message = Bytes::copy_from_slice(&self.bytes[from..]);
        self.bytes.truncate(end);
        message
    }
}

/// The JSON of each record of a message, where it lies in it.
#[derive(Debug, Clone)]
pub struct Texts {
    message: Bytes,
    places: Vec<Range<usize>>,
}

impl Texts {
    /// Finds the records of a message that was read before.
    ///
    /// # Errors
    /// [`CodecError`] if it has none.
    pub fn find(message: Bytes) -> Result<Self, CodecError> {
        #[derive(Deserialize)]
        struct Records<'a> {
            #[serde(borrow)]
            records: Vec<&'a RawValue>,
        }
        let start = message.as_ptr().addr();
        let Records { records } = decode_borrowed(&message)?;
        let place = |record: &RawValue| {
            let from = record.get().as_ptr().addr() - start;
            from..from + record.get().len()
        };
        let places = records.into_iter().map(place).collect();
        Ok(Self { places, message })
    }

    /// Writes a record that stands in no message.
    pub fn of(record: &Record) -> Self {
        let message = encode(record);
        Self { places: std::iter::once(0..message.len()).collect(), message }
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns how many bytes they take: the message is kept as a whole.
    pub fn size(&self) -> usize {
        self.message.len() + size_of_val(&self.places[..])
    }

    /// Returns one of them, counted from 0: it is UTF-8.
    ///
    /// # Panics
    /// There are not so many.
    pub fn get(&self, number: usize) -> &[u8] {
        &self.message[self.places[number].clone()]
    }
}

impl Default for Draft {
    fn default() -> Self {
        Self::new()
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

/// Reads a message that has the form in which this program writes it, without looking for the end
/// of the records first; nothing of any other one, or of one that is damaged.
pub(crate) fn read_as_written(bytes: &[u8]) -> Option<Batch> {
    let at = bytes.windows(RECORDS.len()).take(HEAD).position(|here| here == RECORDS)?;
    let mut head = bytes[..at].to_vec();
    head.push(b'}');
    let Head { v, partition, epoch, previous, seal } = serde_json::from_slice(&head).ok()?;
    let records = bytes.strip_suffix(b"}")?.get(at + RECORDS.len() - 1..)?;
    let mut found = begin_seal(v, partition, epoch, previous);
    found.update(records);
    if seal != Hash::from_bytes(*found.finalize().as_bytes()) {
        return None;
    }
    let records = serde_json::from_slice(records).ok()?;
    Some(Batch { v, partition, epoch, previous, records })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use crate::ids::RunId;
    use crate::record::{OwnerChanged, RunRecord, Seq};
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
    fn what_is_written_here_is_read_at_once_and_anything_else_with_care() {
        let bytes = batch().encode();
        assert_eq!(read_as_written(&bytes), Some(batch()));
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        for other in [text.replace(",\"records\":", ", \"records\": "), format!("{text} ")] {
            assert_eq!(read_as_written(other.as_bytes()), None);
            assert!(decode(other.as_bytes()).is_none_or(|read| read == batch()), "{other}");
        }
        assert_eq!(read_as_written(b"{}"), None);
    }

    #[test]
    fn messages_of_old_have_no_seal() {
        let text = String::from_utf8(batch().encode().to_vec()).unwrap();
        let from = text.find("\"seal\"").unwrap();
        let to = text.find("\"records\"").unwrap();
        let old = format!("{}{}", &text[..from], &text[to..]);
        assert_eq!(decode(old.as_bytes()), Some(batch()));
    }

    fn draft(records: &[Record]) -> Draft {
        let mut draft = Draft::new();
        records.iter().for_each(|record| draft.push(record));
        draft
    }

    #[test]
    fn a_draft_is_split_between_records() {
        let record = |step: u64| {
            let event = Event::CancelRequested { reason: format!("{step} are enough") };
            let run = RunId::from_key("w", "k");
            Record::Run(RunRecord { run, at: Timestamp::EPOCH, event })
        };
        let records: Vec<Record> = (0..4).map(record).collect();
        let finished = |mut draft: Draft| {
            let size = draft.size();
            let bytes = draft.finish(PartitionId::new(2), 3, Hash::of(b"before"));
            assert!(bytes.len() > size + 2);
            decode(&bytes).unwrap().records
        };
        for count in 0..=records.len() {
            let mut first = draft(&records);
            let (all, each) = (first.size(), first.size() / 4);
            assert_eq!((first.fitting(all), first.fitting(all - 1), first.fitting(0)), (4, 3, 0));
            assert_eq!(first.fitting(2 * each + 1), 2);
            let mut rest = first.split_off(count);
            assert_eq!((first.len(), rest.len()), (count, records.len() - count));
            assert_eq!(rest.fitting(usize::MAX), rest.len());
            let last = rest.split_off(rest.len());
            assert!(last.is_empty());
            assert_eq!(finished(first), records[..count]);
            assert_eq!(finished(rest), records[count..]);
        }
    }

    #[test]
    fn a_draft_is_a_batch_again_and_again() {
        let whole = batch();
        let mut draft = draft(&whole.records);
        for _ in 0..2 {
            let bytes = draft.finish(whole.partition, whole.epoch, whole.previous);
            assert_eq!(bytes, whole.encode());
        }
        let bytes = draft.finish(whole.partition, whole.epoch, whole.previous);
        let known = draft.texts(&bytes);
        let found = Texts::find(bytes.clone()).unwrap();
        assert_eq!((known.len(), found.len()), (whole.records.len(), whole.records.len()));
        for (number, record) in whole.records.iter().enumerate() {
            let alone = Texts::of(record);
            assert_eq!((alone.len(), alone.get(0)), (1, &encode(record)[..]));
            assert_eq!([known.get(number), found.get(number)], [alone.get(0); 2]);
        }
        assert!(Texts::find(Bytes::from_static(b"{}")).is_err());
        draft.clear();
        draft.push(&whole.records[1]);
        let bytes = draft.finish(whole.partition, whole.epoch, whole.previous);
        let second = Batch { records: vec![whole.records[1].clone()], ..batch() };
        assert_eq!(bytes, second.encode());
        let none = Batch { records: Vec::new(), ..batch() };
        assert_eq!(decode(&none.encode()), Some(none));
    }
}
