//! From the scores of held-out good images to a threshold with a guarantee that holds for any score law.
//!
//! The threshold is the k-th largest of n held-out scores. Whatever the law of the scores, the share of good
//! parts above it then follows Beta(k, n + 1 - k): the largest k is taken whose upper confidence bound stays
//! within the target. Never for scores of images that were trained on: those are too low.

pub mod binomial;
pub mod share;

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::calibrate::binomial::{at_least, beta_quantile};
use crate::calibrate::share::{Percent, Share};
use crate::verdict::{Judge, Threshold};

/// How many good parts may be rejected, and how sure that must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Share of good parts that score above the threshold.
    pub overkill: Share,
    /// Chance, over the draw of the held-out images, that the true overkill is within the bound.
    pub confidence: Share,
}

/// A threshold and what is known about it. Stored in the bundle, and checked when it is read from there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Calibration {
    /// Scores of the held-out good images, ascending.
    pub scores: Vec<f64>,
    /// The `order`-th largest of `scores`; higher scores are not OK.
    pub threshold: f64,
    /// Scores less than this below the threshold are not decidable, on top of the overkill bounded here. In
    /// the unit of the score.
    pub guard_band: f64,
    /// Map values above this belong to a region. It is the `order`-th largest of the images' largest map
    /// values, so that a good image shows a region no more often than it is rejected.
    pub map_threshold: f64,
    /// What was asked for.
    pub target_overkill: f64,
    pub confidence: f64,
    /// With `confidence`, the true share of good parts above the threshold is at most this.
    pub attained_overkill_bound: f64,
    /// Whether the bound is within the target.
    pub guaranteed: bool,
    /// Number of held-out good images.
    pub n: usize,
    /// The rank of the threshold among the held-out scores; 1 is the largest.
    pub order: usize,
    /// Smallest number of held-out good images that can carry the target.
    pub n_needed: u64,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CalibrateError {
    #[error("{0} held-out good images cannot give a threshold: at least 2 are needed, better 300")]
    TooFew(usize),
    #[error("{what} of held-out image {index} is {value}: the network does not work on it")]
    NotFinite { what: &'static str, index: usize, value: f64 },
    #[error("{scores} scores but {maxima} map values of held-out images")]
    Unequal { scores: usize, maxima: usize },
    #[error("calibration: {key} {rule}")]
    Inconsistent { key: &'static str, rule: &'static str },
}

/// Finds the threshold for `target` from held-out good images: their scores, and the largest value of each
/// one's anomaly map, in the same order.
///
/// If there are too few images for the target, the threshold is the largest score and
/// [`Calibration::guaranteed`] is false.
pub fn calibrate(scores: &[f64], map_maxima: &[f64], target: Target) -> Result<Calibration, CalibrateError> {
    if scores.len() != map_maxima.len() {
        return Err(CalibrateError::Unequal { scores: scores.len(), maxima: map_maxima.len() });
    }
    let n = scores.len();
    if n < 2 {
        return Err(CalibrateError::TooFew(n));
    }
    let scores = sorted("score", scores)?;
    let maxima = sorted("largest map value", map_maxima)?;

    let (overkill, confidence) = (target.overkill.get(), target.confidence.get());
    let order = order(n, overkill, confidence);
    let bound = beta_quantile(order, n, confidence);
    Ok(Calibration {
        threshold: scores[n - order],
        guard_band: 0.0,
        map_threshold: maxima[n - order],
        target_overkill: overkill,
        confidence,
        attained_overkill_bound: bound,
        guaranteed: at_least(order, n, overkill) >= confidence,
        n,
        order,
        n_needed: n_needed(target),
        scores,
    })
}

/// Smallest number of held-out good images that can carry `target`: their largest score does, and one image
/// fewer would not.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; saturates")]
pub fn n_needed(target: Target) -> u64 {
    // All n of them lie below the share `overkill` of the highest scores with chance (1 - overkill)^n.
    ((1.0 - target.confidence.get()).ln() / (-target.overkill.get()).ln_1p()).ceil() as u64
}

impl Calibration {
    pub fn judge(&self) -> Judge {
        Threshold::new(self.threshold)
            .and_then(|threshold| Judge::new(threshold, self.guard_band))
            .expect("a calibration is checked when it is made and when it is read")
    }

    /// Share of good parts that score at least this high: small for a score that is unlike a good part's. A
    /// score that is not a number is as unlike as can be.
    #[expect(clippy::cast_precision_loss, reason = "counts of images")]
    pub fn p_value(&self, score: f64) -> f64 {
        let below = if score.is_nan() { self.n } else { self.scores.partition_point(|&s| s < score) };
        (1 + self.n - below) as f64 / (self.n + 1) as f64
    }

    /// The same calibration with another guard band.
    pub fn with_guard_band(self, guard_band: f64) -> Result<Self, CalibrateError> {
        let calibration = Self { guard_band, ..self };
        calibration.check()?;
        Ok(calibration)
    }

    fn check(&self) -> Result<(), CalibrateError> {
        let is_share = |value| Share::new(value).is_some();
        let rules = [
            ("scores", "must be at least two, finite and ascending", {
                self.scores.len() >= 2 && self.scores.is_sorted() && self.scores.iter().all(|s| s.is_finite())
            }),
            ("n", "must be the number of scores", self.n == self.scores.len()),
            ("order", "must be between 1 and n", (1..=self.n).contains(&self.order)),
            ("threshold", "must be the score of its order", {
                let at = self.n.checked_sub(self.order);
                at.and_then(|at| self.scores.get(at)) == Some(&self.threshold)
            }),
            ("guard_band", "must be finite and not negative", {
                self.guard_band.is_finite() && self.guard_band >= 0.0
            }),
            ("map_threshold", "must be finite", self.map_threshold.is_finite()),
            ("target_overkill", "must be between 0 and 1", is_share(self.target_overkill)),
            ("confidence", "must be between 0 and 1", is_share(self.confidence)),
            ("attained_overkill_bound", "must be between 0 and 1", is_share(self.attained_overkill_bound)),
        ];
        match rules.into_iter().find(|&(_, _, holds)| !holds) {
            Some((key, rule, _)) => Err(CalibrateError::Inconsistent { key, rule }),
            None => Ok(()),
        }
    }
}

/// The largest k whose bound is within the target; 1 if none is.
fn order(n: usize, overkill: f64, confidence: f64) -> usize {
    // The chance that the k-th largest keeps the target falls with k.
    let (mut keeps, mut breaks) = (0, n + 1);
    while breaks - keeps > 1 {
        let k = usize::midpoint(keeps, breaks);
        if at_least(k, n, overkill) >= confidence { keeps = k } else { breaks = k }
    }
    keeps.max(1)
}

fn sorted(what: &'static str, values: &[f64]) -> Result<Vec<f64>, CalibrateError> {
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(CalibrateError::NotFinite { what, index, value: values[index] });
    }
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    Ok(values)
}

impl Default for Target {
    /// 1 % with 95 % confidence: 299 held-out images carry it.
    fn default() -> Self {
        let share = |value| Share::new(value).expect("it lies between 0 and 1");
        Self { overkill: share(0.01), confidence: share(0.95) }
    }
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "threshold {:.6}: number {} from the top of {} held-out good scores; true overkill at most {} with {} \
             confidence",
            self.threshold,
            self.order,
            self.n,
            Percent(self.attained_overkill_bound),
            Percent(self.confidence),
        )?;
        let asked = Percent(self.target_overkill);
        if self.guaranteed {
            write!(f, " (asked: {asked})")
        } else {
            write!(
                f,
                "; the {asked} asked for is not guaranteed: that takes {} held-out images",
                self.n_needed
            )
        }
    }
}

impl Serialize for Calibration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Calibration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let calibration = Self::deserialize(deserializer)?;
        calibration.check().map_err(D::Error::custom)?;
        Ok(calibration)
    }
}

#[cfg(test)]
mod tests;
