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
        let now = clock.now();
        health.ledger.beat(now);
        for verdict in book.expire(now) {
            give(verdict, verdicts, health);
        }
        let pause = book.next_deadline().map_or(IDLE, |at| at.saturating_sub(now.mono).min(IDLE));
        match reports.recv_timeout(pause) {
            Ok(Report::Opened(trigger)) => {
                health.counters.triggers.fetch_add(1, Relaxed);
                book.open_entry(trigger);
            }
            Ok(Report::Closed { key, judgement }) => {
                let now = clock.now();
                // A deadline that passed while this thread waited has passed.
                for verdict in book.expire(now) {
                    give(verdict, verdicts, health);
                }
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
                for verdict in book.abandon(clock.now()) {
                    give(verdict, verdicts, health);
                }
                break;
            }
        }
    }
    if let Err(error) = book.finish() {
        error!(%error, "cannot keep the number of the last verdict");
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
