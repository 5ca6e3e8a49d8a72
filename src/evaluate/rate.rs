//! Shares that were counted, with their exact limits.

use std::fmt;

use serde::Serialize;

use crate::calibrate::binomial::share_interval;
use crate::calibrate::share::Percent;

/// A share that was counted, with its exact 95 % interval (Clopper and Pearson 1934).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    pub count: usize,
    pub of: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    pub low: f64,
    pub high: f64,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "counts of images")]
    pub fn new(count: usize, of: usize) -> Self {
        let (low, high) = share_interval(count, of, 0.95);
        Self { count, of, rate: (of > 0).then(|| count as f64 / of as f64), low, high }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(rate) = self.rate else { return f.write_str("none to count") };
        let (rate, low, high) = (Percent(rate), Percent(self.low), Percent(self.high));
        write!(f, "{} of {} = {rate} (95 %: {low} to {high})", self.count, self.of)
    }
}
