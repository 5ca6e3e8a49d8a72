//! What a measurement system analysis found: the shape of its JSON.

use serde::Serialize;

use crate::msa::agreement::Agreement;
use crate::msa::spread::{GuardBand, Repeatability};

/// The whole study. What cannot be said, for want of parts or of differences, is absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Study {
    pub threshold: f64,
    pub guard_band: f64,
    pub good_parts: usize,
    pub defective_parts: usize,
    pub captures: usize,
    /// Captures that are the very same picture as another: they make the system look better than it is.
    pub copies: usize,
    /// Captures that the network was trained on, or that picked its epoch: they too make it look better than it is.
    pub seen_in_training: usize,
    /// Of all good parts, and of those defective ones that lie no further above the threshold than
    /// the mean of good ones lies below it. What follows rests on it.
    pub repeatability: Repeatability,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeatability_good: Option<Repeatability>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeatability_defective: Option<Repeatability>,
    /// Standard deviation of the good parts' true scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_to_part_sd: Option<f64>,
    /// Absent if the good parts' mean is not below the threshold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<Margin>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest_good: Option<Nearest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest_defective: Option<Nearest>,
    pub agreement: Agreement,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposed_guard_band: Option<GuardBand>,
    /// By class and name.
    pub parts: Vec<Part>,
}

/// How much of the way from good parts to the threshold repeatability takes up: precision to tolerance for a limit on
/// one side (AIAG, Measurement Systems Analysis, 4th edition: below 10 % good, above 30 % not acceptable).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Margin {
    pub good_mean: f64,
    /// Three standard deviations of repeatability, over threshold less `good_mean`.
    pub consumed: f64,
}

/// The part of its kind that is nearest to being judged wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Nearest {
    /// `class/part`.
    pub part: String,
    pub mean: f64,
    /// From the threshold to the right side; negative if the part is on the wrong one.
    pub distance: f64,
    /// In standard deviations of repeatability. Absent if that is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance_in_sd: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// `class/part`.
    pub part: String,
    pub class: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Those that are finite.
    pub scores: Vec<f64>,
    /// 1 OK, 2 `NotOK`, 3 `NotDecidable`, 0 not inspected, one for each capture.
    pub evaluations: Vec<u8>,
    /// Whether these are all the same.
    pub consistent: bool,
}

impl Margin {
    pub(super) fn new(sd: f64, good_mean: f64, threshold: f64) -> Option<Self> {
        let way = threshold - good_mean;
        (way > 0.0).then(|| Self { good_mean, consumed: 3.0 * sd / way })
    }
}
