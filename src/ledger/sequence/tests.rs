//! Numbers over stops, crashes, and disks that fail or hang.

use std::sync::Mutex;
use std::thread::{scope, yield_now};
use std::time::SystemTime;

use crossbeam_channel::{Receiver, Sender, bounded};
use proptest::prelude::*;

use super::*;
use crate::clock::SystemClock;

fn at(ms: u64) -> Moment {
    Moment { mono: Duration::from_millis(ms), utc: SystemTime::UNIX_EPOCH }
}

/// A disk that outlives the station.
#[derive(Clone, Debug, Default)]
struct Plate {
    text: Arc<Mutex<Option<String>>>,
    is_full: Arc<AtomicBool>,
    /// Each write but the first waits for one of these.
    gate: Option<Receiver<()>>,
}

impl Store for Plate {
    fn read(&mut self) -> io::Result<Option<String>> {
        Ok(self.text.lock().unwrap().clone())
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if self.is_full.load(Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let is_first = self.text.lock().unwrap().is_none();
        if let Some(gate) = self.gate.as_ref().filter(|_| !is_first) {
            gate.recv().ok();
        }
        *self.text.lock().unwrap() = Some(text.into());
        Ok(())
    }

    fn path(&self) -> &Path {
        Path::new("seq")
    }
}

fn begin(plate: &Plate) -> (Sequence, Reserver) {
    kept_in(Box::new(plate.clone())).unwrap()
}

fn count(sequence: &mut Sequence, n: u64) -> u64 {
    (0..n).map(|_| sequence.next_number()).last().unwrap()
}

#[test]
fn numbers_go_on_after_a_clean_stop_and_skip_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (mut sequence, reserver) = open(folder.path()).unwrap();
    assert_eq!([sequence.next_number(), sequence.next_number()], [1, 2]);
    sequence.finish();
    reserver.finish().unwrap();
    let (mut sequence, reserver) = open(folder.path()).unwrap();
    assert_eq!(sequence.next_number(), 3);
    drop(sequence);
    reserver.finish().unwrap();
    assert_eq!(open(folder.path()).unwrap().0.next_number(), 3 + BLOCK);
}

#[test]
fn the_next_block_is_reserved_when_half_of_one_is_used() {
    let plate = Plate::default();
    let (mut sequence, mut reserver) = begin(&plate);
    count(&mut sequence, BLOCK / 2);
    assert_eq!((reserver.attend(at(0)), reserver.woken.len()), (None, 0));
    count(&mut sequence, 1);
    assert_eq!(reserver.woken.len(), 1, "it is called");
    assert_eq!(reserver.attend(at(0)), None);
    count(&mut sequence, BLOCK);
    assert!(!sequence.is_at_risk());
    drop((sequence, reserver));
    assert!(begin(&plate).0.next_number() > BLOCK / 2 + 1 + BLOCK);
}

#[test]
fn a_full_disk_is_asked_each_second_and_no_number_comes_twice_once_it_is_back() {
    let plate = Plate::default();
    let (mut sequence, mut reserver) = begin(&plate);
    count(&mut sequence, BLOCK - 1);
    plate.is_full.store(true, Relaxed);
    assert_eq!(reserver.attend(at(0)), Some(at(1000).mono));
    let last = count(&mut sequence, 1);
    assert!(!sequence.is_at_risk());
    assert_eq!(count(&mut sequence, 1), last + 1, "the line goes on");
    assert!(sequence.is_at_risk());
    assert_eq!(reserver.attend(at(1000)), Some(at(2000).mono));
    plate.is_full.store(false, Relaxed);
    assert_eq!(reserver.attend(at(1999)), Some(at(2000).mono), "not sooner");
    assert!(sequence.is_at_risk());
    assert_eq!(reserver.attend(at(2000)), None);
    assert!(!sequence.is_at_risk());
    let last = count(&mut sequence, BLOCK / 2);
    drop((sequence, reserver));
    assert!(begin(&plate).0.next_number() > last);
}

#[test]
fn a_disk_that_hangs_holds_no_number_up() {
    let (free, gate): (Sender<()>, _) = bounded(1);
    let plate = Plate { gate: Some(gate), ..Plate::default() };
    let (mut sequence, reserver) = begin(&plate);
    let clock = SystemClock::start();
    scope(|scope| {
        scope.spawn(|| reserver.run(&clock));
        // That these come at all is what is tested: the reserver waits in its first write meanwhile.
        let last = count(&mut sequence, 3 * BLOCK);
        assert!(sequence.is_at_risk());
        free.send(()).unwrap();
        while sequence.is_at_risk() {
            free.try_send(()).ok();
            yield_now();
        }
        let kept: u64 = plate.text.lock().unwrap().as_ref().unwrap().parse().unwrap();
        assert!(kept > last);
        // All further writes go on.
        drop(free);
        sequence.finish();
    });
}

#[test]
fn two_stations_cannot_share_a_counter() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(SequenceError::InUse { .. })));
    drop(first);
    open(folder.path()).unwrap();
}

#[test]
fn a_counter_that_is_not_a_number_is_not_started_anew() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["1\u{0}2", "", "-1", &u64::MAX.to_string()] {
        fs::write(folder.path().join("seq"), text).unwrap();
        assert!(matches!(open(folder.path()), Err(SequenceError::Broken { .. })), "{text}");
    }
}

proptest! {
    #[test]
    fn numbers_grow_over_crashes_and_failing_disks_unless_told_otherwise(
        acts in prop::collection::vec((0..5_u8, 1..BLOCK), 1..60),
    ) {
        let plate = Plate::default();
        let (mut sequence, mut reserver) = begin(&plate);
        let mut last = 0;
        for (ms, (act, n)) in (0..).step_by(700).zip(acts) {
            match act {
                0 | 1 => {
                    let first = sequence.next_number();
                    prop_assert!(first > last, "{first} after {last}");
                    last = first + n - 1;
                    if n > 1 {
                        prop_assert_eq!(count(&mut sequence, n - 1), last);
                    }
                }
                2 => {
                    reserver.attend(at(ms));
                }
                3 => {
                    plate.is_full.fetch_xor(true, Relaxed);
                }
                _ => {
                    plate.is_full.store(false, Relaxed);
                    if n % 2 == 0 {
                        sequence.finish();
                        reserver.finish().unwrap();
                    } else if sequence.is_at_risk() {
                        // It was told.
                        last = 0;
                    }
                    (sequence, reserver) = begin(&plate);
                }
            }
        }
    }
}
