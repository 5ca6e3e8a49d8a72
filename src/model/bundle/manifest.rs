//! The JSON document in a bundle's header.

use serde::{Deserialize, Serialize};

use crate::appearance::usual::Usual;
use crate::calibrate::Calibration;
use crate::calibrate::evidence::MadeOn;
use crate::model::architecture::Architecture;
use crate::model::bundle::provenance::Provenance;
use crate::model::preprocess::Preprocess;
use crate::model::score::scoring::Scoring;

/// The bundle format that this build writes and reads.
pub const FORMAT: u64 = 2;

/// Everything about a trained product that is not a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub architecture: Architecture,
    pub preprocess: Preprocess,
    pub scoring: Scoring,
    pub calibration: Calibration,
    /// What the good pictures look like as a whole; absent in bundles that were made before this was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appearance: Option<Usual>,
    pub self_test: SelfTest,
    pub provenance: Provenance,
}

/// Pictures whose scores are known: every load on every device must find them again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfTest {
    /// Expected score of tensor `self_test.{i}`.
    pub scores: Vec<f64>,
    /// Largest difference allowed, relative to the expected score, or to 1 where scores are in deviations.
    pub tolerance: f64,
}

impl Manifest {
    /// What computed the scores that the threshold rests on, each once; None stands for what was not written down.
    pub fn calibrated_on(&self) -> Vec<Option<&MadeOn>> {
        let Calibration { parts, changes, .. } = &self.calibration;
        let mut found = Vec::new();
        for part in parts {
            let made_on = match part.added.checked_sub(1) {
                None => self.provenance.made_on.as_ref(),
                Some(change) => changes.get(change).and_then(|change| change.made_on.as_ref()),
            };
            if !found.contains(&made_on) {
                found.push(made_on);
            }
        }
        found
    }

    /// Checks what the types do not; the text names the key.
    pub fn check(&self) -> Result<(), String> {
        self.architecture.check().map_err(|error| error.to_string())?;
        if self.preprocess != Preprocess::known() {
            return Err("preprocess: this csflowd does not prepare pictures that way".into());
        }
        self.scoring.check(self.architecture.flow.scales())?;
        self.appearance.as_ref().map_or(Ok(()), Usual::check)?;
        let SelfTest { scores, tolerance } = &self.self_test;
        if scores.is_empty() || !scores.iter().all(|score| score.is_finite()) {
            return Err("self_test.scores: must be finite and at least one".into());
        }
        if !(*tolerance > 0.0 && *tolerance < 0.1) {
            return Err(format!("self_test.tolerance: {tolerance} is not between 0 and 0.1"));
        }
        Ok(())
    }
}
