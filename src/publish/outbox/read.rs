//! The outbox as the record of parts: read back beside a running daemon or without one, and never changed.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind};

use crate::frame::PartId;
use crate::publish::outbox::disk::Disk;
use crate::publish::outbox::format::{self, Entry};
use crate::publish::outbox::log;

/// Which results.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub part: Option<&'a str>,
    pub camera: Option<&'a str>,
    /// Milliseconds since 1970, UTC.
    pub since_ms: u64,
    /// At most so many, the newest.
    pub limit: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub entry: Entry,
    /// The broker has it.
    pub acknowledged: bool,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Oldest first.
    pub results: Vec<Kept>,
    /// So many were wanted, shown or not.
    pub matched: u64,
    /// Files with a damaged place. What a daemon is just writing is none.
    pub damaged: u64,
}

/// Reads what is wanted. A folder that is not there is an empty one.
pub fn read(disk: &mut impl Disk, wanted: &Wanted<'_>) -> io::Result<Record> {
    let files = match disk.list() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Record::default()),
        listed => listed?,
    };
    let segments = log::segments_of(&files, ".log");
    let last = segments.keys().next_back().copied();
    let mut newest = VecDeque::new();
    let mut record = Record::default();
    for first in segments.into_keys() {
        // Only what was wanted is looked up among the acknowledged: after the results, so that none of them is missed.
        let Some(bytes) = whole_file(disk, &log::segment_name(first))? else { continue };
        let scan = format::scan(&bytes, first);
        let is_torn = scan.end < bytes.len() && Some(first) != last;
        record.damaged += u64::from(scan.has_gaps || is_torn);
        let acks = whole_file(disk, &log::acks_name(first))?.unwrap_or_default();
        let acknowledged: BTreeSet<_> = format::decode_acks(&acks).collect();
        for found in scan.found {
            let (number, entry) = (found.record.number, found.record.entry);
            if !wanted.wants(&entry) {
                continue;
            }
            record.matched += 1;
            newest.push_back(Kept { entry, acknowledged: acknowledged.contains(&number) });
            if newest.len() > wanted.limit {
                newest.pop_front();
            }
        }
    }
    record.results = newest.into();
    Ok(record)
}

impl Wanted<'_> {
    fn wants(&self, entry: &Entry) -> bool {
        let part = entry.part.as_ref().map(PartId::as_str);
        entry.at_ms >= self.since_ms
            && self.camera.is_none_or(|camera| camera == entry.camera)
            && (self.part.is_none() || self.part == part)
    }
}

/// None if the daemon has deleted it meanwhile.
fn whole_file(disk: &mut impl Disk, name: &str) -> io::Result<Option<Vec<u8>>> {
    const PIECE: usize = 1 << 20;
    let mut bytes = Vec::new();
    loop {
        match disk.read(name, bytes.len() as u64, PIECE) {
            Ok(piece) => {
                let ends = piece.len() < PIECE;
                bytes.extend_from_slice(&piece);
                if ends {
                    return Ok(Some(bytes));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::clock::Moment;
    use crate::publish::outbox::Outbox;
    use crate::publish::outbox::memory::MemoryDisk;

    const NOW: Moment = Moment { mono: Duration::ZERO, utc: SystemTime::UNIX_EPOCH };
    const ALL: Wanted<'_> = Wanted { part: None, camera: None, since_ms: 0, limit: usize::MAX };

    /// Ten results of two cameras, of which the first three are acknowledged.
    fn filled() -> MemoryDisk {
        let disk = MemoryDisk::default();
        let mut outbox = Outbox::new(disk.clone(), 1_000_000);
        for seq in 0..10_u64 {
            outbox.keep(Entry {
                seq,
                at_ms: 1000 * seq,
                camera: if seq % 2 == 0 { "top" } else { "side" }.into(),
                part: PartId::new(&format!("part{}", seq / 2)).ok(),
                payload: b"{}".to_vec(),
            });
        }
        outbox.save(NOW);
        for _ in 0..3 {
            let due = outbox.due(NOW).unwrap();
            outbox.acknowledged(due.id);
        }
        outbox.save(NOW);
        disk
    }

    fn seqs(record: &Record) -> Vec<u64> {
        record.results.iter().map(|kept| kept.entry.seq).collect()
    }

    #[test]
    fn all_that_is_kept_is_there_acknowledged_or_not() {
        let record = read(&mut filled(), &ALL).unwrap();
        assert_eq!(seqs(&record), (0..10).collect::<Vec<_>>());
        assert_eq!(record.results.iter().filter(|kept| kept.acknowledged).count(), 3);
        assert_eq!((record.matched, record.damaged), (10, 0));
    }

    #[test]
    fn what_is_not_wanted_is_left_out_and_the_newest_are_shown() {
        for (wanted, seqs_wanted, matched) in [
            (Wanted { part: Some("part2"), ..ALL }, vec![4, 5], 2),
            (Wanted { camera: Some("side"), since_ms: 5000, ..ALL }, vec![5, 7, 9], 3),
            (Wanted { limit: 2, ..ALL }, vec![8, 9], 10),
            (Wanted { part: Some("part"), ..ALL }, vec![], 0),
        ] {
            let record = read(&mut filled(), &wanted).unwrap();
            assert_eq!((seqs(&record), record.matched), (seqs_wanted, matched), "{wanted:?}");
        }
    }

    #[test]
    fn a_record_in_the_making_is_no_damage_but_a_flipped_bit_is() {
        let disk = filled();
        let mut outbox = Outbox::new(disk.clone(), 1_000_000);
        outbox.save(NOW);
        disk.tear_next(20);
        outbox.keep(read(&mut filled(), &ALL).unwrap().results[0].entry.clone());
        outbox.save(NOW);
        let record = read(&mut disk.clone(), &ALL).unwrap();
        assert_eq!((record.matched, record.damaged), (10, 0));
        assert!(disk.damage("00000000000000000001.log", 30));
        let record = read(&mut disk.clone(), &ALL).unwrap();
        assert_eq!((record.matched, record.damaged), (9, 1));
    }
}
