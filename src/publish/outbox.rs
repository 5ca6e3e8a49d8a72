//! Results that the broker has not acknowledged: on disk before they are sent, and until they are acknowledged.
//!
//! [`Outbox`] is all of it that decides, without a thread or a clock: what is kept goes to disk with the next
//! [`Outbox::save`], what is due comes in order, and while the disk fails results go on from memory.
//! [`keeper`] is the thread that lives by it, so that nobody else waits for the disk.

pub mod disk;
pub mod format;
pub mod keeper;
pub mod log;
pub mod memory;
pub mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use crate::clock::Moment;
use crate::publish::outbox::disk::Disk;
use crate::publish::outbox::format::Entry;
use crate::publish::outbox::log::{Damage, Log, Place};

/// In the state folder.
pub const FOLDER: &str = "outbox";

/// A disk that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(5);

/// So much may wait for the disk in memory.
const MEMORY_BYTES: usize = 16 * 1024 * 1024;

/// Ids of this run begin here; what an earlier run has left stands before it.
const FIRST: EntryId = EntryId(1 << 40);

/// Names an entry within a run; later entries have larger numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryId(u64);

/// An entry that is to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub id: EntryId,
    pub entry: Entry,
    /// It did not go out at once, or not for sure.
    pub replayed: bool,
}

/// What somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// So many results had to go unacknowledged, because there was no room.
    Dropped(u64),
    Damaged(Damage),
    /// Results go on from memory.
    Failed(String),
    Recovered {
        after: Duration,
    },
}

#[derive(Debug)]
struct Failure {
    since: Moment,
    retry: Duration,
}

#[derive(Debug)]
enum Item {
    Saved(Place),
    Unsaved(Entry),
}

/// The queue. An entry leaves it by acknowledgement, or as the oldest when there is no room.
#[derive(Debug)]
pub struct Outbox<D> {
    disk: D,
    max_bytes: u64,
    /// None until the disk could be read.
    log: Option<Log>,
    items: BTreeMap<EntryId, Item>,
    /// What is not handed out.
    waiting: BTreeSet<EntryId>,
    /// What the failing disk did not give back.
    aside: Vec<EntryId>,
    /// The next entry gets this.
    fresh: EntryId,
    /// Entries from here on are not saved.
    unsaved: EntryId,
    unsaved_bytes: usize,
    /// Entries before this were there when the connection came up.
    replay_end: EntryId,
    failure: Option<Failure>,
    notes: Vec<Note>,
}

impl<D: Disk> Outbox<D> {
    /// An outbox of at most `max_bytes` on `disk`, which is not looked at before the first [`Self::save`].
    pub fn new(disk: D, max_bytes: u64) -> Self {
        Self {
            disk,
            max_bytes,
            log: None,
            items: BTreeMap::new(),
            waiting: BTreeSet::new(),
            aside: Vec::new(),
            fresh: FIRST,
            unsaved: FIRST,
            unsaved_bytes: 0,
            replay_end: FIRST,
            failure: None,
            notes: Vec::new(),
        }
    }

    /// Adds the newest entry. Safe after the next [`Self::save`].
    pub fn keep(&mut self, entry: Entry) {
        self.unsaved_bytes += entry.payload.len();
        self.items.insert(self.fresh, Item::Unsaved(entry));
        self.waiting.insert(self.fresh);
        self.fresh = EntryId(self.fresh.0 + 1);
        let mut dropped = 0;
        while self.unsaved_bytes > MEMORY_BYTES {
            let Some((&oldest, _)) = self.items.range(self.unsaved..).next() else { break };
            self.forget(oldest);
            dropped += 1;
        }
        self.note_dropped(dropped);
    }

    /// The broker has it. An entry that is gone already is no mistake: there may have been no room for it.
    pub fn acknowledged(&mut self, id: EntryId) {
        if let Some(Item::Saved(place)) = self.forget(id)
            && let Some(log) = &mut self.log
        {
            log.acknowledge(place);
        }
    }

    /// A new connection: everything that is here is handed out again, in order, as replayed.
    pub fn begin_again(&mut self) {
        self.replay_end = self.fresh;
        self.aside.clear();
        self.waiting = self.items.keys().copied().collect();
    }

    /// Brings to disk what is not there yet. Does nothing while a disk that failed is left alone.
    pub fn save(&mut self, now: Moment) {
        if self.failure.as_ref().is_none_or(|failure| now.mono >= failure.retry) {
            let saved = self.try_save();
            self.heed(saved, now);
        }
    }

    /// The last save: also makes what is acknowledged survive a power cut. What could not be saved is given up.
    pub fn finish(&mut self, now: Moment) {
        let saved = self.try_save().and_then(|()| match &self.log {
            Some(log) => log.sync_acks(&mut self.disk),
            None => Ok(()),
        });
        self.heed(saved, now);
        let unsaved: Vec<_> = self.items.range(self.unsaved..).map(|(&id, _)| id).collect();
        for &id in &unsaved {
            self.forget(id);
        }
        self.note_dropped(unsaved.len() as u64);
    }

