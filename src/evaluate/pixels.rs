//! How well the anomaly maps separate defect pixels from good ones, in bounded memory.
//!
//! Pixels are counted in a histogram instead of sorted: 300 images of 500x500 are 75 million. Its bins follow
//! the order of f32, so they are as fine relative to small values as to large ones; the error that is left is
//! stated with the result.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::evaluate::metrics::{Curve, Step};
use crate::frame::{PixelFormat, Size};
use crate::image_file::{self, ImageFileError};
use crate::verdict::regions::AnomalyMap;

/// Twice 8 MiB of counters. The last bin holds the values that are not finite.
const BINS: u32 = 1 << 20;

/// Masks are grey and may have soft borders: from this value on, a pixel is defective.
const DEFECTIVE_FROM: u8 = 128;

/// What is known about the pixels of one image.
#[derive(Clone, Copy, Debug)]
pub enum Truth<'a> {
    AllGood,
    Mask(&'a Path),
}

/// Area under the ROC curve over all pixels, maps upsampled to the size of their image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PixelAuroc {
    pub auroc: f64,
    /// The value without bins lies at most this far away.
    pub error_max: f64,
    /// Images that took part: the good ones and the defective ones with a mask.
    pub images: usize,
    /// Masks of defective images that mark no pixel; their pixels counted as good.
    pub empty_masks: usize,
}

/// What a mask should be and is not.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    #[error("a mask cannot be used")]
    File(#[from] ImageFileError),
    #[error("mask {}: is {found}, but its image is {expected}", .path.display())]
    Size { path: PathBuf, found: Size, expected: Size },
}

