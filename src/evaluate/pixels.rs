//! Where the defects are: anomaly maps and regions against the masks, one image at a time.
//!
//! Each image is counted as it comes and forgotten, so that ten thousand images need no more memory than the largest
//! of them and the counters.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::evaluate::defects::{Defects, Fate, Seen};
use crate::evaluate::histogram::{AUPRO_FPR, Bounded, Histogram};
use crate::frame::{PixelFormat, Size};
use crate::image_file::{self, ImageFileError};
use crate::roi::Roi;
use crate::verdict::regions::{AnomalyMap, Regions};

/// Masks are grey and may have soft borders: from this value on, a pixel is defective.
const DEFECTIVE_FROM: u8 = 128;

/// What is known about the pixels of one image.
#[derive(Clone, Copy, Debug)]
pub enum Truth<'a> {
    AllGood,
    Mask(&'a Path),
}

/// What the network saw in one image whose truth is known.
#[derive(Clone, Copy, Debug)]
pub struct Seeing<'a> {
    pub map: &'a AnomalyMap,
    pub regions: &'a Regions,
    pub seen: Seen,
    pub truth: Truth<'a>,
}

/// How well the maps separate defective pixels from good ones, maps upsampled to the size of their image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pixel {
    pub auroc: f64,
    pub average_precision: f64,
    pub f1_max: f64,
    /// Area under per-region overlap up to a false positive rate of 0.3, between 0 and 1.
    pub aupro: f64,
    /// Each of these lies at most this far from its value without rounding.
    pub error_max: f64,
    /// Images that took part: the good ones and the defective ones with a mask.
    pub images: usize,
    /// Masks of defective images that mark no pixel at all; their pixels counted as good.
    pub empty_masks: usize,
}

/// What counting found.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// None unless there are defective pixels and good ones.
    pub pixel: Option<Pixel>,
    pub fates: Vec<Fate>,
    /// Masks that mark pixels outside the ROI alone.
    pub outside_roi: Vec<PathBuf>,
}

/// Counts images one after the other.
#[derive(Debug)]
pub struct Counter<'a> {
    /// Map values above this belong to a region.
    map_threshold: f64,
    /// Pixels outside of it count nowhere.
    roi: Option<&'a Roi>,
    pixels: Histogram,
    images: usize,
    empty_masks: usize,
    outside_roi: Vec<PathBuf>,
    fates: Vec<Fate>,
}

/// What a mask should be and is not.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    #[error("a mask cannot be used")]
    File(#[from] ImageFileError),
    #[error("mask {}: is {found}, but its image is {expected}", .path.display())]
    Size { path: PathBuf, found: Size, expected: Size },
}

impl<'a> Counter<'a> {
    pub fn new(map_threshold: f64, roi: Option<&'a Roi>) -> Self {
        let (pixels, outside_roi, fates) = (Histogram::new(), Vec::new(), Vec::new());
        Self { map_threshold, roi, pixels, images: 0, empty_masks: 0, outside_roi, fates }
    }

    /// Looks at every pixel of one image once.
    pub fn add(&mut self, seeing: Seeing<'_>) -> Result<(), MaskError> {
        let Seeing { map, regions, seen, truth } = seeing;
        let roi = self.roi;
        let counts = |pixel: usize| roi.is_none_or(|roi| roi.pixels()[pixel]);
        let values = map.resized(seen.size.width as usize, seen.size.height as usize).values;
        self.images += 1;
        match truth {
            Truth::AllGood => {
                let counted = values.iter().enumerate().filter(|&(pixel, _)| counts(pixel));
                counted.for_each(|(_, &value)| self.pixels.add_good(value));
            }
            Truth::Mask(path) => {
                let mut mask = read_mask(path, seen.size)?;
                let is_empty = !mask.contains(&true);
                mask.iter_mut().enumerate().for_each(|(pixel, marked)| *marked &= counts(pixel));
                let defects = Defects::of(&mask, seen.size);
                if is_empty {
                    self.empty_masks += 1;
                } else if defects.areas.is_empty() {
                    self.outside_roi.push(path.into());
                }
                let labelled = values.iter().zip(&defects.labels).enumerate();
                for (_, (&value, &label)) in labelled.filter(|&(pixel, _)| counts(pixel)) {
                    match label.checked_sub(1) {
                        None => self.pixels.add_good(value),
                        Some(defect) => self.pixels.add_defective(value, defects.areas[defect as usize]),
                    }
                }
                self.fates.extend(defects.fates(map, self.map_threshold, regions, seen));
            }
        }
        Ok(())
    }

