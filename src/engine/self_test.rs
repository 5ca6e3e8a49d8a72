//! What lets an engine in: the scores of a bundle's own pictures, found again.

use tch::Tensor;

use crate::engine::precision::{self, Computed, PrecisionError};
use crate::engine::{Engine, EngineError, LoadError};
use crate::model::bundle::Bundle;
use crate::model::bundle::manifest::SelfTest;
use crate::verdict::Judge;

impl Engine {
    /// Whether the bundle's pictures score as it says, each by itself and whatever it comes together with.
    pub(super) fn self_test(&self, bundle: &Bundle, judge: &Judge) -> Result<(), LoadError> {
        let failed = |error: EngineError| LoadError::Failed {
            device: self.device_name.clone(),
            cause: error.to_string(),
        };
        let found = self.self_test_scores(&bundle.self_test).map_err(failed)?;
        self.is_as_good(bundle, &found, judge)?;
        // What was recorded is held to the same.
        for count in 1..=self.runner.recorded() {
            for found in self.recorded_scores(&bundle.self_test, count).map_err(failed)? {
                self.is_as_good(bundle, &found, judge)?;
            }
        }
        Ok(())
    }

    fn is_as_good(&self, bundle: &Bundle, found: &[f64], judge: &Judge) -> Result<(), LoadError> {
        let SelfTest { scores, tolerance } = &bundle.manifest.self_test;
        if self.precision != Computed::F32 {
            let calibration = &bundle.manifest.calibration;
            let precision = self.precision.name();
            return precision::check(found, scores, self.scorer.unit(), (judge, calibration))
                .map_err(|cause| PrecisionError::TooCoarse { precision, cause }.into());
        }
        for (index, (&found, &expected)) in found.iter().zip(scores).enumerate() {
            let tolerance = tolerance * expected.abs().max(self.scorer.unit());
            // A score that is not a number is within no tolerance.
            let is_found = found.is_finite() && (found - expected).abs() <= tolerance;
            if !is_found {
                let (file, device) = (bundle.file.clone(), self.device_name.clone());
                return Err(LoadError::SelfTest { file, device, index, found, expected, tolerance });
            }
        }
        Ok(())
    }

    /// Scores of pictures already at the input's size, `[1, 3, S, S]` u8, whatever the ROI. The first call on a device also picks
    /// its kernels.
    pub fn self_test_scores(&self, pictures: &[Tensor]) -> Result<Vec<f64>, EngineError> {
        self.guarded(|| {
            let score = |picture: &Tensor| {
                Ok(self.scorer.read_whole(&self.runner.latent(picture)?).scores.double_value(&[0]))
            };
            pictures.iter().map(score).collect()
        })
    }

    /// The same by what was recorded for `count` pictures, for each place among them. Before there is an ROI.
    fn recorded_scores(&self, pictures: &[Tensor], count: usize) -> Result<Vec<Vec<f64>>, EngineError> {
        self.guarded(|| {
            let mut found = vec![vec![f64::NAN; pictures.len()]; count];
            for first in 0..pictures.len() {
                let shown: Vec<usize> = (0..count).map(|place| (first + place) % pictures.len()).collect();
                let together: Vec<&Tensor> = shown.iter().map(|&index| &pictures[index]).collect();
                let pixels = Tensor::f_cat(&together, 0)?.f_to_device(self.device)?;
                let scores = self.runner.read(&pixels, &self.scorer)?.scores;
                for ((place, index), found) in (0..).zip(shown).zip(&mut found) {
                    found[index] = scores.f_double_value(&[place])?;
                }
            }
            Ok(found)
        })
    }
}
