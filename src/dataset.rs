//! Folders of images in the layout of MVTec AD, and how their good images are divided.
//!
//! Owns which files belong to a data set and in which order. Does not look at pixels: that is `image_file`.
//! Images are the files that end in png, jpg, jpeg, bmp, tif or tiff, directly in their folder.

mod listing;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use sha2::{Digest, Sha256};

use crate::dataset::listing::{KINDS, list, name};

/// Fewer good images than this cannot be trained on and calibrated with.
pub const MIN_TRAINING_IMAGES: usize = 8;

/// However few images there are, this many are held out for calibration; with [`MIN_TRAINING_IMAGES`] that is half.
pub const MIN_HELD_OUT: usize = 4;

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
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Divides the numbers below `n` at random into those to train on and those to hold out, both ascending. The
/// share `held_out` is kept to, but at least [`MIN_HELD_OUT`] and at most half are held out.
pub fn split(n: usize, held_out: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a number of files"
    )]
    let asked = (n as f64 * held_out.clamp(0.0, 1.0)).round() as usize;
    let n_held_out = asked.max(MIN_HELD_OUT).min(n / 2);
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut Pcg64::seed_from_u64(seed));
    let mut training = order.split_off(n_held_out);
    training.sort_unstable();
    order.sort_unstable();
    (training, order)
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
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// A data folder with these files, each holding its own name.
    fn folder(files: &[&str]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        folder
    }

    fn good(n: usize, place: &str) -> TempDir {
        let files: Vec<String> = (0..n).map(|i| format!("{place}{i:02}.png")).collect();
        folder(&files.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[track_caller]
    fn refuses(root: &Path, expected: &str) {
        let text = training_images(root).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn good_images_come_sorted_from_the_folder_for_them() {
        let data = good(9, "train/good/");
        fs::write(data.path().join("train/good/notes.txt"), "").unwrap();
        fs::write(data.path().join("train/good/.hidden.png"), "").unwrap();
        let images = training_images(data.path()).unwrap();
        assert_eq!(images.len(), 9);
        assert!(images.is_sorted());
    }

    #[test]
    fn a_flat_folder_counts_as_good_images_only_without_a_train_folder() {
        let flat = good(8, "");
        assert_eq!(training_images(flat.path()).unwrap().len(), 8);
        fs::create_dir(flat.path().join("train")).unwrap();
        refuses(flat.path(), "train has no folder \"good\"");
    }

    #[test]
    fn folders_that_cannot_be_trained_on_are_refused_by_name() {
        refuses(Path::new("/nowhere/parts"), "data folder /nowhere/parts: there is no such folder");
        refuses(
            folder(&[]).path(),
            "images of good parts in train/good (or in the folder itself), found none",
        );
        refuses(good(2, "train/good/").path(), "two images in ");
        refuses(good(7, "train/good/").path(), "at least 8 good images are needed");
    }

    #[test]
    fn test_images_have_a_class_and_their_mask() {
        let data = folder(&[
            "test/good/b.png",
            "test/good/a.JPG",
            "test/crack/a.png",
            "test/crack/b.png",
            "test/stain/a.bmp",
            "ground_truth/crack/a_mask.png",
            "ground_truth/crack/z_mask.png",
        ]);
        fs::create_dir(data.path().join("test/pit")).unwrap();
        let set = test_images(data.path()).unwrap();
        let seen: Vec<_> =
            set.images.iter().map(|i| (relative_name(data.path(), &i.path), i.is_good)).collect();
        let expected = [
            ("test/crack/a.png", false),
            ("test/crack/b.png", false),
            ("test/good/a.JPG", true),
            ("test/good/b.png", true),
            ("test/stain/a.bmp", false),
        ];
        assert_eq!(seen, expected.map(|(name, is_good)| (name.to_owned(), is_good)));
        assert_eq!(set.images[0].mask, Some(data.path().join("ground_truth/crack/a_mask.png")));
        assert_eq!(set.images[4].class, "stain");
        let odd = [
            Warning::ImageWithoutMask(data.path().join("test/crack/b.png")),
            Warning::MaskWithoutImage(data.path().join("ground_truth/crack/z_mask.png")),
            Warning::EmptyClass(data.path().join("test/pit")),
        ];
        assert_eq!(set.warnings, odd);
    }

    #[test]
    fn a_folder_without_test_images_is_refused() {
        for data in [folder(&["train/good/a.png"]), folder(&["test/good/a.txt"])] {
            let text = test_images(data.path()).unwrap_err().to_string();
            assert!(text.contains("expected images in test/good and test/<defect>, found no "), "{text}");
        }
    }

    #[test]
    fn the_data_hash_knows_names_and_bytes_but_not_order_or_place() {
        let (one, two) = (good(8, "train/good/"), good(8, "train/good/"));
        let hash = |data: &TempDir, images: &[PathBuf]| data_sha256(data.path(), images).unwrap();
        let images = training_images(one.path()).unwrap();
        let first = hash(&one, &images);
        assert_eq!(first.len(), 64);
        assert_eq!(first, hash(&two, &training_images(two.path()).unwrap()));
        assert_eq!(first, hash(&one, &images.iter().rev().cloned().collect::<Vec<_>>()));
        assert_ne!(first, hash(&one, &images[1..]));
        fs::write(&images[3], "other").unwrap();
        assert_ne!(first, hash(&one, &images));
        fs::remove_file(&images[3]).unwrap();
        let text = data_sha256(one.path(), &images).unwrap_err().to_string();
        assert!(text.contains("03.png: cannot be read"), "{text}");
    }

    #[test]
    fn a_split_is_decided_by_its_seed_and_loses_nothing() {
        for (n, held_out, expected) in
            [(8, 0.15, 4), (100, 0.2, 20), (761, 0.2, 152), (20, 0.9, 10), (2, 0.2, 1)]
        {
            let (training, out) = split(n, held_out, 7);
            assert_eq!(out.len(), expected, "{held_out} of {n}");
            let mut all = [training.clone(), out.clone()].concat();
            all.sort_unstable();
            assert!(all.into_iter().eq(0..n));
            assert_eq!((training, out), split(n, held_out, 7));
        }
        assert_ne!(split(100, 0.2, 7), split(100, 0.2, 8));
    }
}
