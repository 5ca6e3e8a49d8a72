//! What the publisher does while the disk hangs.

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use crossbeam_channel::{Receiver, bounded};
use csflowd::publish::outbox::disk::Disk;
use csflowd::publish::outbox::memory::MemoryDisk;
use csflowd::verdict::Outcome;

use super::rig::{self, mqtt, verdict};
use super::{result, seqs, status};
use crate::mosquitto::subscriber::{Message, Subscriber};
use crate::mosquitto::{Mosquitto, wait_until};

/// A disk whose syncs return when the other end of the channel is dropped.
struct Hanging {
    disk: MemoryDisk,
    until: Receiver<()>,
}

impl Disk for Hanging {
    fn prepare(&mut self) -> io::Result<()> {
        self.disk.prepare()
    }

    fn list(&mut self) -> io::Result<Vec<(String, u64)>> {
        self.disk.list()
    }

    fn read(&mut self, name: &str, from: u64, length: usize) -> io::Result<Vec<u8>> {
        self.disk.read(name, from, length)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.disk.append(name, bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        assert!(self.until.recv().is_err(), "nothing is ever sent");
        self.disk.sync(name)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.disk.sync_names()
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.disk.truncate(name, length)
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.disk.replace(name, bytes)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
}

#[test]
fn verdicts_do_not_wait_for_a_disk_that_hangs_and_no_result_goes_out_before_it_is_safe() {
    let broker = Mosquitto::start();
    let subscriber = Subscriber::start(broker.port);
    let (release, until) = bounded(0);
    let disk = || Hanging { disk: MemoryDisk::default(), until: until.clone() };
    rig::with_disks(&mqtt(broker.port), (disk(), disk()), 256_000_000, |plant| {
        subscriber.wait_for("ready", status("READY"));
        (1..=200).for_each(|seq| plant.send(verdict(seq, Outcome::Good)));
        let last = |m: &Message| m.topic.ends_with("/verdict") && m.payload["seq"] == 200;
        let mut seen = subscriber.collect_until("the last verdict", last);
        assert_eq!(seqs(&seen, "/verdict"), (1..=200).collect::<Vec<_>>());
        let stalled = |m: &Message| {
            m.payload["reasons"].as_array().is_some_and(|all| all.contains(&"OUTBOX_STALLED".into()))
        };
        if !seen.iter().any(stalled) {
            seen.extend(subscriber.collect_until("the reason", stalled));
        }
        assert_eq!(seqs(&seen, "/result"), [0; 0]);
        drop(release);
        let results = subscriber.collect_until("the last result", result(200));
        assert_eq!(seqs(&results, "/result"), (1..=200).collect::<Vec<_>>());
        wait_until("all is acknowledged", || plant.health.outbox.waiting.load(Relaxed) == 0);
        assert_eq!(plant.health.counters.results_dropped.load(Relaxed), 0);
    });
}
