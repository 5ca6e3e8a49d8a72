//! Measures what a scoring needs, on good images that were not trained on.

use tch::{Device, Tensor};

use crate::model::score::area::Area;
use crate::model::score::cell_maps;
use crate::model::score::method::{FusionMethod, MIN_IMAGES, Method, PositionsMethod};
use crate::model::score::places::{self, MIN_GAIN, Places, pick};
use crate::model::score::scorer::Scorer;
use crate::model::score::scoring::{Fusion, Level, Positions, Scoring};

/// Takes latent values batch by batch; of each image it keeps one f32 a cell, some kilobytes.
#[derive(Debug)]
pub struct Fit {
    method: Method,
    steps: i64,
    /// For each scale, `[B, H_s, W_s]` of each batch.
    maps: Vec<Vec<Tensor>>,
}

/// What was measured for a scoring cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    #[error("the score needs good images that were not trained on, and there are none")]
    NoImage,
    #[error("the network gives a watched good image no finite values")]
    NotFinite,
}

impl Fit {
    /// `steps` are the pixels of the anomaly map to one cell of the finest scale.
    pub fn new(method: Method, steps: i64) -> Self {
        Self { method, steps, maps: Vec::new() }
    }

    /// # Shapes
    /// `[B, C_s, H_s, W_s]` at each scale, the finest first.
    pub fn add(&mut self, latent: &[Tensor]) {
        let maps = cell_maps(latent);
        self.maps.resize_with(maps.len(), Vec::new);
        for (all, map) in self.maps.iter_mut().zip(maps) {
            all.push(map.to_device(Device::Cpu));
        }
    }

    /// `area` is on the CPU; None takes the whole picture.
    pub fn finish(self, area: Option<&Area>, roi_sha256: Option<String>) -> Result<Scorer, FitError> {
        let Method { score, fusion, positions } = self.method;
        let maps: Vec<Tensor> = self.maps.iter().map(|batches| Tensor::cat(batches, 0)).collect();
        let images = maps.first().map_or(0, |map| usize::try_from(map.size()[0]).expect("a count"));
        if fusion == FusionMethod::Normalised && images == 0 {
            return Err(FitError::NoImage);
        }
        if maps.iter().any(|map| !bool::try_from(map.isfinite().all()).unwrap_or(false)) {
            return Err(FitError::NotFinite);
        }
        let positions = decide(positions, &maps, images, area);
        let places = positions.used.then(|| Places::fit(&maps, area));
        let fusion = match fusion {
            FusionMethod::Mean => Fusion::Mean,
            FusionMethod::Normalised => {
                let seen = places.as_ref().map(|places| places.normalise(&maps)).unwrap_or(maps);
                Fusion::Normalised(levels(&seen, area))
            }
        };
        Ok(Scorer::new(Scoring { score, fusion, positions, roi_sha256 }, places, self.steps))
    }
}

/// Positions are used if they were asked for, or if images that were not looked at become likelier by them.
fn decide(method: PositionsMethod, maps: &[Tensor], images: usize, area: Option<&Area>) -> Positions {
    let is_measured = method != PositionsMethod::Off && images >= MIN_IMAGES;
    let gain = is_measured.then(|| places::gain(maps, area));
    let used = match method {
        PositionsMethod::Off => false,
        PositionsMethod::On => is_measured,
        PositionsMethod::Auto => gain.is_some_and(|gain| gain >= MIN_GAIN),
    };
    Positions { used, images, gain }
}

/// Median and 1.4826 times the median absolute deviation of each scale's cells that count.
fn levels(maps: &[Tensor], area: Option<&Area>) -> Vec<Level> {
    let level = |(scale, map): (usize, &Tensor)| {
        let cells = pick(area, scale, map).flatten(0, -1);
        let centre = median(&cells);
        let spread = 1.4826 * median(&(&cells - centre).abs());
        // Cells that never change still have something to divide by.
        let floor = f64::from(f32::EPSILON) * centre.abs() + f64::from(f32::MIN_POSITIVE);
        Level { centre, spread: spread.max(floor) }
    };
    maps.iter().enumerate().map(level).collect()
}

/// Of at least one value; between the two in the middle of an even number. libtorch's own takes the lower one.
fn median(values: &Tensor) -> f64 {
    let (sorted, _) = values.sort(0, false);
    let n = values.numel();
    let at = |i: usize| sorted.double_value(&[i64::try_from(i).expect("a position")]);
    f64::midpoint(at((n - 1) / 2), at(n / 2))
}