    /// The oldest entry that is not handed out, which it then is. Only what is safe on disk, unless the disk fails.
    pub fn due(&mut self, now: Moment) -> Option<Due> {
        while let Some(&id) = self.waiting.first() {
            let read = match self.items.get(&id)? {
                Item::Unsaved(_) if self.failure.is_none() => return None,
                Item::Unsaved(entry) => Ok(Some(entry.clone())),
                Item::Saved(place) => self.log.as_ref()?.read(&mut self.disk, *place),
            };
            self.waiting.pop_first();
            match read {
                Ok(Some(entry)) => return Some(Due { id, entry, replayed: id < self.replay_end }),
                Ok(None) => {
                    // It must not be missed again after a restart.
                    self.acknowledged(id);
                    self.notes.push(Note::Damaged(Damage { lost: 1, ..Damage::default() }));
                }
                Err(error) => {
                    self.aside.push(id);
                    self.heed(Err(error), now);
                }
            }
        }
        None
    }

    /// Results that wait for their acknowledgement.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Results go on from memory, because the disk does not take them.
    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// What happened since the last call.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    fn try_save(&mut self) -> io::Result<()> {
        if self.log.is_none() {
            self.load()?;
        }
        let Some(log) = &mut self.log else { return Ok(()) };
        while self.items.range(self.unsaved..).next().is_some() {
            let unsaved = self.items.range(self.unsaved..).filter_map(|(_, item)| match item {
                Item::Unsaved(entry) => Some(entry),
                Item::Saved(_) => None,
            });
            let (dropped, places) = log.append(&mut self.disk, unsaved);
            let lost = drop_items(&mut self.items, &mut self.waiting, &dropped);
            if lost > 0 {
                self.notes.push(Note::Dropped(lost));
            }
            let places = places?;
            let ids: Vec<_> =
                self.items.range(self.unsaved..).map(|(&id, _)| id).take(places.len()).collect();
            for (&id, place) in ids.iter().zip(&places) {
                if let Some(Item::Unsaved(entry)) = self.items.insert(id, Item::Saved(*place)) {
                    self.unsaved_bytes -= entry.payload.len();
                }
            }
            self.unsaved = ids.last().map_or(self.fresh, |last| EntryId(last.0 + 1));
        }
        log.write_acks(&mut self.disk)
    }

    fn load(&mut self) -> io::Result<()> {
        let (log, places, damage) = Log::load(&mut self.disk, self.max_bytes)?;
        self.log = Some(log);
        for (id, place) in (FIRST.0 - places.len() as u64..).zip(places) {
            self.items.insert(EntryId(id), Item::Saved(place));
            self.waiting.insert(EntryId(id));
        }
        if damage != Damage::default() {
            self.notes.push(Note::Damaged(damage));
        }
        Ok(())
    }

    fn heed(&mut self, done: io::Result<()>, now: Moment) {
        let retry = now.mono + RETRY;
        match (done, &mut self.failure) {
            (Ok(()), None) => {}
            (Ok(()), Some(failure)) => {
                self.notes.push(Note::Recovered { after: now.since(failure.since) });
                self.failure = None;
                self.waiting.extend(self.aside.drain(..).filter(|id| self.items.contains_key(id)));
            }
            (Err(_), Some(failure)) => failure.retry = retry,
            (Err(error), None) => {
                self.notes.push(Note::Failed(error.to_string()));
                self.failure = Some(Failure { since: now, retry });
            }
        }
    }

    fn forget(&mut self, id: EntryId) -> Option<Item> {
        self.waiting.remove(&id);
        let item = self.items.remove(&id);
        if let Some(Item::Unsaved(entry)) = &item {
            self.unsaved_bytes -= entry.payload.len();
        }
        item
    }

    fn note_dropped(&mut self, dropped: u64) {
        if dropped > 0 {
            self.notes.push(Note::Dropped(dropped));
        }
    }
}

/// Forgets what stood in segments that are gone, and counts it. These are the oldest.
fn drop_items(items: &mut BTreeMap<EntryId, Item>, waiting: &mut BTreeSet<EntryId>, dropped: &[u64]) -> u64 {
    let Some(&last) = dropped.iter().max() else { return 0 };
    let is_old = |item: &Item| matches!(item, Item::Saved(place) if place.segment <= last);
    let old: Vec<_> = items.iter().take_while(|(_, item)| is_old(item)).map(|(&id, _)| id).collect();
    let gone =
        |id: &&EntryId| matches!(items.get(id), Some(Item::Saved(place)) if dropped.contains(&place.segment));
    let gone: Vec<_> = old.iter().filter(gone).copied().collect();
    for id in &gone {
        items.remove(id);
        waiting.remove(id);
    }
    gone.len() as u64
}

#[cfg(test)]
mod tests;
