//! The clock of the simulation.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use csflowd::clock::{Clock, Moment};

/// Stands still until it is set.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimClock(Arc<State>);

#[derive(Debug, Default)]
struct State {
    mono_ns: AtomicU64,
    utc_shift_ms: AtomicI64,
}

impl SimClock {
    pub(crate) fn set(&self, mono: Duration) {
        self.0.mono_ns.store(u64::try_from(mono.as_nanos()).unwrap(), Relaxed);
    }

    pub(crate) fn mono(&self) -> Duration {
        Duration::from_nanos(self.0.mono_ns.load(Relaxed))
    }

    /// UTC alone jumps.
    pub(crate) fn step_utc(&self, by_ms: i64) {
        self.0.utc_shift_ms.fetch_add(by_ms, Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Moment {
        let shift = 1_760_000_000_000 + self.0.utc_shift_ms.load(Relaxed);
        let start = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(shift).unwrap());
        Moment { mono: self.mono(), utc: start + self.mono() }
    }
}
