//! A calibration as it comes back from a bundle: checked, so that what it claims follows from the scores in it.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::calibrate::binomial::beta_quantile;
use crate::calibrate::evidence::Obtained;
use crate::calibrate::share::Share;
use crate::calibrate::{CalibrateError, Calibration, Guarantee};

/// Logarithms of two machines may differ in the last digit.
const TOLERANCE: f64 = 1e-9;

impl Calibration {
    pub(super) fn check(&self) -> Result<(), CalibrateError> {
        let is_share = |value| Share::new(value).is_some();
        let at = self.n.checked_sub(self.order);
        let rules = [
            ("parts", "must be at least two, with finite values, an image each, and ascending scores", {
                self.parts.len() >= 2
                    && self.parts.is_sorted_by(|a, b| a.score <= b.score)
                    && self.parts.iter().all(|part| {
                        part.score.is_finite() && part.map_max.is_finite() && !part.images.is_empty()
                    })
            }),
            ("n", "must be the number of parts", self.n == self.parts.len()),
            ("order", "must be between 1 and n", (1..=self.n).contains(&self.order)),
            ("threshold", "must be the score of its order", {
                at.and_then(|at| self.parts.get(at)).is_some_and(|part| part.score == self.threshold)
            }),
            ("map_threshold", "must be the map value of its order", {
                let mut maxima: Vec<f64> = self.parts.iter().map(|part| part.map_max).collect();
                maxima.sort_by(f64::total_cmp);
                at.and_then(|at| maxima.get(at)) == Some(&self.map_threshold)
            }),
            ("guard_band", "must be finite and not negative", {
                self.guard_band.is_finite() && self.guard_band >= 0.0
            }),
            ("target_overkill", "must be between 0 and 1", is_share(self.target_overkill)),
            ("confidence", "must be between 0 and 1", is_share(self.confidence)),
            ("parts", "must be added by training or by one of the changes", {
                self.parts.iter().all(|part| part.added <= self.changes.len())
            }),
        ];
        if let Some((key, rule, _)) = rules.into_iter().find(|&(_, _, holds)| !holds) {
            return Err(CalibrateError::Inconsistent { key, rule });
        }
        let bound = beta_quantile(self.order, self.n, self.confidence);
        if (self.attained_overkill_bound - bound).abs() > TOLERANCE {
            let rule = "must be that of its order, n and confidence";
            return Err(CalibrateError::Inconsistent { key: "attained_overkill_bound", rule });
        }
        let is_carried = bound <= self.target_overkill + TOLERANCE;
        let is_provable = match self.guarantee {
            Guarantee::Exact => is_carried && self.obtained == Obtained::HeldOut,
            Guarantee::CrossConformal => is_carried && self.obtained != Obtained::HeldOut,
            Guarantee::None => bound >= self.target_overkill - TOLERANCE,
        };
        if is_provable {
            Ok(())
        } else {
            let rule = "must be what the bound and the way of scoring allow";
            Err(CalibrateError::Inconsistent { key: "guarantee", rule })
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