/// None unless there are defect pixels and good ones.
pub fn auroc(images: &[(&AnomalyMap, Size, Truth<'_>)]) -> Result<Option<PixelAuroc>, MaskError> {
    let cells = || images.iter().flat_map(|(map, ..)| &map.values).copied().filter(|v| v.is_finite());
    // Bilinear interpolation stays within the values of the cells.
    let (low, high) = (cells().reduce(f32::min), cells().reduce(f32::max));
    let mut pixels = Histogram::new(low.unwrap_or(0.0), high.unwrap_or(0.0));
    let mut empty_masks = 0;
    for &(map, size, truth) in images {
        let values = map.resized(size.width as usize, size.height as usize).values;
        match truth {
            Truth::AllGood => values.iter().for_each(|&value| pixels.add(value, false)),
            Truth::Mask(path) => {
                let mask = read_mask(path, size)?;
                empty_masks += usize::from(!mask.contains(&true));
                values.iter().zip(mask).for_each(|(&value, is_defective)| pixels.add(value, is_defective));
            }
        }
    }
    let Some(auroc) = pixels.curve().auroc() else { return Ok(None) };
    Ok(Some(PixelAuroc { auroc, error_max: pixels.error_max(), images: images.len(), empty_masks }))
}

/// For each pixel of an image of `size`, whether the mask marks it as defective.
pub fn read_mask(path: &Path, size: Size) -> Result<Vec<bool>, MaskError> {
    let (found, mask) = image_file::read(path, PixelFormat::Gray8)?;
    if found != size {
        return Err(MaskError::Size { path: path.into(), found, expected: size });
    }
    Ok(mask.into_iter().map(|value| value >= DEFECTIVE_FROM).collect())
}

struct Histogram {
    lowest: u32,
    /// A bin spans `1 << shift` neighbouring values of f32.
    shift: u32,
    bins: Vec<Step>,
}

impl Histogram {
    fn new(low: f32, high: f32) -> Self {
        let lowest = rank(low);
        let span = rank(high) - lowest;
        let shift =
            (0..u32::BITS).find(|shift| span >> shift < BINS - 1).expect("a shift of 31 leaves 0 or 1");
        Self { lowest, shift, bins: vec![Step { caught: 0, false_alarms: 0 }; BINS as usize] }
    }

    fn add(&mut self, value: f32, is_defective: bool) {
        let bin = if value.is_finite() {
            (rank(value).saturating_sub(self.lowest) >> self.shift).min(BINS - 2)
        } else {
            BINS - 1
        };
        let bin = &mut self.bins[bin as usize];
        if is_defective { bin.caught += 1 } else { bin.false_alarms += 1 }
    }

    fn curve(&self) -> Curve {
        let is_used = |bin: &Step| bin.caught + bin.false_alarms > 0;
        Curve::from_groups(self.bins.iter().rev().copied().filter(is_used))
    }

    /// Pairs that share a bin count half, and may count anything from none to whole.
    #[expect(clippy::cast_precision_loss, reason = "an estimate of an error")]
    fn error_max(&self) -> f64 {
        let sum = |of: fn(&Step) -> f64| self.bins.iter().map(of).sum::<f64>();
        let undecided = sum(|bin| bin.caught as f64 * bin.false_alarms as f64);
        0.5 * undecided / (sum(|bin| bin.caught as f64) * sum(|bin| bin.false_alarms as f64))
    }
}

/// The place of a finite number among all of f32: larger numbers have larger ranks.
fn rank(value: f32) -> u32 {
    // Adding zero turns -0 into 0.
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma};
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    use super::*;

    #[test]
    fn ranks_keep_the_order_of_numbers() {
        let ascending = [f32::MIN, -1.0, -f32::MIN_POSITIVE, 0.0, f32::MIN_POSITIVE, 1.0, f32::MAX];
        assert!(ascending.windows(2).all(|pair| rank(pair[0]) < rank(pair[1])));
        assert_eq!(rank(-0.0), rank(0.0));
    }

    #[test]
    fn the_histogram_is_as_good_as_sorting() {
        let mut rng = Pcg64::seed_from_u64(5);
        let pixels: Vec<(f32, bool)> = (0..20_000)
            .map(|_| {
                let is_defective = rng.random_bool(0.1);
                let value: f32 = rng.random::<f32>().powi(8) * 1e4;
                (if is_defective { value * 3.0 } else { value }, is_defective)
            })
            .collect();
        let mut histogram = Histogram::new(0.0, 3e4);
        for &(value, is_defective) in &pixels {
            histogram.add(value, is_defective);
        }
        let exact = Curve::new(pixels.iter().map(|&(value, bad)| (f64::from(value), bad))).auroc().unwrap();
        let error = (histogram.curve().auroc().unwrap() - exact).abs();
        assert!(error <= histogram.error_max() && histogram.error_max() < 1e-4, "{error}");
    }

    #[test]
    fn a_map_that_lights_up_where_the_mask_is_white_scores_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a_mask.png");
        GrayImage::from_fn(8, 4, |x, _| Luma([if x >= 6 { 255 } else { 90 }])).save(&path).unwrap();
        let size = Size { width: 8, height: 4 };
        let map = |values: [f32; 4]| AnomalyMap { width: 4, height: 1, values: values.to_vec() };
        let (right, wrong) = (map([0.0, 0.0, 1.0, 9.0]), map([9.0, 8.0, 1.0, 0.0]));
        let of = |map| auroc(&[(map, size, Truth::Mask(&path))]).unwrap().unwrap();
        assert_eq!((of(&right).auroc, of(&right).error_max), (1.0, 0.0));
        assert_eq!(of(&wrong).auroc, 0.0);
        let unknown = map([0.0, 0.0, 0.0, f32::NAN]);
        assert!(of(&unknown).auroc > 0.9, "{:?}", of(&unknown));
        assert_eq!(auroc(&[(&right, size, Truth::AllGood)]).unwrap(), None);
    }

    #[test]
    fn a_mask_of_another_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a_mask.png");
        GrayImage::new(8, 4).save(&path).unwrap();
        let text = read_mask(&path, Size { width: 8, height: 5 }).unwrap_err().to_string();
        assert!(text.ends_with("a_mask.png: is 8x4, but its image is 8x5"), "{text}");
    }
}
