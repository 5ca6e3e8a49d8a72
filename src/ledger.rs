//! The account of triggers and verdicts: one terminal verdict for each trigger, always.
//!
//! An entry opens when a trigger comes, closes once, and closes itself with TIMEOUT at its deadline, whatever
//! inference is doing. The rules are in [`book`], and in [`fusion`] for parts that several cameras see, without threads or
//! time of their own; here is the thread that lives by them.

pub mod book;
pub mod fusion;
pub mod sequence;

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tracing::{debug, error};

use crate::clock::{Clock, Moment};
use crate::config::group::Group;
use crate::frame::{CaptureClock, Trigger, TriggerKey};
use crate::health::Health;
use crate::ledger::book::Book;
use crate::ledger::fusion::{Fused, Fusion};
use crate::verdict::{Decided, Judgement, PartVerdict, Verdict};

/// The thread shows that it lives at least this often.
const IDLE: Duration = Duration::from_millis(500);

/// What the other stages report.
#[derive(Debug)]
pub enum Report {
    /// A part is in view. Comes before anything else about this trigger.
    Opened(Trigger),
    /// The frame of a trigger that was opened without one, and until when it can be doubted that it shows its part.
    Seen { key: TriggerKey, captured: (Moment, CaptureClock), sure_from: Duration },
    /// It was looked at, or it is known that it cannot be.
    Closed { key: TriggerKey, judgement: Judgement },
}

/// The account with its clockwork: what is reported and how late it is comes from outside, verdicts go out.
#[derive(Debug)]
pub struct Ledger<'a> {
    book: Book,
    fusion: Fusion,
    groups: &'a [Group],
    health: &'a Health,
    decided: VecDeque<Decided>,
}

impl<'a> Ledger<'a> {
    pub fn new(book: Book, groups: &'a [Group], health: &'a Health) -> Self {
        Self { book, fusion: Fusion::new(groups), groups, health, decided: VecDeque::new() }
    }

    /// When to call [`Ledger::expire`] at the latest.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.book.next_deadline().into_iter().chain(self.fusion.next_expiry()).min()
    }

    /// Takes a report in. What was due before `now` is ended first: an answer that comes after its deadline finds the
    /// entry timed out, and is late.
    pub fn take(&mut self, report: Report, now: Moment) {
        self.expire(now);
        match report {
            Report::Opened(trigger) => {
                self.health.counters.triggers.fetch_add(1, Relaxed);
                let due = trigger.due();
                let parts = self.fusion.opened(&trigger, due);
                self.book.open_entry(trigger);
                self.give_parts(parts);
            }
            Report::Seen { key, captured, sure_from } => self.book.see(key, captured, sure_from),
            Report::Closed { key, judgement } => {
                if let Some(verdict) = self.book.close(key, judgement, now) {
                    self.give(verdict);
                } else {
                    debug!(
                        camera = key.camera,
                        number = key.number,
                        "a second answer is left out, or a good one held back"
                    );
                }
            }
        }
    }

    /// Ends what is due.
    pub fn expire(&mut self, now: Moment) {
        while let Some(verdict) = self.book.expire(now) {
            self.give(verdict);
        }
        let parts = self.fusion.expire(now.mono);
        self.give_parts(parts);
        self.health.seq_unreserved.store(self.book.is_at_risk(), Relaxed);
    }

    /// Ends everything: nobody is left who could answer what is open.
    pub fn abandon(&mut self, now: Moment) {
        while let Some(verdict) = self.book.abandon(now) {
            self.give(verdict);
        }
        let parts = self.fusion.abandon();
        self.give_parts(parts);
    }

    /// The next verdict to be published.
    pub fn next_decided(&mut self) -> Option<Decided> {
        self.decided.pop_front()
    }

    /// No number is used after this, and those that are left can be given back.
    pub fn finish(self) {
        self.book.finish();
    }

    fn give(&mut self, verdict: Verdict) {
        let (key, outcome, late) = (verdict.trigger.key, verdict.judgement.outcome, verdict.late);
        self.decided.push_back(Decided::View(verdict));
        if late {
            self.health.counters.late.fetch_add(1, Relaxed);
            return;
        }
        self.health.counters.outcomes.count(outcome);
        let parts = self.fusion.decided(key, outcome);
        self.give_parts(parts);
    }

    fn give_parts(&mut self, parts: Vec<Fused>) {
        for part in parts {
            let group = &self.groups[part.group];
            self.health.parts.count(part.outcome);
            self.decided.push_back(Decided::Part(PartVerdict {
                seq: self.book.next_number(),
                group: group.name.clone(),
                number: u32::try_from(part.number & 0x7fff_ffff).expect("31 bits"),
                part_id: part.part_id,
                captured: part.captured,
                outcome: part.outcome,
                views: part.views,
                of: group.cameras.len(),
                worst: part.worst.map(|camera| self.health.cameras[camera].id.clone()),
            }));
        }
    }
}

