//! The account of triggers and verdicts: one terminal verdict for each trigger, always.
//!
//! An entry opens when a trigger comes, closes once, and closes itself with TIMEOUT at its deadline, whatever
//! inference is doing. The rules are in [`book`], without threads or time of their own; here is the thread that
//! lives by them.

pub mod book;
pub mod sequence;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tracing::{debug, error};

use crate::clock::Clock;
use crate::frame::{Trigger, TriggerKey};
use crate::health::Health;
use crate::ledger::book::Book;
use crate::ledger::sequence::Sequence;
use crate::verdict::{Judgement, Verdict};

/// The thread shows that it lives at least this often.
const IDLE: Duration = Duration::from_millis(500);

/// What the other stages report.
#[derive(Debug)]
pub enum Report {
    /// A part is in view. Comes before anything else about this trigger.
    Opened(Trigger),
    /// It was looked at, or it is known that it cannot be.
    Closed { key: TriggerKey, judgement: Judgement },
    /// Triggers opened from now on have this long, from capture.
    Deadline(Duration),
}

/// Keeps the book until all reporters are gone.
pub fn run(
    reports: &Receiver<Report>,
    verdicts: &Sender<Verdict>,
    deadline: Duration,
    sequence: Sequence,
    health: &Health,
    clock: &dyn Clock,
) {
    let mut book = Book::new(deadline, sequence);
    loop {
        let until = |at: Duration| at.saturating_sub(clock.now().mono).min(IDLE);
        let report = reports.recv_timeout(book.next_deadline().map_or(IDLE, until));
        let now = clock.now();
        health.ledger.beat(now);
        // Before the report: an answer that comes after its deadline finds the entry timed out, and is late.
        for verdict in book.expire(now) {
            give(verdict, verdicts, health);
        }
        match report {
            Ok(Report::Opened(trigger)) => {
                health.counters.triggers.fetch_add(1, Relaxed);
                book.open_entry(trigger);
            }
            Ok(Report::Closed { key, judgement }) => {
                if let Some(verdict) = book.close(key, judgement, now) {
                    give(verdict, verdicts, health);
                } else {
                    debug!(camera = key.camera, number = key.number, "a second answer is left out");
                }
            }
            Ok(Report::Deadline(deadline)) => book.set_deadline(deadline),
            Err(RecvTimeoutError::Timeout) => {}
            // Nobody is left who could answer what is still open.
            Err(RecvTimeoutError::Disconnected) => {
                for verdict in book.abandon(now) {
                    give(verdict, verdicts, health);
                }
                break;
            }
        }
    }
    if let Err(error) = book.finish() {
        error!("cannot keep the number of the last verdict: {error}");
    }
}

/// A verdict is the product: the ledger waits for the publisher rather than lose one.
fn give(verdict: Verdict, verdicts: &Sender<Verdict>, health: &Health) {
    if verdict.late {
        health.counters.late.fetch_add(1, Relaxed);
    } else {
        health.counters.count(verdict.judgement.outcome);
    }
    if verdicts.send(verdict).is_err() {
        error!("the publisher is gone: a verdict is lost");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::thread::scope;
    use std::time::SystemTime;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::clock::Moment;
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
        let sequence = Sequence::open(folder.path()).unwrap();
        let camera = CameraId::new("top").unwrap();
        let (health, clock) = (Health::new([camera.clone()]), ManualClock::default());
        let key = TriggerKey { camera: 0, number: 0 };
        let trigger = Trigger { key, camera, published_number: 0, part_id: None, captured: clock.now() };
        let judgement =
            Judgement { outcome: Outcome::Good, ..Judgement::not_inspected(Reason::NoFrame, None) };
        // No places: what was sent was received.
        let (reports_in, reports) = bounded(0);
        let (verdicts_in, verdicts) = bounded(8);
        scope(|scope| {
            let (health, clock) = (&health, &clock);
            scope.spawn(move || {
                run(&reports, &verdicts_in, Duration::from_secs(10), sequence, health, clock);
            });
            reports_in.send(Report::Opened(trigger)).unwrap();
            clock.0.store(11, Relaxed);
            reports_in.send(Report::Closed { key, judgement }).unwrap();
            drop(reports_in);
        });
        let told: Vec<_> = verdicts.iter().map(|v| (v.seq, v.judgement.outcome, v.late)).collect();
        let expected = [(1, Outcome::NotInspected(Reason::Timeout), false), (1, Outcome::Good, true)];
        assert_eq!(told, expected);
        assert_eq!(
            (health.counters.not_inspected(Reason::Timeout), health.counters.late.load(Relaxed)),
            (1, 1)
        );
    }
}
