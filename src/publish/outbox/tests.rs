//! The outbox on a disk that fails, fills, tears and forgets.

mod crashes;

use std::io::ErrorKind;
use std::time::SystemTime;

use super::memory::MemoryDisk;
use super::*;

const MAX_BYTES: u64 = 1024 * 1024;

fn at(seconds: u64) -> Moment {
    Moment { mono: Duration::from_secs(seconds), utc: SystemTime::UNIX_EPOCH }
}

fn entry(seq: u64, bytes: usize) -> Entry {
    let payload = format!("{{\"seq\":{seq}}}").into_bytes();
    let payload = [payload, vec![b' '; bytes]].concat();
    Entry { seq, at_ms: seq, camera: "top".into(), part: None, payload }
}

fn keep(outbox: &mut Outbox<MemoryDisk>, seqs: impl IntoIterator<Item = u64>) {
    seqs.into_iter().for_each(|seq| outbox.keep(entry(seq, 0)));
}

/// An outbox on this disk, loaded.
fn open(disk: &MemoryDisk) -> Outbox<MemoryDisk> {
    let mut outbox = Outbox::new(disk.clone(), MAX_BYTES);
    outbox.save(at(0));
    outbox
}

/// Hands out everything that is due.
fn hand_out(outbox: &mut Outbox<MemoryDisk>) -> Vec<Due> {
    std::iter::from_fn(|| outbox.due(at(0))).collect()
}

fn seqs(handed: &[Due]) -> Vec<u64> {
    handed.iter().map(|due| due.entry.seq).collect()
}

#[test]
fn entries_go_out_in_order_once_they_are_saved_and_stay_until_acknowledged() {
    let mut outbox = open(&MemoryDisk::default());
    keep(&mut outbox, 0..3);
    assert_eq!(outbox.due(at(0)), None, "not safe yet");
    outbox.save(at(0));
    let handed = hand_out(&mut outbox);
    assert_eq!(seqs(&handed), [0, 1, 2]);
    assert!(handed.iter().all(|due| !due.replayed));
    outbox.acknowledged(handed[1].id);
    assert_eq!(outbox.len(), 2);

    keep(&mut outbox, [3]);
    outbox.begin_again();
    keep(&mut outbox, [4]);
    outbox.save(at(0));
    let again = hand_out(&mut outbox);
    let numbers: Vec<_> = again.iter().map(|due| (due.entry.seq, due.replayed)).collect();
    assert_eq!(numbers, [(0, true), (2, true), (3, true), (4, false)]);
    for due in again {
        outbox.acknowledged(due.id);
    }
    assert!(outbox.is_empty());
    assert_eq!(outbox.take_notes(), []);
}

#[test]
fn the_next_run_finds_what_was_not_acknowledged_and_marks_it() {
    let disk = MemoryDisk::default();
    let mut outbox = open(&disk);
    keep(&mut outbox, 0..5);
    outbox.save(at(0));
    let handed = hand_out(&mut outbox);
    for due in &handed[..2] {
        outbox.acknowledged(due.id);
    }
    outbox.save(at(0));
    keep(&mut outbox, [5]);
    drop(outbox);

    let mut outbox = open(&disk);
    keep(&mut outbox, [6]);
    outbox.save(at(0));
    let handed = hand_out(&mut outbox);
    let numbers: Vec<_> = handed.iter().map(|due| (due.entry.seq, due.replayed)).collect();
    assert_eq!(numbers, [(2, true), (3, true), (4, true), (6, false)], "5 was never saved");
}

