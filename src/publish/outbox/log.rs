//! The files of the outbox: segments of records, and beside each what of it is acknowledged.
//!
//! Segments are named by the number of their first record. A record is safe when [`Log::append`] has given its
//! place. A segment is deleted as a whole, when its space is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::publish::outbox::disk::Disk;
use crate::publish::outbox::format::{self, ACK, Entry};

/// Segments are between these, and some dozens in all.
const SEGMENT_BYTES: (u64, u64) = (64 * 1024, 4 * 1024 * 1024);
const SEGMENTS: u64 = 64;

/// Numbers beyond this are no work of ours.
const LAST_NUMBER: u64 = u64::MAX / 2;

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub segment: u64,
    number: u64,
    at: u64,
    length: usize,
}

/// What was found to be damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Ends of files that a crash in the middle of a write had torn.
    pub torn_tails: u64,
    /// Results in damaged places that nobody had acknowledged; at least so many.
    pub lost: u64,
    /// Files that the disk does not give back.
    pub unreadable: u64,
}

/// The files, as they are on disk.
#[derive(Debug)]
pub struct Log {
    segments: BTreeMap<u64, Segment>,
    next: u64,
    max_bytes: u64,
    segment_bytes: u64,
}

#[derive(Debug, Default)]
struct Segment {
    length: u64,
    records: u64,
    /// Records that are not acknowledged.
    open: u64,
    /// Length of what is acknowledged on disk.
    acks: u64,
    /// Acknowledged, but not on disk yet.
    unwritten: Vec<u64>,
    /// The file may hold more than `length`: a write failed.
    dirty: bool,
    /// Nothing is written behind it: nobody knows what it holds.
    closed: bool,
    acks_dirty: bool,
}

impl Segment {
    /// With room for every acknowledgement that is still to be written: one that was damaged comes a second time.
    fn bytes(&self) -> u64 {
        self.length + self.acks + (self.open + self.unwritten.len() as u64) * ACK as u64
    }

    fn takes_more(&self, segment_bytes: u64) -> bool {
        !self.closed && self.length < segment_bytes
    }
}

pub(super) fn segment_name(first: u64) -> String {
    format!("{first:020}.log")
}

pub(super) fn acks_name(first: u64) -> String {
    format!("{first:020}.ack")
}

pub(super) fn number_in(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten().filter(|&number| number <= LAST_NUMBER)
}

/// The segment that a name belongs to, and whether it is the acknowledgements'.
pub(super) fn segments_of(files: &[(String, u64)], ending: &str) -> BTreeMap<u64, u64> {
    files.iter().filter_map(|(name, length)| Some((number_in(name, ending)?, *length))).collect()
}

impl Log {
    /// Reads what is there, cuts off what is torn and takes out what is damaged, if the disk allows it. Gives the
    /// places of the records that are not acknowledged, oldest first.
    pub fn load(disk: &mut impl Disk, max_bytes: u64) -> io::Result<(Self, Vec<Place>, Damage)> {
        disk.prepare()?;
        let files = disk.list()?;
        let segment_bytes = (max_bytes / SEGMENTS).clamp(SEGMENT_BYTES.0, SEGMENT_BYTES.1);
        let mut log = Self { segments: BTreeMap::new(), next: 1, max_bytes, segment_bytes };
        let (mut places, mut damage) = (Vec::new(), Damage::default());
        let logs = segments_of(&files, ".log");
        let mut acks = segments_of(&files, ".ack");
        for (first, length) in logs {
            let acks = acks.remove(&first).unwrap_or(0);
            let loaded = load_segment(disk, first, (length, acks), &mut places, &mut damage);
            let segment = if let Some((segment, last)) = loaded {
                log.next = log.next.max(first).max(last.map_or(0, |last| last + 1));
                segment
            } else {
                // No number that it may hold is used again.
                log.next = log.next.max(first + format::MOST);
                Segment { length, records: 1, acks, closed: true, ..Segment::default() }
            };
            log.segments.insert(first, segment);
        }
        // Of segments that are gone, and what a replacement that was cut short has left. It does no harm there.
        let orphans = acks.into_keys().map(acks_name);
        let parts =
            files.into_iter().map(|(name, _)| name).filter(|name| name.strip_suffix(".part").is_some());
        for name in orphans.chain(parts) {
            drop(disk.remove(&name));
        }
        // The last run may have been killed before it synced; what is handed out must be safe. On a disk that takes
        // nothing any more it is handed out all the same.
        for (&first, _) in log.segments.iter().filter(|(_, segment)| segment.open > 0) {
            drop(disk.sync(&segment_name(first)));
        }
        drop(disk.sync_names());
        Ok((log, places, damage))
    }

