//! The rules of the ledger: open, close once, expire.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Moment;
use crate::frame::{Trigger, TriggerKey};
use crate::ledger::sequence::Sequence;
use crate::verdict::{Judgement, Reason, Verdict};

/// Answers that came too late are told apart from answers that nobody asked for, for this many timeouts back.
const REMEMBERED: usize = 1024;

/// All open entries.
#[derive(Debug)]
pub struct Book {
    sequence: Sequence,
    entries: HashMap<TriggerKey, Entry>,
    /// The same entries by deadline.
    due: BTreeSet<(Duration, TriggerKey)>,
    timed_out: HashMap<TriggerKey, (u64, Trigger)>,
    /// Keys of `timed_out`, oldest first.
    order: VecDeque<TriggerKey>,
}

#[derive(Debug)]
struct Entry {
    trigger: Trigger,
    due: Duration,
}

impl Book {
    pub fn new(sequence: Sequence) -> Self {
        Self {
            sequence,
            entries: HashMap::new(),
            due: BTreeSet::new(),
            timed_out: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Entries without a verdict.
    pub fn open(&self) -> usize {
        self.entries.len()
    }

    pub fn next_deadline(&self) -> Option<Duration> {
        self.due.first().map(|&(at, _)| at)
    }

    /// A number for a verdict, after all those given before.
    pub fn next_number(&mut self) -> u64 {
        self.sequence.next_number()
    }

    pub fn open_entry(&mut self, trigger: Trigger) {
        let key = trigger.key;
        let due = trigger.due();
        let before = self.entries.insert(key, Entry { trigger, due });
        assert!(before.is_none(), "trigger {key:?} was opened twice");
        self.due.insert((due, key));
    }

    /// The entry's frame was captured at `captured`. Nothing, if there is no such entry any more.
    pub fn see(&mut self, key: TriggerKey, captured: Moment) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.trigger.captured = captured;
        }
    }

    /// Call [`Book::expire`] with the same `now` first. The terminal verdict if the entry is open, a late one if it ran into
    /// its deadline before, and nothing if it was answered already.
    pub fn close(&mut self, key: TriggerKey, judgement: Judgement, now: Moment) -> Option<Verdict> {
        if let Some(entry) = self.entries.remove(&key) {
            self.due.remove(&(entry.due, key));
            return Some(self.verdict(entry.trigger, judgement, now));
        }
        let (seq, trigger) = self.timed_out.remove(&key)?;
        self.order.retain(|&other| other != key);
        Some(Verdict { seq, trigger, judgement, decided: now, late: true })
    }

    /// TIMEOUT for the entry whose deadline has passed first, if one has. Call it until there is none: a number is given
    /// to each verdict when its turn comes, so that numbers only grow.
    pub fn expire(&mut self, now: Moment) -> Option<Verdict> {
        let &(at, key) = self.due.first()?;
        if at > now.mono {
            return None;
        }
        self.due.pop_first();
        let entry = self.entries.remove(&key).expect("each due entry is open");
        Some(self.time_out(entry.trigger, now))
    }

    /// Ends the open entry that is due first, and so on until there is none: the station stops and nobody will look at
    /// these parts any more.
    pub fn abandon(&mut self, now: Moment) -> Option<Verdict> {
        let (_, key) = self.due.pop_first()?;
        let entry = self.entries.remove(&key).expect("each due entry is open");
        Some(self.verdict(entry.trigger, Judgement::not_inspected(Reason::NotReady, None), now))
    }

    /// Whether a crash now would use numbers twice.
    pub fn is_at_risk(&self) -> bool {
        self.sequence.is_at_risk()
    }

    /// No number is used after this, and those that are left can be given back.
    pub fn finish(self) {
        self.sequence.finish();
    }

    fn time_out(&mut self, trigger: Trigger, now: Moment) -> Verdict {
        let verdict = self.verdict(trigger, Judgement::not_inspected(Reason::Timeout, None), now);
        let key = verdict.trigger.key;
        self.timed_out.insert(key, (verdict.seq, verdict.trigger.clone()));
        self.order.push_back(key);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.timed_out.remove(&oldest);
        }
        verdict
    }

    fn verdict(&mut self, trigger: Trigger, judgement: Judgement, now: Moment) -> Verdict {
        Verdict { seq: self.sequence.next_number(), trigger, judgement, decided: now, late: false }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::frame::CameraId;
    use crate::ledger::sequence;
    use crate::verdict::Outcome;

    const DEADLINE: Duration = Duration::from_millis(100);

    fn at(ms: u64) -> Moment {
        Moment { mono: Duration::from_millis(ms), utc: SystemTime::UNIX_EPOCH }
    }

    fn key(number: u64) -> TriggerKey {
        TriggerKey { camera: 0, number }
    }

    fn trigger(number: u64, captured_ms: u64) -> Trigger {
        Trigger {
            key: key(number),
            camera: CameraId::new("top").unwrap(),
            published_number: 0,
            is_numbered_by_plc: false,
            part_id: None,
            captured: at(captured_ms),
            deadline: DEADLINE,
        }
    }

    fn good() -> Judgement {
        Judgement { outcome: Outcome::Good, ..Judgement::not_inspected(Reason::NoFrame, None) }
    }

    fn book(folder: &tempfile::TempDir) -> Book {
        Book::new(sequence::open(folder.path()).unwrap().0)
    }

    #[test]
    fn a_trigger_is_answered_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = book(&folder);
        book.open_entry(trigger(0, 0));
        let verdict = book.close(key(0), good(), at(50)).unwrap();
        assert_eq!((verdict.judgement.outcome, verdict.late), (Outcome::Good, false));
        assert!(book.close(key(0), good(), at(60)).is_none());
        assert!(book.expire(at(1000)).is_none());
        assert_eq!(book.open(), 0);
    }

    #[test]
    fn at_its_deadline_an_entry_times_out_and_the_answer_after_that_is_late() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = book(&folder);
        book.open_entry(trigger(0, 0));
        book.open_entry(trigger(1, 10));
        assert_eq!(book.next_deadline(), Some(DEADLINE));
        assert!(book.expire(at(99)).is_none());
        let timed_out = book.expire(at(100)).unwrap();
        assert!(book.expire(at(100)).is_none());
        assert_eq!(timed_out.judgement.outcome, Outcome::NotInspected(Reason::Timeout));
        let late = book.close(key(0), good(), at(105)).unwrap();
        assert_eq!((late.late, late.seq), (true, timed_out.seq));
        assert!(book.close(key(0), good(), at(106)).is_none(), "a late answer is given once");
        assert!(!book.close(key(1), good(), at(109)).unwrap().late);
    }

    #[test]
    fn when_the_station_stops_no_entry_stays_open() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = book(&folder);
        book.open_entry(trigger(1, 5));
        book.open_entry(trigger(0, 0));
        let verdicts: Vec<_> = std::iter::from_fn(|| book.abandon(at(10))).collect();
        assert_eq!(verdicts.iter().map(|v| v.trigger.key.number).collect::<Vec<_>>(), [0, 1]);
        assert!(verdicts.iter().all(|v| v.judgement.outcome == Outcome::NotInspected(Reason::NotReady)));
        assert_eq!((book.open(), book.next_deadline()), (0, None));
    }

    #[test]
    fn an_inference_that_hangs_for_ever_costs_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = book(&folder);
        for number in 0..3000 {
            book.open_entry(trigger(number, number));
            book.expire(at(number + 100));
        }
        assert!(book.timed_out.len() <= REMEMBERED && book.order.len() <= REMEMBERED);
    }
}
