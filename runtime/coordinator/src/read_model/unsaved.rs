//! Messages of which something is not stored, as they came: what they tell of each run is put
//! together when it is written.

use skep_protocol::Texts;

/// The messages that came since the last write.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    messages: Vec<Texts>,
    /// What they take in memory, in bytes.
    size: usize,
}

/// Where the text of a record lies, until the next write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    message: u32,
    record: u32,
}

impl Unsaved {
    /// Keeps a message. Returns where its records lie, in order.
    pub(super) fn keep(&mut self, message: Texts) -> impl Iterator<Item = Place> + use<> {
        let (number, records) = (self.messages.len() as u32, message.len() as u32);
        self.size += message.size();
        self.messages.push(message);
        (0..records).map(move |record| Place { message: number, record })
    }

    /// Returns what the messages take in memory, in bytes.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// Returns the text of a record.
    pub(super) fn text(&self, Place { message, record }: Place) -> &[u8] {
        self.messages[message as usize].get(record as usize)
    }

    /// Adds the texts of records, with commas between them.
    pub(super) fn gather(&self, places: &[Place], into: &mut Vec<u8>) {
        for (number, place) in places.iter().enumerate() {
            if number > 0 {
                into.push(b',');
            }
            into.extend_from_slice(self.text(*place));
        }
    }

    /// Everything is stored.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.size = 0;
    }
}

#[cfg(test)]
mod tests {
    use skep_protocol::{Event, Record, RunId, RunRecord, Timestamp};

    use super::*;

    fn message(reason: &str) -> Texts {
        let (run, event) =
            (RunId::from_key("w", "k"), Event::CancelRequested { reason: reason.to_owned() });
        Texts::of(&Record::Run(RunRecord { run, at: Timestamp::EPOCH, event }))
    }

    #[test]
    fn what_messages_tell_of_a_run_is_put_together() {
        let mut unsaved = Unsaved::default();
        for round in ["a", "b"] {
            let messages = [message(round), message("other"), message("ü")];
            let size: usize = messages.iter().map(Texts::size).sum();
            let texts = [messages[0].get(0).to_vec(), messages[2].get(0).to_vec()];
            let places: Vec<Place> =
                messages.into_iter().flat_map(|message| unsaved.keep(message)).collect();
            assert_eq!(unsaved.size(), size, "a message is kept as a whole");
            let mut text = Vec::new();
            unsaved.gather(&[places[0], places[2]], &mut text);
            assert_eq!(text, texts.join(&b','));
            unsaved.gather(&[], &mut text);
            assert_eq!(text.len(), texts.join(&b',').len());
            unsaved.clear();
            assert_eq!(unsaved.size(), 0);
        }
    }
}
