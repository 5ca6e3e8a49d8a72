//! The counters over all runs: what earlier runs have counted, and the file that keeps it.
//!
//! The file is written every few seconds and at the end; a killed process loses what it counted since.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tracing::warn;

use crate::clock::Moment;
use crate::health::Health;
use crate::publish::bulletin::Every;
use crate::publish::outbox::disk::Disk;
use crate::publish::payload::totals::Totals;

/// In the state folder.
const NAME: &str = "counters";

/// So much counting a killed process loses at most.
const PERIOD: Duration = Duration::from_secs(5);

/// The file is some hundred bytes.
const LONGEST: usize = 64 * 1024;

/// The counters on their way to disk.
#[derive(Debug)]
pub struct Lifetime<D> {
    disk: D,
    before: Totals,
    /// The file may hold what was counted: it is there and could not be read. It is not written before it could.
    is_unread: bool,
    period: Every,
    has_failed: bool,
}

impl<D: Disk> Lifetime<D> {
    /// Reads what earlier runs have counted. What is damaged is told by the text, and counting begins at zero.
    pub fn load(mut disk: D) -> (Self, Option<String>) {
        let (before, problem, is_unread) = match read(&mut disk) {
            Ok(Some(totals)) => (totals, None, false),
            Ok(None) => (Totals::default(), Some("the file is damaged".into()), false),
            Err(error) => (Totals::default(), Some(error.to_string()), true),
        };
        (Self { disk, before, is_unread, period: Every::new(PERIOD), has_failed: false }, problem)
    }

    /// What the runs before this one have counted, as far as it could be read.
    pub fn before(&self) -> Totals {
        self.before
    }

    /// Writes the counters when it is time to.
    pub fn attend(&mut self, health: &Health, now: Moment) {
        if self.period.is_due(now) {
            self.write(health);
        }
    }

    /// Writes them a last time.
    pub fn finish(&mut self, health: &Health) {
        self.write(health);
    }

    fn write(&mut self, health: &Health) {
        let written = self.try_write(health);
        if let Err(error) = &written
            && !self.has_failed
        {
            warn!("cannot keep the lifetime counters, a stop now would lose some: {error}");
        }
        self.has_failed = written.is_err();
    }

    fn try_write(&mut self, health: &Health) -> io::Result<()> {
        if self.is_unread {
            self.before = read(&mut self.disk)?.unwrap_or_default();
            self.is_unread = false;
        }
        self.disk.replace(NAME, &encode(&self.before.plus(&Totals::read(health))))
    }
}

/// What the file says; None if it is damaged.
fn read(disk: &mut impl Disk) -> io::Result<Option<Totals>> {
    match disk.read(NAME, 0, LONGEST) {
        Ok(bytes) => Ok(decode(&bytes).map(Totals::without_open)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some(Totals::default())),
        Err(error) => Err(error),
    }
}

/// The counters and, on a line of its own, their checksum.
fn encode(totals: &Totals) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(totals).expect("numbers under fixed names");
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(format!("\n{sum:08x}\n").as_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Totals> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (json, sum) = text.strip_suffix('\n')?.split_once('\n')?;
    let is_whole = format!("{:08x}", crc32fast::hash(json.as_bytes())) == sum;
    is_whole.then(|| serde_json::from_str(json).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::SystemTime;

    use proptest::prelude::*;

    use super::*;
    use crate::publish::outbox::memory::MemoryDisk;
    use crate::verdict::{Outcome, Reason};

    fn at(seconds: u64) -> Moment {
        Moment { mono: Duration::from_secs(seconds), utc: SystemTime::UNIX_EPOCH }
    }

    /// A run that saw three triggers and answered two.
    fn health() -> Health {
        let health = Health::new([]);
        health.counters.triggers.fetch_add(3, Relaxed);
        health.counters.outcomes.count(Outcome::Good);
        health.counters.outcomes.count(Outcome::NotInspected(Reason::Timeout));
        health
    }

    #[test]
    fn each_run_adds_to_the_ones_before_and_the_sum_balances() {
        let disk = MemoryDisk::default();
        for run in 0..3 {
            let (mut lifetime, problem) = Lifetime::load(disk.clone());
            assert_eq!(problem, None);
            let before = lifetime.before();
            assert_eq!((before.triggers, before.ok, before.open), (2 * run, run, 0));
            assert_eq!(before.not_inspected.timeout, run);
            lifetime.finish(&health());
        }
    }

    #[test]
    fn they_are_written_every_few_seconds_and_again_when_the_disk_is_back() {
        let disk = MemoryDisk::default();
        let (mut lifetime, _) = Lifetime::load(disk.clone());
        let health = health();
        let kept = || Lifetime::load(disk.clone()).0.before().ok;
        lifetime.attend(&health, at(0));
        health.counters.outcomes.count(Outcome::Good);
        lifetime.attend(&health, at(4));
        assert_eq!(kept(), 1);
        disk.fail_writes(Some(ErrorKind::StorageFull));
        lifetime.attend(&health, at(5));
        assert_eq!(kept(), 1);
        disk.fail_writes(None);
        lifetime.attend(&health, at(10));
        assert_eq!(kept(), 2);
    }

    #[test]
    fn a_damaged_file_is_told_and_counting_begins_at_zero() {
        let mut disk = MemoryDisk::default();
        Lifetime::load(disk.clone()).0.finish(&health());
        assert!(disk.damage(NAME, 14));
        let (lifetime, problem) = Lifetime::load(disk.clone());
        assert_eq!((lifetime.before(), problem.as_deref()), (Totals::default(), Some("the file is damaged")));
        disk.replace(NAME, b"").unwrap();
        assert!(Lifetime::load(disk).1.is_some());
    }

    #[test]
    fn a_file_that_cannot_be_read_at_the_start_is_not_written_over() {
        let disk = MemoryDisk::default();
        Lifetime::load(disk.clone()).0.finish(&health());
        disk.fail_reads(Some(ErrorKind::Other));
        let (mut lifetime, problem) = Lifetime::load(disk.clone());
        assert!(problem.is_some());
        lifetime.attend(&health(), at(0));
        disk.fail_reads(None);
        assert_eq!(Lifetime::load(disk.clone()).0.before().ok, 1);
        lifetime.attend(&health(), at(5));
        assert_eq!(Lifetime::load(disk).0.before().ok, 2, "and joined once it can");
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decode(&bytes), None);
        }
    }
}
