//! Folders of images in the layout of MVTec AD, and how their good images are divided.
//!
//! Owns which files belong to a data set and in which order. Does not read pixels: that is `image_file`.
//! Images are the files that end in png, jpg, jpeg, bmp, tif or tiff, directly in their folder.

pub mod division;
pub mod good;
pub mod groups;
pub mod likeness;
mod listing;
pub mod parts;
pub mod repeats;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::dataset::listing::{KINDS, list, name};
use crate::digest::hex;

/// Fewer good images than this cannot be trained on and calibrated with.
pub const MIN_TRAINING_IMAGES: usize = 8;

/// An image of which the truth is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    pub path: PathBuf,
    /// Name of its folder: `good` or the kind of defect.
    pub class: String,
    pub is_good: bool,
    /// Where the defect is: white on black, of the image's size.
    pub mask: Option<PathBuf>,
}

/// The images to evaluate with, sorted by path, and what looked odd about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestSet {
    pub images: Vec<Labelled>,
    pub warnings: Vec<Warning>,
}

/// Something in a data folder that a person should know, though work can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    MaskWithoutImage(PathBuf),
    /// Only where other images of the same class have one.
    ImageWithoutMask(PathBuf),
    EmptyClass(PathBuf),
    NotAnImage(PathBuf),
}

#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    #[error("data folder {}: there is no such folder", .0.display())]
    Missing(PathBuf),
    #[error("data folder {}: expected {expected}", .folder.display())]
    Layout { folder: PathBuf, expected: String },
    #[error("{} in {}: at least {needed} good images are needed to train and calibrate, better 300",
        count(*.found), .folder.display())]
    TooFew { folder: PathBuf, found: usize, needed: usize },
    #[error(
        "image {}{}: the network knows it from training, so its score says nothing of new parts", .first.display(),
        if *.more == 0 { String::new() } else { format!(" and {} more", .more) }
    )]
    TrainedOn { first: PathBuf, more: usize },
    #[error("{}: cannot be read", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The good images to train on, sorted by path: those in `root/train/good`, or, if `root` has no folder
/// `train` at all, those in `root` itself.
pub fn training_images(root: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    require_folder(root)?;
    let good = root.join("train/good");
    let folder = match (good.is_dir(), root.join("train").is_dir()) {
        (true, _) => good,
        (false, true) => {
            let expected = "the good images in train/good, but train has no folder \"good\"".into();
            return Err(DatasetError::Layout { folder: root.into(), expected });
        }
        (false, false) => root.into(),
    };
    let images = list(&folder)?.images;
    if images.is_empty() {
        let place = if folder == root { "train/good (or in the folder itself)" } else { "train/good" };
        let expected = format!("{KINDS} images of good parts in {place}, found none");
        return Err(DatasetError::Layout { folder: root.into(), expected });
    }
    if images.len() < MIN_TRAINING_IMAGES {
        return Err(DatasetError::TooFew { folder, found: images.len(), needed: MIN_TRAINING_IMAGES });
    }
    Ok(images)
}

/// The images in `root/test/good` and `root/test/<defect>`, with their masks from
/// `root/ground_truth/<defect>/<name>_mask.png`.
pub fn test_images(root: &Path) -> Result<TestSet, DatasetError> {
    require_folder(root)?;
    let test = root.join("test");
    let layout = |found: &str| DatasetError::Layout {
        folder: root.into(),
        expected: format!("images in test/good and test/<defect>, {found}"),
    };
    if !test.is_dir() {
        return Err(layout("found no folder \"test\""));
    }
    let mut images = Vec::new();
    let mut warnings = Vec::new();
    for folder in list(&test)?.folders {
        let class = name(&folder);
        let listing = list(&folder)?;
        warnings.extend(listing.others.into_iter().map(Warning::NotAnImage));
        if listing.images.is_empty() {
            warnings.push(Warning::EmptyClass(folder));
            continue;
        }
        let masks = root.join("ground_truth").join(&class);
        let (labelled, odd) = label(&class, listing.images, &masks)?;
        images.extend(labelled);
        warnings.extend(odd);
    }
    if images.is_empty() {
        return Err(layout(&format!("found no {KINDS} file there")));
    }
    let truths = root.join("ground_truth");
    let masks = if truths.is_dir() { list(&truths)?.folders } else { Vec::new() };
    for folder in masks.into_iter().filter(|folder| !test.join(name(folder)).is_dir()) {
        warnings.extend(list(&folder)?.images.into_iter().map(Warning::MaskWithoutImage));
    }
    Ok(TestSet { images, warnings })
}

/// SHA-256 over names and contents of `images`, in lower-case hex: what a bundle says it was trained on.
/// The order of `images` and the place of `root` do not matter.
pub fn data_sha256(root: &Path, images: &[PathBuf]) -> Result<String, DatasetError> {
    let mut named: Vec<(String, &PathBuf)> =
        images.iter().map(|path| (relative_name(root, path), path)).collect();
    named.sort();
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 1 << 16];
    for (name, path) in named {
        let io = |source| DatasetError::Io { path: path.clone(), source };
        let mut file = File::open(path).map_err(io)?;
        // Each part is preceded by its length, so that no two data sets read the same.
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(&name);
        hasher.update(file.metadata().map_err(io)?.len().to_le_bytes());
        loop {
            let n = file.read(&mut chunk).map_err(io)?;
            if n == 0 {
                break;
            }
            hasher.update(&chunk[..n]);
        }
    }
    Ok(hex(&hasher.finalize()))
}

fn label(
    class: &str,
    images: Vec<PathBuf>,
    masks: &Path,
) -> Result<(Vec<Labelled>, Vec<Warning>), DatasetError> {
    let mut unused: BTreeSet<PathBuf> =
        if masks.is_dir() { list(masks)?.images.into_iter().collect() } else { BTreeSet::new() };
    let has_masks = !unused.is_empty();
    let is_good = class == "good";
    let mut warnings = Vec::new();
    let mut labelled = Vec::new();
    for path in images {
        let mut mask_name = path.file_stem().unwrap_or_default().to_owned();
        mask_name.push("_mask.png");
        let mask = unused.take(&masks.join(mask_name));
        if has_masks && mask.is_none() && !is_good {
            warnings.push(Warning::ImageWithoutMask(path.clone()));
        }
        labelled.push(Labelled { path, class: class.into(), is_good, mask });
    }
    warnings.extend(unused.into_iter().map(Warning::MaskWithoutImage));
    Ok((labelled, warnings))
}

fn require_folder(root: &Path) -> Result<(), DatasetError> {
    if root.is_dir() { Ok(()) } else { Err(DatasetError::Missing(root.into())) }
}

/// Path below `root` with `/` between its parts, the same on every machine.
fn relative_name(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

fn count(found: usize) -> String {
    match found {
        1 => "one image".into(),
        2 => "two images".into(),
        n => format!("{n} images"),
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaskWithoutImage(path) => write!(f, "mask {}: no image belongs to it", path.display()),
            Self::ImageWithoutMask(path) => write!(f, "image {}: has no mask", path.display()),
            Self::EmptyClass(path) => write!(f, "folder {}: holds no image", path.display()),
            Self::NotAnImage(path) => write!(f, "file {}: is not one of {KINDS}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests;
