//! An estimate of what lies beyond the held-out scores: peaks over threshold.
//!
//! Scores above a high one follow, in the limit, a generalised Pareto law (Pickands 1975), and that law reaches
//! further than the data. It is an extrapolation: it says nothing about a kind of part that was never seen, and its
//! interval covers the chance in the scores alone, not that the law may be wrong. So it is shown and never used.
//!
//! Shape and scale by L-moments, which are the probability-weighted moments of Hosking and Wallis (Technometrics
//! 29, 1987); the tail formula as in Siffer, Fouque, Termier and Largouet (KDD 2017), equation 1.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::Serialize;

use crate::calibrate::Calibration;

/// The share of the highest scores that the law is fitted to.
const SHARE: usize = 10;

/// With fewer scores than this to fit to there is no estimate.
const MIN_EXCEEDANCES: usize = 20;

const RESAMPLES: usize = 1000;
const SEED: u64 = 1987;

/// The chance that the intervals are made for. Under an assumption that nobody can check here, so not a confidence.
pub const LEVEL: f64 = 0.95;

/// The tail of the good parts' scores, extrapolated.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tail {
    /// Always true: whoever reads the figures elsewhere must see what they are.
    pub extrapolated: bool,
    /// The law is fitted to what lies above this score.
    pub base: f64,
    pub exceedances: usize,
    /// Above 0 a heavy tail, below 0 a tail that ends.
    pub shape: f64,
    pub scale: f64,
    /// Share of good parts above the calibrated threshold.
    pub overkill: Estimate,
    /// The threshold that exactly the target share of good parts would exceed.
    pub threshold_for_target: Estimate,
}

/// A value with its 95 % bootstrap interval (percentiles).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// Generalised Pareto law of the excess over `base`, which the share `above` of all parts exceeds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Law {
    base: f64,
    above: f64,
    shape: f64,
    scale: f64,
}

