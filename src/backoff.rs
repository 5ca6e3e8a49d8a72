//! The growing pause between tries to get a camera or a broker back.

use std::time::Duration;

use rand::{Rng, RngExt};

/// Pauses double from `first` to `max`; each is shortened at random by up to a quarter, so that stations
/// that lost the same broker do not return in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, next: first }
    }

    /// The pause before the coming try.
    pub fn next_pause(&mut self, rng: &mut impl Rng) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        pause.mul_f64(rng.random_range(0.75..=1.0))
    }

    /// The last try went well: start small again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_maximum_and_start_again_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut rng = rand_pcg::Pcg64::new(1, 1);
        for full_ms in [100, 200, 400, 800, 1000, 1000] {
            let pause = backoff.next_pause(&mut rng);
            let full = Duration::from_millis(full_ms);
            assert!(pause <= full && pause >= full.mul_f64(0.75), "{pause:?} against {full:?}");
        }
        backoff.reset();
        assert!(backoff.next_pause(&mut rng) <= Duration::from_millis(100));
    }
}
