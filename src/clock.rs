//! Time, from one place, so that tests can drive it.
//!
//! Deadlines and durations use the monotonic half of a [`Moment`]; people read the UTC half. A stepped
//! system clock therefore changes what is printed and nothing that is decided.

use std::time::{Duration, Instant, SystemTime};

/// One instant on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Monotonic time since the clock was made.
    pub mono: Duration,
    /// Wall-clock time, UTC.
    pub utc: SystemTime,
}

impl Moment {
    /// Time from `earlier` to this moment; zero if `earlier` is the later one.
    pub fn since(self, earlier: Moment) -> Duration {
        self.mono.saturating_sub(earlier.mono)
    }

    /// The UTC half as files keep it: RFC 3339, to the second. An error if no calendar holds it.
    pub fn rfc3339(self) -> Result<String, jiff::Error> {
        Ok(jiff::Timestamp::try_from(self.utc)?.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }
}

/// Where the stages take the time from.
pub trait Clock: Send + Sync {
    fn now(&self) -> Moment;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Moment {
        Moment { mono: self.start.elapsed(), utc: SystemTime::now() }
    }
}

/// For tests of what takes no time.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub struct StoppedClock;

#[cfg(test)]
impl Clock for StoppedClock {
    fn now(&self) -> Moment {
        Moment { mono: Duration::ZERO, utc: SystemTime::UNIX_EPOCH }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_keep_the_time_to_the_second() {
        let moment = |seconds: u64| Moment {
            mono: Duration::ZERO,
            utc: SystemTime::UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 999),
        };
        assert_eq!(moment(951_782_400).rfc3339().unwrap(), "2000-02-29T00:00:00Z");
        assert!(moment(1 << 40).rfc3339().is_err());
    }
}
