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

/// A snapshot that is being written: the state follows its header at once, so that it need not be
/// copied.
#[derive(Debug)]
pub(crate) struct Draft {
    chain: Chain,
    bytes: Vec<u8>,
    state_at: usize,
}

impl Draft {
    /// Begins a snapshot at the end of `chain`, whose state takes about so many bytes; the state is
    /// to be appended to [`bytes`](Self::bytes).
    pub(crate) fn new(chain: Chain, size: usize) -> Self {
        // The length of a header does not depend on the hash.
        let mut bytes = header(chain, Hash::ZERO);
        let state_at = bytes.len();
        bytes.reserve_exact(size);
        Self { chain, bytes, state_at }
    }

    pub(crate) const fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Returns the snapshot for storage, and the state in it.
    pub(crate) fn seal(mut self) -> (Snapshot, Bytes) {
        let header = header(self.chain, Hash::of(&self.bytes[self.state_at..]));
        self.bytes[..self.state_at].copy_from_slice(&header);
        let snapshot = Snapshot { seq: self.chain.seq, bytes: self.bytes.into() };
        let state = snapshot.bytes.slice(self.state_at..);
        (snapshot, state)
    }
}

/// Returns the first line of a snapshot.
fn header(chain: Chain, state: Hash) -> Vec<u8> {
    let header = Header { v: SNAPSHOT_VERSION, seq: chain.seq, chain: chain.hash, state };
    let mut line = encode(&header).to_vec();
    line.push(b'\n');
    line
}

/// Wraps the state of the engine at the end of `chain` for storage.
#[cfg(test)]
pub(crate) fn seal_snapshot(chain: Chain, state: &[u8]) -> Snapshot {
    let mut draft = Draft::new(chain, state.len());
    draft.bytes().extend_from_slice(state);
    draft.seal().0
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
