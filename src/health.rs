//! How the stages are: heartbeats, states and counters. The only memory that threads share.
//!
//! Stages write, the supervisor and the publisher read. All fields but the product are atomics, each meaningful by
//! itself.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Moment;
use crate::frame::{CameraId, Lease};
use crate::verdict::{Outcome, Reason, Recipe};

/// Everything there is to know about the running stages.
#[derive(Debug)]
pub struct Health {
    pub cameras: Vec<CameraHealth>,
    pub inference: Heartbeat,
    pub ledger: Heartbeat,
    pub publish: Heartbeat,
    pub outbox: OutboxHealth,
    pub model: ModelHealth,
    pub broker_connected: AtomicBool,
    /// Verdict numbers go on without the disk: after a crash some would come twice.
    pub seq_unreserved: AtomicBool,
    pub counters: Counters,
    /// Of parts that several cameras see, their one verdict, since start.
    pub parts: Outcomes,
}

impl Health {
    pub fn new(cameras: impl IntoIterator<Item = CameraId>) -> Self {
        Self {
            cameras: cameras.into_iter().map(CameraHealth::new).collect(),
            inference: Heartbeat::default(),
            ledger: Heartbeat::default(),
            publish: Heartbeat::default(),
            outbox: OutboxHealth::default(),
            model: ModelHealth::default(),
            broker_connected: AtomicBool::new(false),
            seq_unreserved: AtomicBool::new(false),
            counters: Counters::default(),
            parts: Outcomes::default(),
        }
    }
}

/// The last sign of progress of a stage: it beats when it finished a piece of work and when it found that
/// there is none, never from a timer beside the work.
#[derive(Debug, Default)]
pub struct Heartbeat(AtomicU64);

