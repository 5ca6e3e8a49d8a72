//! Any order of keeping, acknowledging, tearing, filling, crashing and stopping.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand_pcg::Pcg64;

use super::super::memory::MemoryDisk;
use super::super::*;
use super::{MAX_BYTES, at, entry, open};

#[derive(Clone, Debug)]
enum Step {
    Keep { n: u64, bytes: usize },
    Save,
    Acknowledge(usize),
    BeginAgain,
    Tear(usize),
    Fill(u64),
    Crash(u64),
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u64..20, 0_usize..8000).prop_map(|(n, bytes)| Step::Keep { n, bytes }),
        4 => Just(Step::Save),
        4 => (0_usize..40).prop_map(Step::Acknowledge),
        1 => Just(Step::BeginAgain),
        1 => (0_usize..9000).prop_map(Step::Tear),
        1 => (0_u64..20_000).prop_map(Step::Fill),
        1 => any::<u64>().prop_map(Step::Crash),
        1 => Just(Step::Stop),
    ]
}

/// What must be so: results that were saved and not acknowledged, dropped or handed to a failing run's memory.
struct Model {
    disk: MemoryDisk,
    outbox: Outbox<MemoryDisk>,
    seconds: u64,
    seq: u64,
    kept: u64,
    /// Handed out at some time, and so counted as published.
    safe: BTreeMap<u64, EntryId>,
    dropped: u64,
    acknowledged: u64,
}

impl Model {
    fn hand_out(&mut self) {
        let was_failing = self.outbox.has_failed();
        let now = at(self.seconds);
        let mut last = None;
        while let Some(due) = self.outbox.due(now) {
            assert!(last < Some(due.entry.seq), "out of order");
            last = Some(due.entry.seq);
            if !was_failing {
                self.safe.insert(due.entry.seq, due.id);
            }
        }
    }

    fn heed(&mut self) {
        for note in self.outbox.take_notes() {
            match note {
                Note::Dropped(count) => self.dropped += count,
                Note::Damaged(damage) => assert_eq!((damage.lost, damage.unreadable), (0, 0)),
                Note::Failed(_) | Note::Recovered { .. } => {}
            }
        }
        assert!(self.disk.used() <= MAX_BYTES, "{}", self.disk.used());
    }

    fn apply(&mut self, step: &Step) {
        self.seconds += 2;
        match *step {
            Step::Keep { n, bytes } => {
                for _ in 0..n {
                    self.seq += 1;
                    self.kept += 1;
                    self.outbox.keep(entry(self.seq, bytes));
                }
            }
            Step::Save => {
                self.disk.set_capacity(None);
                self.seconds += 5;
                self.outbox.save(at(self.seconds));
                self.hand_out();
            }
            Step::Acknowledge(n) => {
                let before = self.outbox.len();
                for (_, id) in self.safe.iter().take(n).map(|(seq, id)| (*seq, *id)).collect::<Vec<_>>() {
                    self.outbox.acknowledged(id);
                    self.safe.pop_first();
                }
                self.acknowledged += (before - self.outbox.len()) as u64;
            }
            Step::BeginAgain => {
                self.outbox.begin_again();
                self.hand_out();
            }
            Step::Tear(bytes) => self.disk.tear_next(bytes),
            Step::Fill(more) => self.disk.set_capacity(Some(self.disk.used() + more)),
            Step::Crash(seed) => {
                self.disk.set_capacity(None);
                self.disk.crash(&mut Pcg64::new(seed.into(), 1));
                self.reopen();
            }
            Step::Stop => {
                self.disk.set_capacity(None);
                self.outbox.finish(at(self.seconds));
                self.heed();
                self.reopen();
            }
        }
        self.heed();
    }

    /// The next run: everything that was safe comes again, in order.
    fn reopen(&mut self) {
        let dropped = self.dropped;
        self.outbox = open(&self.disk);
        if self.outbox.has_failed() {
            // A tear that was ordered struck the start.
            self.seconds = 10;
            self.outbox.save(at(10));
        }
        self.seconds = 10;
        self.heed();
        let mut there = BTreeMap::new();
        while let Some(due) = self.outbox.due(at(self.seconds)) {
            assert!(due.replayed);
            assert!(there.last_key_value().is_none_or(|(&last, _)| last < due.entry.seq), "out of order");
            there.insert(due.entry.seq, due.id);
        }
        // Those that had to go were the oldest.
        let missing: Vec<_> = self.safe.keys().filter(|seq| !there.contains_key(seq)).collect();
        let oldest: Vec<_> = self.safe.keys().take(missing.len()).collect();
        assert_eq!(missing, oldest);
        assert!(missing.len() as u64 <= dropped, "{} lost, {dropped} dropped", missing.len());
        self.safe = there;
        (self.kept, self.acknowledged, self.dropped) = (self.outbox.len() as u64, 0, 0);
    }
}

proptest! {
    #[test]
    fn nothing_that_was_published_is_lost_and_what_is_dropped_is_counted(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let disk = MemoryDisk::default();
        let mut model = Model {
            outbox: open(&disk),
            disk,
            seconds: 10,
            seq: 0,
            kept: 0,
            safe: BTreeMap::new(),
            dropped: 0,
            acknowledged: 0,
        };
        for step in &steps {
            model.apply(step);
            let there = model.outbox.len() as u64;
            prop_assert_eq!(model.kept, there + model.acknowledged + model.dropped, "{:?}", step);
        }
        model.apply(&Step::Stop);
    }
}
