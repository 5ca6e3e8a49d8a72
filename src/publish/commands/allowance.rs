//! How many commands are taken: a token bucket.

use std::time::Duration;

use crate::clock::Moment;

/// Gives out at most so many a second on average, and so many at once after a quiet second.
#[derive(Clone, Debug)]
pub struct Allowance {
    per_s: u32,
    /// Time that was saved up; one second is `per_s` commands.
    saved: Duration,
    last: Moment,
}

impl Allowance {
    pub fn new(per_s: u32, now: Moment) -> Self {
        Self { per_s, saved: Duration::from_secs(1), last: now }
    }

    pub fn per_s(&self) -> u32 {
        self.per_s
    }

    /// Whether one more may pass.
    pub fn take(&mut self, now: Moment) -> bool {
        self.saved = (self.saved + now.since(self.last)).min(Duration::from_secs(1));
        self.last = now;
        let cost = Duration::from_secs(1) / self.per_s.max(1);
        if self.saved < cost {
            return false;
        }
        self.saved -= cost;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::collection;
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment { mono: Duration::from_millis(ms), utc: SystemTime::UNIX_EPOCH }
    }

    proptest! {
        #[test]
        fn a_flood_gets_its_share_and_no_more_and_an_even_stream_gets_all(
            per_s in 1_u32..500, pauses in collection::vec(0_u64..50, 1..2000),
        ) {
            let mut allowance = Allowance::new(per_s, at(0));
            let (mut now, mut taken) = (0, 0_u64);
            for pause in pauses {
                now += pause;
                taken += u64::from(allowance.take(at(now)));
            }
            prop_assert!(taken <= u64::from(per_s) * (now + 1000) / 1000 + 1);
            let mut even = Allowance::new(per_s, at(0));
            prop_assert!((0..1000).all(|n| even.take(at(n * 1000 / u64::from(per_s) + n))));
        }
    }
}
