//! What can be said of a test set before a network looks at it: files that cannot be used, and figures that it will
//! not give.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Error;
use serde::{Serialize, Serializer};

use crate::appearance::Look;
use crate::dataset::Labelled;
use crate::dataset::likeness::Thumbnail;
use crate::dataset::parts::{self, Parts};
use crate::evaluate::pixels;
use crate::frame::{Picture, PixelFormat, Size};
use crate::image_file;
use crate::roi::Roi;

/// Something that the reader of the figures should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    NoGood,
    NoDefective,
    NoMasks,
    /// Defective images of which nobody says where the defect is.
    WithoutMask {
        without: usize,
        defective: usize,
    },
    /// Classes with one image each.
    Single(Vec<String>),
    Sizes {
        sizes: usize,
        smallest: Size,
        largest: Size,
    },
    /// Images that the network was trained on, or that picked its epoch.
    SeenInTraining {
        images: usize,
        first: PathBuf,
    },
    /// Images whose scores the threshold was taken from.
    Calibrating {
        images: usize,
        first: PathBuf,
    },
    /// Good images that show fewer parts.
    Parts {
        images: usize,
        parts: usize,
    },
    /// The threshold rests on scores that were computed otherwise than these.
    CalibratedOn {
        calibration: String,
        here: String,
    },
    /// Images that the network is not asked about: `good` of them are good parts.
    OutOfRange {
        images: usize,
        good: usize,
        first: PathBuf,
        why: String,
    },
    /// Masks that mark pixels outside the ROI alone.
    OutsideRoi {
        masks: usize,
        first: String,
    },
}

/// What was found of a test set.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    pub notes: Vec<Note>,
    pub sizes: Vec<Size>,
    /// Of each image, by which a bundle knows what it was trained on.
    pub fingerprints: Vec<String>,
    /// Of each image.
    pub thumbnails: Vec<Thumbnail>,
    /// What each looks like as a whole.
    pub looks: Vec<Look>,
}

/// Reads every image and every mask. An error names the first that cannot be used, and how many more there
/// are.
pub fn images(images: &[Labelled]) -> anyhow::Result<Looked> {
    let mut sizes = Vec::with_capacity(images.len());
    let mut fingerprints = Vec::with_capacity(images.len());
    let mut thumbnails = Vec::with_capacity(images.len());
    let mut looks = Vec::with_capacity(images.len());
    let mut unusable = Vec::new();
    for image in images {
        match look(image) {
            Ok((size, fingerprint, thumbnail, look)) => {
                sizes.push(size);
                fingerprints.push(fingerprint);
                thumbnails.push(thumbnail);
                looks.push(look);
            }
            Err(error) => unusable.push(error),
        }
    }
    let more = unusable.len().saturating_sub(1);
    match unusable.into_iter().next() {
        None => Ok(Looked { notes: notes(images, sizes.clone()), sizes, fingerprints, thumbnails, looks }),
        Some(first) if more == 0 => Err(first),
        Some(first) => Err(first.context(format!("{} images cannot be used, first", more + 1))),
    }
}

/// An image that the product's ROI is not drawn on.
#[derive(Debug, thiserror::Error)]
#[error("image {}: is {found}, but the product's ROI is drawn on {expected}{}", .path.display(), others(*.more))]
pub struct OddSize {
    path: PathBuf,
    found: Size,
    expected: Size,
    /// Further images of other sizes.
    more: usize,
}

fn others(more: usize) -> String {
    match more {
        0 => String::new(),
        1 => "; one other image has a wrong size too".into(),
        n => format!("; {n} other images have wrong sizes too"),
    }
}

/// Whether all images have the size that `roi` is drawn on; `sizes` belongs to `images`.
pub fn sizes(images: &[Labelled], sizes: &[Size], roi: &Roi) -> Result<(), OddSize> {
    let mut odd = images.iter().zip(sizes).filter(|&(_, &size)| size != roi.size());
    match odd.next() {
        None => Ok(()),
        Some((image, &found)) => {
            Err(OddSize { path: image.path.clone(), found, expected: roi.size(), more: odd.count() })
        }
    }
}

