//! The rules of the ledger: open, close once, expire.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Moment;
use crate::frame::{CaptureClock, Trigger, TriggerKey};
use crate::ledger::sequence::Sequence;
use crate::verdict::{Judgement, Outcome, Reason, Verdict};

/// Answers that came too late are told apart from answers that nobody asked for, for this many timeouts back.
const REMEMBERED: usize = 1024;

/// All open entries.
#[derive(Debug)]
pub struct Book {
    sequence: Sequence,
    entries: HashMap<TriggerKey, Entry>,
    /// The same entries by when something is to be told of them.
    due: BTreeSet<(Duration, TriggerKey)>,
    timed_out: HashMap<TriggerKey, (u64, Trigger)>,
    /// Keys of `timed_out`, oldest first.
    order: VecDeque<TriggerKey>,
}

#[derive(Debug)]
struct Entry {
    trigger: Trigger,
    /// Its place in `due`.
    due: Duration,
    /// Before this its picture may turn out to be of another part: a good judgement is held back.
    sure_from: Duration,
    held: Option<Judgement>,
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
        let before = self.entries.insert(key, Entry { trigger, due, sure_from: Duration::ZERO, held: None });
        assert!(before.is_none(), "trigger {key:?} was opened twice");
        self.due.insert((due, key));
    }

    /// The entry's frame was captured at `captured`, and whose it is can be doubted until `sure_from`. Nothing, if there is no
    /// such entry any more. Its deadline is never later for this.
    pub fn see(&mut self, key: TriggerKey, captured: (Moment, CaptureClock), sure_from: Duration) {
        if let Some(entry) = self.entries.get_mut(&key) {
            (entry.trigger.captured, entry.trigger.clock) = captured;
            entry.sure_from = sure_from;
            let due = entry.due.min(entry.trigger.due());
            self.move_to(key, due);
        }
    }

    /// Call [`Book::expire`] with the same `now` first. The terminal verdict if the entry is open, a late one if it ran into
    /// its deadline before, and nothing if it was answered already, or is good and held back until that is sure.
    pub fn close(&mut self, key: TriggerKey, judgement: Judgement, now: Moment) -> Option<Verdict> {
        if let Some(entry) = self.entries.get_mut(&key)
            && judgement.outcome == Outcome::Good
            && now.mono < entry.sure_from
        {
            entry.held = Some(judgement);
            let tell_at = entry.due.min(entry.sure_from);
            self.move_to(key, tell_at);
            return None;
        }
        if let Some(entry) = self.entries.remove(&key) {
            self.due.remove(&(entry.due, key));
            return Some(self.verdict(entry.trigger, judgement, now));
        }
        let (seq, trigger) = self.timed_out.remove(&key)?;
        self.order.retain(|&other| other != key);
        Some(Verdict { seq, trigger, judgement, decided: now, late: true })
    }

    /// What is due first, if something is: a good judgement that is sure now, or TIMEOUT. Call it until there is none: a
    /// number is given to each verdict when its turn comes, so that numbers only grow.
    pub fn expire(&mut self, now: Moment) -> Option<Verdict> {
        let &(at, key) = self.due.first()?;
        if at > now.mono {
            return None;
        }
        self.due.pop_first();
        let Entry { trigger, sure_from, held, .. } =
            self.entries.remove(&key).expect("each due entry is open");
        Some(match held {
            Some(judgement) if sure_from <= at => self.verdict(trigger, judgement, now),
            _ => self.time_out(trigger, now),
        })
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

    fn move_to(&mut self, key: TriggerKey, due: Duration) {
        if let Some(entry) = self.entries.get_mut(&key) {
            self.due.remove(&(entry.due, key));
            entry.due = due;
            self.due.insert((due, key));
        }
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
    /// A verdict needs a moment to arrive.
    const DUE: Duration = Duration::from_millis(95);

    fn at(ms: u64) -> Moment {
        Moment { mono: Duration::from_millis(ms), utc: SystemTime::UNIX_EPOCH }
    }

    fn key(number: u64) -> TriggerKey {
        TriggerKey { camera: 0, number }
    }

    fn seen(captured_ms: u64) -> (Moment, CaptureClock) {
        (at(captured_ms), CaptureClock::Arrival)
    }

    fn trigger(number: u64, captured_ms: u64) -> Trigger {
        Trigger {
            key: key(number),
            camera: CameraId::new("top").unwrap(),
            published_number: 0,
            is_numbered_by_plc: false,
            part_id: None,
            captured: at(captured_ms),
            clock: CaptureClock::Arrival,
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
        assert_eq!(book.next_deadline(), Some(DUE));
        assert!(book.expire(at(94)).is_none());
        let timed_out = book.expire(at(100)).unwrap();
        assert!(book.expire(at(100)).is_none());
        assert_eq!(timed_out.judgement.outcome, Outcome::NotInspected(Reason::Timeout));
        let late = book.close(key(0), good(), at(105)).unwrap();
        assert_eq!((late.late, late.seq), (true, timed_out.seq));
        assert!(book.close(key(0), good(), at(106)).is_none(), "a late answer is given once");
        assert!(!book.close(key(1), good(), at(109)).unwrap().late);
    }

    #[test]
    fn a_good_part_is_told_when_its_picture_is_surely_its_own_and_a_bad_one_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = book(&folder);
        for number in 0..3 {
            book.open_entry(trigger(number, 0));
            book.see(key(number), seen(10), Duration::from_millis(80));
        }
        assert!(book.close(key(0), good(), at(20)).is_none());
        let bad = Judgement { outcome: Outcome::Anomalous, ..good() };
        assert_eq!(book.close(key(1), bad, at(21)).unwrap().judgement.outcome, Outcome::Anomalous);
        assert!(book.close(key(2), good(), at(22)).is_none());
        let doubt = Judgement::not_inspected(Reason::TriggerAmbiguous, None);
        let doubted = book.close(key(2), doubt, at(30)).unwrap();
        assert_eq!(doubted.judgement.outcome, Outcome::NotInspected(Reason::TriggerAmbiguous));
        assert_eq!(book.next_deadline(), Some(Duration::from_millis(80)));
        assert!(book.expire(at(79)).is_none());
        assert_eq!(book.expire(at(80)).unwrap().judgement.outcome, Outcome::Good);
        assert_eq!((book.open(), book.next_deadline()), (0, None));
    }

    #[test]
    fn what_is_not_sure_by_its_deadline_times_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = book(&folder);
        book.open_entry(trigger(0, 0));
        book.see(key(0), seen(10), Duration::from_millis(150));
        assert!(book.close(key(0), good(), at(20)).is_none());
        assert_eq!(book.expire(at(100)).unwrap().judgement.outcome, Outcome::NotInspected(Reason::Timeout));
    }

    #[test]
    fn a_frame_from_before_its_command_has_no_later_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = book(&folder);
        book.open_entry(trigger(0, 50));
        book.see(key(0), seen(20), Duration::ZERO);
        assert_eq!(book.next_deadline(), Some(Duration::from_millis(20) + DUE));
        book.see(key(0), seen(90), Duration::ZERO);
        assert_eq!(book.next_deadline(), Some(Duration::from_millis(20) + DUE));
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