/// Keeps the ledger until all reporters are gone.
pub fn run(mut ledger: Ledger<'_>, reports: &Receiver<Report>, decided: &Sender<Decided>, clock: &dyn Clock) {
    loop {
        let until = |at: Duration| at.saturating_sub(clock.now().mono).min(IDLE);
        let report = reports.recv_timeout(ledger.next_deadline().map_or(IDLE, until));
        let now = clock.now();
        ledger.health.ledger.beat(now);
        let is_over = match report {
            Ok(report) => {
                ledger.take(report, now);
                false
            }
            Err(RecvTimeoutError::Timeout) => {
                ledger.expire(now);
                false
            }
            Err(RecvTimeoutError::Disconnected) => {
                ledger.expire(now);
                ledger.abandon(now);
                true
            }
        };
        while let Some(verdict) = ledger.next_decided() {
            // A verdict is the product: the ledger waits for the publisher rather than lose one.
            if decided.send(verdict).is_err() {
                error!("the publisher is gone: a verdict is lost");
            }
        }
        if is_over {
            break;
        }
    }
    ledger.finish();
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::thread::scope;
    use std::time::SystemTime;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::frame::CameraId;
    use crate::verdict::{Outcome, Reason};

    /// Seconds, moved on by the test.
    #[derive(Default)]
    struct ManualClock(AtomicU64);

    impl Clock for ManualClock {
        fn now(&self) -> Moment {
            Moment { mono: Duration::from_secs(self.0.load(Relaxed)), utc: SystemTime::UNIX_EPOCH }
        }
    }

    #[test]
    fn an_answer_that_comes_just_after_its_deadline_is_told_as_late() {
        let folder = tempfile::tempdir().unwrap();
        let (sequence, _reserver) = sequence::open(folder.path()).unwrap();
        let camera = CameraId::new("top").unwrap();
        let (health, clock) = (Health::new([camera.clone()]), ManualClock::default());
        let key = TriggerKey { camera: 0, number: 0 };
        let trigger = Trigger {
            key,
            camera,
            published_number: 0,
            is_numbered_by_plc: false,
            part_id: None,
            captured: clock.now(),
            clock: CaptureClock::Arrival,
            deadline: Duration::from_secs(10),
        };
        let judgement =
            Judgement { outcome: Outcome::Good, ..Judgement::not_inspected(Reason::NoFrame, None) };
        // No places: what was sent was received.
        let (reports_in, reports) = bounded(0);
        let (verdicts_in, verdicts) = bounded(8);
        scope(|scope| {
            let (health, clock) = (&health, &clock);
            scope.spawn(move || {
                let ledger = Ledger::new(Book::new(sequence), &[], health);
                run(ledger, &reports, &verdicts_in, clock);
            });
            reports_in.send(Report::Opened(trigger)).unwrap();
            clock.0.store(11, Relaxed);
            reports_in.send(Report::Closed { key, judgement }).unwrap();
            drop(reports_in);
        });
        let of_view = |decided| match decided {
            Decided::View(v) => (v.seq, v.judgement.outcome, v.late),
            Decided::Part(part) => panic!("no group: {part:?}"),
        };
        let told: Vec<_> = verdicts.iter().map(of_view).collect();
        let expected = [(1, Outcome::NotInspected(Reason::Timeout), false), (1, Outcome::Good, true)];
        assert_eq!(told, expected);
        assert_eq!(
            (health.counters.outcomes.not_inspected(Reason::Timeout), health.counters.late.load(Relaxed)),
            (1, 1)
        );
    }

    #[test]
    fn numbers_grow_also_where_the_views_of_a_part_end_together() {
        let folder = tempfile::tempdir().unwrap();
        let cameras = ["left", "right", "top"].map(|name| CameraId::new(name).unwrap());
        let health = Health::new(cameras.clone());
        let window = Duration::from_millis(100);
        let groups = [Group { name: "cover".into(), cameras: vec![0, 1], window }];
        let book = Book::new(sequence::open(folder.path()).unwrap().0);
        let mut ledger = Ledger::new(book, &groups, &health);
        let at = |ms| Moment { mono: Duration::from_millis(ms), utc: SystemTime::UNIX_EPOCH };
        for (camera, id) in cameras.into_iter().enumerate() {
            ledger.take(
                Report::Opened(Trigger {
                    key: TriggerKey { camera, number: 0 },
                    camera: id,
                    published_number: 0,
                    is_numbered_by_plc: false,
                    part_id: None,
                    captured: at(0),
                    clock: CaptureClock::Arrival,
                    deadline: Duration::from_secs(1),
                }),
                at(0),
            );
        }
        ledger.expire(at(2000));
        let seq = |decided| match decided {
            Decided::View(Verdict { seq, .. }) | Decided::Part(PartVerdict { seq, .. }) => seq,
        };
        let told: Vec<_> = std::iter::from_fn(|| ledger.next_decided()).map(seq).collect();
        assert_eq!(told, [1, 2, 3, 4]);
    }
}