/// The tail of a calibration's scores. None if fewer than 20 of them can be fitted to, if they do not vary, or if
/// threshold or target lie below the highest tenth, where nothing needs extrapolating.
pub fn fit(calibration: &Calibration) -> Option<Tail> {
    let scores: Vec<f64> = calibration.parts.iter().map(|part| part.score).collect();
    let (threshold, target) = (calibration.threshold, calibration.target_overkill);
    let n = scores.len();
    let base = *scores.get(n.checked_sub(n / SHARE + 1)?)?;
    let excesses: Vec<f64> = scores.iter().filter(|&&score| score > base).map(|score| score - base).collect();
    let exceedances = excesses.len();
    if exceedances < MIN_EXCEEDANCES || threshold < base {
        return None;
    }
    let once = vec![1; exceedances];
    let law = Law::fit(base, n, &excesses, &once)?;
    if target > law.above {
        return None;
    }

    let mut rng = Pcg64::seed_from_u64(SEED);
    let (mut shares, mut quantiles) = (Vec::new(), Vec::new());
    for _ in 0..RESAMPLES {
        // Draws of all n parts; those that are no excess only change how many excesses there are.
        let mut times = vec![0; exceedances];
        for _ in 0..n {
            if let Some(count) = times.get_mut(rng.random_range(0..n)) {
                *count += 1;
            }
        }
        if let Some(law) = Law::fit(base, n, &excesses, &times) {
            shares.push(law.share_above(threshold));
            quantiles.push(law.quantile(target));
        }
    }
    Some(Tail {
        extrapolated: true,
        base,
        exceedances,
        shape: law.shape,
        scale: law.scale,
        overkill: estimate(law.share_above(threshold), shares)?,
        threshold_for_target: estimate(law.quantile(target), quantiles)?,
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of parts")]
impl Law {
    /// `excesses` ascending, each counted as often as `times` says. None if they do not vary.
    fn fit(base: f64, n: usize, excesses: &[f64], times: &[usize]) -> Option<Self> {
        let m: usize = times.iter().sum();
        if m < 2 {
            return None;
        }
        // l_1 is the mean; l_2 = 2 b_1 - b_0 with the unbiased b_1 = mean of (rank - 1) / (m - 1) * value.
        let (mut sum, mut weighted, mut rank) = (0.0, 0.0, 0.0);
        for (&excess, &count) in excesses.iter().zip(times) {
            for _ in 0..count {
                sum += excess;
                weighted += rank * excess;
                rank += 1.0;
            }
        }
        let l_1 = sum / m as f64;
        let l_2 = 2.0 * weighted / (m as f64 * (m - 1) as f64) - l_1;
        let shape = 2.0 - l_1 / l_2;
        let law = Self { base, above: m as f64 / n as f64, shape, scale: (1.0 - shape) * l_1 };
        (l_2 > 0.0 && law.shape.is_finite() && law.scale > 0.0).then_some(law)
    }

    fn share_above(self, score: f64) -> f64 {
        let z = (score - self.base) / self.scale;
        if self.shape.abs() < 1e-9 {
            return self.above * (-z).exp();
        }
        self.above * (1.0 + self.shape * z).max(0.0).powf(-1.0 / self.shape)
    }

    /// The score that `share` of all parts exceed. Below the base it goes on as the law would.
    fn quantile(self, share: f64) -> f64 {
        let ratio = (self.above / share).ln();
        let z = if self.shape.abs() < 1e-9 { ratio } else { (self.shape * ratio).exp_m1() / self.shape };
        self.base + self.scale * z
    }
}

/// None if anything is not finite: a fit that wild is no estimate.
fn estimate(value: f64, mut resampled: Vec<f64>) -> Option<Estimate> {
    resampled.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank among a thousand"
    )]
    let at = |p: f64| resampled.get((p * resampled.len() as f64) as usize).copied();
    let (low, high) = (at((1.0 - LEVEL) / 2.0)?, at(1.0 - (1.0 - LEVEL) / 2.0)?);
    [value, low, high].iter().all(|v| v.is_finite()).then_some(Estimate { value, low, high })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::evidence::Evidence;
    use crate::calibrate::share::Share;
    use crate::calibrate::{Shortfall, Target, calibrate};

    /// Scores 1 to n through a quantile function, so that the law is known and nothing is left to chance.
    fn fitted(n: u32, target: f64, quantile: impl Fn(f64) -> f64) -> Option<Tail> {
        let scores: Vec<f64> = (0..n).map(|i| quantile((f64::from(i) + 0.5) / f64::from(n))).collect();
        let target = Target { overkill: Share::new(target).unwrap(), confidence: Share::new(0.95).unwrap() };
        fit(&calibrate(&Evidence::ungrouped(&scores, &scores), target, Shortfall::Flag).unwrap())
    }

    #[track_caller]
    fn close(actual: f64, expected: f64, relative: f64) {
        assert!((actual - expected).abs() <= relative * expected.abs(), "{actual} is not {expected}");
    }

    #[test]
    fn law_and_l_moments_agree_with_scipy() {
        // scipy 1.17.1: stats.lmoment(x, order=[1, 2]), and stats.genpareto.sf and isf with its shape and scale.
        let x = [
            0.05, 0.11, 0.12, 0.2, 0.31, 0.33, 0.47, 0.58, 0.74, 0.81, 0.95, 1.1, 1.32, 1.4, 1.77, 2.05, 2.6,
            3.3, 4.7, 8.1,
        ];
        let law = Law::fit(5.0, 200, &x, &[1; 20]).unwrap();
        close(law.shape, 0.332_842_873_716_08, 1e-12);
        close(law.scale, 1.034_427_124_303_218, 1e-12);
        close(law.share_above(14.0), 0.001_681_006_926_388_172_6, 1e-12);
        close(law.quantile(0.001) - 5.0, 11.284_982_045_397_312, 1e-12);
        for (shape, share, excess) in [
            (-0.3, 0.018_218_145_570_517_787, 3.744_056_784_245_209_7),
            (0.0, 0.026_359_713_811_572_677, 6.907_755_278_982_137),
        ] {
            let law = Law { base: 0.0, above: 0.1, shape, scale: 1.5 };
            close(law.share_above(2.0), share, 1e-12);
            close(law.quantile(0.001), excess, 1e-12);
        }
        // A tail that ends at 5.
        assert_eq!(Law { base: 0.0, above: 0.1, shape: -0.3, scale: 1.5 }.share_above(5.1), 0.0);
    }

    #[test]
    fn a_known_tail_is_found_again() {
        // Exponential: shape 0, scale 1, and a threshold that is known beyond the data.
        let tail = fitted(3000, 1e-4, |u| -(1.0 - u).ln()).unwrap();
        assert!(tail.shape.abs() < 0.03 && (tail.scale - 1.0).abs() < 0.05, "{tail:?}");
        close(tail.threshold_for_target.value, 1e4_f64.ln(), 0.05);
        // Pareto with exponent 4 above 1: shape 1/4.
        let tail = fitted(3000, 1e-4, |u| (1.0 - u).powf(-0.25)).unwrap();
        close(tail.shape, 0.25, 0.1);
        close(tail.threshold_for_target.value, 10.0, 0.1);
        assert!(tail.threshold_for_target.low < 10.0 && tail.threshold_for_target.high > 10.0);
        assert!(tail.overkill.low <= tail.overkill.value && tail.overkill.value <= tail.overkill.high);
    }

    #[test]
    fn without_enough_of_a_tail_there_is_no_estimate() {
        let exponential = |u: f64| -(1.0 - u).ln();
        assert!(fitted(199, 0.01, exponential).is_none() && fitted(200, 0.01, exponential).is_some());
        assert!(fitted(500, 0.2, exponential).is_none(), "the target lies in the data");
        let step = |u: f64| f64::from(u >= 0.5);
        assert!(fitted(500, 0.01, step).is_none(), "all above the middle are equal");
        assert!(fitted(500, 0.01, |u| (10.0 * u).floor()).is_none(), "none is above the highest tenth");
    }
}
