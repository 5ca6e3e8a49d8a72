//! What a threshold rests on: scores of good images that the network never learnt from, counted by part.
//!
//! Frames of one part, or of one burst, are alike: ten of them tell little more than one, and counting them as ten
//! would promise a bound that does not hold. A part is rejected when any of its frames is. So a part counts once,
//! and its score is the largest of its frames; the parts are what is drawn independently.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::calibrate::CalibrateError;

/// One good image as the network sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub score: f64,
    /// Largest value of its anomaly map.
    pub map_max: f64,
    /// Images with the same text here are of one part or burst, and count as one.
    pub part: String,
    /// What the picture is known by, so that it never counts twice: see `image_file::fingerprint`.
    pub image: String,
}

/// Where the scores come from, which decides what can be proven with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum Obtained {
    /// By the network of the bundle, from images that had no part in its training.
    HeldOut,
    /// Each by one of `k` networks that was trained without it; the bundle's network was trained on all of them.
    Folds { k: usize },
}

/// What computed scores: on another device, or in another precision, they may differ a little.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeOn {
    pub device: String,
    pub precision: String,
    /// None where it was not written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

/// Scores to calibrate with.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    pub samples: Vec<Sample>,
    pub obtained: Obtained,
}

/// A good part: what its images say together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The largest of its images.
    pub score: f64,
    pub map_max: f64,
    pub part: String,
    /// What its pictures are known by.
    pub images: Vec<String>,
    /// The change of the calibration that brought it, counted from 1; 0 is training.
    pub added: usize,
}

impl fmt::Display for MadeOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.device, self.precision)
    }
}

impl Sample {
    /// An image that is all there is of its part.
    pub fn alone(score: f64, map_max: f64, image: String) -> Self {
        Self { score, map_max, part: image.clone(), image }
    }
}

impl Evidence {
    /// Held-out images without names, each of a part of its own.
    ///
    /// # Panics
    /// Unless there are as many map values as scores.
    pub fn ungrouped(scores: &[f64], map_maxima: &[f64]) -> Self {
        assert_eq!(scores.len(), map_maxima.len(), "a score and a map value for each image");
        let pairs = scores.iter().zip(map_maxima).enumerate();
        let samples =
            pairs.map(|(i, (&score, &map_max))| Sample::alone(score, map_max, format!("image-{i}")));
        Self { samples: samples.collect(), obtained: Obtained::HeldOut }
    }
}

/// `parts` and `samples` together, by ascending score. A picture that is there already is passed over; parts that
/// are new are marked as `added`.
pub(super) fn gather(
    mut parts: Vec<Part>,
    samples: &[Sample],
    added: usize,
) -> Result<Vec<Part>, CalibrateError> {
    let mut seen: HashSet<String> = parts.iter().flat_map(|part| part.images.iter().cloned()).collect();
    let mut at: HashMap<String, usize> =
        parts.iter().enumerate().map(|(i, part)| (part.part.clone(), i)).collect();
    for (index, sample) in samples.iter().enumerate() {
        for (what, value) in [("score", sample.score), ("largest map value", sample.map_max)] {
            if !value.is_finite() {
                return Err(CalibrateError::NotFinite { what, index, value });
            }
        }
        if !seen.insert(sample.image.clone()) {
            continue;
        }
        let i = *at.entry(sample.part.clone()).or_insert(parts.len());
        if i == parts.len() {
            parts.push(Part {
                score: sample.score,
                map_max: sample.map_max,
                part: sample.part.clone(),
                images: Vec::new(),
                added,
            });
        }
        let part = &mut parts[i];
        part.score = part.score.max(sample.score);
        part.map_max = part.map_max.max(sample.map_max);
        part.images.push(sample.image.clone());
    }
    parts.sort_by(|a, b| a.score.total_cmp(&b.score));
    Ok(parts)
}
