//! What an evaluation found: the shape of its JSON.

use serde::Serialize;

use crate::calibrate::rate::Rate;
use crate::evaluate::defects::Hits;
use crate::evaluate::delong::Interval;
use crate::evaluate::metrics::ranked;
use crate::evaluate::pixels::Pixel;
use crate::evaluate::promise::Promise;

/// A bundle on a test set. Figures that the set cannot give, for want of good or defective images, are absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    pub threshold: f64,
    pub guard_band: f64,
    /// Map values above this belong to a region.
    pub map_threshold: f64,
    /// Smaller regions were left out.
    pub min_area_px: f64,
    /// Width and height of one cell of the network, in pixels of the image; absent where images differ in size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell_px: Option<[f64; 2]>,
    pub good: usize,
    pub defective: usize,
    /// Image AUROC, good against all defective, and its 95 % limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auroc: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auroc_interval: Option<Interval>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_precision: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f1_max: Option<f64>,
    /// Share of good images rejected by the threshold that catches all, 99 % or 95 %, of the defective ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fpr_at_tpr_100: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fpr_at_tpr_99: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fpr_at_tpr_95: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixel: Option<Pixel>,
    /// Single defects, as the masks show them, that a region lies on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defects: Option<Hits>,
    /// Masks that mark pixels outside the ROI alone: the network does not look at these defects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outside_roi: Vec<String>,
    pub false_regions: FalseRegions,
    /// Good images judged not OK.
    pub overkill: Rate,
    /// Defective images judged OK.
    pub escape: Rate,
    /// Within the guard band. Neither OK nor not OK: the gate rejects them.
    pub not_decidable: usize,
    /// The network gave no finite score. Ranked as the worst; the gate rejects them.
    pub not_inspected: usize,
    pub promise: Promise,
    /// By name.
    pub classes: Vec<Class>,
    pub time_ms: Times,
    /// In the order they were given.
    pub images: Vec<Image>,
}

/// Regions where there is nothing to find.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FalseRegions {
    /// On all good images together.
    pub regions: usize,
    /// Good images with at least one.
    pub images: Rate,
}

/// What became of some images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub ok: usize,
    pub not_ok: usize,
    pub not_decidable: usize,
    pub not_inspected: usize,
}

/// The images of one folder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Class {
    pub class: String,
    pub images: usize,
    /// Good against this class alone, and its 95 % limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auroc: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auroc_interval: Option<Interval>,
    #[serde(flatten)]
    pub counts: Counts,
    /// Judged wrong: overkill of good images, escape of defective ones.
    pub wrong: Rate,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Image {
    pub file: String,
    pub class: String,
    pub is_good: bool,
    /// Absent if it was not finite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// 1 OK, 2 `NotOK`, 3 `NotDecidable`, 0 not inspected.
    pub evaluation: u8,
    pub regions: usize,
}

/// Where the time of one image alone goes. Reading the file is not in the sum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// Pre-processing, network and regions.
    #[serde(flatten)]
    pub total: Percentiles,
    pub read: Percentiles,
    pub preprocess: Percentiles,
    pub inference: Percentiles,
    pub regions: Percentiles,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p99: f64,
}

impl Image {
    /// Its score, for ranking: one that is not finite is the worst.
    pub fn ranked(&self) -> f64 {
        ranked(self.score.unwrap_or(f64::NAN))
    }
}

impl Counts {
    pub fn total(self) -> usize {
        self.ok + self.not_ok + self.not_decidable + self.not_inspected
    }
}