/// Which of the good images show one part, by the same signs as in training and calibration: names, if there is a
/// separator, equal pixels and looks. None if each is a part of its own, and no separator says so.
pub fn good_parts(images: &[Labelled], looked: &Looked, separator: Option<&str>) -> Option<Parts> {
    let good: Vec<usize> = (0..images.len()).filter(|&image| images[image].is_good).collect();
    let files: Vec<&Path> = good.iter().map(|&image| images[image].path.as_path()).collect();
    let fingerprints: Vec<String> = good.iter().map(|&image| looked.fingerprints[image].clone()).collect();
    let thumbnails: Vec<Thumbnail> = good.iter().map(|&image| looked.thumbnails[image].clone()).collect();
    let parts = parts::group(&files, &fingerprints, &thumbnails, separator);
    (separator.is_some() || parts.groups.count() < good.len()).then_some(parts)
}

fn look(image: &Labelled) -> Result<(Size, String, Thumbnail, Look), Error> {
    let (size, pixels, fingerprint) = image_file::read_known(&image.path)?;
    if let Some(mask) = &image.mask {
        pixels::read_mask(mask, size)?;
    }
    let picture = Picture { size, format: PixelFormat::Rgb8, pixels: &pixels };
    Ok((size, fingerprint, Thumbnail::of(picture), Look::at(picture)))
}

fn notes(images: &[Labelled], mut sizes: Vec<Size>) -> Vec<Note> {
    let mut notes = Vec::new();
    let defective = images.iter().filter(|image| !image.is_good).count();
    let masks = images.iter().filter(|image| !image.is_good && image.mask.is_some()).count();
    if defective == images.len() {
        notes.push(Note::NoGood);
    }
    if defective == 0 {
        notes.push(Note::NoDefective);
    } else if masks == 0 {
        notes.push(Note::NoMasks);
    } else if masks < defective {
        notes.push(Note::WithoutMask { without: defective - masks, defective });
    }
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    for image in images {
        *classes.entry(&image.class).or_default() += 1;
    }
    let single: Vec<String> =
        classes.into_iter().filter(|&(_, images)| images == 1).map(|(class, _)| class.into()).collect();
    if !single.is_empty() {
        notes.push(Note::Single(single));
    }
    sizes.sort_by_key(|size| (size.pixels(), size.width));
    sizes.dedup();
    if let [smallest, .., largest] = *sizes {
        notes.push(Note::Sizes { sizes: sizes.len(), smallest, largest });
    }
    notes
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGood => f.write_str(
                "there are no good images (test/good): no overkill, no AUROC and no false positive rate",
            ),
            Self::NoDefective => f.write_str(
                "there are no defective images (test/<defect>): no escape, no AUROC and nothing about defects",
            ),
            Self::NoMasks => f.write_str(
                "there are no masks (ground_truth/<defect>/<name>_mask.png): nothing about pixels, no hit rate",
            ),
            Self::WithoutMask { without, defective } => write!(
                f,
                "{without} of {defective} defective images have no mask: figures about pixels and the hit rate do \
                 without them"
            ),
            Self::Single(classes) => {
                let (s, have) = if classes.len() == 1 { ("", "has") } else { ("es", "have") };
                let names = classes.join(", ");
                write!(f, "class{s} {names} {have} one image: the figures for it say next to nothing")
            }
            Self::SeenInTraining { images, first } => write!(
                f,
                "{images} of these images helped to train the network, for example {}: for them, and for all figures \
                 that they enter, this is no test",
                first.display()
            ),
            Self::Calibrating { images, first } => write!(
                f,
                "the threshold rests on {images} of these images, for example {}: that the promised overkill is kept on \
                 them is no news",
                first.display()
            ),
            Self::CalibratedOn { calibration, here } => write!(
                f,
                "the threshold rests on scores computed on {calibration}, and these are computed on {here}: they may \
                 differ a little"
            ),
            Self::Parts { images, parts } => write!(
                f,
                "the {images} good images count as {parts} parts, by which the promise is judged; the limits of all \
                 other figures take each image for itself, and are somewhat too close"
            ),
            Self::OutOfRange { images, good, first, why } => write!(
                f,
                "{images} of these images, {good} of them good, are out of the range of those learned from, for example {} \
                 ({why}): the daemon answers IMAGE_OUT_OF_RANGE for them, the figures here take their scores",
                first.display()
            ),
            Self::OutsideRoi { masks, first } => write!(
                f,
                "{masks} mask{} pixels outside the product's ROI alone, for example {first}: such defects count \
                 neither as pixels nor as hits, but their images count as defective",
                if *masks == 1 { " marks" } else { "s mark" }
            ),
            Self::Sizes { sizes, smallest, largest } => write!(
                f,
                "the images have {sizes} sizes, from {smallest} to {largest}; each is stretched to the network's \
                 square"
            ),
        }
    }
}

impl Serialize for Note {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