    /// Writes entries behind the last record, as many as fit into one segment, and syncs them. Gives the places of
    /// those, and before it the segments that had to go though not all of them was acknowledged.
    pub fn append<'a>(
        &mut self,
        disk: &mut impl Disk,
        entries: impl Iterator<Item = &'a Entry>,
    ) -> (Vec<u64>, io::Result<Vec<Place>>) {
        let last = self.segments.values().next_back().filter(|last| last.takes_more(self.segment_bytes));
        let length = last.map_or(0, |last| last.length);
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for (number, entry) in (self.next..).zip(entries) {
            let start = bytes.len();
            format::encode(number, entry, &mut bytes);
            if start > 0 && length + bytes.len() as u64 > self.segment_bytes {
                bytes.truncate(start);
                break;
            }
            ends.push(bytes.len());
        }
        let (dropped, room) = self.make_room(disk, (bytes.len() + ends.len() * ACK) as u64);
        (dropped, room.and_then(|()| self.write(disk, &bytes, &ends)))
    }

    fn write(&mut self, disk: &mut impl Disk, bytes: &[u8], ends: &[usize]) -> io::Result<Vec<Place>> {
        let last = self.segments.last_entry().filter(|last| last.get().takes_more(self.segment_bytes));
        let first = last.map_or(self.next, |last| *last.key());
        let fresh = Segment { dirty: true, ..Segment::default() };
        let segment = self.segments.entry(first).or_insert(fresh);
        let name = segment_name(first);
        if segment.dirty {
            disk.truncate(&name, segment.length)?;
        }
        segment.dirty = true;
        disk.append(&name, bytes)?;
        disk.sync(&name)?;
        if segment.records == 0 {
            disk.sync_names()?;
        }
        segment.dirty = false;
        let starts = [0].iter().chain(ends);
        let places = starts.zip(ends).zip(self.next..).map(|((&start, &end), number)| Place {
            segment: first,
            number,
            at: segment.length + start as u64,
            length: end - start,
        });
        let places: Vec<_> = places.collect();
        segment.length += bytes.len() as u64;
        segment.records += places.len() as u64;
        segment.open += places.len() as u64;
        self.next += places.len() as u64;
        Ok(places)
    }

    /// Deletes segments until `need` more bytes fit: those that are all acknowledged first, the oldest first.
    fn make_room(&mut self, disk: &mut impl Disk, need: u64) -> (Vec<u64>, io::Result<()>) {
        let mut dropped = Vec::new();
        while self.bytes() + need > self.max_bytes {
            let mut holding = self.segments.iter().filter(|(_, segment)| segment.records > 0);
            let acknowledged = holding.clone().find(|(_, segment)| segment.open == 0);
            let Some((&first, _)) = acknowledged.or_else(|| holding.next()) else { break };
            if let Err(error) = self.remove(disk, first, &mut dropped) {
                return (dropped, Err(error));
            }
        }
        (dropped, Ok(()))
    }

    /// In this order no crash leaves a segment without its acknowledgements.
    fn remove(&mut self, disk: &mut impl Disk, first: u64, dropped: &mut Vec<u64>) -> io::Result<()> {
        absent_is_fine(disk.remove(&segment_name(first)))?;
        disk.sync_names()?;
        let segment = self.segments.remove(&first);
        if segment.is_some_and(|segment| segment.open > 0) {
            dropped.push(first);
        }
        absent_is_fine(disk.remove(&acks_name(first)))
    }

    fn bytes(&self) -> u64 {
        self.segments.values().map(Segment::bytes).sum()
    }

    /// The record needs no more be sent. Written with the next [`Self::write_acks`].
    pub fn acknowledge(&mut self, place: Place) {
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.open = segment.open.saturating_sub(1);
            segment.unwritten.push(place.number);
        }
    }

    /// Writes what is acknowledged. Not synced: what a power cut takes of it is sent once more.
    pub fn write_acks(&mut self, disk: &mut impl Disk) -> io::Result<()> {
        for (&first, segment) in self.segments.iter_mut().filter(|(_, segment)| !segment.unwritten.is_empty())
        {
            let name = acks_name(first);
            if segment.acks_dirty {
                disk.truncate(&name, segment.acks)?;
            }
            let mut bytes = Vec::with_capacity(segment.unwritten.len() * ACK);
            segment.unwritten.iter().for_each(|&number| format::encode_ack(number, &mut bytes));
            segment.acks_dirty = true;
            disk.append(&name, &bytes)?;
            segment.acks_dirty = false;
            segment.acks += bytes.len() as u64;
            segment.unwritten.clear();
        }
        Ok(())
    }

    /// Makes what is acknowledged survive a power cut.
    pub fn sync_acks(&self, disk: &mut impl Disk) -> io::Result<()> {
        for (&first, _) in self.segments.iter().filter(|(_, segment)| segment.acks > 0) {
            absent_is_fine(disk.sync(&acks_name(first)))?;
        }
        disk.sync_names()
    }

    /// The record at a place; None if it is damaged now.
    pub fn read(&self, disk: &mut impl Disk, place: Place) -> io::Result<Option<Entry>> {
        let bytes = disk.read(&segment_name(place.segment), place.at, place.length)?;
        let found = format::decode(&bytes, 0).filter(|found| found.record.number == place.number);
        Ok(found.map(|found| found.record.entry))
    }
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A segment and its last number; None if the disk does not give it back.
fn load_segment(
    disk: &mut impl Disk,
    first: u64,
    (length, acks): (u64, u64),
    places: &mut Vec<Place>,
    damage: &mut Damage,
) -> Option<(Segment, Option<u64>)> {
    // What is larger than we make them is no work of ours.
    let whole = |length| usize::try_from(length).ok().filter(|_| length <= 4 * SEGMENT_BYTES.1);
    let (whole_log, whole_acks) = (whole(length), whole(acks));
    let bytes = whole_log.and_then(|length| disk.read(&segment_name(first), 0, length).ok());
    let acknowledged = whole_acks.and_then(|length| disk_acks(disk, first, length).ok());
    let (Some(bytes), Some(acknowledged)) = (bytes, acknowledged) else {
        damage.unreadable += 1;
        return None;
    };
    let scan = format::scan(&bytes, first);
    let (mut clean, mut missing, mut next) = (Vec::new(), Vec::new(), first);
    for found in &scan.found {
        missing.extend((next..found.record.number).filter(|number| !acknowledged.contains(number)));
        next = found.record.number + 1;
        clean.extend_from_slice(&bytes[found.at..found.at + found.length]);
    }
    damage.lost += missing.len() as u64;
    damage.torn_tails += u64::from(scan.end < bytes.len());
    let is_clean = scan.has_gaps && disk.replace(&segment_name(first), &clean).is_ok();
    let length = if is_clean { clean.len() } else { scan.end };
    let mut segment = Segment {
        length: length as u64,
        records: scan.found.len() as u64,
        acks: acks - acks % ACK as u64,
        // Told now, and not again at the next start.
        unwritten: missing,
        ..Segment::default()
    };
    segment.dirty =
        !is_clean && length < bytes.len() && disk.truncate(&segment_name(first), segment.length).is_err();
    segment.acks_dirty = segment.acks < acks;
    let mut at = 0;
    for found in &scan.found {
        let number = found.record.number;
        if !acknowledged.contains(&number) {
            segment.open += 1;
            let at = if is_clean { at } else { found.at };
            places.push(Place { segment: first, number, at: at as u64, length: found.length });
        }
        at += found.length;
    }
    // A record that was acknowledged and is damaged now has used its number all the same: the next one that gets it would
    // count as acknowledged.
    let last = scan.found.last().map(|found| found.record.number);
    Some((segment, last.max(acknowledged.last().copied())))
}

fn disk_acks(disk: &mut impl Disk, first: u64, length: usize) -> io::Result<BTreeSet<u64>> {
    if length == 0 {
        return Ok(BTreeSet::new());
    }
    let bytes = disk.read(&acks_name(first), 0, length)?;
    Ok(format::decode_acks(&bytes).collect())
}