impl Heartbeat {
    pub fn beat(&self, now: Moment) {
        self.0.store(u64::try_from(now.mono.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Time since the last beat, to the millisecond; since the clock's start if there was none.
    pub fn age(&self, now: Moment) -> Duration {
        now.mono.saturating_sub(Duration::from_millis(self.0.load(Relaxed)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CameraState {
    /// Its first frame has not come yet.
    Starting = 0,
    /// Frames come.
    Running = 1,
    /// Lost; the pipeline is being rebuilt.
    Lost = 2,
    /// A finite source has given its last frame.
    Ended = 3,
}

#[derive(Debug)]
pub struct CameraHealth {
    pub id: CameraId,
    state: AtomicU8,
    pub frames: AtomicU64,
    pub reconnects: AtomicU64,
    pub link: LinkHealth,
}

/// What was lost on the way from a camera, where that is known, since start.
#[derive(Debug, Default)]
pub struct LinkHealth {
    /// Frames of which nothing arrived.
    pub frames_lost: AtomicU64,
    /// Frames of which a part arrived.
    pub frames_incomplete: AtomicU64,
    pub packets_lost: AtomicU64,
    /// Packets that came when they were asked for again.
    pub packets_resent: AtomicU64,
}

impl CameraHealth {
    fn new(id: CameraId) -> Self {
        Self {
            id,
            state: AtomicU8::new(CameraState::Starting as u8),
            frames: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            link: LinkHealth::default(),
        }
    }

    pub fn state(&self) -> CameraState {
        match self.state.load(Relaxed) {
            0 => CameraState::Starting,
            1 => CameraState::Running,
            3 => CameraState::Ended,
            _ => CameraState::Lost,
        }
    }

    pub fn set_state(&self, state: CameraState) {
        self.state.store(state as u8, Relaxed);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelState {
    Loading,
    Ready,
    Failed,
}

/// What a trigger that comes now is judged by.
#[derive(Clone, Debug)]
pub struct Active {
    pub lease: Lease,
    pub recipe: Arc<Recipe>,
    /// From capture to verdict.
    pub deadline: Duration,
}

/// What the station judges by, or why it does not.
#[derive(Debug, Default)]
pub struct ModelHealth(Mutex<Standing>);

#[derive(Debug, Default)]
struct Standing {
    active: Option<Active>,
    fault: Option<String>,
    refused: Option<String>,
}

impl ModelHealth {
    pub fn state(&self) -> ModelState {
        let standing = self.standing();
        match (&standing.active, &standing.fault) {
            (Some(_), _) => ModelState::Ready,
            (None, None) => ModelState::Loading,
            (None, Some(_)) => ModelState::Failed,
        }
    }

    /// None while triggers are answered with `NOT_READY`.
    pub fn active(&self) -> Option<Active> {
        self.standing().active.clone()
    }

    /// Triggers are judged by this from now on. What it takes the place of is given back.
    pub fn activate(&self, active: Active) -> Option<Active> {
        let mut standing = self.standing();
        standing.fault = None;
        standing.active.replace(active)
    }

    /// Triggers are answered with `NOT_READY` from now on.
    pub fn deactivate(&self) -> Option<Active> {
        self.standing().active.take()
    }

    /// Why nothing can be judged.
    pub fn fault(&self) -> Option<String> {
        self.standing().fault.clone()
    }

    pub fn set_fault(&self, cause: String) {
        self.standing().fault = Some(cause);
    }

    /// Why the last change was not taken over.
    pub fn refused(&self) -> Option<String> {
        self.standing().refused.clone()
    }

    pub fn set_refused(&self, cause: Option<String>) {
        self.standing().refused = cause;
    }

    /// Held for a copy: nobody waits for longer.
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Results between the verdict and the broker's acknowledgement.
#[derive(Debug, Default)]
pub struct OutboxHealth {
    pub beat: Heartbeat,
    /// The disk does not take them.
    pub in_memory: AtomicBool,
    pub waiting: AtomicU64,
}

/// The account since start. A trigger that is in none of the other counters has no verdict yet.
#[derive(Debug, Default)]
pub struct Counters {
    pub triggers: AtomicU64,
    /// Terminal verdicts.
    pub outcomes: Outcomes,
    pub late: AtomicU64,
    /// Verdicts and results handed to the broker, repeats included. A result is safe on disk before, unless the disk
    /// fails.
    pub published: AtomicU64,
    /// Of these, acknowledged by the broker.
    pub acknowledged: AtomicU64,
    /// Results handed to the broker that did not go out at once, or not for sure.
    pub replayed: AtomicU64,
    /// Verdicts that were not sent because the broker was away.
    pub verdicts_unsent: AtomicU64,
    /// Results given up unacknowledged because there was no room for more.
    pub results_dropped: AtomicU64,
    /// Results that were damaged on disk.
    pub results_lost: AtomicU64,
    /// Writes to disk that a crash had cut short, found at this start.
    pub torn_tails: AtomicU64,
    pub events_dropped: AtomicU64,
    pub commands_accepted: AtomicU64,
    pub commands_refused: AtomicU64,
}

/// How many verdicts there were of each kind.
#[derive(Debug, Default)]
pub struct Outcomes {
    pub ok: AtomicU64,
    pub not_ok: AtomicU64,
    pub not_decidable: AtomicU64,
    not_inspected: [AtomicU64; Reason::ALL.len()],
}

impl Outcomes {
    pub fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Good => &self.ok,
            Outcome::Anomalous => &self.not_ok,
            Outcome::Undecidable => &self.not_decidable,
            Outcome::NotInspected(reason) => &self.not_inspected[position(reason)],
        };
        counter.fetch_add(1, Relaxed);
    }

    pub fn not_inspected(&self, reason: Reason) -> u64 {
        self.not_inspected[position(reason)].load(Relaxed)
    }
}

fn position(reason: Reason) -> usize {
    Reason::ALL.iter().position(|&r| r == reason).expect("ALL holds every reason")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_a_counter_of_its_own() {
        let outcomes = Outcomes::default();
        for reason in Reason::ALL {
            outcomes.count(Outcome::NotInspected(reason));
        }
        outcomes.count(Outcome::Good);
        assert!(Reason::ALL.iter().all(|&r| outcomes.not_inspected(r) == 1));
        assert_eq!(outcomes.ok.load(Relaxed), 1);
        assert_eq!(outcomes.not_ok.load(Relaxed), 0);
    }
}