#[test]
fn acknowledged_results_make_room_first_and_then_the_oldest_go() {
    let disk = MemoryDisk::default();
    let mut outbox = open(&disk);
    let put = |outbox: &mut Outbox<MemoryDisk>, seqs: std::ops::Range<u64>| {
        for seq in seqs {
            outbox.keep(entry(seq, 8000));
            outbox.save(at(0));
            assert!(disk.used() <= MAX_BYTES, "{}", disk.used());
        }
    };
    put(&mut outbox, 0..100);
    for due in hand_out(&mut outbox) {
        outbox.acknowledged(due.id);
    }
    put(&mut outbox, 100..200);
    assert_eq!((outbox.len(), outbox.take_notes()), (100, vec![]), "only acknowledged ones had to go");

    let late = outbox.due(at(0)).unwrap();
    put(&mut outbox, 200..300);
    let dropped: u64 = outbox
        .take_notes()
        .iter()
        .map(|note| match note {
            Note::Dropped(count) => *count,
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(u64::try_from(outbox.len()).unwrap() + dropped, 200);
    outbox.acknowledged(late.id);
    outbox.begin_again();
    assert_eq!(seqs(&hand_out(&mut outbox)), (100 + dropped..300).collect::<Vec<_>>());
}

#[test]
fn while_the_disk_fails_results_go_on_from_memory_and_it_is_tried_again() {
    for fail in [
        (|disk: &MemoryDisk| disk.fail_writes(Some(ErrorKind::ReadOnlyFilesystem))) as fn(&MemoryDisk),
        |disk| disk.set_capacity(Some(disk.used() + 30)),
        |disk| disk.tear_next(40),
    ] {
        let disk = MemoryDisk::default();
        let mut outbox = open(&disk);
        keep(&mut outbox, 0..2);
        outbox.save(at(0));
        fail(&disk);
        keep(&mut outbox, 2..4);
        outbox.save(at(10));
        assert!(outbox.has_failed());
        assert!(matches!(outbox.take_notes()[..], [Note::Failed(_)]));
        let handed = hand_out(&mut outbox);
        assert_eq!(seqs(&handed), [0, 1, 2, 3]);
        outbox.acknowledged(handed[0].id);
        outbox.acknowledged(handed[2].id);

        disk.fail_writes(None);
        disk.set_capacity(None);
        outbox.save(at(14));
        assert!(outbox.has_failed(), "left alone for a while");
        outbox.save(at(15));
        assert_eq!(outbox.take_notes(), [Note::Recovered { after: Duration::from_secs(5) }]);
        keep(&mut outbox, [4]);
        outbox.save(at(15));
        assert_eq!(seqs(&hand_out(&mut outbox)), [4]);
        drop(outbox);
        assert_eq!(seqs(&hand_out(&mut open(&disk))), [1, 3, 4]);
    }
}

#[test]
fn a_disk_that_can_be_read_only_later_gives_its_results_then() {
    let disk = MemoryDisk::default();
    keep_and_drop(&disk, 0..3);
    disk.fail_reads(Some(ErrorKind::PermissionDenied));
    let mut outbox = open(&disk);
    keep(&mut outbox, 3..5);
    outbox.save(at(0));
    assert_eq!(seqs(&hand_out(&mut outbox)), [3, 4], "from memory");
    disk.fail_reads(None);
    outbox.save(at(5));
    let handed = hand_out(&mut outbox);
    assert_eq!(seqs(&handed), [0, 1, 2]);
    assert!(handed.iter().all(|due| due.replayed));
}

#[test]
fn a_disk_that_does_not_give_back_a_result_keeps_the_others_going() {
    let disk = MemoryDisk::default();
    keep_and_drop(&disk, 0..3);
    let mut outbox = open(&disk);
    disk.fail_reads(Some(ErrorKind::Other));
    keep(&mut outbox, [3]);
    assert_eq!(seqs(&hand_out(&mut outbox)), [3]);
    disk.fail_reads(None);
    outbox.save(at(5));
    assert_eq!(seqs(&hand_out(&mut outbox)), [0, 1, 2]);
}

#[test]
fn a_damaged_record_costs_itself_and_is_told_once() {
    let disk = MemoryDisk::default();
    keep_and_drop(&disk, 0..4);
    assert!(disk.damage("00000000000000000001.log", 60));
    let mut outbox = open(&disk);
    assert_eq!(outbox.take_notes(), [Note::Damaged(Damage { lost: 1, ..Damage::default() })]);
    assert_eq!(seqs(&hand_out(&mut outbox)), [0, 2, 3]);
    keep(&mut outbox, [4]);
    outbox.save(at(0));
    let mut outbox = open(&disk);
    assert_eq!(outbox.take_notes(), []);
    assert_eq!(seqs(&hand_out(&mut outbox)), [0, 2, 3, 4]);

    // Now one that was whole when it was found.
    outbox.begin_again();
    assert!(disk.damage("00000000000000000001.log", 60));
    assert_eq!(seqs(&hand_out(&mut outbox)), [0, 3, 4]);
    assert_eq!(outbox.take_notes(), [Note::Damaged(Damage { lost: 1, ..Damage::default() })]);
    outbox.save(at(0));
    assert_eq!(open(&disk).take_notes(), []);
}

#[test]
fn the_number_of_a_damaged_record_that_was_acknowledged_is_not_given_again() {
    let disk = MemoryDisk::default();
    let mut outbox = open(&disk);
    keep(&mut outbox, 0..3);
    outbox.save(at(0));
    for due in hand_out(&mut outbox) {
        outbox.acknowledged(due.id);
    }
    outbox.save(at(0));
    let files = disk.clone().list().unwrap();
    let (name, length) = files.iter().find(|(name, _)| log::number_in(name, ".log").is_some()).unwrap();
    assert!(disk.damage(name, usize::try_from(*length).unwrap() - 1));
    keep_and_drop(&disk, 3..4);
    assert_eq!(seqs(&hand_out(&mut open(&disk))), [3]);
}

#[test]
fn a_torn_tail_is_cut_off_and_told() {
    let disk = MemoryDisk::default();
    let mut outbox = open(&disk);
    keep(&mut outbox, 0..2);
    outbox.save(at(0));
    disk.tear_next(30);
    keep(&mut outbox, [2]);
    outbox.save(at(0));
    drop(outbox);
    let mut outbox = open(&disk);
    assert_eq!(outbox.take_notes(), [Note::Damaged(Damage { torn_tails: 1, ..Damage::default() })]);
    keep(&mut outbox, [3]);
    outbox.save(at(0));
    assert_eq!(seqs(&hand_out(&mut outbox)), [0, 1, 3]);
    assert_eq!(open(&disk).take_notes(), []);
}

#[test]
fn without_a_disk_memory_is_bounded_and_what_goes_is_counted() {
    let disk = MemoryDisk::default();
    disk.fail_writes(Some(ErrorKind::PermissionDenied));
    let mut outbox = open(&disk);
    (0..3000).for_each(|seq| outbox.keep(entry(seq, 8000)));
    let mut dropped = 0;
    let mut count = |outbox: &mut Outbox<MemoryDisk>| {
        for note in outbox.take_notes() {
            if let Note::Dropped(count) = note {
                dropped += count;
            }
        }
        dropped
    };
    assert_eq!(count(&mut outbox) + outbox.len() as u64, 3000);
    assert!((2000..2100).contains(&outbox.len()), "{}", outbox.len());
    outbox.finish(at(1));
    assert_eq!((count(&mut outbox), outbox.len()), (3000, 0));
}

fn keep_and_drop(disk: &MemoryDisk, seqs: std::ops::Range<u64>) {
    let mut outbox = open(disk);
    keep(&mut outbox, seqs);
    outbox.save(at(0));
}
