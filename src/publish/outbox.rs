//! Results that the broker has not acknowledged, oldest first, in memory and bounded.
//!
//! It knows nothing of the connection: what to send next, what was acknowledged and when to begin again is
//! said to it.

use std::collections::BTreeMap;

use crate::frame::CameraId;

/// Names an entry; later entries have larger numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId(u64);

/// One result on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub camera: CameraId,
    pub payload: Vec<u8>,
}

/// The queue. An entry leaves it by acknowledgement, or as the oldest when there is no room.
#[derive(Debug)]
pub struct Outbox {
    capacity: usize,
    entries: BTreeMap<EntryId, Entry>,
    /// The next entry gets this.
    fresh: EntryId,
    /// Entries before this are handed out.
    cursor: EntryId,
    /// Entries before this were there when the connection came up.
    replay_end: EntryId,
}

/// An entry that is to be sent now.
#[derive(Clone, Copy, Debug)]
pub struct Due<'a> {
    pub id: EntryId,
    pub entry: &'a Entry,
    /// It did not go out at once, or not for sure.
    pub replayed: bool,
}

impl Outbox {
    /// An outbox for `capacity` entries, at least one.
    pub fn new(capacity: usize) -> Self {
        let first = EntryId(0);
        Self {
            capacity: capacity.max(1),
            entries: BTreeMap::new(),
            fresh: first,
            cursor: first,
            replay_end: first,
        }
    }

    /// Adds the newest entry. True if the oldest had to go for it.
    pub fn append(&mut self, entry: Entry) -> bool {
        let full = self.entries.len() >= self.capacity;
        if full {
            self.entries.pop_first();
        }
        self.entries.insert(self.fresh, entry);
        self.fresh = EntryId(self.fresh.0 + 1);
        full
    }

    /// The oldest entry that is not handed out.
    pub fn due(&self) -> Option<Due<'_>> {
        let (&id, entry) = self.entries.range(self.cursor..).next()?;
        Some(Due { id, entry, replayed: id < self.replay_end })
    }

    /// The entry, and with it all before, is handed out.
    pub fn handed_out(&mut self, id: EntryId) {
        self.cursor = EntryId(id.0 + 1);
    }

    /// The broker has it. An entry that is gone already is no mistake: there may have been no room for it.
    pub fn acknowledged(&mut self, id: EntryId) {
        self.entries.remove(&id);
    }

    /// A new connection: everything that is here is handed out again, in order, as replayed.
    pub fn begin_again(&mut self) {
        self.cursor = EntryId(0);
        self.replay_end = self.fresh;
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u8) -> Entry {
        Entry { camera: CameraId::new("top").unwrap(), payload: vec![number] }
    }

    /// Hands out everything that is due: number, replayed.
    fn hand_out(outbox: &mut Outbox) -> Vec<(EntryId, u8, bool)> {
        let mut handed = Vec::new();
        while let Some(Due { id, entry, replayed }) = outbox.due() {
            handed.push((id, entry.payload[0], replayed));
            outbox.handed_out(id);
        }
        handed
    }

    #[test]
    fn entries_go_out_in_order_and_stay_until_acknowledged() {
        let mut outbox = Outbox::new(10);
        for number in 0..3 {
            assert!(!outbox.append(entry(number)));
        }
        let handed = hand_out(&mut outbox);
        assert_eq!(
            handed.iter().map(|h| (h.1, h.2)).collect::<Vec<_>>(),
            [(0, false), (1, false), (2, false)]
        );
        outbox.acknowledged(handed[1].0);
        assert_eq!(outbox.len(), 2);

        outbox.append(entry(3));
        outbox.begin_again();
        outbox.append(entry(4));
        let again = hand_out(&mut outbox);
        let numbers: Vec<_> = again.iter().map(|h| (h.1, h.2)).collect();
        assert_eq!(numbers, [(0, true), (2, true), (3, true), (4, false)]);
        for (id, ..) in again {
            outbox.acknowledged(id);
        }
        assert!(outbox.is_empty());
    }

    #[test]
    fn without_room_the_oldest_goes_and_its_late_acknowledgement_is_harmless() {
        let mut outbox = Outbox::new(2);
        outbox.append(entry(0));
        let first = hand_out(&mut outbox)[0].0;
        assert!(!outbox.append(entry(1)));
        assert!(outbox.append(entry(2)));
        outbox.acknowledged(first);
        assert_eq!(outbox.len(), 2);
        assert_eq!(hand_out(&mut outbox).iter().map(|h| h.1).collect::<Vec<_>>(), [1, 2]);
    }
}
