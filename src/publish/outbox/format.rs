//! How a result stands in a file: framed by a mark, its length and a checksum, so that what is damaged is found
//! and what stands behind the damage is found again.

use crate::frame::PartId;

/// Begins each record. Not ASCII, so that no payload has it.
const MARK: [u8; 4] = [0xc5, 0xf1, 0x0d, 0x9e];

/// Mark, length, checksum.
const HEADER: usize = 12;

/// No record is longer, so that none that is read is too long for the connection; a length beyond this is damage.
const LONGEST: usize = 32 * 1024;

/// No file holds more records.
pub const MOST: u64 = 1 << 24;

/// An acknowledgement: a record's number and its checksum.
pub const ACK: usize = 12;

/// One result on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Number of its verdict.
    pub seq: u64,
    /// When the verdict was reached, milliseconds since 1970, UTC.
    pub at_ms: u64,
    /// The level of its topic before the leaf.
    pub camera: String,
    pub part: Option<PartId>,
    /// As it is sent the first time.
    pub payload: Vec<u8>,
}

/// An entry in a file. Numbers count up over all files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub number: u64,
    pub entry: Entry,
}

/// A record and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub at: usize,
    pub length: usize,
    pub record: Record,
}

/// What stands in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Whole records, their numbers growing.
    pub found: Vec<Found>,
    /// Something between them could not be read.
    pub has_gaps: bool,
    /// Where the last whole record ends; what stands behind it is torn.
    pub end: usize,
}

/// Adds `record` to `bytes` and returns its length.
pub fn encode(number: u64, entry: &Entry, bytes: &mut Vec<u8>) -> usize {
    let start = bytes.len();
    bytes.extend_from_slice(&MARK);
    bytes.extend_from_slice(&[0; HEADER - MARK.len()]);
    for word in [number, entry.seq, entry.at_ms] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    for text in [entry.camera.as_str(), entry.part.as_ref().map_or("", PartId::as_str)] {
        // Camera ids and part ids are shorter by their types; the cut is for what comes from elsewhere.
        let text = &text.as_bytes()[..text.len().min(usize::from(u8::MAX))];
        bytes.push(u8::try_from(text.len()).expect("cut to fit"));
        bytes.extend_from_slice(text);
    }
    bytes.extend_from_slice(&entry.payload);
    let body = u32::try_from(bytes.len() - start - HEADER).expect("a payload is some kilobytes");
    bytes[start + 4..start + 8].copy_from_slice(&body.to_le_bytes());
    let sum = checksum(&bytes[start..]);
    bytes[start + 8..start + 12].copy_from_slice(&sum.to_le_bytes());
    bytes.len() - start
}

/// Over a whole record but its mark and the checksum itself.
fn checksum(record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&record[4..8]);
    hasher.update(&record[HEADER..]);
    hasher.finalize()
}

/// The whole record that begins at `at`.
pub fn decode(bytes: &[u8], at: usize) -> Option<Found> {
    let rest = bytes.get(at..)?;
    let header = rest.get(..HEADER)?;
    let word = |from: usize| u32::from_le_bytes(header[from..from + 4].try_into().expect("four bytes"));
    let body = usize::try_from(word(4)).ok()?;
    if header[..4] != MARK || body > LONGEST {
        return None;
    }
    let whole = rest.get(..HEADER + body)?;
    if checksum(whole) != word(8) {
        return None;
    }
    let mut rest = &whole[HEADER..];
    let [number, seq, at_ms] = [take_word(&mut rest)?, take_word(&mut rest)?, take_word(&mut rest)?];
    let (camera, part) = (take_text(&mut rest)?, take_text(&mut rest)?);
    let part = if part.is_empty() { None } else { Some(PartId::new(part).ok()?) };
    let entry = Entry { seq, at_ms, camera: camera.into(), part, payload: rest.into() };
    Some(Found { at, length: whole.len(), record: Record { number, entry } })
}

fn take_word(rest: &mut &[u8]) -> Option<u64> {
    let (word, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u64::from_le_bytes(*word))
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (&length, behind) = rest.split_first()?;
    let (text, behind) = behind.split_at_checked(length.into())?;
    *rest = behind;
    std::str::from_utf8(text).ok()
}

