//! Where a journal ends, and what a snapshot says about it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use skep_broker::Snapshot;
use skep_protocol::{Hash, Seq, encode};

/// The end of a journal as far as it was read or written: the next message has to name `hash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) seq: Seq,
    pub(crate) hash: Hash,
}

impl Chain {
    pub(crate) const EMPTY: Self = Self { seq: Seq::ZERO, hash: Hash::ZERO };

    pub(crate) fn extended(self, message: &[u8]) -> Self {
        Self { seq: self.seq.next(), hash: Hash::of(message) }
    }
}

/// The first line of a stored snapshot; the state of the engine follows it.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    v: u32,
    seq: Seq,
    /// The hash of the last message that the state includes.
    chain: Hash,
    /// The hash of the state's bytes.
    state: Hash,
}

const SNAPSHOT_VERSION: u32 = 1;

/// Wraps the state of the engine at the end of `chain` for storage.
pub(crate) fn seal_snapshot(chain: Chain, state: &[u8]) -> Snapshot {
    let header =
        Header { v: SNAPSHOT_VERSION, seq: chain.seq, chain: chain.hash, state: Hash::of(state) };
    let mut bytes = encode(&header).to_vec();
    bytes.push(b'\n');
    bytes.extend_from_slice(state);
    Snapshot { seq: chain.seq, bytes: bytes.into() }
}

/// Unwraps a stored snapshot; `None` if it is damaged or newer than this program.
pub(crate) fn open_snapshot(snapshot: &Snapshot) -> Option<(Chain, Bytes)> {
    let end = snapshot.bytes.iter().position(|&byte| byte == b'\n')?;
    let header: Header = serde_json::from_slice(&snapshot.bytes[..end]).ok()?;
    let state = snapshot.bytes.slice(end + 1..);
    let sound = header.v <= SNAPSHOT_VERSION
        && header.seq == snapshot.seq
        && header.state == Hash::of(&state);
    sound.then_some((Chain { seq: header.seq, hash: header.chain }, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_makes_a_snapshot_worthless() {
        let chain = Chain { seq: Seq::new(7), hash: Hash::of(b"message") };
        let sealed = seal_snapshot(chain, b"{\"state\":\n1}");
        let (opened, state) = open_snapshot(&sealed).unwrap();
        assert_eq!((opened, &state[..]), (chain, &b"{\"state\":\n1}"[..]));
        for at in 0..sealed.bytes.len() {
            let mut bytes = sealed.bytes.to_vec();
            bytes[at] ^= 0x10;
            let damaged = Snapshot { seq: sealed.seq, bytes: bytes.into() };
            let same_chain = open_snapshot(&damaged).is_none_or(|(chain, _)| chain != opened);
            assert!(same_chain, "byte {at} may change");
        }
    }
}
