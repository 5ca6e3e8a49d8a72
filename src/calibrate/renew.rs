//! Production's good parts join the calibration, or take its place, without a new training.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::calibrate::evidence::{MadeOn, Obtained, Sample, gather};
use crate::calibrate::{CalibrateError, Calibration, Shortfall, Target, of_parts};

/// What was done to a calibration after training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub act: Act,
    /// Images that it brought, and parts that were new.
    pub images: usize,
    pub parts: usize,
    /// What computed the scores that it brought; absent if it brought none, or if nobody wrote it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_on: Option<MadeOn>,
    /// RFC 3339, UTC.
    pub at: String,
    /// The command as given.
    pub command: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Parts joined those that were there.
    Added,
    /// Parts took the place of those that were there.
    Replaced,
    /// Another target or guard band for the same parts.
    Retargeted,
}

/// What to change.
#[derive(Clone, Copy, Debug)]
pub struct Renewal<'a> {
    /// Measured by the bundle's own network. Pictures that are there already are passed over.
    pub samples: &'a [Sample],
    /// What computed their scores; None if there are none.
    pub made_on: Option<&'a MadeOn>,
    /// They take the place of the parts that are there.
    pub replace: bool,
    pub target: Target,
    pub shortfall: Shortfall,
    /// None keeps the one that is there.
    pub guard_band: Option<f64>,
    pub at: &'a str,
    pub command: &'a str,
}

impl Calibration {
    /// The pictures that count in it, as `image_file::fingerprint` knows them.
    pub fn images(&self) -> BTreeSet<&str> {
        self.parts.iter().flat_map(|part| part.images.iter().map(String::as_str)).collect()
    }

    /// This calibration after a change. Where parts from folds stay, so does what can be proven with them.
    pub fn renewed(&self, renewal: &Renewal<'_>) -> Result<Self, CalibrateError> {
        let Renewal { samples, replace, target, shortfall, .. } = *renewal;
        let (kept, obtained) =
            if replace { (Vec::new(), Obtained::HeldOut) } else { (self.parts.clone(), self.obtained) };
        let (parts_before, images_before) =
            (kept.len(), kept.iter().map(|part| part.images.len()).sum::<usize>());
        let parts = gather(kept, samples, self.changes.len() + 1)?;
        let mut renewed = of_parts(parts, obtained, target, shortfall)?;
        renewed.changes.clone_from(&self.changes);
        renewed.changes.push(Change {
            act: match (samples.is_empty(), replace) {
                (_, true) => Act::Replaced,
                (false, false) => Act::Added,
                (true, false) => Act::Retargeted,
            },
            images: renewed.n_images() - images_before,
            parts: renewed.n - parts_before,
            made_on: renewal.made_on.cloned(),
            at: renewal.at.to_owned(),
            command: renewal.command.to_owned(),
        });
        renewed.with_guard_band(renewal.guard_band.unwrap_or(self.guard_band))
    }
}