/// Finds the whole records of a file whose first record has the number `first`.
pub fn scan(bytes: &[u8], first: u64) -> Scan {
    let mut scan = Scan::default();
    let mut next = first;
    let mut at = 0;
    while at < bytes.len() {
        let found = decode(bytes, at).filter(|found| {
            // A number that cannot be is damage that the checksum did not see.
            found.record.number >= next && found.record.number - first < MOST
        });
        if let Some(found) = found {
            scan.has_gaps |= at != scan.end;
            next = found.record.number + 1;
            at += found.length;
            scan.end = at;
            scan.found.push(found);
        } else {
            // The next mark may begin the next whole record.
            let behind = &bytes[at + 1..];
            let mark = behind.windows(MARK.len()).position(|window| window == MARK);
            at = mark.map_or(bytes.len(), |more| at + 1 + more);
        }
    }
    scan
}

/// Adds the acknowledgement of a record to `bytes`.
pub fn encode_ack(number: u64, bytes: &mut Vec<u8>) {
    let number = number.to_le_bytes();
    bytes.extend_from_slice(&number);
    bytes.extend_from_slice(&crc32fast::hash(&number).to_le_bytes());
}

/// The numbers that are acknowledged in `bytes`; one that is damaged is left out, and its result sent again.
pub fn decode_acks(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (whole, _) = bytes.as_chunks::<ACK>();
    whole.iter().filter_map(|ack| {
        let (number, sum) = ack.split_at(8);
        let is_whole = crc32fast::hash(number).to_le_bytes() == *sum;
        is_whole.then(|| u64::from_le_bytes(number.try_into().expect("eight bytes")))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(seq: u64) -> Entry {
        Entry {
            seq,
            at_ms: 1_760_000_000_000,
            camera: "top".into(),
            part: seq.is_multiple_of(2).then(|| PartId::new("A1B2").unwrap()),
            payload: format!("{{\"seq\":{seq}}}").into_bytes(),
        }
    }

    /// Records 5, 6, ... and where each begins.
    fn file(n: u64) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for number in 5..5 + n {
            starts.push(bytes.len());
            encode(number, &entry(number), &mut bytes);
        }
        (bytes, starts)
    }

    fn numbers(scan: &Scan) -> Vec<u64> {
        scan.found.iter().map(|found| found.record.number).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let (bytes, _) = file(3);
        let scan = scan(&bytes, 5);
        assert_eq!((numbers(&scan), scan.has_gaps, scan.end), (vec![5, 6, 7], false, bytes.len()));
        assert!(scan.found.iter().all(|found| found.record.entry == entry(found.record.number)));
    }

    #[test]
    fn behind_damage_the_next_whole_record_is_found() {
        let (mut bytes, starts) = file(4);
        bytes[starts[1] + 20] ^= 1;
        let scan = scan(&bytes, 5);
        assert_eq!((numbers(&scan), scan.has_gaps, scan.end), (vec![5, 7, 8], true, bytes.len()));
    }

    #[test]
    fn a_number_that_cannot_be_is_damage() {
        let mut bytes = Vec::new();
        for number in [5, 4, 6, u64::MAX] {
            encode(number, &entry(1), &mut bytes);
        }
        assert_eq!(numbers(&scan(&bytes, 5)), [5, 6]);
    }

    #[test]
    fn a_damaged_acknowledgement_does_not_count() {
        let mut bytes = Vec::new();
        (1..4).for_each(|number| encode_ack(number, &mut bytes));
        bytes[ACK] ^= 1;
        bytes.extend([0; ACK + 3]);
        assert_eq!(decode_acks(&bytes).collect::<Vec<_>>(), [1, 3]);
    }

    proptest! {
        #[test]
        fn a_torn_file_gives_what_was_whole(n in 1_u64..5, cut in 0_usize..400) {
            let (mut bytes, starts) = file(n);
            bytes.truncate(cut);
            let scan = scan(&bytes, 5);
            let ends: Vec<_> = starts.iter().copied().skip(1).chain([file(n).0.len()]).collect();
            let whole = ends.iter().filter(|&&end| end <= bytes.len()).count();
            prop_assert_eq!(scan.found.len(), whole);
            prop_assert!(!scan.has_gaps);
        }

        #[test]
        fn no_bytes_are_too_odd(mut bytes in prop::collection::vec(any::<u8>(), 0..200), n in 0_u64..3) {
            bytes.extend(file(n).0);
            let scan = scan(&bytes, 5);
            prop_assert!(scan.end <= bytes.len());
            decode_acks(&bytes).for_each(drop);
        }

        #[test]
        fn a_flipped_bit_costs_one_record_at_most(bit in 0_usize..1200) {
            let (mut bytes, _) = file(4);
            let at = bit / 8 % bytes.len();
            bytes[at] ^= 1 << (bit % 8);
            let scan = scan(&bytes, 5);
            prop_assert_eq!(scan.found.len(), 3);
            prop_assert!(scan.found.iter().all(|found| found.record.entry == entry(found.record.number)));
        }
    }
}
