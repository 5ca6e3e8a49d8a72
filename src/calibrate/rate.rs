//! Shares that were counted, with their exact limits.

use std::fmt;

use serde::Serialize;

use crate::calibrate::binomial::share_interval;
use crate::calibrate::share::Percent;

const CONFIDENCE: f64 = 0.95;

/// A share that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    pub count: usize,
    pub of: usize,
    /// Absent where there was nothing to count, and so are the limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    #[serde(flatten)]
    pub limits: Option<Limits>,
}

/// The exact 95 % limits of a share (Clopper and Pearson 1934).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Limits {
    pub low: f64,
    pub high: f64,
}

impl Rate {
    /// Of things that were drawn each for itself, such as parts.
    pub fn new(count: usize, of: usize) -> Self {
        let (low, high) = share_interval(count, of, CONFIDENCE);
        Self { limits: (of > 0).then_some(Limits { low, high }), ..Self::alike(count, of) }
    }

    /// Of things that come together and are alike, such as the captures of a part: limits that take each for itself
    /// would be too close, so there are none.
    #[expect(clippy::cast_precision_loss, reason = "counts of images")]
    pub fn alike(count: usize, of: usize) -> Self {
        Self { count, of, rate: (of > 0).then(|| count as f64 / of as f64), limits: None }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(rate) = self.rate else { return f.write_str("none to count") };
        write!(f, "{} of {} = {}", self.count, self.of, Percent(rate))?;
        self.limits.map_or(Ok(()), |limits| write!(f, " (95 %: {limits})"))
    }
}

/// In percent.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", Percent(self.low), Percent(self.high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_there_where_they_are_true() {
        let json = |rate: Rate| serde_json::to_string(&rate).unwrap();
        assert_eq!(json(Rate::new(0, 0)), r#"{"count":0,"of":0}"#);
        assert_eq!(json(Rate::alike(1, 4)), r#"{"count":1,"of":4,"rate":0.25}"#);
        assert_eq!(Rate::new(1, 2).to_string(), "1 of 2 = 50 % (95 %: 1.26 % to 98.7 %)");
        assert_eq!(Rate::alike(1, 4).to_string(), "1 of 4 = 25 %");
        assert_eq!(Rate::new(0, 0).to_string(), "none to count");
        assert!(json(Rate::new(1, 2)).starts_with(r#"{"count":1,"of":2,"rate":0.5,"low":0.012"#));
    }
}