    pub fn finish(self) -> Counted {
        let Self { pixels, images, empty_masks, outside_roi, fates, .. } = self;
        let figures = || {
            let [auroc, average_precision, f1_max, aupro] = [
                pixels.auroc()?,
                pixels.average_precision()?,
                pixels.f1_max()?,
                pixels.aupro(fates.len(), AUPRO_FPR)?,
            ];
            let worst = |worst: f64, figure: Bounded| worst.max(figure.error_max);
            Some(Pixel {
                auroc: auroc.value,
                average_precision: average_precision.value,
                f1_max: f1_max.value,
                aupro: aupro.value,
                error_max: [auroc, average_precision, f1_max, aupro].into_iter().fold(0.0, worst),
                images,
                empty_masks,
            })
        };
        Counted { pixel: figures(), fates, outside_roi }
    }
}

/// For each pixel of an image of `size`, whether the mask marks it as defective.
pub fn read_mask(path: &Path, size: Size) -> Result<Vec<bool>, MaskError> {
    let (found, mask) = image_file::read(path, PixelFormat::Gray8)?;
    if found != size {
        return Err(MaskError::Size { path: path.into(), found, expected: size });
    }
    Ok(mask.into_iter().map(|value| value >= DEFECTIVE_FROM).collect())
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma};

    use super::*;
    use crate::roi::Shapes;
    use crate::verdict::regions::{self, RegionRule};

    /// Maps as large as their images, with values to one decimal, and all pixels that the mask of the first marks.
    const MAPS: [[f32; 24]; 2] = [
        [
            0.1, 0.2, 0.2, 0.4, 0.1, 0.9, 0.3, 0.8, 0.7, 0.2, 0.1, 0.6, 0.2, 0.9, 0.2, 0.1, 0.5, 0.3, 0.1,
            0.2, 0.1, 0.3, 0.4, 0.35,
        ],
        [
            0.2, 0.1, 0.3, 0.1, 0.2, 0.1, 0.15, 0.25, 0.45, 0.1, 0.65, 0.1, 0.2, 0.1, 0.2, 0.75, 0.2, 0.1,
            0.55, 0.1, 0.2, 0.1, 0.3, 0.2,
        ],
    ];
    const MARKED: [(u32, u32); 8] = [(1, 1), (1, 2), (2, 1), (3, 0), (5, 0), (4, 2), (4, 3), (5, 3)];

    fn counted(images: &[(&AnomalyMap, Size, Truth<'_>)]) -> Counted {
        counted_in(None, images)
    }

    fn counted_in(roi: Option<&Roi>, images: &[(&AnomalyMap, Size, Truth<'_>)]) -> Counted {
        let rule = RegionRule { map_threshold: 0.55, min_area_px: 0.0 };
        let mut counter = Counter::new(rule.map_threshold, roi);
        for &(map, size, truth) in images {
            let regions = regions::find(map, size, rule);
            let seen = Seen { size, cell_px: 1.0 };
            counter.add(Seeing { map, regions: &regions, seen, truth }).unwrap();
        }
        counter.finish()
    }

    #[test]
    fn the_numbers_are_those_of_sorting_all_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let mask = folder.path().join("a_mask.png");
        let marked = |x, y| Luma([if MARKED.contains(&(x, y)) { 255 } else { 0 }]);
        GrayImage::from_fn(6, 4, marked).save(&mask).unwrap();
        let [first, second] = MAPS.map(|values| AnomalyMap { width: 6, height: 4, values: values.to_vec() });
        let size = Size { width: 6, height: 4 };
        let found = counted(&[(&first, size, Truth::Mask(&mask)), (&second, size, Truth::AllGood)]);
        let pixel = found.pixel.unwrap();
        // scikit-learn 1.9.1: roc_auc_score, average_precision_score, precision_recall_curve. AUPRO by numpy 2.4.6,
        // thresholds at every value, defects by scipy 1.17.1 (ndimage.label, 8-connected); the evaluation code of MVTec
        // gives the same to the single precision that it works in.
        for (actual, expected) in [
            (pixel.auroc, 0.937_5),
            (pixel.average_precision, 0.767_200_854_700_854_8),
            (pixel.f1_max, 0.761_904_761_904_762),
            (pixel.aupro, 0.828_703_703_703_703_7),
        ] {
            assert!((actual - expected).abs() <= 1e-9, "{actual} is not {expected}");
        }
        // 4, 1 and 3 pixels, of 6 x 6 cells on 6 x 4 pixels.
        assert_eq!(found.fates.iter().map(|fate| fate.cells).collect::<Vec<_>>(), [6.0, 1.5, 4.5]);
        assert_eq!(found.fates.iter().map(|fate| fate.is_hit).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn a_map_that_lights_up_where_the_mask_is_white_scores_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a_mask.png");
        GrayImage::from_fn(8, 4, |x, _| Luma([if x >= 6 { 255 } else { 90 }])).save(&path).unwrap();
        let size = Size { width: 8, height: 4 };
        let map = |values: [f32; 4]| AnomalyMap { width: 4, height: 1, values: values.to_vec() };
        let (right, wrong) = (map([0.0, 0.0, 1.0, 9.0]), map([9.0, 8.0, 1.0, 0.0]));
        let of = |map| counted(&[(map, size, Truth::Mask(&path))]).pixel.unwrap();
        assert_eq!((of(&right).auroc, of(&right).aupro, of(&right).f1_max), (1.0, 1.0, 1.0));
        assert_eq!((of(&wrong).auroc, of(&wrong).aupro), (0.0, 0.0));
        let unknown = map([0.0, 0.0, 0.0, f32::NAN]);
        assert!(of(&unknown).auroc > 0.9, "{:?}", of(&unknown));
        assert_eq!(counted(&[(&right, size, Truth::AllGood)]).pixel, None);
    }

    #[test]
    fn a_mask_that_marks_nothing_is_counted_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a_mask.png");
        GrayImage::new(8, 4).save(&path).unwrap();
        let size = Size { width: 8, height: 4 };
        let map = AnomalyMap { width: 1, height: 1, values: vec![0.5] };
        let nothing = Counted { pixel: None, fates: Vec::new(), outside_roi: Vec::new() };
        assert_eq!(counted(&[(&map, size, Truth::Mask(&path))]), nothing);
    }

    #[test]
    fn a_defect_outside_the_roi_is_no_empty_mask() {
        let folder = tempfile::tempdir().unwrap();
        let [left, right, empty] =
            [("left", 0..2), ("right", 6..8), ("empty", 0..0)].map(|(name, marked)| {
                let path = folder.path().join(format!("{name}_mask.png"));
                GrayImage::from_fn(8, 4, |x, _| Luma([if marked.contains(&x) { 255 } else { 0 }]))
                    .save(&path)
                    .unwrap();
                path
            });
        let size = Size { width: 8, height: 4 };
        let half = vec![[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]];
        let roi = Roi::new(size, &Shapes { include: vec![half], ..Shapes::default() }).unwrap();
        let map = AnomalyMap { width: 4, height: 1, values: vec![3.0, 0.0, 0.0, 9.0] };
        let images = [&left, &right, &empty].map(|path| (&map, size, Truth::Mask(path)));
        let found = counted_in(Some(&roi), &images);
        assert_eq!((found.outside_roi, found.fates.len()), (vec![right.clone()], 1));
        assert_eq!(found.pixel.unwrap().empty_masks, 1);
        let found = counted(&images);
        assert_eq!((found.outside_roi, found.fates.len()), (Vec::new(), 2));
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
