//! `products/<name>.toml`: what is being made and how it is judged.

use std::path::PathBuf;
use std::time::Duration;

use crate::verdict::Threshold;

#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// The file's name without `.toml`.
    pub name: String,
    pub bundle: PathBuf,
    /// None takes the bundle's calibrated threshold.
    pub threshold: Option<Threshold>,
    /// None takes the bundle's.
    pub guard_band: Option<f64>,
    /// From capture to verdict.
    pub deadline: Duration,
    /// Map values above this belong to a region; None takes the bundle's.
    pub map_threshold: Option<f64>,
    pub min_area_px: f64,
    pub mm_per_px: Option<f64>,
}
