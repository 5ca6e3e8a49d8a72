//! How far the scores of one part differ from capture to capture, and those of parts from one another.
//!
//! One-way analysis of variance with parts as the random factor: AIAG, Measurement Systems Analysis, 4th edition,
//! chapter III, section B.

use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF, StudentsT};

/// Chance that intervals hold the true value.
const CONFIDENCE: f64 = 0.95;

/// A standard deviation within parts, pooled over them, with its chi-square interval, which takes the scores of a
/// part for normally distributed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Repeatability {
    pub sd: f64,
    /// Captures less parts.
    pub degrees_of_freedom: usize,
    pub low: f64,
    pub high: f64,
    pub parts: usize,
}

/// A width below the threshold that keeps a part whose true score is the threshold from being called OK.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GuardBand {
    /// `k` times the standard deviation of repeatability. In the unit of the score.
    pub value: f64,
    /// The `confidence` quantile of Student's t: so many standard deviations, when these are themselves estimated.
    pub k: f64,
    /// Chance that one capture of such a part is not called OK.
    pub confidence: f64,
}

impl GuardBand {
    /// At six digits behind the point, as people are shown it. No smaller than it must be.
    pub fn rounded_up(&self) -> f64 {
        (self.value * 1e6).ceil() / 1e6
    }
}

impl Repeatability {
    /// Of the scores of each part. None if no part has two.
    pub fn pooled(parts: &[&[f64]]) -> Option<Self> {
        let scored: Vec<&[f64]> = parts.iter().copied().filter(|scores| !scores.is_empty()).collect();
        let captures: usize = scored.iter().map(|scores| scores.len()).sum();
        let df = captures - scored.len();
        if df == 0 {
            return None;
        }
        let squares: f64 = scored.iter().map(|scores| squares(scores)).sum();
        let chi = ChiSquared::new(count(df)).ok()?;
        let at = |p: f64| (squares / chi.inverse_cdf(p)).sqrt();
        let tail = (1.0 - CONFIDENCE) / 2.0;
        Some(Self {
            sd: (squares / count(df)).sqrt(),
            degrees_of_freedom: df,
            low: at(1.0 - tail),
            high: at(tail),
            parts: scored.len(),
        })
    }

    /// For a part at the threshold to be called OK in no more than `1 - confidence` of its captures.
    pub fn guard_band(&self, confidence: f64) -> Option<GuardBand> {
        let k = StudentsT::new(0.0, 1.0, count(self.degrees_of_freedom)).ok()?.inverse_cdf(confidence);
        Some(GuardBand { value: k * self.sd, k, confidence })
    }
}

/// Standard deviation of the parts' true scores: that of their means, less what repeatability adds to it. None for
/// fewer than two parts or no repeats.
pub fn part_to_part(parts: &[&[f64]]) -> Option<f64> {
    let within = Repeatability::pooled(parts)?;
    let scored: Vec<&[f64]> = parts.iter().copied().filter(|scores| !scores.is_empty()).collect();
    let groups = count(scored.len());
    if scored.len() < 2 {
        return None;
    }
    let n = count(scored.iter().map(|scores| scores.len()).sum());
    let grand = scored.iter().flat_map(|scores| scores.iter()).sum::<f64>() / n;
    let between: f64 = scored.iter().map(|scores| count(scores.len()) * (mean(scores) - grand).powi(2)).sum();
    let repeats =
        (n - scored.iter().map(|scores| count(scores.len()).powi(2)).sum::<f64>() / n) / (groups - 1.0);
    let variance = (between / (groups - 1.0) - within.sd.powi(2)) / repeats;
    Some(variance.max(0.0).sqrt())
}

pub fn mean(scores: &[f64]) -> f64 {
    scores.iter().sum::<f64>() / count(scores.len())
}

fn squares(scores: &[f64]) -> f64 {
    let mean = mean(scores);
    scores.iter().map(|score| (score - mean).powi(2)).sum()
}

#[expect(clippy::cast_precision_loss, reason = "counts of captures")]
fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(actual: f64, expected: f64) {
        assert!((actual - expected).abs() <= 1e-9 * expected.abs(), "{actual} is not {expected}");
    }

    #[test]
    fn variances_agree_with_those_of_scipy() {
        // scipy 1.17.1 and numpy: mean squares that give the F of stats.f_oneway, quantiles of stats.chi2 and t.
        let parts: [&[f64]; 4] = [&[1.0, 1.2, 1.1], &[2.0, 2.3, 1.9], &[1.5, 1.4, 1.6], &[3.0, 3.3, 2.8]];
        let found = Repeatability::pooled(&parts).unwrap();
        assert_eq!((found.degrees_of_freedom, found.parts), (8, 4));
        close(found.sd, 0.177_951_304_200_521_85);
        close(found.low, 0.120_198_460_203_110_62);
        close(found.high, 0.340_913_927_169_049_67);
        close(part_to_part(&parts).unwrap(), 0.832_277_108_411_125_9);
        let band = found.guard_band(0.99).unwrap();
        close(band.value, 0.515_428_736_283_850_4);
        close(band.k * found.sd, band.value);
        assert_eq!(band.rounded_up(), 0.515_429);
        assert_eq!(GuardBand { value: 0.500_000_2, ..band }.rounded_up(), 0.500_001);

        let uneven: [&[f64]; 3] = [&[1.0, 1.2], &[2.0, 2.3, 1.9, 2.2], &[1.5, 1.4, 1.6]];
        close(Repeatability::pooled(&uneven).unwrap().sd, 0.152_752_523_165_194_7);
        close(part_to_part(&uneven).unwrap(), 0.497_300_404_491_784_1);
    }

    #[test]
    fn without_repeats_or_parts_there_is_nothing_to_say() {
        assert_eq!(Repeatability::pooled(&[]), None);
        assert_eq!(Repeatability::pooled(&[&[1.0], &[2.0], &[]]), None);
        assert_eq!(part_to_part(&[&[1.0, 2.0]]), None);
        // Captures that differ more than parts do.
        assert_eq!(part_to_part(&[&[1.0, 5.0], &[1.1, 4.9]]), Some(0.0));
    }
}
